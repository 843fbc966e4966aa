"""The core: an engine, its memories, and what runs layers on it without the host."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, ResetInserter, ResetSignal, Signal
from amaranth.lib import data, stream, wiring

from celosia.hw.buffers import InputFiller, ResultSender
from celosia.hw.config import CORE_CAUSES, AcceleratorConfig
from celosia.hw.core_port import HOST_READ_LATENCY, core_port
from celosia.hw.counters import CycleCounters
from celosia.hw.fetch import LayerFetch
from celosia.hw.memory import BankedScratchpad, Scratchpad, addresses_of
from celosia.hw.pipeline import delay
from celosia.hw.registry import find_engine
from celosia.hw.unmerged import unmerged


class Core(wiring.Component):
    """Memories, layer fetch, engine, streams and counters; no link.

    A run goes from `run_start` to the fall of `busy`: it executes `run.layers` descriptors from `run.program` on,
    `run.iterations` times, with inputs and results streaming through two halves of their memories if `run.input_words`
    and `run.output_words` say so. The counters then hold its cycles; their causes sum to the total.

    Between runs the host port reads and writes memories: a read brings its word HOST_READ_LATENCY cycles later, with
    all that was written before; one of each per cycle. Words narrower than the port are in its least significant bits.

    `run_abort` ends a run at once; so do streamed weights that are `corrupt`, and the watchdog when `watchdog_cycles`
    have passed without progress, which both strobe `fault`. `busy` falls in the next cycle, from which on no stream
    moves; streamed words in the core are dropped, memories keep what they hold. A run may start when the core is
    `ready`: parts are reset a cycle after the fall of `busy`, and then an engine may have to clear its accumulators.
    """

    host_write_enable: Signal
    host_memory: Signal
    host_address: Signal
    host_write_data: Signal
    host_read_data: Signal
    i_weights: stream.Interface
    i_inputs: stream.Interface
    o_results: stream.Interface
    run_start: Signal
    run: data.View
    run_abort: Signal
    busy: Signal
    ready: Signal
    fault: Signal
    corrupt: Signal
    saturated: Signal
    total_cycles: Signal
    cause_cycles: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(core_port(config).flip())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        clear = Signal()  # a register, as it reaches far
        runs = Signal()  # in the next cycle
        # What `busy` is, for the parts and for each stream: it reaches far, too. A reset is part of the value, as these
        # registers have none.
        going = runs & ~ResetSignal()
        running = unmerged(m, going, "running")
        word = config.engine.activation_word_width
        engine = find_engine(config.engine_name).rtl(config)
        fetch = LayerFetch(config)
        filler = InputFiller(word, config.input_depth)
        sender = ResultSender(word, config.output_depth)
        parts = {"engine": engine, "fetch": fetch, "filler": filler, "sender": sender}
        for name, part in parts.items():
            m.submodules[name] = ResetInserter(clear)(part)
        m.d.sync += clear.eq(self.run_abort | self.fault)

        run = self.run
        start = Signal()
        m.d.comb += start.eq(self.run_start & ~self.busy & self.ready)
        m.d.comb += [
            fetch.program.eq(run.program),
            fetch.layers.eq(run.layers),
            fetch.iterations.eq(run.iterations),
            filler.iterations.eq(run.iterations),
            *(part.start.eq(start) for part in (fetch, engine)),
            *(part.running.eq(running) for part in (fetch, filler, sender, engine)),
            filler.words.eq(run.input_words),
            sender.words.eq(run.output_words),
            engine.ring_base.eq(run.ring_base),
            self.ready.eq(engine.ready & ~clear),
            self.saturated.eq(engine.saturated),
        ]
        m.d.sync += [fetch.inputs_stream.eq(run.input_words != 0), fetch.outputs_stream.eq(run.output_words != 0)]
        streams = {
            "inputs": (self.i_inputs, filler.i),
            "weights": (self.i_weights, engine.i_weights),
            "results": (sender.o, self.o_results),
        }
        for name, (source, sink) in streams.items():
            moves = unmerged(m, going, f"{name}_moves")
            m.d.comb += [
                sink.payload.eq(source.payload),
                sink.valid.eq(source.valid & moves),
                source.ready.eq(sink.ready & moves),
            ]
        self._connect_memories(m, start, engine, fetch, filler, sender)
        self._sequence(m, start, runs, engine, fetch, filler, sender)
        return m

    def _connect_memories(self, m: Module, start: Signal, engine: Any, fetch: Any, filler: Any, sender: Any) -> None:
        """Give each memory its reader and its writer during a run, and the host between runs."""
        # The host is a cycle late, and so is its turn behind a run.
        host_address = delay(m, self.host_address, 1, "host_address")
        host_data = delay(m, self.host_write_data, 1, "host_data")
        readers = {
            "program": fetch.memory.address,
            "inputs": engine.source.address,
            "activations": engine.source.address,
            "outputs": sender.read.address,
        }
        writers = {
            "weights": engine.weights_write,
            "inputs": filler.write,
            "activations": engine.write,
            "outputs": engine.write,
        }
        enables = {
            "activations": Mux(engine.write_outputs, 0, engine.write.enable),
            "outputs": Mux(engine.write_outputs, engine.write.enable, 0),
        }
        words = {}
        for spec in self.config.memories:
            lanes = self.config.engine.write_lanes if spec.name in ("activations", "outputs") else 1
            memory: Any
            if spec.banks > 1:
                memory = BankedScratchpad(width=spec.width, depth=spec.depth, banks=spec.banks)
            else:
                memory = Scratchpad(width=spec.width, depth=spec.depth, lanes=lanes)
            m.submodules[spec.name] = memory
            words[spec.name] = memory.reads[0].data
            reader = readers[spec.name] if spec.name in readers else getattr(engine, spec.name).address
            host_writes = Signal(name=f"host_writes_{spec.name}")
            # A cycle longer than `busy`, as the host is late.
            runs = Signal(name=f"{spec.name}_runs", attrs={"keep": 1})
            m.d.sync += [
                host_writes.eq(self.host_write_enable & (self.host_memory == spec.id)),
                runs.eq(start | self.busy),
            ]
            for address in (*addresses_of(memory.reads[0]), *addresses_of(memory.write)):
                m.d.comb += address.eq(host_address)
            m.d.comb += [
                memory.write.data.eq(host_data),
                memory.write.enable.eq(host_writes.replicate(len(memory.write.enable))),
            ]
            with m.If(runs):
                m.d.comb += memory.reads[0].address.eq(reader)
                if spec.name in writers:
                    writer = writers[spec.name]
                    m.d.comb += [
                        memory.write.address.eq(writer.address),
                        memory.write.data.eq(writer.data),
                        memory.write.enable.eq(enables.get(spec.name, writer.enable)),
                    ]
            if spec.name not in readers:
                m.d.comb += getattr(engine, spec.name).data.eq(words[spec.name])
        m.d.comb += [
            fetch.memory.data.eq(words["program"]),
            engine.source.data.eq(Mux(engine.source_is_activations, words["activations"], words["inputs"])),
            sender.read.data.eq(words["outputs"]),
        ]
        chosen = delay(m, self.host_memory, HOST_READ_LATENCY - 1, "host_memory", reset=True)
        with m.Switch(chosen):
            for spec in self.config.memories:
                with m.Case(spec.id):
                    m.d.sync += self.host_read_data.eq(words[spec.name])

    def _sequence(
        self,
        m: Module,
        start: Signal,
        runs: Signal,
        engine: Any,
        fetch: Any,
        filler: Any,
        sender: Any,
    ) -> None:
        """Hand layers to the engine, end iterations and the run, count cycles, and watch for progress."""
        m.submodules.counters = counters = CycleCounters(len(self.config.causes), self.config.counter_width)
        inputs_missing = Signal()
        results_full = Signal()
        ends_iteration = Signal()
        idle_cycles = Signal(range(self.config.watchdog_cycles + 1))
        moved = Signal()  # there was progress a cycle ago
        expired = Signal()
        corrupt = Signal()
        finished = Signal()
        progress = Signal()
        m.d.comb += [
            engine.layer.eq(fetch.layer),
            engine.layer_valid.eq(fetch.layer_valid),
            fetch.layer_take.eq(engine.layer_take),
            inputs_missing.eq(fetch.first & ~filler.ready),
            results_full.eq(fetch.layer.destination_is_outputs & ~sender.ready),
            engine.layer_ready.eq(~inputs_missing & ~results_full),
            filler.release.eq(engine.done & ends_iteration),
            sender.produced.eq(engine.done & ends_iteration),
            finished.eq(self.busy & fetch.exhausted & ~engine.active & sender.empty),
            progress.eq(
                engine.progress
                | fetch.busy
                | (self.i_inputs.valid & self.i_inputs.ready)
                | (self.i_weights.valid & self.i_weights.ready)
                | (self.o_results.valid & self.o_results.ready)
            ),
        ]
        with m.If(engine.layer_take):
            m.d.sync += ends_iteration.eq(fetch.last)
        m.d.comb += runs.eq(start | (self.busy & ~(finished | self.run_abort | self.fault)))
        m.d.sync += self.busy.eq(runs)

        # In steps: what ends a run reaches far in the same cycle.
        m.d.sync += [
            moved.eq(progress),
            expired.eq(self.busy & (idle_cycles == self.config.watchdog_cycles)),
            corrupt.eq(self.busy & engine.corrupt),
        ]
        with m.If(~self.busy | moved):
            m.d.sync += idle_cycles.eq(0)
        with m.Else():
            m.d.sync += idle_cycles.eq(idle_cycles + 1)
        m.d.comb += [self.corrupt.eq(self.busy & corrupt), self.fault.eq(self.busy & (corrupt | expired))]

        code = {name: Const(index) for index, name in enumerate(CORE_CAUSES)}
        with m.If(engine.active):
            m.d.comb += counters.cause.eq(len(CORE_CAUSES) + engine.cause)
        with m.Elif(fetch.exhausted):
            m.d.comb += counters.cause.eq(code["results_wait"])
        with m.Elif(fetch.layer_valid & inputs_missing):
            m.d.comb += counters.cause.eq(code["activations_wait"])
        with m.Elif(fetch.layer_valid & results_full):
            m.d.comb += counters.cause.eq(code["results_wait"])
        with m.Else():
            m.d.comb += counters.cause.eq(code["fetch"])
        m.d.comb += [
            counters.start.eq(start),
            counters.running.eq(self.busy),
            self.total_cycles.eq(counters.total),
            self.cause_cycles.eq(counters.by_cause),
        ]
