"""The first mismatch of the sparse engine is named: hardware is broken in one place, which the report must name."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import EIE, SparseOptions
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.sim.core import Stalls
from celosia.sim.golden.sparse import run_layer
from celosia.sim.mismatch import Mismatch, find_mismatch
from celosia.sim.vcd import read_waves

pytestmark = pytest.mark.usefixtures("unoptimized")

ENGINE = SparseConfig(
    pes=2,
    group=2,
    queue_depth=2,
    index_width=4,
    codebook_width=3,
    weight_width=6,
    activation_width=8,
    accumulator_width=24,
    accumulator_rows=16,
    pointer_depth=64,
    codebook_depth=32,
)
DEPTHS = {"parameter_depth": 64, "input_depth": 128, "activation_depth": 128, "output_depth": 128}
CONFIG = AcceleratorConfig(engine=ENGINE, weight_depth=192, watchdog_cycles=4096, **DEPTHS)
SEED = 7
STALLS = Stalls(inputs=0.3, weights=0.5, results=0.2, seed=SEED)
SIZES = (14, 11, 9)


def network(engine: SparseConfig = ENGINE, sizes: tuple[int, ...] = SIZES) -> Network:
    """Layers none of whose outputs is clamped often."""
    rng = np.random.default_rng(SEED)
    low, high = engine.weight_range
    minimum, maximum = engine.activation_range
    dtype = f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"
    layers = []
    for index, (K, N) in enumerate(itertools.pairwise(sizes)):
        mask = rng.random((K, N)) < 0.5
        codebook = None
        if engine.codebook_width is None:
            codes = np.where(mask, rng.integers(low, high + 1, (K, N)), 0).astype(np.int16)
        else:
            codebook = np.append(0, rng.integers(low // 2, high + 1, (1 << engine.codebook_width) - 1))
            codes = np.where(mask, rng.integers(1, len(codebook), (K, N)), 0).astype(np.uint8)
        layers.append(
            CompressedDense(
                name=f"layer {index}",
                codes=codes,
                codebook=codebook,
                bias=rng.integers(-500, 500, N),
                shift=engine.weight_width + 1,
                minimum=minimum,
                maximum=maximum,
                input_dtype=dtype,
                output_dtype=dtype,
            )
        )
    return Network(name="random", layers=layers, input_shape=(sizes[0],))


def inputs(count: int, engine: SparseConfig = ENGINE, channels: int = SIZES[0]) -> np.ndarray:
    rng = np.random.default_rng(SEED + 1)
    low, high = engine.activation_range
    shape = count, channels
    return np.where(rng.random(shape) < 0.8, rng.integers(low, high + 1, shape), 0)


def resident() -> tuple[Program, np.ndarray]:
    """A program of two iterations of several vectors, its weights resident; and its inputs."""
    program = compile_network(network(), CONFIG, batch=3)
    assert program.vectors == 3
    assert program.weight_stream is None
    return program, inputs(5)


def streamed() -> tuple[Program, np.ndarray]:
    """A program whose layers are cut into several steps each, with streamed weights; and its inputs."""
    program = compile_network(network(), replace(CONFIG, weight_depth=40), batch=3)
    assert program.weight_stream is not None
    assert all(len(plan.steps) > 1 for plan in program.layers)
    return program, inputs(3)


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
        x = run_layer(before.arranged, x, program.config.engine)
    assert found.expected == run_layer(plan.arranged, x, program.config.engine)[found.vector, found.channel]
    assert found.expected != found.actual
    check_position(found, program)
    if "column" in found.fault.position and found.fault.quantity in ("sum", "sum of an entry that never arrives,"):
        check_sum(found, program, x)


def check_position(found: Mismatch, program: Program) -> None:
    position, plan, pes = found.fault.position, program.layers[found.layer], program.config.engine.pe_count
    if not position:
        return
    tile, step = plan.arranged.tiles[position["tile"]], plan.steps[position["step"]]
    number = list(tile.outputs).index(found.channel)
    if "column" in position:
        assert position["PE"] // tile.schedule.group == tile.schedule.row_group[number]
        assert plan.arranged.input_positions[position["input"]] == position["column"]
        begin = (step.fields["source"] - plan.steps[0].fields["source"]) * pes
        assert begin <= position["column"] < begin + step.fields["source_words"] * pes
    else:
        word, lane = divmod(int(plan.arranged.output_positions[found.channel]), pes)
        assert (position["word"], position["lane"]) == (word - tile.first_word, lane)
        assert position["row"] == tile.schedule.row_slot[number]
        assert step.fields["rows"] > position["word"]


def check_sum(found: Mismatch, program: Program, x: np.ndarray) -> None:
    """Check the sums and operands against the tile's entries, which no step has cut."""
    fault, arranged = found.fault, program.layers[found.layer].arranged
    pe, row, last = (fault.position[name] for name in ("PE", "row", "column"))
    entries, layer = arranged.tiles[fault.position["tile"]].entries, arranged.layer
    activations = np.zeros(len(entries.pointers) - 1, dtype=np.int64)
    activations[arranged.input_positions] = x[found.vector]
    engine = program.config.engine
    assert isinstance(engine, SparseConfig)
    limit = 1 << (engine.accumulator_width - 1)
    acc = before = 0
    for column in range(last + 1):
        before = acc
        for place in range(entries.pointers[column, pe], entries.pointers[column + 1, pe]):
            if entries.rows[place, pe] == row:
                code = int(entries.codes[place, pe])
                acc += int(activations[column]) * (code if layer.codebook is None else int(layer.codebook[code]))
                acc = min(max(acc, -limit), limit - 1)
    assert fault.expected == acc
    assert fault.operands["sum before"][0] == before
    activation, weight = (fault.operands[name][0] for name in ("activation", "weight"))
    assert activation == activations[last]
    assert weight == layer.weights[fault.position["input"], found.channel]
    assert acc == min(max(before + activation * weight, -limit), limit - 1)
    if "code" in fault.operands:
        assert layer.codebook[fault.operands["code"][0]] == weight


