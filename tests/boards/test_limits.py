from dataclasses import replace

import pytest

from celosia.boards.devices import find_device
from celosia.boards.limits import describe_excess, least_usage, nearest, settings, too_much
from celosia.boards.usage import Usage
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig

ECP5 = find_device("ecp5-25f")


@pytest.mark.parametrize(
    ("device", "width", "depth", "blocks"),
    [
        ("ecp5-85f", 36, 512, 1),
        ("ecp5-85f", 64, 512, 2),
        ("ecp5-85f", 64, 2048, 8),
        ("ecp5-85f", 9, 2048, 1),
        ("ecp5-85f", 1, 16384, 1),
        ("ice40-up5k", 16, 256, 1),
        ("ice40-up5k", 17, 256, 2),
        ("ice40-up5k", 8, 2560, 5),
        ("ice40-up5k", 32, 1024, 8),
    ],
)
def test_block_rams_by_hand(device, width, depth, blocks):
    assert find_device(device).least_brams(width, depth) == blocks


def test_least_usage_by_hand():
    config = AcceleratorConfig(
        engine=SystolicConfig(rows=4, cols=4),
        program_depth=64,  # 32 bits, 2,048 bits: may become look-up tables
        weight_depth=1024,  # 32 bits: 2
        parameter_depth=64,  # 96 bits: 3
        input_depth=512,  # 32 bits: 1
        activation_depth=2048,  # 32 bits: 4
        output_depth=2,
    )
    assert config.memory("parameters").width == 96
    usage = least_usage(config, ECP5)  # a multiplier in each PE, four in the requantizer
    assert usage == {"dsps": Usage(used=20, available=28), "brams": Usage(used=10, available=56)}
    assert least_usage(config, find_device("ice40-hx8k"))["dsps"].used == 0


def test_an_array_that_is_too_large_is_halved():
    config = AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16))
    usage = {"dsps": Usage(used=256, available=28)}
    smaller = nearest(config, ECP5, usage)
    assert smaller is not None
    assert 14 <= smaller.engine.pe_count <= 28
    assert settings(config, smaller).startswith("--set rows=4 --set cols=4")


def test_memories_are_halved_until_they_fit():
    config = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4), weight_depth=65536)
    usage = least_usage(config, ECP5)
    assert too_much(usage).keys() == {"brams"}
    assert describe_excess(usage).endswith(" of 56 BRAM")
    smaller = nearest(config, ECP5, usage)
    assert smaller is not None
    assert not too_much(least_usage(smaller, ECP5))
    assert settings(config, smaller) == f"--set weight_depth={smaller.weight_depth}"
    assert too_much(least_usage(replace(smaller, weight_depth=2 * smaller.weight_depth), ECP5))


def test_memories_of_the_engine_itself_stay():
    config = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4), weight_depth=8192)
    least = least_usage(config, ECP5)["brams"].used
    smaller = nearest(config, ECP5, {"brams": Usage(used=least + 30, available=56)})
    assert smaller is not None
    assert least_usage(smaller, ECP5)["brams"].used + 30 <= 56


@pytest.mark.parametrize(
    "engine", [SparseConfig(pes=16, group=4, decoders=4), BinaryConfig(pes=32, simd=32, post_lanes=32)]
)
def test_every_engine_shrinks(engine):
    config = AcceleratorConfig(engine=engine)
    smaller = nearest(config, ECP5, {"luts": Usage(used=60_000, available=24_288)})
    assert smaller is not None
    assert smaller.engine.pe_count * 60_000 <= config.engine.pe_count * 24_288
    smallest = nearest(config, ECP5, {"luts": Usage(used=60_000_000, available=24_288)})
    assert smallest is None


def test_shares():
    assert Usage(used=1, available=4).share == 0.25
    assert Usage(used=0, available=0).share == 0
    assert Usage(used=1, available=0).share == float("inf")
