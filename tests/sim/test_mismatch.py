"""The first mismatch is named: hardware broken on purpose, in one place, and the report must name that place."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, Value

from celosia.host.compile import compile_network
from celosia.host.models.ir import Dense, Network
from celosia.host.program import Program
from celosia.hw import core as core_module
from celosia.hw.buffers import ResultSender
from celosia.hw.config import AcceleratorConfig
from celosia.hw.post.parameters import rounding_code
from celosia.hw.post.requantize import Requantizer
from celosia.hw.systolic import array as array_module
from celosia.hw.systolic import drain as drain_module
from celosia.hw.systolic import engine as engine_module
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.drain import Drain
from celosia.hw.systolic.feeder import ActivationFeeder
from celosia.hw.systolic.pe import PE
from celosia.sim.core import Stalls
from celosia.sim.golden.systolic import run_layer
from celosia.sim.mismatch import Mismatch, find_mismatch
from celosia.sim.rtl import SimulationError
from celosia.sim.vcd import read_waves

ENGINE = SystolicConfig(rows=3, cols=6, accumulator_rows=8, post_lanes=3, max_k=64)
CONFIG = AcceleratorConfig(
    engine=ENGINE,
    weight_depth=32,
    parameter_depth=32,
    input_depth=16,
    activation_depth=64,
    output_depth=64,
    watchdog_cycles=4096,
)
SEED = 7
STALLS = Stalls(inputs=0.3, weights=0.5, results=0.2, seed=SEED)


def network(sizes: tuple[int, ...] = (8, 13, 7), rounding: str = "even") -> Network:
    """Layers with K, M and N edges, none of whose outputs is clamped often."""
    rng = np.random.default_rng(SEED)
    zeros = rng.integers(-9, 9, len(sizes)).tolist()
    layers = [
        Dense(
            name=f"layer {index}",
            weights=rng.integers(-128, 128, (K, N)).astype(np.int8),
            bias=rng.integers(-5000, 5000, N),
            multiplier=rng.integers(1 << 30, 1 << 31, N),
            shift=rng.integers(-9, -7, N),
            rounding=rounding,
            input_zero_point=zeros[index],
            output_zero_point=zeros[index + 1],
            minimum=-128,
            maximum=127,
        )
        for index, (K, N) in enumerate(itertools.pairwise(sizes))
    ]
    return Network(name="random", layers=layers, input_shape=(sizes[0],))


def inputs(count: int) -> np.ndarray:
    return np.random.default_rng(SEED + 1).integers(-128, 128, (count, 8))


def streamed() -> tuple[Program, np.ndarray]:
    """A program of several iterations with streamed weights, and its inputs."""
    program = compile_network(network(), CONFIG, batch=7)
    assert program.vectors < 7
    assert program.weight_stream is not None
    return program, inputs(7)


def only(cls: type, index: int, broken: type) -> Callable[..., Any]:
    """Return what makes `cls`, but `broken` where it is made the `index`-th time."""
    made = itertools.count()
    return lambda *args, **more: (broken if next(made) == index else cls)(*args, **more)


def break_pe(
    monkeypatch: pytest.MonkeyPatch, row: int, column: int, broken: type, engine: SystolicConfig = ENGINE
) -> None:
    monkeypatch.setattr(array_module, "PE", only(PE, row * engine.cols + column, broken))


class Subtracts(PE):
    """A PE that takes its product away."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        psum = Signal.like(self.o_psum)
        before = getattr(self, "i_psum", 0)  # row 0 has none
        m.d.sync += psum.eq(before - m.submodules.multiplier.product)
        m.d.comb += self.o_psum.eq(psum)
        return m


class DropsCarry(PE):
    """A PE whose adder has no carry from bit 7 to bit 8."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        psum, product = Signal.like(self.o_psum), m.submodules.multiplier.product
        low, high = Signal(8), Signal(len(psum) - 8)
        m.d.comb += [low.eq(product[:8] + self.i_psum[:8]), high.eq((product >> 8) + (self.i_psum >> 8))]
        m.d.sync += psum.eq(low | (high << 8))
        m.d.comb += self.o_psum.eq(psum)
        return m


class PassesOnWrongly(PE):
    """A PE that passes activations on with a bit stuck at 0."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        late = Signal.like(self.i_activation)
        m.d.sync += late.eq(self.i_activation & ~2)
        m.d.comb += self.o_activation.eq(late)
        return m


class DropsShift(PE):
    """A PE that does not pass load waves on."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.o_shift.eq(0)
        return m


class RoundsAway(Requantizer):
    """A requantizer lane that takes every layer's rounding for `away`."""

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.inner = inner = Requantizer(self.config)
        for name in self.signature.members:
            if name == "result":
                m.d.comb += self.result.eq(inner.result)
            else:
                m.d.comb += getattr(inner, name).eq(getattr(self, name))
        m.d.comb += inner.rounding.eq(rounding_code("away"))
        return m


