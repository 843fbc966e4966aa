"""Random steps of the systolic engine, also such as no packer makes: memories and cycles are as they should be."""

from typing import Any

import numpy as np
import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import pack_lanes, unpack_lanes
from celosia.hw.protocol import RunParameters
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.core import CoreSimulator, Stalls
from celosia.sim.cycles.model import predict

DEPTHS = {"input_depth": 256, "activation_depth": 256, "output_depth": 128, "weight_depth": 320, "parameter_depth": 64}
CONFIGS = {
    "4x4": SystolicConfig(rows=4, cols=4, accumulator_rows=32, lookup_tables=3),
    "4x8, unsigned": SystolicConfig(
        rows=4, cols=8, accumulator_rows=64, lookup_tables=2, activation_signed=False, post_lanes=2
    ),
    "8x4, one lane": SystolicConfig(rows=8, cols=4, accumulator_rows=16, post_lanes=1),
    "5x6, four taps, 4-bit": SystolicConfig(
        rows=5, cols=6, accumulator_rows=32, taps=4, lookup_tables=5, activation_width=4, weight_width=4
    ),
    "1x1": SystolicConfig(rows=1, cols=1, accumulator_rows=16, max_k=64, taps=1, lookup_tables=1),
}
CASES, SLOW_CASES = 40, 300


