import json
import math
import re
from dataclasses import replace

import pytest

from celosia.hw.binary.config import DRAIN_CYCLES, BinaryConfig
from celosia.hw.binary.layer import layer_fields, tensor_address_width
from celosia.hw.binary.timing import OPERAND_CYCLES, array_latency, capture_cycles
from celosia.hw.config import AcceleratorConfig

RANGES = {
    "pes": (1, 256),
    "simd": (2, 512),
    "activation_width": (1, 8),
    "accumulator_width": (4, 32),  # of the 8 lanes below: 4 bits count them
    "output_width": (1, 8),
    "side_width": (2, 13),
    "loop_width": (4, 16),
    "post_lanes": (1, 8),
}


def config(**changes) -> BinaryConfig:
    return BinaryConfig(**({"pes": 8, "simd": 8} | changes))


@pytest.mark.parametrize("name", RANGES)
def test_ends_of_ranges(name):
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(config(**{name: value}), name) == value
    for value in (low - 1, high + 1, -1, float(low), str(low), True):
        with pytest.raises(ValueError, match=rf"^{name}={value!r} must be a whole number from {low} to {high}\.$"):
            config(**{name: value})


@pytest.mark.parametrize(("simd", "least"), [(2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (511, 9), (512, 10)])
def test_a_sum_holds_the_count_of_a_cycle(simd, least):
    assert config(simd=simd, accumulator_width=least).count_width == simd.bit_length() <= least
    with pytest.raises(ValueError, match=f"^accumulator_width={least - 1} must be a whole number from {least} to 32"):
        config(simd=simd, accumulator_width=least - 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"pes": 12, "simd": 8, "post_lanes": 3},
            "post_lanes=3 must divide gcd(pes, simd)=4, so that groups of channels fill whole words of 8 and the sums "
            "of 12 PEs are whole groups.",
        ),
        ({"pes": 12, "simd": 8, "post_lanes": 8}, "post_lanes=8 must be a whole number from 1 to 4."),
        ({"pes": 5, "simd": 8, "post_lanes": 2}, "post_lanes=2 must be a whole number from 1 to 1."),
    ],
)
def test_lanes_that_do_not_divide_are_named(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        config(**changes)


@pytest.mark.parametrize("simd", [2, 3, 8, 24, 60, 64, 512])
@pytest.mark.parametrize("pes", [1, 2, 7, 8, 9, 16, 60, 64, 72, 256])
def test_lanes_that_are_left_open(pes, simd):
    """The least that drain all sums in eight cycles, or else as many as there can be."""
    engine = config(pes=pes, simd=simd)
    shared = math.gcd(pes, simd)
    lanes = engine.resolved_post_lanes
    assert engine.post_lanes is None
    assert shared % lanes == 0
    assert engine.groups * lanes == pes
    assert engine.groups_per_word * lanes == simd
    assert engine.groups <= DRAIN_CYCLES or lanes == shared
    assert not any(shared % fewer == 0 and pes <= DRAIN_CYCLES * fewer for fewer in range(1, lanes))
    assert config(pes=pes, simd=simd, post_lanes=lanes).groups == engine.groups


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        (
            {},
            {
                "pe_count": 64,
                "count_width": 4,
                "resolved_post_lanes": 1,
                "groups": 8,
                "groups_per_word": 8,
                "doubled_width": 17,
                "parameter_width": 18,
                "result_width": 19,
                "result_words": 3,
                "weight_word_width": 64,
                "parameter_word_width": 18,
                "activation_word_width": 8,
                "write_lanes": 1,
                "weight_banks": 1,
                "reset_cycles": 0,
            },
        ),
        (
            {"pes": 48, "simd": 32, "accumulator_width": 30, "post_lanes": 8},
            {
                "pe_count": 1536,
                "count_width": 6,
                "resolved_post_lanes": 8,
                "groups": 6,
                "groups_per_word": 4,
                "doubled_width": 31,
                "parameter_width": 32,
                "result_width": 33,
                "result_words": 2,
                "weight_word_width": 1536,
                "parameter_word_width": 256,
                "activation_word_width": 32,
            },
        ),
        (
            {"pes": 3, "simd": 33, "accumulator_width": 30, "post_lanes": 3},
            {"groups": 1, "groups_per_word": 11, "result_width": 33, "result_words": 1},
        ),
    ],
)
def test_derived_numbers(changes, numbers):
    engine = config(**changes)
    assert {name: getattr(engine, name) for name in numbers} == numbers
    assert engine.own_memories(100) == ()


