"""Estimates: exact where they can be, and with an error that is told, on designs that they are not fitted on."""

from dataclasses import replace
from typing import Any

import pytest
from amaranth.back import rtlil

from celosia.boards.counts import count_brams, count_dsps
from celosia.boards.devices import DEVICES
from celosia.boards.estimate import FITTED, estimate, estimate_errors, read_table
from celosia.boards.platform import OutOfContextPlatform
from celosia.boards.table import find_board
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.top import Accelerator

ECP5 = DEVICES["ecp5-85f"]
INFERRED = 2  # block RAMs that synthesis makes: what the device says of itself, and packets that arrive

CONFIGS = {
    "systolic": AcceleratorConfig(
        engine=SystolicConfig(rows=4, cols=6, accumulator_rows=4096, lookup_tables=3, post_lanes=2),
        weight_depth=5000,
        input_depth=128,
        output_depth=16384,
    ),
    "narrow": AcceleratorConfig(
        engine=SystolicConfig(rows=3, cols=2, weight_width=4, activation_width=12, accumulator_width=44)
    ),
    "sparse": AcceleratorConfig(
        engine=SparseConfig(pes=8, group=2, accumulator_rows=1024, decoders=2, weight_width=8, index_width=8),
        weight_depth=700,
    ),
    "binary": AcceleratorConfig(engine=BinaryConfig(pes=6, simd=12), weight_depth=9000),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_instances_are_counted(name: str) -> None:
    """Multipliers and block RAMs that the RTL asks for by name, against the count from the config."""
    config = CONFIGS[name]
    text = rtlil.convert(Accelerator(config), platform=OutOfContextPlatform(ECP5), emit_src=False)
    assert text.count("cell \\MULT18X18D ") == count_dsps(config, ECP5)
    assert text.count("cell \\DP16KD ") == count_brams(config, ECP5) - INFERRED


@pytest.mark.parametrize(
    ("rows", "weights", "inputs", "activations", "outputs", "brams"),
    [(1, 42776, 4096, 65536, 16, 94), (2, 42848, 2048, 32768, 8, 98)],
)
def test_memories_of_several_rows_of_blocks(
    rows: int, weights: int, inputs: int, activations: int, outputs: int, brams: int
) -> None:
    """ResNet-8's memories beside tiny arrays, as yosys 0.70 maps them: deeper than any one block RAM."""
    config = AcceleratorConfig(
        engine=SystolicConfig(rows=rows, cols=2, accumulator_rows=128, lookup_tables=6),
        program_depth=810,
        weight_depth=weights,
        parameter_depth=522,
        input_depth=inputs,
        activation_depth=activations,
        output_depth=outputs,
    )
    assert count_brams(config, ECP5) == brams


def test_no_multipliers_without_any() -> None:
    assert count_dsps(CONFIGS["systolic"], replace(ECP5, dsps=0)) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_every_design_has_as_many_multipliers_and_block_rams_as_foretold(engine: str) -> None:
    designs = [design for design in read_table() if design.config.engine_name == engine]
    assert len(designs) >= 10
    for design in designs:
        assert count_dsps(design.config, ECP5) == design.figures["dsps"], design.config
        assert count_brams(design.config, ECP5) == design.figures["brams"], design.config


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_on_designs_that_were_held_out(engine: str) -> None:
    errors = estimate_errors([engine])
    assert errors["luts"]["median"] <= 0.05
    assert errors["luts"]["p95"] <= 0.15
    assert errors["fmax_mhz"]["median"] <= 0.15
    assert errors["dsps"]["p95"] == errors["brams"]["p95"] == 0
    assert all(errors[name]["designs"] >= 4 for name in FITTED)


def test_more_is_larger() -> None:
    board = find_board("ulx3s-85f")
    sizes = [
        estimate(AcceleratorConfig(engine=SystolicConfig(rows=side, cols=side)), board).figures for side in (2, 4, 8)
    ]
    for name in ("luts", "ffs", "dsps", "brams"):
        assert sizes[0][name] < sizes[1][name] < sizes[2][name]
    assert all(50 < each["fmax_mhz"] < 150 for each in sizes)


@pytest.mark.parametrize("engine", ENGINES)
def test_narrow_counters_are_smaller(engine: str) -> None:
    board, config = find_board("ulx3s-85f"), CONFIGS[engine]
    wide, narrow = (estimate(each, board) for each in (config, replace(config, counter_width=24)))
    assert narrow.luts < wide.luts
    assert narrow.ffs < wide.ffs


def test_binary_engines_for_small_images_are_smaller() -> None:
    board, wide = find_board("ulx3s-85f"), CONFIGS["binary"]
    engine: Any = wide.engine
    for changes in ({"side_width": 2}, {"loop_width": 8}):
        small = estimate(replace(wide, engine=replace(engine, **changes)), board)
        assert small.luts < estimate(wide, board).luts


def test_other_families_are_not_guessed_at() -> None:
    config: Any = CONFIGS["binary"]
    with pytest.raises(ValueError, match=r"no estimates for icebreaker.*ice40"):
        estimate(config, find_board("icebreaker"))