class Truncates(Requantizer):
    """A requantizer whose results lose their lowest bit."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.result[0].eq(0)
        return m


class NeverStarts(ActivationFeeder):
    """A feeder that forgets to start sums."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.accumulate.first.eq(0)
        return m


class KnowsNoHazard(ActivationFeeder):
    """A feeder that does not wait until an accumulator has been written."""

    def _wait(self, m: Module, tile_begin: Signal, first: Signal, last: Signal, tile_end: Signal, *rest: Any) -> Value:
        ready = super()._wait(m, tile_begin, first, last, tile_end, *rest)
        return ready | ~Mux(tile_end, last, first)


class WritesElsewhere(Drain):
    """A drain that misses odd words."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.write.address[0].eq(0)
        return m


class LosesABit(ResultSender):
    """A sender of results with a bit stuck at 0."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.o.payload[9].eq(0)
        return m


def check_output(found: Mismatch | None, program: Program, x: np.ndarray) -> Dense:
    """Check what the report says of the output, and return the layer."""
    assert found is not None
    layer = program.network.layers[found.layer]
    assert found.layer_name == layer.name
    assert found.iteration == found.vector // program.vectors
    assert found.expected != found.actual
    for before in program.network.layers[: found.layer]:
        x = run_layer(before, x)
    assert found.expected == run_layer(layer, x)[found.vector, found.channel]
    return layer


def check_psum(found: Mismatch, program: Program, x: np.ndarray) -> None:
    """Check partial sum and operands against plain sums, and the waveform against the report."""
    fault, layer = found.fault, program.network.layers[found.layer]
    for before in program.network.layers[: found.layer]:
        x = run_layer(before, x)
    row, column, k_tile = (fault.position[name] for name in ("row", "column", "K tile"))
    begin, k = k_tile * ENGINE.rows, k_tile * ENGINE.rows + row
    vector, weights = x[found.vector], layer.weights[:, found.channel].astype(np.int64)
    assert column == found.channel % ENGINE.cols
    assert fault.position["N tile"] == found.channel // ENGINE.cols
    assert fault.expected == vector[begin : k + 1] @ weights[begin : k + 1]
    assert fault.operands["activation"][0] == vector[k]
    assert fault.operands["weight"][0] == weights[k]
    assert found.waves is not None
    waves = read_waves(found.waves, [f"engine.array.pe_{row}_{column}.o_psum"], start=found.window[0], top="core")
    assert (waves.start, waves.stop) == found.window
    assert fault.actual in [
        waves.at(f"engine.array.pe_{row}_{column}.o_psum", cycle, signed=True) for cycle in range(*found.window)
    ]


def test_healthy() -> None:
    program = compile_network(network((8, 5, 4)), CONFIG, batch=3)
    assert find_mismatch(program, inputs(3)) is None
    program, x = streamed()
    assert find_mismatch(program, x, stream=True, stalls=STALLS) is None


@pytest.mark.parametrize("broken", [Subtracts, pytest.param(DropsCarry, marks=pytest.mark.slow)])
def test_pe(broken: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_pe(monkeypatch, 2, 4, broken)
    program, x = streamed()
    found = find_mismatch(program, x, stream=True, stalls=STALLS, waves=tmp_path / "window.vcd")
    check_output(found, program, x)
    assert found.fault.place == "PE (2, 4)"
    check_psum(found, program, x)
    assert all(wanted == seen for wanted, seen in found.fault.operands.values())
    text = str(found)
    for part in ("PE (2, 4)", f"cycle {found.fault.cycle}", "activation", "weight", "window.vcd", found.layer_name):
        assert part in text
    break_pe(monkeypatch, 2, 4, broken)
    again = find_mismatch(program, x, stream=True, stalls=STALLS)
    assert again == replace(found, waves=None, window=(0, 0))


@pytest.mark.slow
def test_activation_passed_on_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_pe(monkeypatch, 1, 2, PassesOnWrongly)
    program, x = streamed()
    found = find_mismatch(program, x, stream=True, stalls=STALLS, waves=tmp_path / "window.vcd")
    check_output(found, program, x)
    assert found.fault.place.startswith("PE (1, 2), which passes")
    assert (found.fault.position["row"], found.fault.position["column"] % 6) == (1, 3)
    check_psum(found, program, x)
    wanted, seen = found.fault.operands["activation"]
    assert seen == wanted & ~2 != wanted


@pytest.mark.slow
def test_dropped_load_wave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_pe(monkeypatch, 0, 1, DropsShift)
    program, x = streamed()
    found = find_mismatch(program, x, stream=True, stalls=STALLS, waves=tmp_path / "window.vcd")
    check_output(found, program, x)
    assert found.fault.place == "PE (0, 2)"
    check_psum(found, program, x)
    assert found.fault.operands["activation"][0] == found.fault.operands["activation"][1]
    assert found.fault.operands["weight"][0] != found.fault.operands["weight"][1]


@pytest.mark.slow
def test_accumulator_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ActivationFeeder", NeverStarts)
    program, x = streamed()
    found = find_mismatch(program, x, stream=True, stalls=STALLS)
    check_output(found, program, x)
    assert found.fault.place == f"accumulator of column {found.channel % ENGINE.cols}"
    assert found.fault.position["K tile"] == 0
    assert found.fault.operands["sum before"][0] == 0 != found.fault.operands["sum before"][1]


@pytest.mark.slow
def test_hazard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ActivationFeeder", KnowsNoHazard)
    program = compile_network(network((12, 4)), CONFIG, batch=1)
    x = np.random.default_rng(SEED).integers(-128, 128, (1, 12))
    found = find_mismatch(program, x)
    check_output(found, program, x)
    assert found.fault.place == f"accumulator of column {found.channel}"
    assert found.fault.position["K tile"] > 0


def test_requantizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "Requantizer", only(Requantizer, 1, RoundsAway))
    layer = network((3, 6)).layers[0]
    values = {"bias": np.zeros(6, int), "multiplier": np.full(6, 1 << 30), "shift": np.full(6, -2)}
    values |= {"weights": np.ones((3, 6), np.int8), "input_zero_point": 0, "output_zero_point": 0}
    program = compile_network(
        Network(name="ties", layers=[replace(layer, **values)], input_shape=(3,)), CONFIG, batch=4
    )
    x = np.array([[1, 2, 3], [4, 8, 4], [1, 1, 2], [4, 0, 0]])  # sums of 8·n + 4 are ties: two go to the even side
    found = find_mismatch(program, x)
    check_output(found, program, x)
    assert found.fault.place == "requantizer lane 1"
    assert (found.vector, found.channel) == (2, 1)
    assert (found.fault.expected, found.fault.actual) == (0, 1)
    wanted = {"acc": 4, "bias": 0, "multiplier": 1 << 30, "enable": 1}
    assert {name: found.fault.operands[name] for name in wanted} == {name: (v, v) for name, v in wanted.items()}


