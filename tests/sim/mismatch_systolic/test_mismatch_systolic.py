"""Faults in whole networks on the systolic engine are named: broken parts, and words that changed in memory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.program import Program
from celosia.hw.systolic.layer import Mode
from celosia.sim.core import Stalls
from celosia.sim.golden.network import tensors
from celosia.sim.mismatch import Mismatch, find_mismatch
from celosia.sim.mismatch import systolic as search
from celosia.sim.mismatch.layer import LayerRun
from celosia.sim.mismatch.replay import Replay
from celosia.sim.mismatch.systolic_drain import DrainSearch
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.mismatch.systolic_step import machine_of, steps_of
from celosia.sim.mismatch.systolic_sums import SumSearch
from celosia.sim.mismatch.systolic_vectors import vector_fault
from celosia.sim.mismatch.systolic_weights import weight_fault
from celosia.sim.vcd import read_waves

pytestmark = pytest.mark.usefixtures("unoptimized")

SEED = 3
STALLS = Stalls(inputs=0.3, weights=0.5, results=0.2, seed=SEED)
LAYERS = {"packed": 0, "taps": 1, "kernel": 2, "add": 3, "pool": 4, "dense": 5}

Choose = Callable[..., None]


def find(broken: SimpleNamespace, *, stream: bool = False, waves: Path | None = None, **more: Any) -> Mismatch | None:
    program, x = more.get("program", broken.program), more.get("x", broken.x)
    if stream:
        return find_mismatch(program, x, stream=True, stalls=STALLS, waves=waves)
    return find_mismatch(program, x[: program.vectors], waves=waves)


def check(found: Mismatch | None, program: Program, x: np.ndarray) -> Mismatch:
    """Check what is said of the output."""
    assert found is not None
    assert found.layer_name == program.layers[found.layer].name
    assert found.iteration == found.vector // program.vectors
    golden = tensors(program.network, x)[found.layer + 1][found.vector]
    assert golden.flat[found.channel] == found.expected != found.actual
    position = found.fault.position
    if "out row" in position:
        place = tuple(position[f"out {axis}"] for axis in ("row", "col", "channel"))
        assert golden[place] == found.expected
        assert np.ravel_multi_index(place, golden.shape) == found.channel
    assert found.fault.expected != found.fault.actual
    return found


def differing(found: Mismatch) -> set[str]:
    """Return the operands that are not as expected."""
    return {name for name, (wanted, seen) in found.fault.operands.items() if wanted != seen}


ACTIVATION = {"activation", "partial sum"}
NAMED: dict[str, tuple[str, str, dict[str, int], set[str]]] = {
    "product": ("packed", "partial sum of PE (2, 1)", {"row": 2, "column": 1, "K tile": 0}, set()),
    "tap": ("taps", "partial sum of PE (2, 1)", {"row": 2, "column": 1, "out channel": 1}, {"activation"}),
    "packing": ("packed", "activation", {"block": 0, "N tile": 0}, ACTIVATION),
    "no padding": ("packed", "activation", {"out row": 0}, ACTIVATION),
    "pad": ("packed", "padding", {"out row": 0}, ACTIVATION),
    "line step": (
        "packed",
        "address of a beat",
        {"out row": 1, "out col": 0, "block": 1},
        ACTIVATION,
    ),
    "stride": ("packed", "row of a beat", {"out row": 3, "block": 3}, ACTIVATION),
    "decimation": ("taps", "sum of a beat,", {"out row": 0, "out col": 1}, ACTIVATION),
    "kernel row step": ("packed", "address of a beat", {"K tile": 1}, ACTIVATION),
    "kernel column step": ("kernel", "address of a beat", {"N tile": 0}, ACTIVATION),
    "N step": ("taps", "address of a beat", {"N tile": 1, "out channel": 4}, ACTIVATION),
    "not started": ("packed", "sum", {"K tile": 0, "block": 1}, {"sum before"}),
    "hazard": ("dense", "sum", {"K tile": 11}, {"sum before"}),
    "loader": ("packed", "address of the weights", {"row": 0}, {"weight", "partial sum"}),
    "smallest": ("pool", "maximum", {"lane": 1, "pool": 1}, set()),
    "requantizer": ("packed", "activation", {"lane": 1}, set()),
    "write address": ("packed", "activation, over which another is written,", {"out row": 0}, set()),
    "write group": ("packed", "write of the output's group,", {"column": 2}, set()),
    "parameter address": ("packed", "address of the parameters", {"column": 2}, set()),
    "pool start": ("packed", "first result of a pool", {}, set()),
    "activations": ("packed", "activation, though rightly written,", {}, set()),
}
"""What is told: layer, quantity, some of the places, operands that differ."""


@pytest.mark.parametrize("fault", NAMED)
def test_part(fault: str, broken: SimpleNamespace, choose: Choose) -> None:
    layer, quantity, position, operands = NAMED[fault]
    choose(fault)
    found = check(find(broken), broken.program, broken.x)
    assert found.layer == LAYERS[layer]
    assert found.fault.place.startswith(broken.faults.places[fault])
    assert found.fault.quantity == quantity
    assert {name: found.fault.position[name] for name in position} == position
    assert differing(found) == operands


def test_healthy(broken: SimpleNamespace, choose: Choose) -> None:
    choose()
    assert find(broken) is None
    assert find(broken, stream=True) is None


def test_waveform(broken: SimpleNamespace, choose: Choose, tmp_path: Path) -> None:
    """The report is the same each time, and the waveform shows what it says."""
    choose("product")
    found = check(find(broken, stream=True, waves=tmp_path / "window.vcd"), broken.program, broken.x)
    assert found.waves is not None
    waves = read_waves(found.waves, ["engine.array.pe_2_1.o_psum"], start=found.window[0], top="core")
    assert (waves.start, waves.stop) == found.window
    assert waves.at("engine.array.pe_2_1.o_psum", found.fault.cycle, signed=True) == found.fault.actual
    for part in ("PE (2, 1)", "out row", "out channel", "K tile", f"cycle {found.fault.cycle}", "weight"):
        assert part in str(found)
    assert find(broken, stream=True) == replace(found, waves=None, window=(0, 0))


def test_later_iteration(broken: SimpleNamespace, choose: Choose) -> None:
    """A bit of streamed inputs is lost, which only those of the second iteration have, in the other half."""
    choose("inputs")
    x = broken.x.copy()
    x[0] &= ~2
    found = check(find(broken, stream=True, x=x), broken.program, x)
    assert (found.iteration, found.layer) == (1, 0)
    word = int(found.fault.place.split()[3].rstrip(","))
    assert found.fault.place.startswith("inputs memory")
    assert word >= broken.config.input_depth // 2
    assert found.fault.expected ^ found.fault.actual in (2, -2)


# -- memory --


def changed(program: Program, memory: str, address: int, bit: int) -> dict[tuple[str, int], np.ndarray]:
    """Return a word of a program's image with one bit inverted."""
    word = program.image[memory][address].copy()
    word[bit // 32] ^= np.uint32(1 << bit % 32)
    return {(memory, address): word}


def step(program: Program, layer: str) -> Any:
    return program.layers[LAYERS[layer]].steps[0].fields


@pytest.mark.parametrize("layer", ["packed", "taps", "kernel", "dense"])
def test_weight_changed(layer: str, broken: SimpleNamespace, choose: Choose) -> None:
    program, fields = broken.program, step(broken.program, layer)
    address = fields["weights"] + fields["lead"] * (layer == "taps")
    choose(words=changed(program, "weights", address, 2 * 8 + 5))
    found = check(find(broken), program, broken.x)
    assert found.layer == LAYERS[layer]
    assert found.fault.place == f"weights memory, word {address}, lane 2"
    assert found.fault.quantity == "weight"
    assert found.fault.expected ^ found.fault.actual in (32, -32)
    assert (found.fault.position["column"], found.fault.position["K tile"]) == (2, 0)


@pytest.mark.parametrize("layer", LAYERS)
def test_parameter_changed(layer: str, broken: SimpleNamespace, choose: Choose) -> None:
    program, fields = broken.program, step(broken.program, layer)
    layout = broken.config.engine.parameter_layout
    choose(
        words=changed(program, "parameters", fields["parameters"], layout.channel_width + layout.accumulator_width + 29)
    )
    found = check(find(broken), program, broken.x)
    assert found.layer == LAYERS[layer]
    assert found.fault.place == f"parameters memory, word {fields['parameters']}, lane 1"
    assert found.fault.quantity == "multiplier"
    assert abs(found.fault.expected - found.fault.actual) == 1 << 29


def test_table_changed(broken: SimpleNamespace, choose: Choose) -> None:
    """A bit of one lane of a whole table is wrong; entries of both operands are added, and this is the second one."""
    program, fields = broken.program, step(broken.program, "add")
    words: dict[tuple[str, int], np.ndarray] = {}
    for code in range(256):
        width = broken.config.engine.resolved_accumulator_width
        words |= changed(program, "tables", (fields["table"] + 1) * 256 + code, 3 * width + 22)
    choose(words=words)
    found = check(find(broken), program, broken.x)
    assert found.layer == LAYERS["add"]
    position, code = found.fault.position, found.fault.operands["activation"][0] % 256
    assert (position["lane"], position["table"], position["K tile"]) == (3, fields["table"] + 1, 1)
    assert found.fault.place == f"tables memory, word {position['table'] * 256 + code}, lane 3"
    assert abs(found.fault.expected - found.fault.actual) == 1 << 22


def test_streamed_weights(broken: SimpleNamespace, choose: Choose, networks: ModuleType) -> None:
    made = networks.Builder(np.random.default_rng(SEED), (48,))
    made.dense(made.dense(0, 40), 180)
    program, x = compile_network(made.network(), broken.config), made.inputs(3)
    assert program.weight_stream is not None
    choose("ring")
    found = check(find(broken, stream=True, program=program, x=x), program, x)
    assert found.fault.place.startswith("ring of streamed weights")
    assert found.fault.expected ^ found.fault.actual in (2, -2)
    assert differing(found) == {"weight", "partial sum"}
    choose()
    check_right(broken, program, x, np.random.default_rng(SEED))


def test_program_wrong(broken: SimpleNamespace, choose: Choose) -> None:
    """What was compiled is another network than the golden model's."""
    choose()
    layers = list(broken.network.layers)
    layers[2] = replace(layers[2], bias=layers[2].bias + 700)
    found = find(broken, program=replace(broken.program, network=replace(broken.network, layers=layers)))
    assert found is not None
    assert found.layer == 2
    assert found.fault.place.startswith("layer as compiled")
    assert (found.fault.expected, found.fault.actual) == (found.expected, found.actual)


# -- all that is seen of a right output is right --


def look_at(output: Output, rng: np.random.Generator) -> None:
    """Look for what is wrong with an output that is right: every part of the hardware has to be found right."""
    sums = SumSearch(output)
    assert sums.find() is None
    fault = DrainSearch(output, sums.last).find()
    assert fault.quantity == "activation, though rightly written,", str(fault)
    assert fault.expected == fault.actual
    k_tile, index = int(rng.integers(output.fields["k_tiles"])), int(rng.integers(len(output.sums)))
    beat, cycle = output.beats[index], sums.cycles[k_tile * len(output.sums) + index]
    source = output.source(0, beat) or (beat, output.column)
    assert vector_fault(output, k_tile, cycle, beat, source) is None
    if output.mode is not Mode.LOOKUP:
        row = int(rng.integers(output.tile.k_tiles[k_tile].loaded))
        assert weight_fault(output, k_tile, row) is None


def check_right(broken: SimpleNamespace, program: Program, x: np.ndarray, rng: np.random.Generator) -> None:
    """Look at an output of each step, in the last iteration."""
    iterations, nothing = -(-len(x) // program.vectors), np.zeros((0, 0), dtype=np.int64)
    replay = Replay(
        program,
        program.pack_inputs(x),
        iterations,
        stream=iterations > 1,
        stalls=STALLS if iterations > 1 else Stalls(),
        model=broken.model,
        limit=1_000_000,
        cause=search.BEAT_CAUSE,
    )
    replay.results()
    for index, plan in enumerate(program.layers):
        if not plan.steps:
            continue
        run = LayerRun(
            replay=replay,
            index=index,
            iteration=iterations - 1,
            golden=nothing,
            x=nothing,
            **dict.fromkeys(("input_offset", "output_offset", "first_beat", "source", "destination"), 0),
        )
        before, steps = steps_of(run)
        machine = machine_of(run)
        for step in before:
            machine.run(step.fields)
        for step in steps:
            tiles = list(machine.tiles(step.fields))
            tile = tiles[rng.integers(len(tiles))]
            row, column = (int(rng.integers(size)) for size in tile.outputs.shape)
            look_at(Output(step=step, machine=machine, tile=tile, row=row, column=column, element={}), rng)


def test_right_outputs(broken: SimpleNamespace, choose: Choose) -> None:
    choose()
    for seed, count in ((1, 1), (2, 2), (3, 3)):
        check_right(broken, broken.program, broken.x[:count], np.random.default_rng(seed))


# -- random networks --

KINDS = ("network", "conv", "depthwise", "grouped", "max_pool", "average_pool", "add", "concat")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["network", "conv", "depthwise", "grouped", "max_pool", "average_pool", "add", "concat"]
)
def test_random_networks(kind: str, broken: SimpleNamespace, choose: Choose, networks: ModuleType) -> None:
    """Every fault that shows is named, in layers of every kind; every other network streams."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        made = networks.random_network(rng, 4, adds=True) if kind == "network" else None
        made = made or networks.random_layer(rng, kind, 4, 4)
        try:
            program, x = compile_network(made.network(), broken.config), made.inputs(2)
        except CompileError:  # a pool of more inputs than there are accumulators
            continue
        stream = program.can_stream and seed % 2 == 0
        for fault in ("", *broken.faults.numbers):
            choose(fault)
            found = find(broken, program=program, x=x, stream=stream)
            if not fault:
                assert found is None
            elif found is not None:
                check(found, program, x)
                assert found.fault.place.startswith(broken.faults.places[fault]), f"{fault}, seed {seed}: {found}"
        choose()
        check_right(broken, program, x if stream else x[: program.vectors], rng)
