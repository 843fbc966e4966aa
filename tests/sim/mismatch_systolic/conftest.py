"""A core with the systolic engine, in which parts are broken as long as their fault is chosen: one for all faults."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring

from celosia.host.compile import compile_network
from celosia.host.models.ir import Network
from celosia.hw import core as core_module
from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.memory import Scratchpad
from celosia.hw.post.pool import PoolStore
from celosia.hw.post.requantize import Requantizer
from celosia.hw.systolic import array as array_module
from celosia.hw.systolic import drain as drain_module
from celosia.hw.systolic import engine as engine_module
from celosia.hw.systolic import feeder as feeder_module
from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.drain import Drain
from celosia.hw.systolic.feeder import ActivationFeeder
from celosia.hw.systolic.loader import WeightLoader
from celosia.hw.systolic.packing import Packing
from celosia.hw.systolic.pe import PE
from celosia.hw.systolic.walks import KernelWalk, PixelWalk
from celosia.sim import mismatch
from celosia.sim.core import CoreSimulator
from celosia.sim.rtl import Model, build

CONFIG = AcceleratorConfig(
    engine=SystolicConfig(rows=4, cols=4, accumulator_rows=16, lookup_tables=16, post_lanes=2),
    program_depth=2048,
    weight_depth=1500,
    parameter_depth=1024,
    input_depth=2048,
    activation_depth=4096,
    output_depth=2048,
    watchdog_cycles=4096,
)
SEED = 11
ROW, COLUMN = 2, 1
"""The PE that is broken, where one is; also a tap and its column."""
LANE = 1
"""The requantizer lane that is broken, where one is."""


def images(networks: ModuleType) -> tuple[Network, np.ndarray]:
    """A network that uses every mode of the engine, and three inputs."""
    made = networks.Builder(np.random.default_rng(SEED), (6, 7, 1))
    first = made.conv(0, 6, (3, 3))  # neighbours packed
    thinned = made.conv(first, 6, (3, 3), (2, 2), groups=6)  # by taps, with decimation
    wide = made.conv(thinned, 6, (3, 3))  # K tiles of several rows and columns of a kernel, and padding
    added = made.add(thinned, wide)
    pooled = made.max_pool(added, (2, 2))
    made.dense(pooled, 5)
    network = made.network()
    layers = [replace(layer, minimum=-128, maximum=127) for layer in network.layers]  # clamps would hide faults
    return replace(network, layers=layers), made.inputs(3)


Statement = Callable[[Any], Any]
"""From a part to what is assigned in it while its fault is chosen; nothing if this one is not broken."""


class Faults:
    """Faults of parts by name, each with a number; 0 is none.

    In a part with a `shell` there is another one, `inner`: statements may change what goes into it and comes out of it.
    """

    def __init__(self) -> None:
        self.chosen = Signal(8)
        self.numbers: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self._of_part: dict[Any, list[tuple[str, Statement, str]]] = {}

    def add(self, name: str, part: Any, statement: Statement, place: str, domain: str = "comb") -> None:
        """Add a fault, with the beginning of the place that is to be named for it."""
        self.numbers[name] = len(self.numbers) + 1
        self.places[name] = place
        self._of_part.setdefault(part, []).append((name, statement, domain))

    def _break(self, m: Module, part: Any, made: Any) -> None:
        for name, statement, domain in self._of_part[part]:
            assigned = statement(made)
            if assigned is not None:
                with m.If(self.chosen == self.numbers[name]):
                    m.d[domain] += assigned

    def within(self, part: Any) -> Any:
        """Return a part with its faults."""
        faults = self

        class Broken(part):  # type: ignore[misc]
            def elaborate(self, platform: object) -> Module:
                self.module = m = super().elaborate(platform)
                faults._break(m, part, self)
                return m

        return Broken

    def shell(self, part: Any) -> Any:
        """Return a part with its faults around another one."""
        faults = self

        class Broken(part):  # type: ignore[misc]
            def __init__(self, *args: Any, **more: Any) -> None:
                self.inner = part(*args, **more)
                super().__init__(*args, **more)

            def elaborate(self, platform: object) -> Module:  # noqa: ARG002
                m = Module()
                m.submodules.inner = self.inner
                wiring.connect(m, wiring.flipped(self), self.inner)
                faults._break(m, part, self)
                return m

        return Broken


class Numbered:
    """Makes parts that know the number of the part, as it is made."""

    def __init__(self, part: Any) -> None:
        self.part, self.count = part, 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        made = self.part(*args, **more)
        made.number, self.count = self.count, self.count + 1
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)


# -- what is broken --


def field(name: str, change: Callable[[Value], Any]) -> Statement:
    """Change a field of the descriptor that a part takes."""
    return lambda part: part.inner.layer[name].eq(change(part.layer[name]))


def of_pe(row: int, column: int, statement: Statement) -> Statement:
    """Break one PE."""
    return lambda pe: statement(pe) if pe.number == row * CONFIG.engine.cols + column else None


def subtracts(pe: Any) -> Any:
    """Take the product away."""
    psum = Signal.like(pe.o_psum, name="less")
    pe.module.d.sync += psum.eq(pe.i_psum - pe.module.submodules.multiplier.product)
    return pe.o_psum.eq(psum)


def wrong_tap(array: Any) -> Any:
    """Give a tap the activations of the lane beside its own."""
    pe = array.module.submodules[f"pe_{ROW}_{COLUMN}"]
    other = array.module.submodules[f"pe_0_{COLUMN + 1}"].i_activation
    return pe.i_activation.eq(
        Mux(array.channels, other, array.module.submodules[f"pe_{ROW}_{COLUMN - 1}"].o_activation)
    )


def smallest(store: Any) -> Any:
    """Keep the smaller one."""
    most = store.before[LANE]
    return store.o[LANE].eq(Mux(store.first | (store.i[LANE] < most), store.i[LANE], most))


def stuck(name: str) -> Statement:
    """Have a bit of one of the core's memories stuck at 0."""
    number = [spec.name for spec in CONFIG.memories if spec.banks == 1].index(name)

    def statement(memory: Any) -> Any:
        return memory.module.submodules.array.write_ports[0].data[1].eq(0) if memory.number == number else None

    return statement


