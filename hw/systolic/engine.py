"""The systolic engine: loader, feeder, array, accumulators and drain."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import connect, flipped

from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import EngineComponent
from celosia.hw.pipeline import delay
from celosia.hw.systolic.accumulator import Accumulator, accumulate_port
from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.drain import Drain
from celosia.hw.systolic.feeder import ActivationFeeder
from celosia.hw.systolic.loader import WeightLoader
from celosia.hw.systolic.ring import WeightRing
from celosia.hw.systolic.timing import HAZARD_CYCLES
from celosia.hw.timing import READ_LATENCY


class SystolicEngine(EngineComponent):
    """Dense layers on a weight-stationary array; ports as `engine_signature` says.

    The loader runs up to one layer ahead of the rest, so that the first tile of a layer is loaded while the layer
    before drains. The feeder and the drain take a layer together, when the layer before is wholly written.
    """

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
        draining = Signal()
        m.d.comb += [
            loader.layer.eq(self.layer),
            feeder.layer.eq(self.layer),
            drain.layer.eq(self.layer),
            loader.start.eq(self.layer_valid & ~looked_ahead & loader.idle),
            self.layer_take.eq(self.layer_valid & self.layer_ready & ~self.active & (looked_ahead | loader.start)),
            feeder.start.eq(self.layer_take),
            drain.start.eq(self.layer_take),
            self.active.eq(feeder.running | draining),
            self.done.eq(drain.done),
            self.ready.eq(1),
        ]
        with m.If(self.layer_take):
            m.d.sync += [looked_ahead.eq(0), draining.eq(1)]
        with m.Elif(loader.start):
            m.d.sync += looked_ahead.eq(1)
        with m.If(drain.done):
            m.d.sync += draining.eq(0)

        m.d.comb += [
            loader.swap.eq(feeder.swap),
            loader.ring_available.eq(ring.available),
            ring.take.eq(loader.take),
            feeder.full.eq(loader.full),
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
        m.d.comb += [ring.start.eq(self.start), ring.running.eq(self.running), ring.base.eq(self.ring_base)]

    def _connect_memories(
        self, m: Module, loader: WeightLoader, ring: WeightRing, feeder: ActivationFeeder, drain: Drain
    ) -> None:
        source_is_activations = Signal()
        with m.If(self.layer_take):
            m.d.sync += source_is_activations.eq(self.layer.source_is_activations)
        m.d.comb += [
            self.weights.address.eq(Mux(loader.take, ring.read_address, loader.address)),
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
        m.d.comb += [
            array.activations.as_value().eq(self.source.data),
            array.weights.as_value().eq(self.weights.data),
            array.shift.eq(delay(m, loader.shift, READ_LATENCY, "shift", reset=True)),
            array.swap.eq(delay(m, feeder.swap, READ_LATENCY, "swap", reset=True)),
        ]
        # An accumulator reads ahead of its psum by the latency of its memory: the two latencies cancel.
        told = feeder.accumulate
        beat = delay(m, Cat(told.first, told.last, told.address), array.LATENCY - 1, "beat")
        valid = delay(m, told.valid, array.LATENCY - 1, "beat_valid", reset=True)
        control: Any = accumulate_port(self.engine.accumulator_rows).create(path=("accumulate",))
        m.d.sync += [Cat(control.first, control.last, control.address).eq(beat), control.valid.eq(valid)]
        for column in range(self.engine.cols):
            accumulator = Accumulator(
                psum_width=self.engine.column_width,
                width=self.engine.resolved_accumulator_width,
                depth=self.engine.accumulator_rows,
            )
            m.submodules[f"accumulator_{column}"] = accumulator
            m.d.comb += [
                *(getattr(accumulator.i, name).eq(getattr(control, name)) for name in control.signature.members),
                accumulator.psum.eq(array.psums[column]),
                accumulator.read_address.eq(drain.sum_address),
                drain.sums[column].eq(accumulator.read_data),
            ]
            control = accumulator.o
        written = delay(m, control.valid & control.last, HAZARD_CYCLES - 2, "row_written", reset=True)
        m.d.comb += drain.row_ready.eq(written)

    def _explain(self, m: Module, loader: WeightLoader, feeder: ActivationFeeder, drain: Drain) -> None:
        """Name the one cause of this cycle."""
        code = {name: Const(index, len(self.cause)) for index, name in enumerate(self.engine.CAUSES)}
        with m.If(~feeder.running):
            m.d.comb += self.cause.eq(code["drain"])
        with m.Elif(feeder.beat):
            m.d.comb += self.cause.eq(code["compute"])
        with m.Elif(~feeder.full):
            m.d.comb += self.cause.eq(Mux(loader.starved, code["weights_wait"], code["weights_load"]))
        with m.Elif(feeder.no_room):
            m.d.comb += self.cause.eq(code["output_wait"])
        with m.Else():
            m.d.comb += self.cause.eq(code["hazard"])
        m.d.comb += self.progress.eq(Cat(feeder.beat, loader.shift, drain.beat, drain.done).any())
