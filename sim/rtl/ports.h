// Streams of the bench, and how payload words get into and out of the model's ports.
#pragma once
#include <cstdint>
#include <cstdlib>

#include "verilated.h"

// -O1 does not inline small functions by itself.
#define CELOSIA_INLINE inline __attribute__((always_inline))

namespace celosia {

// Same layout as `_Stream` in verilated.py.
struct Stream {
    uint32_t* data;      // source: owned by Python; sink: owned here
    uint64_t capacity;   // sink: payloads that fit in data
    uint64_t count;      // source: payloads in data; sink: payloads received so far
    uint64_t position;   // source: payloads accepted; sink: payloads handed to Python
    uint64_t target;     // sink: count to reach before run() may stop
    uint64_t threshold;  // stall when the 32-bit draw is below it; 0: never
    uint64_t seed;
    uint64_t valid;  // as driven or seen in this cycle
    uint64_t ready;  // as driven or seen in this cycle
    uint64_t held;   // source: offered in an earlier cycle and not accepted yet

    // The gate of gates.py: the upper half of SplitMix64 output number `cycle`.
    CELOSIA_INLINE bool open(uint64_t cycle) const {
        if (!threshold) return true;
        uint64_t z = seed + (cycle + 1) * 0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return ((z ^ (z >> 31)) >> 32) >= threshold;
    }

    // Room for one more payload; nullptr when memory runs out.
    CELOSIA_INLINE uint32_t* slot(uint64_t words) {
        if (count == capacity) {
            const uint64_t grown = capacity ? 2 * capacity : 256;
            void* moved = std::realloc(data, grown * words * sizeof(uint32_t));
            if (!moved) return nullptr;
            data = static_cast<uint32_t*>(moved);
            capacity = grown;
        }
        return data + count * words;
    }
};

// Streams that keep run() from stopping.
struct Pending {
    uint64_t unsent = 0;      // sources with words left
    uint64_t unreceived = 0;  // sinks below their target
};

constexpr uint32_t low_bits(unsigned width) { return width >= 32 ? 0xFFFFFFFFu : (1u << width) - 1u; }

// A model's input must have its unused upper bits clear.
CELOSIA_INLINE void put(CData& port, const uint32_t* words, unsigned width) { port = words[0] & low_bits(width); }
CELOSIA_INLINE void put(SData& port, const uint32_t* words, unsigned width) { port = words[0] & low_bits(width); }
CELOSIA_INLINE void put(IData& port, const uint32_t* words, unsigned width) { port = words[0] & low_bits(width); }
CELOSIA_INLINE void put(QData& port, const uint32_t* words, unsigned width) {
    port = words[0] | (static_cast<QData>(words[1] & low_bits(width - 32)) << 32);
}
template <std::size_t N>
CELOSIA_INLINE void put(VlWide<N>& port, const uint32_t* words, unsigned width) {
    for (std::size_t i = 0; i + 1 < N; ++i) port[i] = words[i];
    port[N - 1] = words[N - 1] & low_bits(width - 32 * (N - 1));
}

CELOSIA_INLINE void take(const CData& port, uint32_t* words) { words[0] = port; }
CELOSIA_INLINE void take(const SData& port, uint32_t* words) { words[0] = port; }
CELOSIA_INLINE void take(const IData& port, uint32_t* words) { words[0] = port; }
CELOSIA_INLINE void take(const QData& port, uint32_t* words) {
    words[0] = static_cast<uint32_t>(port);
    words[1] = static_cast<uint32_t>(port >> 32);
}
template <std::size_t N>
CELOSIA_INLINE void take(const VlWide<N>& port, uint32_t* words) {
    for (std::size_t i = 0; i < N; ++i) words[i] = port[i];
}

}  // namespace celosia
