"""The first mismatch of the binary engine is named: hardware is broken in one place, which the report must name."""

import functools
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import celosia.sim.mismatch.binary  # noqa: F401  (it takes what it needs of the golden model before that is patched)
from celosia.host.compile import compile_network
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.ir import Network
from celosia.host.pack.binary_layers import ArrangedLayer
from celosia.host.program import Program
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.sim import mismatch
from celosia.sim.core import Stalls
from celosia.sim.golden import binary as golden
from celosia.sim.golden.binary import run_layer
from celosia.sim.mismatch import Mismatch, find_mismatch
from celosia.sim.rtl import Model, build
from celosia.sim.vcd import read_waves

pytestmark = pytest.mark.usefixtures("unoptimized")

ENGINE = BinaryConfig(pes=4, simd=8, activation_width=3, accumulator_width=12, output_width=3, post_lanes=2)
DEPTHS = {"input_depth": 1024, "activation_depth": 512, "output_depth": 512, "parameter_depth": 256}
CONFIG = AcceleratorConfig(engine=ENGINE, weight_depth=256, program_depth=512, watchdog_cycles=4096, **DEPTHS)
SEED = 7
STALLS = Stalls(inputs=0.3, weights=0.5, results=0.2, seed=SEED)
PE = 2
"""The PE that is broken, where one is."""

LOOPS = ("planes", "weight_planes", "kernel_rows", "kernel_cols", "chunks")
PLACES = ("bit plane", "weight plane", "kernel row", "kernel col", "chunk")


def network(engine: BinaryConfig = ENGINE) -> Network:
    """Convolutions that are padded, one muted, one pooled, and a dense layer; bit planes and ternary weights."""
    rng = np.random.default_rng(SEED)
    bits, out_bits = min(3, engine.activation_width), min(3, engine.activation_width, engine.output_width)
    dtype = f"int{out_bits}" if out_bits > 1 else "uint1"
    T = min(5, (1 << out_bits) - 1)

    def thresholds(channels: int, count: int, spread: int) -> np.ndarray:
        return np.sort(rng.integers(-spread, spread + 1, (channels, count)), axis=1)

    layers = [
        BinaryConv(
            name="conv 0",
            weights=rng.choice([-1, 1], (2, 2, 9, 11)),
            input_size=(5, 4),
            padding=(1, 1, 0, 0),
            pad_value=2 if bits > 1 else 1,
            pool=(2, 2),
            pool_strides=(2, 1),
            thresholds=thresholds(11, 1, 9),
            input_dtype=f"uint{bits}",
            output_dtype="bipolar",
        ),
        BinaryConv(
            name="conv 1",
            weights=rng.choice([-1, 0, 1], (2, 3, 11, 10)),
            input_size=(2, 3),
            padding=(1, 1, 1, 1),
            thresholds=thresholds(10, T, 8),
            input_dtype="bipolar",
            output_dtype=dtype,
            output_minimum=-3 if out_bits == 3 else None,
        ),
        BinaryDense(name="dense", weights=rng.choice([-1, 1], (90, 23)), input_dtype=dtype, output_dtype="int32"),
    ]
    return Network(name="random", layers=layers, input_shape=(5, 4, 9))


def inputs(count: int, engine: BinaryConfig = ENGINE) -> np.ndarray:
    return np.random.default_rng(SEED + 1).integers(0, 1 << min(3, engine.activation_width), (count, 5, 4, 9))


def resident() -> tuple[Program, np.ndarray]:
    """A program of two iterations of several vectors, its weights resident; and its inputs."""
    program = compile_network(network(), CONFIG, batch=3)
    assert program.vectors == 3
    assert program.weight_stream is None
    return program, inputs(5)


def streamed() -> tuple[Program, np.ndarray]:
    """A program whose last layer is cut into several steps, with streamed weights; and its inputs."""
    program = compile_network(network(), replace(CONFIG, weight_depth=192), batch=3)
    assert program.weight_stream is not None
    assert len(program.layers[-1].steps) > 1
    return program, inputs(5)


def find(program: Program, x: np.ndarray, waves: Path | None = None) -> Mismatch:
    """Find the mismatch of a run that streams and stalls, and check it."""
    found = find_mismatch(program, x, stream=True, stalls=STALLS, waves=waves)
    assert found is not None
    check(found, program, x)
    return found


