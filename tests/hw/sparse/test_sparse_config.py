import json
import re
from dataclasses import replace

import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.layer import layer_fields
from celosia.hw.sparse.tables import EncodedFormat

RANGES = {
    "pes": (1, 256),
    "queue_depth": (1, 64),
    "index_width": (2, 12),
    "codebook_width": (2, 8),
    "weight_width": (4, 16),
    "accumulator_width": (24, 48),
    "pointer_depth": (2, 1 << 20),
    "codebook_depth": (4, 1 << 16),
}
CHOICES = {"activation_width": (8, 16), "group": (1, 2, 4, 8), "accumulator_rows": (8, 16, 64, 1024, 4096)}


def config(**changes) -> SparseConfig:
    return SparseConfig(**({"pes": 8} | changes))


@pytest.mark.parametrize("name", RANGES)
def test_ends_of_ranges(name):
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(config(**{name: value}), name) == value
    for value in (low - 1, high + 1, -1, float(low), str(low), True):
        with pytest.raises(ValueError, match=rf"^{name}={value!r} must be a whole number from {low} to {high}\.$"):
            config(**{name: value})


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    for value in CHOICES[name]:
        assert getattr(config(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"activation_width": 12}, "activation_width=12 must be one of 8, 16."),
        ({"activation_width": True}, "activation_width=True must be one of 8, 16."),
        ({"activation_signed": 1}, "activation_signed=1 must be True or False."),
        ({"group": 3}, "group=3 must be one of 1, 2, 4, 8."),
        ({"group": 16}, "group=16 must be one of 1, 2, 4, 8."),
        ({"group": True}, "group=True must be one of 1, 2, 4, 8."),
        ({"pes": 6, "group": 4}, "group=4 must divide pes=6."),
        ({"accumulator_rows": 0}, "accumulator_rows=0 must be a whole number from 1 to 4096."),
        ({"accumulator_rows": 8192}, "accumulator_rows=8192 must be a whole number from 1 to 4096."),
        ({"accumulator_rows": 48}, "accumulator_rows=48 must be a power of two."),
        ({"accumulator_rows": 4, "group": 8}, "accumulator_rows=4 must be a whole number from 8 to 4096."),
        ({"decoders": -1}, "decoders=-1 must be a whole number from 0 to 8."),
        ({"decoders": 9}, "decoders=9 must be a whole number from 0 to 8."),
        ({"decoders": 3}, "decoders=3 must divide pes=8."),
        ({"decoders": 4}, "decoders=4 leaves 20 bits of a weight word to each; it must leave 32 or more."),
        (
            {"decoders": 1, "index_width": 9},
            "decoders need codes and indices of at most 8 bits; set decoders=0, or make them narrower.",
        ),
        (
            {"decoders": 1, "codebook_width": None, "weight_width": 9},
            "decoders need codes and indices of at most 8 bits; set decoders=0, or make them narrower.",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_sentence(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        config(**changes)


def test_what_may_be_left_out_or_stand_together():
    assert config(codebook_width=None).code_width == 16
    assert config(codebook_width=None, weight_width=8, decoders=1).code_width == 8
    assert config(pes=1, decoders=1, codebook_width=2, index_width=2).weight_word_width == 4
    assert config(pes=256, decoders=8).weight_word_width // 8 == 320
    assert config(accumulator_rows=8, group=8).bank_rows == 1


@pytest.mark.parametrize(
    ("changes", "widths"),
    [
        (
            {},
            {
                "pe_count": 8,
                "code_width": 4,
                "entry_width": 10,
                "weight_word_width": 80,
                "parameter_word_width": 320,
                "bias_width": 40,
                "activation_word_width": 128,
                "write_lanes": 1,
                "activation_range": (-32768, 32767),
                "weight_range": (-32768, 32767),
                "bank_rows": 64,
                "weight_banks": 8,
                "reset_cycles": 65,
            },
        ),
        (
            {
                "codebook_width": None,
                "weight_width": 5,
                "index_width": 7,
                "activation_width": 8,
                "activation_signed": False,
                "accumulator_width": 24,
                "accumulator_rows": 32,
                "group": 4,
            },
            {
                "pe_count": 8,
                "code_width": 5,
                "entry_width": 12,
                "weight_word_width": 96,
                "parameter_word_width": 192,
                "bias_width": 24,
                "activation_word_width": 64,
                "write_lanes": 1,
                "activation_range": (0, 255),
                "weight_range": (-16, 15),
                "bank_rows": 8,
                "weight_banks": 8,
                "reset_cycles": 9,
            },
        ),
    ],
)
def test_derived_numbers(changes, widths):
    engine = config(**changes)
    assert {name: getattr(engine, name) for name in widths} == widths


def test_own_memories():
    """A pointer counts up to the depth of the weight memory, which takes a bit more where that is a power of two."""
    engine = config(pointer_depth=101, codebook_depth=77)
    for depth, bits in ((255, 8), (256, 9), (257, 9)):
        memories = AcceleratorConfig(engine=engine, weight_depth=depth).memories[6:]
        assert [(m.name, m.id, m.width, m.depth, m.banks, m.is_engines) for m in memories] == [
            ("pointers", 6, 2 * 8 * bits, 51, 2, True),
            ("codebooks", 7, 16, 77, 1, True),
        ]


@pytest.mark.parametrize("pes", [1, 3, 256])
def test_fields_hold_what_they_have_to(pes):
    engine = SparseConfig(pes=pes, queue_depth=64, accumulator_rows=64, pointer_depth=1001, codebook_depth=100)
    accelerator = AcceleratorConfig(engine=engine, weight_depth=300, parameter_depth=30, packet_words=4096)
    fields = {field.name: field for field in layer_fields(accelerator)}
    largest = {
        "source": 2047,
        "source_words": 2048,
        "destination": 2047,
        "destination_pitch": 2048,
        "rows": 64,
        "vectors": 65535,
        "pointers": 1001,
        "codebook": 99,
        "parameters": 29,
        "group": 3,
        "queue_limit": 64,
        "shift": 47,
        "minimum": -32768,
        "maximum": 32767,
        "load_words": (1 << 24) - 1,
        "load_rows": 300,
        "weights": 299,
        "tables": 99,
    }
    for name, value in largest.items():
        low, high = fields[name].range
        assert low <= value <= high, name


def test_format_of_encoded_weights():
    layout = EncodedFormat(config(pes=8, index_width=4, decoders=2))
    assert (layout.slice_pes, layout.chunk_width, layout.slice_chunks) == (4, 32, 1)
    assert (layout.unit_chunks, layout.symbol_words, layout.table_words) == (1, 16, 36)


def test_json_round_trip_keeps_the_hash():
    for engine in (config(), config(codebook_width=None, weight_width=7, activation_signed=False, group=2)):
        accelerator = AcceleratorConfig(engine=engine, weight_depth=100)
        again = AcceleratorConfig.from_json(json.loads(json.dumps(accelerator.to_json())))
        assert again == accelerator
        assert (again.hash, again.engine_name) == (accelerator.hash, "sparse")
    shortest = AcceleratorConfig.from_json({"engine": "sparse", "sparse": {"pes": 8}})
    assert shortest == AcceleratorConfig(engine=config())


def test_every_value_changes_the_hash():
    base = AcceleratorConfig(engine=config(group=2))
    changes = {
        "pes": 16,
        "queue_depth": 17,
        "index_width": 7,
        "codebook_width": None,
        "weight_width": 8,
        "activation_width": 8,
        "activation_signed": False,
        "accumulator_width": 41,
        "accumulator_rows": 128,
        "group": 4,
        "pointer_depth": 1025,
        "codebook_depth": 513,
        "decoders": 1,
    }
    assert changes.keys() == base.to_json()["sparse"].keys()
    others = [AcceleratorConfig(engine=replace(base.engine, **{name: value})) for name, value in changes.items()]
    assert len({each.hash for each in (base, *others)}) == len(changes) + 1
    for name, other in zip(changes, others, strict=True):
        before = getattr(base.engine, name)
        assert base.differences(other) == [f"sparse.{name}: {before}, not {changes[name]}"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sparse": {}}, "the sparse config is incomplete: .*pes"),
        ({"sparse": {"pes": 4, "rows": 3}}, "config key 'rows' is unknown; there are: pes, queue_depth"),
        ({"sparse": {"pes": 300}}, "pes=300 must be a whole number from 1 to 256"),
        ({"sparse": 4}, "'sparse' must be a JSON object"),
        ({"systolic": {"rows": 4}}, "config key 'systolic' is unknown"),
    ],
)
def test_bad_json_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        AcceleratorConfig.from_json({"engine": "sparse", **values})


def test_packets_hold_the_widest_word():
    """Biases of 256 PEs, or pointers of both columns."""
    wide = SparseConfig(pes=256, accumulator_width=48)
    with pytest.raises(
        ValueError, match=r"^packet_words=256 must hold the widest memory word, 384 words of 32 bits\.$"
    ):
        AcceleratorConfig(engine=wide)
    assert AcceleratorConfig(engine=wide, packet_words=512).memory("parameters").link_words == 384
    narrow = SparseConfig(pes=128, accumulator_width=24, activation_width=8)
    deep = {"weight_depth": 1 << 17, "packet_words": 128}
    with pytest.raises(ValueError, match="packet_words=128 must hold the widest memory word, 144 words"):
        AcceleratorConfig(engine=narrow, **deep)
