"""The systolic engine: loader, feeder, array, accumulators and drain."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import connect, flipped

from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import EngineComponent
from celosia.hw.memory import addresses_of
from celosia.hw.pipeline import delay, latch
from celosia.hw.systolic.accumulator import Accumulator, accumulate_port
from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.drain import Drain
from celosia.hw.systolic.feeder import ActivationFeeder
from celosia.hw.systolic.layer import Mode
from celosia.hw.systolic.loader import WeightLoader
from celosia.hw.systolic.packing import Packing
from celosia.hw.systolic.ring import WeightRing
from celosia.hw.systolic.timing import HAZARD_CYCLES, ROW_CYCLES, WINDOW_CYCLES, sum_cycles
from celosia.hw.timing import READ_LATENCY


class SystolicEngine(EngineComponent):
    """Layers on a weight-stationary array; ports as `engine_signature` says.

    The loader runs up to one layer ahead of the rest, so that the first tile of a layer is loaded while the layer
    before drains. The feeder and the drain take a layer together, when the layer before is wholly written.
    """

    tables: Any

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SystolicConfig)
        self.engine = config.engine
        super().__init__(config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = loader = WeightLoader(self.config)
        m.submodules.feeder = feeder = ActivationFeeder(self.config)
        m.submodules.array = array = SystolicArray(self.engine)
        m.submodules.drain = drain = Drain(self.config)
        weights = self.config.memory("weights")
        m.submodules.ring = ring = WeightRing(weights.width, weights.depth)

        looked_ahead = Signal()
        look_ahead = Signal()
        feed = Signal(attrs={"keep": 1})  # `layer_take` for the feeder alone, as each reaches far
        m.d.comb += [
            loader.layer.eq(self.layer),
            feeder.layer.eq(self.layer),
            drain.layer.eq(self.layer),
            feeder.start.eq(feed),
            drain.start.eq(self.layer_take),
            feeder.idle.eq(~self.active),
            drain.idle.eq(~self.active),
            self.done.eq(drain.done),
            self.ready.eq(1),
        ]
        # Both are registers, as they start most of the others.
        sees = self.layer_valid & ~self.layer_take
        seen = looked_ahead | loader.start
        m.d.comb += look_ahead.eq(sees & ~seen & loader.idle)
        take = sees & self.layer_ready & ~self.active & (seen | look_ahead)
        m.d.sync += [loader.start.eq(look_ahead), self.layer_take.eq(take), feed.eq(take)]
        with m.If(self.layer_take):
            m.d.sync += [looked_ahead.eq(0), self.active.eq(1)]
        with m.Elif(loader.start):
            m.d.sync += looked_ahead.eq(1)
        with m.If(drain.done):
            m.d.sync += self.active.eq(0)

        m.d.comb += [
            loader.swap.eq(feeder.swap),
            loader.ring_available.eq(ring.available),
            ring.take.eq(loader.take),
            feeder.full.eq(loader.full),
            feeder.full_next.eq(loader.full_next),
            feeder.freed.eq(drain.freed),
        ]
        self._connect_ring(m, ring)
        self._connect_memories(m, loader, ring, feeder, drain)
        self._connect_array(m, loader, feeder, array, drain)
        self._explain(m, loader, feeder, drain)
        return m

    def _connect_ring(self, m: Module, ring: WeightRing) -> None:
        connect(m, flipped(self.i_weights), ring.i)
        connect(m, ring.write, flipped(self.weights_write))
        m.d.comb += [ring.running.eq(self.running), ring.base.eq(self.ring_base)]

    def _connect_memories(
        self, m: Module, loader: WeightLoader, ring: WeightRing, feeder: ActivationFeeder, drain: Drain
    ) -> None:
        source_is_activations = Signal()
        row = Mux(loader.streams, ring.read_address, loader.address)
        with m.If(~self.active):
            m.d.sync += source_is_activations.eq(self.layer.source_is_activations)
        m.d.comb += [
            self.weights.address.eq(delay(m, row, ROW_CYCLES, "row")),
            self.source.address.eq(feeder.address),
            self.source_is_activations.eq(source_is_activations),
            self.parameters.address.eq(drain.parameters.address),
            drain.parameters.data.eq(self.parameters.data),
            self.write.enable.eq(drain.write.enable),
            self.write.address.eq(drain.write.address),
            self.write.data.eq(drain.write.data),
            self.write_outputs.eq(drain.write_outputs),
        ]

    def _connect_array(
        self, m: Module, loader: WeightLoader, feeder: ActivationFeeder, array: SystolicArray, drain: Drain
    ) -> None:
        m.submodules.packing = packing = Packing(self.engine)
        modes = ("mode", "lead", "pad_value", "pack", "table")
        layer = latch(m, ~self.active, self.layer, *modes)
        lookup = Signal(reset_less=True)
        m.d.comb += [
            packing.i.as_value().eq(self.source.data),
            packing.pad.eq(delay(m, feeder.pad, READ_LATENCY - 1, "pad")),
            packing.pad_value.eq(layer.pad_value),
            packing.pack.eq(layer.pack),
            array.activations.eq(packing.o),
            array.weights.as_value().eq(
                delay(m, self.weights.data, WINDOW_CYCLES - READ_LATENCY - ROW_CYCLES, "weights")
            ),
            array.shift.eq(delay(m, loader.shift, WINDOW_CYCLES, "shift", reset=True)),
            array.swap.eq(delay(m, feeder.swap, WINDOW_CYCLES, "swap", reset=True)),
        ]
        m.d.sync += [array.channels.eq(layer.mode == Mode.CHANNELS), lookup.eq(layer.mode == Mode.LOOKUP)]
        entries = self._look_up(m, layer, feeder, array) if self.engine.lookup_tables else []
        control: Any = self._time_sums(m, layer, feeder)
        for column in range(self.engine.cols):
            entry_width = self.engine.resolved_accumulator_width if column < len(entries) else 0
            accumulator = Accumulator(
                psum_width=self.engine.column_width,
                entry_width=entry_width,
                width=self.engine.resolved_accumulator_width,
                depth=self.engine.accumulator_rows,
            )
            m.submodules[f"accumulator_{column}"] = accumulator
            if entry_width:
                m.d.comb += [accumulator.entry.eq(entries[column]), accumulator.lookup.eq(lookup)]
            m.d.comb += [
                *(getattr(accumulator.i, name).eq(getattr(control, name)) for name in control.signature.members),
                accumulator.psum.eq(array.psums[column]),
                accumulator.read_address.eq(drain.sum_address),
                drain.sums[column].eq(accumulator.read_data),
            ]
            control = accumulator.o
        written = delay(m, control.valid & control.last, HAZARD_CYCLES - 2, "row_written", reset=True)
        m.d.comb += drain.row_ready.eq(written)

    def _time_sums(self, m: Module, layer: Any, feeder: ActivationFeeder) -> Any:
        """Tell the first accumulator of a beat, READ_LATENCY before its psum, which comes sooner in some modes."""
        told = feeder.accumulate
        ahead = WINDOW_CYCLES - READ_LATENCY - 1  # the last register is `control`
        beats = [Cat(told.first, told.last, told.address)]
        valids = [Value.cast(told.valid)]
        for cycle in range(ahead + self.engine.array_latency):
            beats.append(delay(m, beats[-1], 1, f"beat_{cycle}"))
            valids.append(delay(m, valids[-1], 1, f"beat_valid_{cycle}", reset=True))
        chosen = Signal(1 + len(beats[0]))

        def choose(mode: Mode, lead: int) -> Any:
            cycles = ahead + sum_cycles(self.engine, mode, lead)
            return chosen.eq(Cat(valids[cycles], beats[cycles]))

        m.d.comb += choose(Mode.MATRIX, 0)
        with m.If(layer.mode == Mode.LOOKUP):
            m.d.comb += choose(Mode.LOOKUP, 0)
        for lead in range(1, self.engine.resolved_taps):
            with m.If((layer.mode == Mode.CHANNELS) & (layer.lead == lead)):
                m.d.comb += choose(Mode.CHANNELS, lead)
        control: Any = accumulate_port(self.engine.accumulator_rows).create(path=("accumulate",))
        m.d.sync += Cat(control.valid, control.first, control.last, control.address).eq(chosen)
        return control

    def _look_up(self, m: Module, layer: Any, feeder: ActivationFeeder, array: SystolicArray) -> list[Value]:
        """Return an entry for each lane, from the table of this K tile."""
        width = self.engine.resolved_accumulator_width
        table = Signal.like(layer.table, reset_less=True)
        m.d.sync += table.eq(layer.table + feeder.k_tile)
        entries = []
        for lane, address in enumerate(addresses_of(self.tables)):
            table = delay(m, table, WINDOW_CYCLES - 2 if lane == 0 else 1, f"table_{lane}")
            m.d.comb += address.eq(Cat(array.lanes[lane].as_unsigned(), table))
            entries.append(self.tables.data.word_select(lane, width).as_signed())
        return entries

    def _explain(self, m: Module, loader: WeightLoader, feeder: ActivationFeeder, drain: Drain) -> None:
        """Name the one cause of this cycle."""
        code = {name: Const(index, len(self.cause)) for index, name in enumerate(self.engine.CAUSES)}
        with m.If(~feeder.running):
            m.d.comb += self.cause.eq(code["drain"])
        with m.Elif(feeder.beat):
            m.d.comb += self.cause.eq(Mux(feeder.accumulate.valid, code["compute"], code["window"]))
        with m.Elif(feeder.no_weights):
            m.d.comb += self.cause.eq(Mux(loader.starved, code["weights_wait"], code["weights_load"]))
        with m.Elif(feeder.no_room):
            m.d.comb += self.cause.eq(code["output_wait"])
        with m.Else():
            m.d.comb += self.cause.eq(code["hazard"])
        m.d.comb += self.progress.eq(Cat(feeder.beat, loader.shift, drain.beat, drain.done).any())