def check(found: Mismatch, program: Program, x: np.ndarray) -> None:
    """Check what is said of the output, and of the places in the layer."""
    plan = program.layers[found.layer]
    assert found.layer_name == plan.name
    assert found.iteration == found.vector // program.vectors
    for before in program.layers[: found.layer]:
        x = run_layer(before.arranged, x)
    output = run_layer(plan.arranged, x)[found.vector]
    assert found.expected == output.flat[found.channel]
    assert found.expected != found.actual
    position, engine = found.fault.position, program.config.engine
    assert isinstance(engine, BinaryConfig)
    if not position:
        return
    place = (position.get("out row", 0), position.get("out col", 0), position["out channel"])
    assert output.reshape(plan.arranged.conv.output_shape)[place] == found.expected
    assert (position["fold"], position["PE"]) == divmod(position["out channel"], engine.pes)
    folds = np.cumsum([0, *(step.fields["folds"] for step in plan.steps)])
    step = position.get("step", 0)
    assert folds[step] <= position["fold"] < folds[step + 1]
    if "group" in position:
        assert (position["group"], position["lane"]) == divmod(position["PE"], engine.resolved_post_lanes)
    if "sum before" in found.fault.operands and plan.arranged.together == (1, 1):
        check_sum(found, program, x[found.vector])


def check_sum(found: Mismatch, program: Program, x: np.ndarray) -> None:
    """Check sums against a count of equal signs, bit plane by bit plane."""
    position, plan = found.fault.position, program.layers[found.layer]
    fields, arranged = plan.steps[0].fields, plan.arranged
    conv, codes, simd = arranged.conv, arranged.codes, arranged.engine.simd
    top, left, _, _ = conv.padding
    assert conv.pool_strides is not None
    image = (x.reshape(conv.input_shape) - codes.minimum) // codes.step
    last = tuple(position.get(name, 0) for name in PLACES)
    acc = before = 0
    for place in product(*(range(fields[loop]) for loop in LOOPS)):
        plane, weight_plane, kernel_row, kernel_col, chunk = place
        bit = codes.planes - 1 - plane
        row, col = (
            (position.get(f"out {name}", 0) * stride + position.get(f"pool {name}", 0)) * inner + offset
            for name, stride, inner, offset in (
                ("row", conv.pool_strides[0], conv.strides[0], kernel_row - top),
                ("col", conv.pool_strides[1], conv.strides[1], kernel_col - left),
            )
        )
        weights = conv.weights[kernel_row, kernel_col, chunk * simd : (chunk + 1) * simd, position["out channel"]]
        inside = 0 <= row < conv.input_size[0] and 0 <= col < conv.input_size[1]
        pixel = image[row, col] if inside else np.full(image.shape[2], codes.flip)
        ones = pixel[chunk * simd : (chunk + 1) * simd] >> bit & 1
        matches = int((ones == (weights > 0 if weight_plane else weights >= 0)).sum())
        matches += (simd - len(weights)) * (codes.flip >> bit & 1)
        before = acc
        acc = acc * (2 if plane and not any(place[1:]) else 1)
        acc += 0 if arranged.mutes and not inside else matches
        if place == last:
            break
    assert found.fault.operands["sum"][0] == acc
    assert found.fault.operands["sum before"][0] == before


def differing(found: Mismatch) -> set[str]:
    """Return the operands that are not as expected."""
    return {name for name, (wanted, seen) in found.fault.operands.items() if wanted != seen}


@functools.cache
def healthy_core(config: AcceleratorConfig) -> Model:
    return build(Core(config), name="core", waves="vcd")


