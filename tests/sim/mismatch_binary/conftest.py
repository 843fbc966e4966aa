"""Hardware of the binary engine broken in one place."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring

from celosia.hw import core as core_module
from celosia.hw.binary import array as array_module
from celosia.hw.binary import drain as drain_module
from celosia.hw.binary import engine as engine_module
from celosia.hw.binary import feeder as feeder_module
from celosia.hw.binary import pool as pool_module
from celosia.hw.binary.array import BinaryArray
from celosia.hw.binary.chain import Addition, Bit, Differs
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.drain import Drain
from celosia.hw.binary.feeder import Feeder
from celosia.hw.binary.gather import Gather
from celosia.hw.binary.loader import WeightLoader
from celosia.hw.binary.pe import BinaryPe
from celosia.hw.binary.pool import POOL_CYCLES, PoolStore
from celosia.hw.binary.timing import LEAST_DRAIN_CYCLES
from celosia.hw.binary.tree import count_tree
from celosia.hw.binary.windows import WindowWalk
from celosia.hw.buffers import InputFiller, ResultSender
from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import Scratchpad
from celosia.hw.pipeline import delay


def changed(addition: Addition, **changes: Any) -> Addition:
    return Addition(**{**vars(addition), **changes})


def late_lane(simd: int) -> int:
    """Return the lane that is added second."""
    delays = count_tree(simd).delays()
    return min((lane for lane, late in delays.items() if late), key=delays.__getitem__)


class StuckLane(BinaryPe):
    """A PE with the weight of a late lane stuck at 1."""

    def _lanes(self, m: Module, tree: Any, mute: Value) -> list[Differs]:
        lanes = super()._lanes(m, tree, mute)
        weight = lanes[late_lane(self.config.simd)].b
        assert isinstance(weight, Signal)
        m.d.sync += weight.eq(1)
        return lanes


class LosesCarry(BinaryPe):
    """A PE whose adders above the leaves have no carry."""

    def _addition(self, adder: Any, lanes: Any, counts: Any) -> Addition:
        addition = super()._addition(adder, lanes, counts)
        return addition if counts is None else changed(addition, carry=None)


class NeverDoubles(BinaryPe):
    """A PE that does not double its sum."""

    def _accumulation(self, acc: Signal, double: Value, count: Signal, lane: Any) -> Addition:  # noqa: ARG002
        return super()._accumulation(acc, Const(0, 1), count, lane)


class LosesABit(BinaryPe):
    """A PE whose accumulator takes bit 1 of its sum for 0."""

    def _accumulation(self, acc: Signal, double: Value, count: Signal, lane: Any) -> Addition:
        addition = super()._accumulation(acc, double, count, lane)
        return changed(addition, left=[addition.left[0], Bit(Const(0, 1)), *addition.left[2:]])


class CountsMore(Drain):
    """A drain whose last lane counts thresholds that are just missed, too."""

    def _count(self, m: Module, results: list[Signal], first: Any) -> Cat:
        more = Signal.like(results[-1], name="more")
        m.d.comb += more.eq(results[-1] + 2)
        return super()._count(m, [*results[:-1], more], first)


class NeverShifts(Drain):
    """A drain that does not shift sums."""

    def _give_raw(self, m: Module, layer: Any, gather: Any, results: Any, step: Any) -> None:
        super()._give_raw(m, SimpleNamespace(**{**vars(layer), "raw_shift": Const(0, 2)}), gather, results, step)


class SumsOfOthers(Drain):
    """A drain whose lanes have each other's sums."""

    def _results(self, m: Module, step: Any) -> list[Signal]:
        half = len(step.sums) // 2
        return super()._results(m, SimpleNamespace(**{**vars(step), "sums": step.sums.rotate_left(half)}))


class SwapsLanes(Gather):
    """A gatherer that puts the codes of a group the other way round."""

    def _planes(self, m: Module, place: Signal, platform: object) -> list[Signal]:
        given, lanes = self.codes, self.engine.resolved_post_lanes
        object.__setattr__(self, "codes", [given[lane] for lane in reversed(range(lanes))])
        planes = super()._planes(m, place, platform)
        object.__setattr__(self, "codes", given)
        return planes


class SwapsPlanes(Gather):
    """A gatherer that writes the least significant plane first."""

    def _planes(self, m: Module, place: Signal, platform: object) -> list[Signal]:
        return super()._planes(m, place, platform)[::-1]