@pytest.mark.slow
def test_write_to_the_wrong_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "Drain", WritesElsewhere)
    program = compile_network(network((8, 13, 7)), CONFIG, batch=2)
    found = find_mismatch(program, inputs(2), stream=True)
    check_output(found, program, inputs(2))
    assert found.layer == 0
    assert found.fault.place == "drain"


def test_stream_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_module, "ResultSender", LosesABit)
    program, x = streamed()
    found = find_mismatch(program, x, stream=True, stalls=STALLS)
    check_output(found, program, x)
    assert found.fault.place.startswith("stream of results")
    assert found.channel % ENGINE.rows == 1
    assert found.expected ^ found.actual in (2, -2, 2 - 256)


SHAPES = {
    "1x1": SystolicConfig(rows=1, cols=1, max_k=64, accumulator_rows=8),
    "5x3, 16-bit, 4-bit weights": SystolicConfig(
        rows=5, cols=3, activation_width=16, weight_width=4, accumulator_rows=32
    ),
    "3x6, unsigned": SystolicConfig(rows=3, cols=6, activation_signed=False, accumulator_rows=16),
    "8x4, one lane": SystolicConfig(rows=8, cols=4, accumulator_rows=4, post_lanes=1),
    "16x16": SystolicConfig(rows=16, cols=16, accumulator_rows=16),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["PE", "accumulator", "requantizer"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part is found in arrays of every shape."""
    engine = SHAPES[shape]
    config = AcceleratorConfig(engine=engine, weight_depth=256, input_depth=512, activation_depth=512)
    rng = np.random.default_rng(SEED)
    row, column = int(rng.integers(engine.rows)), int(rng.integers(engine.cols))
    low, high = engine.weight_range
    model = network((33, 20, 9), rounding="even")
    layers = [
        replace(layer, weights=rng.integers(low, high + 1, layer.weights.shape).astype(np.int8))
        for layer in model.layers
    ]
    program = compile_network(replace(model, layers=layers), config, batch=9)
    x = rng.integers(-128, 128, (9, 33))
    if part == "PE":
        break_pe(monkeypatch, row, column, Subtracts, engine)
    elif part == "accumulator":
        monkeypatch.setattr(engine_module, "ActivationFeeder", NeverStarts)
    else:
        monkeypatch.setattr(drain_module, "Requantizer", Truncates)
    found = find_mismatch(program, x)
    check_output(found, program, x)
    column = found.channel % engine.cols
    assert (
        found.fault.place
        == {
            "PE": f"PE ({row}, {column})",
            "accumulator": f"accumulator of column {column}",
            "requantizer": f"requantizer lane {found.channel % engine.resolved_post_lanes}",
        }[part]
    )
    if part == "PE":
        assert found.fault.position["column"] == column
    else:
        assert found.fault.expected != found.fault.actual


def test_several_iterations_must_stream() -> None:
    program, x = streamed()
    with pytest.raises(ValueError, match=re.escape(f"one iteration takes {program.vectors}")):
        find_mismatch(program, x)


def test_a_run_that_does_not_end() -> None:
    program, x = streamed()
    with pytest.raises(SimulationError, match="did not end within 256 cycles"):
        find_mismatch(program, x, stream=True, limit=256)