def truncates(lane: Any) -> Any:
    """Have a bit of results stuck at 0."""
    return lane.result[1].eq(0) if lane.number == LANE else None


def one_off(packing: Any) -> Any:
    """Have packed vectors one lane too far up."""
    width = CONFIG.engine.activation_width
    given = packing.inner.o.as_value()
    return packing.o.as_value().eq(Mux(packing.pack != 0, given.rotate_left(width), given))


def faults_of_parts() -> Faults:
    faults = Faults()
    pe, accumulator = f"PE ({ROW}, {COLUMN})", "accumulator of column"
    faults.add("product", PE, of_pe(ROW, COLUMN, subtracts), pe)
    faults.add("shift", PE, of_pe(ROW - 1, COLUMN, lambda pe: pe.o_shift.eq(0)), "PE (")
    faults.add("tap", SystolicArray, wrong_tap, f"activations into column {COLUMN}")
    faults.add("packing", Packing, one_off, "packing")
    faults.add("no padding", Packing, lambda packing: packing.inner.pad.eq(0), "packing")
    faults.add("pad", ActivationFeeder, lambda feeder: feeder.pad.eq(0), "feeder", "sync")
    faults.add("not started", ActivationFeeder, lambda feeder: feeder.accumulate.first.eq(0), accumulator)
    faults.add("hazard", ActivationFeeder, lambda feeder: feeder.cooled.eq(1), accumulator, "sync")
    faults.add("row", ActivationFeeder, lambda feeder: feeder.accumulate.address[0].eq(0), accumulator)
    faults.add("line step", PixelWalk, field("line_step", lambda step: step + 1), "pixel walk")
    faults.add("column step", PixelWalk, field("col_step", lambda step: step + 1), "pixel walk")
    faults.add("pool step", PixelWalk, field("pool_row_step", lambda step: step + 1), "pixel walk")
    faults.add("stride", PixelWalk, field("stride_rows", lambda step: step + 1), "pixel walk")
    faults.add("decimation", PixelWalk, field("decimation", lambda n: Mux(n == 0, 0, n + 1)), "pixel walk")
    faults.add("kernel row step", KernelWalk, field("kernel_row_step", lambda step: step + 1), "K walk")
    faults.add("kernel column step", KernelWalk, field("kernel_col_step", lambda step: step + 1), "K walk")
    faults.add("dilation", KernelWalk, field("dilation_rows", lambda _: 0), "K walk")
    faults.add("N step", KernelWalk, field("n_step", lambda _: 0), "K walk")
    faults.add("loader", WeightLoader, lambda loader: loader.address.eq(loader.inner.address & ~1), "weight loader")
    faults.add("smallest", PoolStore, smallest, f"maximum of lane {LANE}")
    faults.add("requantizer", Requantizer, truncates, f"requantizer lane {LANE}")
    faults.add("zero point", Drain, lambda drain: drain.module.submodules.lane_1.zero_point.eq(0), "drain")
    faults.add("pool start", Drain, lambda drain: drain.module.submodules.pool.first.eq(0), "drain")
    faults.add("write address", Drain, lambda drain: drain.write.address[0].eq(0), "drain")
    faults.add("write group", Drain, lambda drain: drain.write.enable[1].eq(0), "drain")
    faults.add("parameter address", Drain, lambda drain: drain.parameters.address[0].eq(0), "drain")
    faults.add("activations", Scratchpad, stuck("activations"), "activations memory")
    faults.add("ring", Scratchpad, stuck("weights"), "ring of streamed weights")
    faults.add("inputs", Scratchpad, stuck("inputs"), "inputs memory")
    return faults