@pytest.mark.parametrize(("simd", "levels"), [(2, 1), (4, 1), (5, 2), (8, 2), (9, 3), (64, 5), (65, 6), (512, 8)])
def test_latencies_follow_from_the_tree(simd, levels):
    engine = config(simd=simd)
    assert array_latency(engine) == levels + 1
    assert capture_cycles(engine) == OPERAND_CYCLES + levels + 2


@pytest.mark.parametrize("pes", [1, 6, 256])
def test_fields_hold_what_they_have_to(pes):
    engine = config(pes=pes, simd=2, accumulator_width=20, output_width=8, post_lanes=1)
    depths = {"input_depth": 64, "activation_depth": 4096, "output_depth": 512}
    accelerator = AcceleratorConfig(engine=engine, weight_depth=300, parameter_depth=30, **depths)
    assert tensor_address_width(accelerator) == 12
    fields = {field.name: field for field in layer_fields(accelerator)}
    side = 4096
    largest = {
        **dict.fromkeys(("source", "window_offset", "destination", "kernel_col_step", "vector_step"), 4095),
        **dict.fromkeys(("destination_chunks", "destination_pitch"), 4096),
        **dict.fromkeys(("vectors", "folds", "chunks"), (1 << 16) - 1),
        **dict.fromkeys(("out_rows", "kernel_cols", "in_rows", "pad_left", "stride_cols", "window_rows"), side),
        "planes": 8,
        "weight_planes": 2,
        "pad_correction": (1 << 21) - 1,
        "inverted": 255,
        "weights": 299,
        "fold_words": 300,
        "parameters": 29,
        "thresholds": 255,
        "groups_edge": engine.groups,
        "drain_cycles": engine.groups * 255,
        "drain_cycles_edge": engine.pes * engine.result_words,
        "output_planes": 8,
        "output_flip": 255,
        "raw_shift": 2,
        "load_words": 300,
    }
    for name, value in largest.items():
        low, high = fields[name].range
        assert low <= value <= high, name


def test_json_round_trip_keeps_the_hash():
    for engine in (config(), config(activation_width=1, output_width=1, post_lanes=4, accumulator_width=9)):
        accelerator = AcceleratorConfig(engine=engine, weight_depth=100)
        again = AcceleratorConfig.from_json(json.loads(json.dumps(accelerator.to_json())))
        assert again == accelerator
        assert (again.hash, again.engine_name) == (accelerator.hash, "binary")
    shortest = AcceleratorConfig.from_json({"engine": "binary", "binary": {"pes": 8, "simd": 8}})
    assert shortest == AcceleratorConfig(engine=config())


def test_every_value_changes_the_hash():
    base = AcceleratorConfig(engine=config())
    changes = {
        "pes": 16,
        "simd": 16,
        "activation_width": 7,
        "accumulator_width": 17,
        "output_width": 5,
        "side_width": 5,
        "loop_width": 8,
        "post_lanes": 1,  # what None means here, but not the same config
    }
    assert changes.keys() == base.to_json()["binary"].keys()
    others = [AcceleratorConfig(engine=replace(base.engine, **{name: value})) for name, value in changes.items()]
    assert len({each.hash for each in (base, *others)}) == len(changes) + 1
    for name, other in zip(changes, others, strict=True):
        assert base.differences(other) == [f"binary.{name}: {getattr(base.engine, name)}, not {changes[name]}"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"binary": {}}, "the binary config is incomplete: .*pes"),
        ({"binary": {"pes": 4, "simd": 8, "rows": 3}}, "config key 'rows' is unknown; there are: pes, simd"),
        ({"binary": {"pes": 300, "simd": 8}}, "pes=300 must be a whole number from 1 to 256"),
        ({"binary": 4}, "'binary' must be a JSON object"),
    ],
)
def test_bad_json_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        AcceleratorConfig.from_json({"engine": "binary", **values})


def test_packets_hold_the_widest_word():
    """The weights of 256 PEs of 512 lanes."""
    wide = config(pes=256, simd=512)
    with pytest.raises(ValueError, match="packet_words=256 must hold the widest memory word, 4096 words of 32 bits"):
        AcceleratorConfig(engine=wide)
    assert AcceleratorConfig(engine=wide, packet_words=4096).memory("weights").link_words == 4096
