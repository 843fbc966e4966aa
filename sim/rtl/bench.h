// The cycle loop and the C interface around one verilated model. Included by the generated source, which defines
// `Design` (harness.py) and, for waveforms, CELOSIA_WAVES as the writer's class.
#pragma once

namespace {

enum Reason : uint32_t { LIMIT = 0, RECEIVED = 1, SENT = 2, SIGNAL = 4, NO_MEMORY = 8 };

struct Bench {
    VerilatedContext context;
    Vtop top{&context};
    celosia::Stream streams[Design::STREAMS + 1] = {};
    celosia::Pending pending;
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

    void clock(bool level) {
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

    void count_pending() {
        pending = {};
        for (unsigned i = 0; i < Design::STREAMS; ++i) {
            const celosia::Stream& stream = streams[i];
            if (Design::SOURCE[i]) pending.unsent += stream.position < stream.count;
            else pending.unreceived += stream.count < stream.target;
        }
    }

    bool reached(uint32_t until, bool signalled, uint32_t& reason) const {
        if (signalled) reason = SIGNAL;
        else if ((until & RECEIVED) && !pending.unreceived) reason = RECEIVED;
        else if ((until & SENT) && !pending.unsent) reason = SENT;
        else return false;
        return true;
    }

    uint32_t run(uint64_t max_cycles, uint32_t until, const CData* watch) {
        uint32_t reason = LIMIT;
        count_pending();
        if (reached(until, false, reason)) return reason;
        for (const uint64_t end = cycle + max_cycles; cycle < end;) {
            Design::drive(top, streams, cycle);
            clock(false);
            const bool signalled = watch && *watch;
            if (!Design::capture(top, streams, pending)) return NO_MEMORY;
            clock(true);
            ++cycle;
            if (reached(until, signalled, reason)) break;
        }
        return reason;
    }
};

Bench& bench_of(void* handle) { return *static_cast<Bench*>(handle); }

}  // namespace

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