def build_broken(faults: Faults) -> Model:
    """Build a core with all faults; `host_write_data` chooses one during a run."""

    class BrokenCore(Core):
        def elaborate(self, platform: object) -> Module:
            m = super().elaborate(platform)
            m.d.comb += faults.chosen.eq(Mux(self.busy, self.host_write_data[: len(faults.chosen)], 0))
            return m

    replaced = (
        (array_module, PE, Numbered(faults.within(PE))),
        (engine_module, SystolicArray, faults.within(SystolicArray)),
        (engine_module, Packing, faults.shell(Packing)),
        (engine_module, ActivationFeeder, faults.within(ActivationFeeder)),
        (feeder_module, PixelWalk, faults.shell(PixelWalk)),
        (feeder_module, KernelWalk, faults.shell(KernelWalk)),
        (engine_module, WeightLoader, faults.shell(WeightLoader)),
        (drain_module, PoolStore, faults.within(PoolStore)),
        (drain_module, Requantizer, Numbered(faults.shell(Requantizer))),
        (engine_module, Drain, faults.within(Drain)),
        (core_module, Scratchpad, Numbered(faults.within(Scratchpad))),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module, part, broken in replaced:
            patch.setattr(module, part.__name__, broken)
        return build(BrokenCore(CONFIG), name="core", waves="vcd")


@pytest.fixture(scope="session")
def broken(networks: ModuleType) -> SimpleNamespace:
    """A program and inputs for it, and a core with all faults."""
    faults = faults_of_parts()
    network, x = images(networks)
    program = compile_network(network, CONFIG)
    return SimpleNamespace(
        config=CONFIG, network=network, program=program, x=x, faults=faults, model=build_broken(faults)
    )


@pytest.fixture
def choose(broken: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Have runs on the broken core, given the fault, and what is to become of words in memory before the run."""
    start = CoreSimulator.start
    chosen: dict[str, Any] = {"fault": 0, "words": {}}

    def broken_start(core: CoreSimulator, *args: Any, **more: Any) -> None:
        for (memory, address), word in chosen["words"].items():
            core.write(memory, word[None], address)
        core.sim.set("host_write_data", chosen["fault"])
        start(core, *args, **more)

    monkeypatch.setattr(CoreSimulator, "start", broken_start)
    monkeypatch.setattr(mismatch, "build", lambda *_, **__: broken.model)

    def chooses(fault: str = "", words: Any = None) -> None:
        chosen.update(fault=broken.faults.numbers[fault] if fault else 0, words=words or {})

    return chooses
