// The cycle loop and the C interface around one verilated model. Included by the generated source, which defines
// `Design` (harness.py) and, for waveforms, CELOSIA_WAVES as the writer's class.
#pragma once

namespace {

enum Reason : uint32_t { LIMIT = 0, RECEIVED = 1, SENT = 2, SIGNAL = 4, NO_MEMORY = 8 };

struct Bench {
    VerilatedContext context;
    Vtop top{&context};
    celosia::Stream streams[Design::STREAMS + 1] = {};
    uint64_t cycle = 0;  // since the last reset
    uint64_t time = 0;   // half cycles since the start, the time of the waveform
    uint64_t trace_start = 0, trace_stop = 0;
#ifdef CELOSIA_WAVES
    CELOSIA_WAVES* waves = nullptr;
#endif

    void close_trace() {
#ifdef CELOSIA_WAVES
        if (!waves) return;
        waves->close();
        delete waves;
        waves = nullptr;
#endif
    }

    CELOSIA_INLINE void clock(bool level) {
        Design::clock(top, level);
        top.eval();
#ifdef CELOSIA_WAVES
        if (waves && cycle >= trace_start) {
            if (cycle < trace_stop) waves->dump(time);
            else close_trace();
        }
        ++time;
#endif
    }

    celosia::Pending count_pending() const {
        celosia::Pending pending;
        for (unsigned i = 0; i < Design::STREAMS; ++i) {
            const celosia::Stream& stream = streams[i];
            if (Design::SOURCE[i]) pending.unsent += stream.position < stream.count;
            else pending.unreceived += stream.count < stream.target;
        }
        return pending;
    }

    static CELOSIA_INLINE uint32_t reached(uint32_t until, const celosia::Pending& pending) {
        if ((until & RECEIVED) && !pending.unreceived) return RECEIVED;
        if ((until & SENT) && !pending.unsent) return SENT;
        return LIMIT;
    }

    uint32_t run(uint64_t max_cycles, uint32_t until, const CData* watch) {
        celosia::Pending pending = count_pending();
        uint32_t reason = reached(until, pending);
        // A copy that nothing else can reach: the compiler keeps it in registers across the model's evaluation.
        celosia::Stream local[Design::STREAMS + 1];
        for (unsigned i = 0; i < Design::STREAMS; ++i) local[i] = streams[i];
        for (const uint64_t end = cycle + max_cycles; !reason && cycle < end;) {
            Design::drive(top, local, cycle);
            clock(false);
            const bool signalled = watch && *watch;
            if (!Design::capture(top, local, pending)) {
                reason = NO_MEMORY;
                break;
            }
            clock(true);
            ++cycle;
            reason = signalled ? SIGNAL : reached(until, pending);
        }
        for (unsigned i = 0; i < Design::STREAMS; ++i) streams[i] = local[i];
        return reason;
    }
};

Bench& bench_of(void* handle) { return *static_cast<Bench*>(handle); }

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

void* celosia_create() {
    Bench* bench = new Bench;
#ifdef CELOSIA_WAVES
    bench->context.traceEverOn(true);
#endif
    Design::idle(bench->top);
    Design::clock(bench->top, false);
    bench->top.eval();
    return bench;
}

void celosia_destroy(void* handle) {
    Bench& bench = bench_of(handle);
    bench.close_trace();
    bench.top.final();
    for (unsigned i = 0; i < Design::STREAMS; ++i)
        if (!Design::SOURCE[i]) std::free(bench.streams[i].data);
    delete &bench;
}

celosia::Stream* celosia_streams(void* handle) { return bench_of(handle).streams; }

uint64_t celosia_cycle(void* handle) { return bench_of(handle).cycle; }

// One clock edge in reset, streams idle.
void celosia_reset(void* handle) {
    Bench& bench = bench_of(handle);
    Design::idle(bench.top);
    Design::reset(bench.top, true);
    bench.clock(false);
    bench.clock(true);
    Design::reset(bench.top, false);
    bench.cycle = 0;
    for (unsigned i = 0; i < Design::STREAMS; ++i) bench.streams[i].held = 0;
}

// Brings the outputs to what they will be at the next clock edge.
void celosia_settle(void* handle) {
    Bench& bench = bench_of(handle);
    Design::drive(bench.top, bench.streams, bench.cycle);
    Design::clock(bench.top, false);
    bench.top.eval();
}

void celosia_set(void* handle, int32_t signal, const uint32_t* words) { Design::set(bench_of(handle).top, signal, words); }

void celosia_get(void* handle, int32_t signal, uint32_t* words) { Design::get(bench_of(handle).top, signal, words); }

// Runs until one of the reasons in `until` holds at the end of a cycle, or `max_cycles` have passed.
uint32_t celosia_run(void* handle, uint64_t max_cycles, uint32_t until, int32_t signal) {
    Bench& bench = bench_of(handle);
    return bench.run(max_cycles, until, (until & SIGNAL) ? Design::watch(bench.top, signal) : nullptr);
}

// Waveform of the cycles from start up to but not including stop; 0 when the file cannot be written.
int32_t celosia_trace(void* handle, const char* path, uint64_t start, uint64_t stop) {
    Bench& bench = bench_of(handle);
    bench.close_trace();
    bench.trace_start = start;
    bench.trace_stop = stop;
#ifdef CELOSIA_WAVES
    bench.waves = new CELOSIA_WAVES;
    bench.top.trace(bench.waves, 99);
    bench.waves->open(path);
    if (bench.waves->isOpen()) return 1;
    bench.close_trace();
#else
    (void)path;
#endif
    return 0;
}

void celosia_close_trace(void* handle) { bench_of(handle).close_trace(); }

}  // extern "C"
#pragma GCC visibility pop