# -- how a part is broken --

Break = Callable[[pytest.MonkeyPatch, int], None]
"""Breaks something, given a PE."""


def having(base: Any, statement: Callable[[Any], Any], domain: str = "comb") -> Any:
    """Return a part to which a statement is added, given the part with its `module` and the `pe` that is broken."""

    class Broken(base):  # type: ignore[misc]
        def elaborate(self, platform: object) -> Module:
            self.module = m = super().elaborate(platform)
            m.d[domain] += statement(self)
            return m

    return Broken


def around(base: Any, statement: Callable[[Any], Any]) -> Any:
    """Return what has a part `inner`, and its ports outside; a statement counts more than their connection."""

    class Broken(base):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            self.inner = base(config)
            super().__init__(config)

        def elaborate(self, platform: object) -> Module:  # noqa: ARG002
            m = Module()
            m.submodules.inner = self.inner
            wiring.connect(m, wiring.flipped(self), self.inner)
            m.d.comb += statement(self)
            return m

    return Broken


def only(cls: Any, index: int, broken: Any) -> Callable[..., Any]:
    """Return what makes `cls`, but `broken` where it is made the `index`-th time."""
    made = itertools.count()
    return lambda *args, **more: (broken if next(made) == index else cls)(*args, **more)


def pe(broken: type) -> Break:
    """Return what breaks one PE."""
    return lambda patch, index: patch.setattr(array_module, "BinaryPe", only(BinaryPe, index, broken))


def part(module: Any, broken: Any) -> Break:
    """Return what breaks a part that a module has."""
    name = next(base.__name__ for base in broken.__mro__[1:] if hasattr(module, base.__name__))
    return lambda patch, index: patch.setattr(module, name, type(name, (broken,), {"pe": index}))


def memory(name: str) -> Break:
    """Return what has a bit of one of the core's memories stuck at 0."""
    order = [spec.name for spec in AcceleratorConfig(engine=BinaryConfig(pes=1, simd=2)).memories]
    broken = having(Scratchpad, lambda memory: memory.module.submodules.array.write_ports[0].data[1].eq(0))
    return lambda patch, _: patch.setattr(core_module, "Scratchpad", only(Scratchpad, order.index(name), broken))


def register(changed: str, *, late: bool = False) -> Break:
    """Return what has 0 in place of one of the engine's delayed signals, or has it too late."""

    def broken(m: Module, value: Any, cycles: int, name: str, **more: bool) -> Any:
        if name == changed and not late:
            return Const(0, len(value))
        return delay(m, value, cycles + (name == changed), name, **more)

    return lambda patch, _: patch.setattr(engine_module, "delay", broken)


# -- what is broken --


def deaf(control: str) -> Any:
    """Return a PE that a control does not reach."""
    return having(BinaryPe, lambda pe: pe.module.submodules[f"{control}_0"].i.eq(0))


def flipped(array: Any) -> Any:
    """Flip a weight on its way to a PE."""
    weights = array.weights.word_select(array.pe, array.config.simd)
    return array.module.submodules[f"pe_{array.pe}"].weights.eq(weights ^ 2)


def smallest() -> Break:
    """Return what has lane 0 keep the smaller one."""
    made = itertools.count()

    def broken(a: Value, b: Value) -> Value:
        return a < b if next(made) == 0 else a > b

    return lambda patch, _: patch.setattr(pool_module, "_exceeds", broken)