def differing(found: Mismatch) -> set[str]:
    """Return the operands that are not as expected."""
    return {name for name, (wanted, seen) in found.fault.operands.items() if wanted != seen}


def test_healthy() -> None:
    for program, x in (resident(), streamed()):
        assert find_mismatch(program, x, stream=True, stalls=STALLS) is None


def test_sign(tmp_path: Path, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PE's products are wrong; the report is the same each time, and the waveform shows what it says."""
    faults.all["sign"][0](monkeypatch, 1)
    program, x = streamed()
    found = find(program, x, waves=tmp_path / "window.vcd")
    fault = found.fault
    assert (fault.place, fault.quantity, fault.position["PE"]) == ("multiplier of PE 1", "sum", 1)
    assert differing(found) == {"product"}
    assert fault.operands["product"][0] == -fault.operands["product"][1]
    assert found.waves is not None
    total = "engine.pe_1.accumulators.total"
    waves = read_waves(found.waves, [total], start=found.window[0], top="core")
    assert (waves.start, waves.stop) == found.window
    assert fault.actual == waves.at(total, fault.cycle + 1, signed=True)
    text = str(found)
    for part in ("step", "PE 1", "row", "column", f"cycle {fault.cycle}", "activation", "code", "weight", "sum before"):
        assert part in text
    faults.all["sign"][0](monkeypatch, 1)
    assert find(program, x) == replace(found, waves=None, window=(0, 0))


def test_dropped_forward(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["forward"][0](monkeypatch, 1)
    found = find(*resident())
    assert found.fault.place == f"forwarding of PE {found.fault.position['PE']}"
    assert differing(found) == {"sum before"}


def test_lost_push(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["push"][0](monkeypatch, 1)
    found = find(*streamed())
    assert (found.fault.place, found.fault.actual) == ("queue of PE 1", None)
    assert "never arrives" in str(found)


@pytest.mark.slow
def test_wrong_bank(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["bank"][0](monkeypatch, 1)
    found = find(*resident())
    assert found.fault.place == "accumulator bank 1 of PE 1"
    assert found.fault.position["row"] % 2 == 1


@pytest.mark.slow
def test_skipped_lane(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["lane"][0](monkeypatch, 1)
    found = find(*resident())
    assert (found.fault.place, found.fault.actual) == ("scanner", None)
    assert found.fault.position["column"] % 2 == 1


def test_skipped_lane_of_a_later_vector(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was scanned while the vectors before it were at work."""
    faults.all["later lane"][0](monkeypatch, 1)
    program = compile_network(network(), CONFIG, batch=6)
    x = inputs(6)
    x[np.arange(6), :-2] *= np.arange(12) == np.arange(6)[:, None]  # an activation or two of each vector
    found = find(program, x)
    assert (found.fault.place, found.fault.actual, found.vector) == ("scanner", None, 3)
    assert found.fault.position["column"] % 2 == 1


@pytest.mark.slow
def test_wrong_codebook_word(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["codebook reader"][0](monkeypatch, 1)
    found = find(*streamed())
    assert found.fault.place == "codebook reader"
    assert found.fault.operands["code"] == (3, 3)
    wanted, seen = found.fault.operands["weight"]
    assert (seen - wanted) % 64 == 3


def test_wrong_shift(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["shift"][0](monkeypatch, 1)
    found = find(*resident())
    assert found.fault.place == "shifter of lane 1"
    assert found.fault.position["lane"] == 1
    assert found.fault.actual == found.fault.expected >> 1
    assert differing(found) == set()


@pytest.mark.slow
def test_wrong_merge(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults.all["merge"][0](monkeypatch, 1)
    found = find(*streamed())
    assert found.fault.place.startswith("merge of PEs 0 to 1")
    sums = [found.fault.operands[f"sum of PE {pe}"][0] for pe in (0, 1)]
    assert (found.fault.expected, found.fault.actual) == (sum(sums), sums[0])


ENGINES = {
    "8 PEs in fours": SparseConfig(
        pes=8,
        queue_depth=8,
        group=4,
        index_width=4,
        activation_width=8,
        weight_width=8,
        accumulator_rows=16,
        decoders=2,
    ),
    "3 PEs, no codebook, unsigned": SparseConfig(
        pes=3, queue_depth=2, index_width=2, codebook_width=None, weight_width=9, activation_signed=False
    ),
    "1 PE": SparseConfig(pes=1, queue_depth=1, index_width=2, codebook_width=4),
    "4 PEs, small": SparseConfig(pes=4, group=2, queue_depth=3, index_width=12, accumulator_rows=2),
    "3 PEs, saturating": SparseConfig(pes=3, index_width=4, accumulator_width=24, accumulator_rows=16),
}
SHAPES = {
    "8 PEs in fours, Huffman-coded": ("8 PEs in fours", 512, SparseOptions(encode=True)),
    "8 PEs in pairs, Huffman-coded stream": ("8 PEs in fours", 28, SparseOptions(encode=True, group=2)),
    "3 PEs, no codebook, unsigned": ("3 PEs, no codebook, unsigned", 512, SparseOptions()),
    "1 PE, streamed": ("1 PE", 200, SparseOptions()),
    "4 PEs, EIE": ("4 PEs, small", 512, replace(EIE, queue_limit=3)),
    "3 PEs, saturating": ("3 PEs, saturating", 512, SparseOptions()),
    "4 PEs, tiles": ("4 PEs, small", 512, SparseOptions()),
}
"""Engine, weight words, and what the packer is told."""


@pytest.mark.slow
def test_out_of_order(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sums saturate, their order counts."""
    faults.reverse_queue(monkeypatch, 1)
    engine = ENGINES["3 PEs, saturating"]
    config = AcceleratorConfig(engine=engine, weight_depth=512, watchdog_cycles=4096, **DEPTHS)
    found = find(compile_network(network(engine), config, batch=2), inputs(2, engine))
    assert found.fault.place == "queue of PE 1"
    assert "out of order" in found.fault.quantity


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are found in engines of every shape, unless a fault does not show there; every sixth one in each."""
    name, weight_depth, options = SHAPES[shape]
    engine, sizes = ENGINES[name], (23, 18, 15)
    config = AcceleratorConfig(engine=engine, weight_depth=weight_depth, watchdog_cycles=4096, **DEPTHS)
    program = compile_network(network(engine, sizes), config, batch=5, options=options)
    x = inputs(5, engine, sizes[0])
    x[0] = 0  # so that faults are found behind the first vector
    assert find_mismatch(program, x, stream=True, stalls=STALLS) is None
    named = []
    for part in list(faults.all)[list(SHAPES).index(shape) % 6 :: 6]:
        break_it, place = faults.all[part]
        with monkeypatch.context() as patch:
            break_it(patch, engine.pes - 1)
            found = find_mismatch(program, x, stream=True, stalls=STALLS)
        if found:
            check(found, program, x)
            assert found.fault.place.startswith(place.format(pe=engine.pes - 1)), f"{part}: {found}"
            named.append(part)
    assert len(named) >= 2, named