def random_step(rng: np.random.Generator, config: AcceleratorConfig) -> dict[str, int]:
    """Draw a step whose numbers are legal, whatever they mean."""
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    rows, lanes = engine.rows, engine.resolved_post_lanes
    modes = [Mode.MATRIX, *[Mode.CHANNELS] * (engine.resolved_taps > 0), *[Mode.LOOKUP] * (engine.lookup_tables > 0)]
    mode = modes[rng.integers(len(modes))]
    word = mode != Mode.MATRIX  # an N tile is a word
    pack = int(rng.integers(0, (rows - 1).bit_length() + 1)) if mode == Mode.MATRIX and rng.random() < 0.4 else 0
    lead = 0
    if mode == Mode.CHANNELS:
        lead = int(rng.integers(0, engine.resolved_taps))
    elif pack:
        # As many beats as fill all lanes: what is in them from before depends on when the tile begins.
        lead = -(-rows // (1 << (pack - 1))) - 1
    decimation = int(rng.integers(0, 3)) if lead and rng.random() < 0.4 else 0
    pool_rows, pool_cols = (1, 1) if lead or rng.random() < 0.6 else rng.integers(1, 3, 2).tolist()
    outs = int(rng.integers(1, 8))
    line = lead + (outs - 1) * (decimation + 1) + 1
    unit = outs if lead else pool_rows * pool_cols  # sums that a block must not cut
    most = max(engine.accumulator_rows // unit, 1)
    block = unit * int(rng.integers(1, min(most, max(12 // unit, 1)) + 1))
    chunks, kernel_cols = (int(n) for n in rng.integers(1, 3, 2))
    k_tiles = int(rng.integers(1, 7))
    full = bool(rng.integers(0, 2)) or pack > 0
    if mode == Mode.CHANNELS:
        k_rows = k_edge = engine.resolved_taps
    else:
        k_rows, k_edge = rows, rows if full else int(rng.integers(1, rows + 1))
    n_groups = (rows if word else engine.cols) // lanes
    n_tiles = int(rng.integers(1, 4))
    tensor = max(field.range[1] for field in config.layer_fields if field.name == "source") + 1
    low, high = engine.activation_range
    bounds = sorted(rng.integers(low, high + 1, 2).tolist()) if rng.random() < 0.3 else [low, high]

    def step() -> int:
        return int(rng.integers(-5, 6)) % tensor

    return {
        "source_is_activations": int(rng.integers(0, 2)),
        "source": int(rng.integers(tensor)),
        "destination_is_outputs": int(rng.integers(0, 2)),
        "destination": int(rng.integers(tensor)),
        "destination_pitch": int(rng.integers(-(-n_tiles * n_groups * lanes // rows), 9)),
        "mode": int(mode),
        "blocks": int(rng.integers(1, 4)),
        "block_rows": block,
        "last_block_rows": unit * int(rng.integers(1, block // unit + 1)),
        "k_tiles": k_tiles,
        "k_rows": k_rows,
        "k_edge": k_edge,
        "n_tiles": n_tiles,
        "n_groups": n_groups,
        "n_edge": int(rng.integers(1, n_groups + 1)),
        "n_step": step(),
        "pool_cols": pool_cols,
        "pool_col_step": step(),
        "pool_rows": pool_rows,
        "pool_row_step": step(),
        "line": line,
        "col_step": step(),
        "line_step": step(),
        "chunks": chunks,
        "kernel_cols": kernel_cols,
        "kernel_col_step": step(),
        "kernel_row_step": step(),
        "in_rows": int(rng.integers(1, 12)),
        "in_cols": int(rng.integers(1, 12)),
        "pad_top": int(rng.integers(0, 4)),
        "pad_left": int(rng.integers(0, 4)),
        "pad_value": int(rng.integers(low, high + 1)),
        **{
            name: int(rng.integers(0, 4))
            for name in (
                "pool_stride_rows",
                "pool_stride_cols",
                "stride_rows",
                "stride_cols",
                "dilation_rows",
                "dilation_cols",
            )
        },
        "lead": lead,
        "decimation": decimation,
        "pack": pack,
        "table": int(rng.integers(0, max(engine.lookup_tables, 1))) if mode == Mode.LOOKUP else 0,
        "pool": pool_rows * pool_cols,
        "weights_stream": 0,
        "weights": int(rng.integers(0, 320 - k_tiles * n_tiles * rows + 1)),
        "parameters": int(rng.integers(0, 64 - n_tiles * n_groups + 1)),
        "rounding": int(rng.integers(0, 4)),
        "zero_point": int(rng.integers(low, high + 1)),
        "minimum": bounds[0],
        "maximum": bounds[1],
    }


def fill(rng: np.random.Generator, machine: Any, steps: list[dict[str, int]]) -> dict[str, np.ndarray]:
    """Draw what is in memory, and return it as words."""
    config, engine, memories = machine.config, machine.engine, machine.memories
    words = {"program": np.array([w for step in steps for w in config.layer_fields.pack(step)], np.uint32)[:, None]}
    for name in ("inputs", "activations"):
        memories[name][:] = rng.integers(*engine.activation_range, memories[name].shape, endpoint=True)
        words[name] = pack_lanes(memories[name], engine.activation_width)
    shape = config.memory("weights").depth, engine.cols
    weights = memories["weights"] = rng.integers(*engine.weight_range, shape, endpoint=True)
    for step in steps:  # taps that are not used, and rows that are not loaded where all lanes have something
        if step["mode"] == Mode.CHANNELS:
            count = step["k_tiles"] * step["n_tiles"]
            tiles = weights[step["weights"] :][: count * step["k_rows"]].reshape(count, step["k_rows"], -1)
            tiles[:, : step["k_rows"] - 1 - step["lead"]] = 0
    words["weights"] = pack_lanes(weights, engine.weight_width)
    width = engine.resolved_accumulator_width
    count = config.memory("parameters").depth * engine.resolved_post_lanes
    # Of the size of a sum, as is what tables hold: each product has to show in the results.
    largest = 1 << (engine.activation_width + engine.weight_width)
    bias = rng.integers(-largest, largest, count)
    multiplier, shift = rng.integers(0, 2**31, count), rng.integers(-3, 4, count) - engine.weight_width
    words["parameters"] = engine.parameter_layout.encode(bias=bias, multiplier=multiplier, shift=shift)
    lanes = (-1, engine.resolved_post_lanes)
    memories["parameters"] = [v.reshape(lanes) for v in (bias, multiplier, shift, np.ones(count, dtype=bool))]
    if engine.lookup_tables:
        depth = config.memory("tables").depth
        entries = rng.integers(-largest, largest, depth)
        memories["tables"] = np.repeat(entries[:, None], engine.rows, axis=1)
        words["tables"] = pack_lanes(memories["tables"], width)
    return words


def check(core: CoreSimulator, machine: Any, seed: int) -> None:
    """Run some steps on both; `machine` has seen all that ran before, as rows of weights stay."""
    config = core.config
    rng = np.random.default_rng(seed)
    steps = [random_step(rng, config) for _ in range(int(rng.integers(1, 4)))]
    for step in steps:
        # What is read must not be written by the same step.
        step["destination_is_outputs"] |= step["source_is_activations"]
        step["table"] = min(step["table"], max(machine.engine.lookup_tables - step["k_tiles"], 0))
        if step["mode"] == Mode.LOOKUP:
            step["k_tiles"] = min(step["k_tiles"], machine.engine.lookup_tables)
    for name, words in fill(rng, machine, steps).items():
        core.write(name, words)
    before = machine.memories["outputs"]
    core.write("outputs", pack_lanes(before, machine.engine.activation_width))
    run = RunParameters(layers=len(steps), ring_base=config.weight_depth, config_hash=config.hash)
    result = core.run(run, stalls=Stalls(), limit=200_000)
    for step in steps:
        machine.run(step)
    for name in ("activations", "outputs"):
        words = core.read(name, config.memory(name).depth)
        engine = machine.engine
        lanes = unpack_lanes(words, engine.rows, engine.activation_width, signed=engine.activation_signed)
        np.testing.assert_array_equal(lanes, machine.memories[name], err_msg=f"seed {seed}, {name}, {steps}")
    cycles = predict(config, steps, run)
    assert result.causes == cycles.causes, f"seed {seed}, {steps}"


def started(interpreter: Any, name: str) -> tuple[CoreSimulator, Any]:
    config = AcceleratorConfig(engine=CONFIGS[name], watchdog_cycles=1 << 14, **DEPTHS)
    return CoreSimulator(config), interpreter(config)


@pytest.mark.parametrize("name", CONFIGS)
def test_steps(interpreter: Any, name: str) -> None:
    core, machine = started(interpreter, name)
    for seed in range(CASES):
        check(core, machine, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_many_steps(interpreter: Any, name: str) -> None:
    core, machine = started(interpreter, name)
    for seed in range(1000, 1000 + SLOW_CASES):
        check(core, machine, seed)