NO_DOUBLE = having(BinaryArray, lambda array: array.module.submodules[f"pe_{array.pe}"].double.eq(0))
NO_COPY = having(BinaryArray, lambda array: array.module.submodules["activations_0_1"].i.eq(0))
NO_PADDING = having(Feeder, lambda feeder: feeder.pad.eq(0), "sync")
NO_INVERSION = having(Feeder, lambda feeder: feeder.inverted.eq(0))
NO_ODD_WEIGHTS = around(Feeder, lambda feeder: feeder.weights.eq(feeder.inner.weights & ~1))
ONE_CHUNK = around(Feeder, lambda feeder: feeder.inner.layer.chunks.eq(1))
NO_BLOCK = around(Feeder, lambda feeder: feeder.inner.blocked.eq(0))
NO_HOLD = around(
    Feeder,
    lambda feeder: [feeder.inner.layer[name].eq(LEAST_DRAIN_CYCLES) for name in ("drain_cycles", "drain_cycles_edge")],
)
ONE_COLUMN = around(WindowWalk, lambda walk: walk.inner.layer.pool_col_step.eq(0))
NO_ODD_PARAMETERS = having(Drain, lambda drain: drain.parameters.address[0].eq(0))
ONE_PASS = having(
    PoolStore,
    lambda store: store.module.submodules.kept.write_ports[0].en.eq(
        delay(store.module, store.store & store.first, POOL_CYCLES, "first_store")
    ),
)
NO_ODD_WORDS = having(Gather, lambda gather: gather.write.address[0].eq(0))
ONE_TOO_FAR = around(WeightLoader, lambda loader: loader.inner.address.eq(loader.address + 1))
LOSES_A_WEIGHT = having(WeightLoader, lambda loader: loader.write.data[1].eq(0))
LOSES_AN_INPUT = having(InputFiller, lambda filler: filler.write.data[1].eq(0))
LOSES_A_RESULT = having(ResultSender, lambda sender: sender.o.payload[1].eq(0))

FAULTS: dict[str, tuple[Break, str]] = {
    "lane": (pe(StuckLane), "lane {lane} of PE {pe}"),
    "tree": (pe(LosesCarry), "adder 0 of level 1 of PE {pe}'s tree"),
    "doubling": (pe(NeverDoubles), "doubling in the accumulator of PE {pe}"),
    "accumulator": (pe(LosesABit), "accumulator of PE {pe}"),
    "restart": (pe(deaf("restart")), "restart of PE {pe}"),
    "mute": (pe(deaf("mute")), "mute of PE {pe}"),
    "capture": (pe(deaf("capture")), "capture of PE {pe}"),
    "weights": (part(engine_module, having(BinaryArray, flipped)), "weights on their way to PE {pe}"),
    "activations": (part(engine_module, NO_COPY), "activation registers of PE"),
    "double": (part(engine_module, NO_DOUBLE), "double of PE {pe}"),
    "no padding": (part(engine_module, NO_PADDING), "feeder"),
    "no inversion": (part(engine_module, NO_INVERSION), "feeder"),
    "weight address": (part(engine_module, NO_ODD_WEIGHTS), "feeder"),
    "chunks": (part(engine_module, ONE_CHUNK), "feeder"),
    "windows": (part(feeder_module, ONE_COLUMN), "feeder"),
    "padding": (register("padded"), "padding of activations"),
    "inversion": (register("inverted", late=True), "inversion of activations"),
    "array mute": (register("mute"), "controls on their way to"),
    "correction": (register("correction", late=True), "correction for padding"),
    "weights memory": (memory("weights"), "weights memory"),
    "sums": (part(engine_module, SumsOfOthers), "doubler of lane"),
    "no hold": (part(engine_module, NO_HOLD), "drain"),
    "parameter address": (part(engine_module, NO_ODD_PARAMETERS), "drain"),
    "parameters memory": (memory("parameters"), "parameters memory"),
    "threshold": (part(engine_module, CountsMore), "threshold counter of lane"),
    "shift": (part(engine_module, NeverShifts), "shifter of sums"),
    "maximum": (smallest(), "maximum of lane 0"),
    "pool": (part(drain_module, ONE_PASS), "pool store"),
    "gathered bit": (part(drain_module, SwapsLanes), "gatherer"),
    "planes": (part(drain_module, SwapsPlanes), "gatherer"),
    "write address": (part(drain_module, NO_ODD_WORDS), "gatherer"),
    "loader address": (part(engine_module, ONE_TOO_FAR), "weight loader"),
    "loader": (part(engine_module, LOSES_A_WEIGHT), "weight loader"),
    "inputs": (part(core_module, LOSES_AN_INPUT), "inputs memory"),
    "activations memory": (memory("activations"), "activations memory"),
    "outputs memory": (memory("outputs"), "outputs memory"),
    "results": (part(core_module, LOSES_A_RESULT), "stream of results"),
    "loader wait": (part(engine_module, NO_BLOCK), "feeder"),
}
"""What breaks a part, and the place that has to be named."""


@pytest.fixture(scope="session")
def faults() -> SimpleNamespace:
    return SimpleNamespace(all=FAULTS, late_lane=late_lane)