def find_nothing(program: Program, x: np.ndarray, layer: int, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is wrong with an output that is right: every part of the hardware has to be found right."""

    def wrong(arranged: Any, *args: Any, **options: Any) -> np.ndarray:
        outputs = run_layer(arranged, *args, **options)
        if arranged is program.layers[layer].arranged:
            outputs[-1].flat[index] += 1
        return outputs

    with monkeypatch.context() as patch:
        patch.setattr(golden, "run_layer", wrong)
        patch.setattr(mismatch, "build", lambda core, **_: healthy_core(core.config))
        found = find_mismatch(program, x, stream=True, stalls=STALLS)
    assert found is not None
    assert (found.layer, found.vector, found.channel) == (layer, len(x) - 1, index)
    assert found.fault.quantity == "output, though rightly written,", str(found)


def test_healthy() -> None:
    for program, x in (resident(), streamed()):
        assert find_mismatch(program, x, stream=True, stalls=STALLS) is None
    assert find_mismatch(program, x[:3]) is None


def test_right_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is seen of the hardware at work on a right output is right."""
    for program, x in (resident(), streamed()):
        for layer, plan in enumerate(program.layers):
            last = int(np.prod(plan.arranged.conv.output_shape)) - 1
            find_nothing(program, x, layer, last * 2 // 3, monkeypatch)


def test_stuck_lane(tmp_path: Path, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight of a lane is stuck; the report is the same each time, and the waveform shows what it says."""
    faults.all["lane"][0](monkeypatch, PE)
    program, x = streamed()
    found = find(program, x, waves=tmp_path / "window.vcd")
    fault, lane = found.fault, faults.late_lane(ENGINE.simd)
    assert (fault.place, fault.quantity) == (f"lane {lane} of PE {PE}", "weight")
    assert (fault.position["PE"], fault.position["lane"]) == (PE, lane)
    assert (fault.expected, fault.actual) == (0, 1)
    assert differing(found) == {"matches", "sum"}
    assert found.waves is not None
    weight = f"engine.array.pe_{PE}.weight_{lane}_1"
    waves = read_waves(found.waves, [weight], start=found.window[0], top="core")
    assert (waves.start, waves.stop) == found.window
    assert waves.at(weight, fault.cycle) == fault.actual
    text = str(found)
    for part in (f"PE {PE}", "out row", "out channel", "bit plane", f"cycle {fault.cycle}", "weights 0x", "sum before"):
        assert part in text
    faults.all["lane"][0](monkeypatch, PE)
    assert find(program, x) == replace(found, waves=None, window=(0, 0))


NAMED: dict[str, tuple[Any, int, str, str, set[str]]] = {
    "weights": (resident, 0, f"weights on their way to PE {PE}", "weights", {"weights", "matches", "sum"}),
    "activations": (
        resident,
        0,
        "activation registers of PEs 0 to 3",
        "activations",
        {"activations", "matches", "sum"},
    ),
    "double": (resident, 0, f"double of PE {PE}", "double", {"sum"}),
    "restart": (resident, 0, f"restart of PE {PE}", "sum before", {"sum before", "sum"}),
    "mute": (resident, 1, f"mute of PE {PE}", "mute", {"matches", "sum"}),
    "no padding": (resident, 0, "feeder", "padding", {"activations", "matches", "sum"}),
    "windows": (streamed, 0, "feeder", "address of the activations", {"activations", "matches", "sum"}),
    "pool": (streamed, 0, "pool store", "maximum before", set()),
    "threshold": (resident, 0, "threshold counter of lane 1", "count", set()),
    "gathered bit": (resident, 0, "gatherer", "bit gathered of plane 0", set()),
    "planes": (resident, 0, "gatherer", "bit of plane 0, as written,", {"word"}),
    "write address": (resident, 0, "gatherer", "output, over which another is written,", set()),
    "loader address": (streamed, 2, "weight loader", "address of the write", {"weights", "matches", "sum"}),
    "results": (resident, 2, "stream of results, though right in memory,", "output", set()),
}
"""Program, and what is told: layer, place, quantity, the operands that differ."""


USUAL = ("restart", "windows", "pool", "gathered bit", "loader address", "results")
"""One of each place; the others are slow tests."""


@pytest.mark.parametrize(
    "part", [part if part in USUAL else pytest.param(part, marks=pytest.mark.slow) for part in NAMED]
)
def test_part(part: str, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all[part][0](monkeypatch, PE)
    program, layer, place, quantity, operands = NAMED[part]
    found = find(*program())
    assert (found.layer, found.fault.place, found.fault.quantity) == (layer, place, quantity)
    assert differing(found) == operands
    assert found.fault.expected != found.fault.actual


def test_missing_hold(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes of one beat follow each other before their sums are held against seven thresholds."""
    faults.all["no hold"][0](monkeypatch, PE)
    rng = np.random.default_rng(SEED)
    layer = BinaryDense(
        name="dense",
        weights=rng.choice([-1, 1], (8, 12)),
        thresholds=np.sort(rng.integers(-6, 6, (12, 7)), axis=1),
        output_dtype="uint3",
    )
    program = compile_network(Network(name="short", layers=[layer], input_shape=(8,)), CONFIG, batch=3)
    found = find(program, rng.choice([-1, 1], (3, 8)))
    assert (found.fault.place, found.fault.quantity) == ("drain", "threshold")


def test_wrong_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host packed is another layer than the golden model's."""
    right = ArrangedLayer.offsets.func
    monkeypatch.setattr(ArrangedLayer, "offsets", property(lambda self: right(self) + 8))
    found = find(compile_network(network(), CONFIG, batch=3), inputs(3))
    assert found.fault.place.startswith("layer as packed")
    assert found.fault.actual == found.actual


SHARES = 6  # of the parts, for as many tests side by side


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_every_part(share: int, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part is named, where its fault shows at all; every other one in a run that streams."""
    (program, x), with_stream = resident(), streamed()
    lane = faults.late_lane(ENGINE.simd)
    for number, part in list(enumerate(faults.all))[share::SHARES]:
        break_it, place = faults.all[part]
        chosen = with_stream[0] if "loader" in part else program
        stream = number % 2 == 1
        with monkeypatch.context() as patch:
            break_it(patch, PE)
            options = {"stream": True, "stalls": STALLS} if stream else {}
            found = find_mismatch(chosen, x if stream else x[:3], **options)
        if part == "no hold" or (not stream and part in ("inputs", "results", "loader wait")):
            continue  # there are beats enough; nothing is filled or sent, or late
        assert found is not None, part
        check(found, chosen, x)
        assert found.fault.place.startswith(place.format(pe=PE, lane=lane)), f"{part}: {found}"


SHAPES = {
    "9 × 4, one lane": (BinaryConfig(pes=9, simd=4, activation_width=2, output_width=2, post_lanes=1), 4096, 8),
    "1 × 2, streamed": (BinaryConfig(pes=1, simd=2, accumulator_width=14), 300, 0),
    "3 × 33, 1 bit": (BinaryConfig(pes=3, simd=33, activation_width=1, output_width=1, accumulator_width=10), 256, 2),
    "6 × 10": (BinaryConfig(pes=6, simd=10, activation_width=4, post_lanes=2), 256, 5),
    "16 × 16, every lane": (BinaryConfig(pes=16, simd=16, output_width=5, post_lanes=16), 256, 12),
    "4 × 128": (BinaryConfig(pes=4, simd=128, post_lanes=4), 256, 3),
}
"""Engine, weight words, and the PE that is broken."""


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are found in engines of every shape, unless a fault does not show there; another sixth of them in each."""
    engine, weight_depth, pe = SHAPES[shape]
    depths = dict.fromkeys(("input_depth", "activation_depth", "output_depth", "parameter_depth"), 4096)
    config = AcceleratorConfig(engine=engine, weight_depth=weight_depth, watchdog_cycles=1 << 14, **depths)
    program = compile_network(network(engine), config, batch=3)
    x = inputs(4, engine)
    assert find_mismatch(program, x, stream=True, stalls=STALLS) is None
    layer = list(SHAPES).index(shape) % len(program.layers)
    last = int(np.prod(program.layers[layer].arranged.conv.output_shape)) - 1
    find_nothing(program, x, layer, last * 2 // 3, monkeypatch)
    named = []
    for part in list(faults.all)[list(SHAPES).index(shape) :: len(SHAPES)]:
        break_it, place = faults.all[part]
        with monkeypatch.context() as patch:
            break_it(patch, pe)
            found = find_mismatch(program, x, stream=True, stalls=STALLS)
        if found:
            check(found, program, x)
            assert found.fault.place.startswith(place.format(pe=pe, lane=faults.late_lane(engine.simd))), (
                f"{part}: {found}"
            )
            named.append(part)
    assert named
