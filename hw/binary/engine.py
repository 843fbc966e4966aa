"""The binary engine: weight loader, feeder, array and drain."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import connect, flipped

from celosia.hw.binary.array import BinaryArray
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.drain import Drain
from celosia.hw.binary.feeder import PAD_CYCLES, PASS_FLAGS, WEIGHTS_CYCLES, Feeder
from celosia.hw.binary.idle import follow, members
from celosia.hw.binary.loader import WeightLoader
from celosia.hw.binary.timing import OPERAND_CYCLES, array_latency
from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import EngineComponent
from celosia.hw.pipeline import delay
from celosia.hw.timing import READ_LATENCY


class BinaryEngine(EngineComponent):
    """Binarized layers and their relatives on an XNOR-popcount array; ports as `engine_signature` says.

    A layer is taken when the one before is wholly written. Its streamed weights are loaded before its first beat, and
    already during the layer before if its descriptor allows it.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, BinaryConfig)
        self.engine = config.engine
        super().__init__(config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = loader = WeightLoader(self.config)
        m.submodules.feeder = feeder = Feeder(self.config)
        m.submodules.array = array = BinaryArray(self.engine)
        m.submodules.drain = drain = Drain(self.config)
        remains = Signal()  # the next cycle is active
        m.d.comb += [
            self.layer_take.eq(self.layer_valid & self.layer_ready & ~self.active),
            self.done.eq(drain.done),
            self.ready.eq(1),
            *(part.layer.eq(self.layer) for part in (feeder, drain)),
            *(part.idles.eq(~remains) for part in (feeder, drain)),
            feeder.start.eq(self.layer_take),
            remains.eq(self.layer_take | (self.active & ~self.done)),
        ]
        m.d.sync += self.active.eq(remains)
        self._load(m, loader, feeder)
        self._connect_array(m, feeder, array, drain, ~remains)
        self._connect_memories(m, loader, drain)
        self._explain(m, loader, feeder, drain)
        return m

    def _load(self, m: Module, loader: WeightLoader, feeder: Feeder) -> None:
        """Load streamed weights, ahead if the layer allows it."""
        layer = self.layer
        ahead = Signal()  # the layer that is offered is being loaded
        loading = Signal()  # the layer at work is not known to be loaded
        wanted = self.layer_valid & (layer.load_words != 0) & ~ahead
        m.d.comb += [
            loader.start.eq(wanted & loader.idle & (layer.load_ahead | (self.layer_ready & ~self.active))),
            loader.address.eq(layer.weights),
            loader.words.eq(layer.load_words),
            feeder.blocked.eq(loading & ~loader.idle),
        ]
        with m.If(self.layer_take):
            m.d.sync += [ahead.eq(0), loading.eq(layer.load_words != 0)]
        with m.Else():
            with m.If(loader.idle):
                m.d.sync += loading.eq(0)
            with m.If(loader.start):
                m.d.sync += ahead.eq(1)

    def _connect_array(self, m: Module, feeder: Feeder, array: BinaryArray, drain: Drain, idles: Value) -> None:
        layer = follow(m, idles, members(self.layer, "mute", "pad_correction", "source_is_activations"))
        activations = Signal(self.engine.simd, reset_less=True)
        padded = delay(m, feeder.pad, READ_LATENCY - PAD_CYCLES, "padded")
        m.d.sync += activations.eq(self.source.data)
        with m.If(padded):
            m.d.sync += activations.eq(0)
        at_array = OPERAND_CYCLES - 2  # the array takes activations and controls two cycles before weights
        inverted = delay(m, feeder.inverted, at_array, "inverted")
        m.d.comb += [
            self.source.address.eq(feeder.address),
            self.source_is_activations.eq(layer.source_is_activations),
            self.weights.address.eq(
                delay(m, feeder.weights, OPERAND_CYCLES - READ_LATENCY - WEIGHTS_CYCLES, "weights_address")
            ),
            array.activations.eq(activations ^ inverted.replicate(self.engine.simd)),
            array.weights.eq(self.weights.data),
            array.beat.eq(delay(m, feeder.beat, at_array, "beat", reset=True)),
            array.last.eq(delay(m, feeder.last, at_array, "last")),
            array.double.eq(delay(m, feeder.double, at_array, "double")),
            array.mute.eq(delay(m, feeder.pad & layer.mute, at_array - PAD_CYCLES, "mute")),
            array.restart.eq(self.start),
        ]
        # Behind a pass: what is added for its padded beats, and what is known of it.
        correction, missing = (
            Signal.like(layer.pad_correction, name=name, reset_less=True) for name in ("correction", "missing")
        )
        pixel_end = delay(m, feeder.pixel_end, PAD_CYCLES, "pixel_end")
        beat, first = (delay(m, getattr(feeder, name), PAD_CYCLES + 1, name) for name in ("beat", "first"))
        m.d.sync += missing.eq(Mux(feeder.pad & pixel_end & layer.mute, layer.pad_correction, 0))
        with m.If(beat):
            m.d.sync += correction.eq(Mux(first, missing, correction + missing))
        until = OPERAND_CYCLES + array_latency(self.engine) - 1
        flags = delay(m, Cat(getattr(feeder, name) for name in PASS_FLAGS), until, "flags")
        m.d.comb += [
            drain.load.eq(delay(m, feeder.beat & feeder.last, until, "load", reset=True)),
            drain.totals.eq(array.totals),
            drain.correction.eq(delay(m, correction, until - PAD_CYCLES, "correction")),
            Cat(getattr(drain, name) for name in PASS_FLAGS).eq(flags),
        ]

    def _connect_memories(self, m: Module, loader: WeightLoader, drain: Drain) -> None:
        connect(m, flipped(self.i_weights), loader.i)
        connect(m, loader.write, flipped(self.weights_write))
        connect(m, drain.parameters, flipped(self.parameters))
        connect(m, drain.write, flipped(self.write))
        m.d.comb += self.write_outputs.eq(drain.write_outputs)

    def _explain(self, m: Module, loader: WeightLoader, feeder: Feeder, drain: Drain) -> None:
        """Name the one cause of this cycle."""
        code: Any = {name: Const(index, len(self.cause)) for index, name in enumerate(self.engine.CAUSES)}
        with m.If(~feeder.running):
            m.d.comb += self.cause.eq(code["drain"])
        with m.Elif(feeder.beat):
            m.d.comb += self.cause.eq(code["compute"])
        with m.Elif(feeder.held):
            m.d.comb += self.cause.eq(code["output_wait"])
        with m.Elif(feeder.active):
            m.d.comb += self.cause.eq(code["weights_wait"])
        with m.Else():
            m.d.comb += self.cause.eq(code["fill"])
        m.d.comb += self.progress.eq(Cat(feeder.beat, loader.progress, drain.busy, drain.write.enable).any())
