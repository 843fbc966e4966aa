import numpy as np
import pytest

from celosia.hw.pipeline import struct_of
from celosia.hw.post.parameters import ROUNDINGS, ParameterLayout, rounding_code, shift_code

SEED = 31


@pytest.mark.parametrize("accumulator_width", [2, 20, 32, 48])
@pytest.mark.parametrize("lanes", [1, 3, 8])
@pytest.mark.parametrize("count", [1, 8, 11])
def test_words_hold_every_channel(accumulator_width: int, lanes: int, count: int) -> None:
    rng = np.random.default_rng(SEED)
    layout = ParameterLayout(accumulator_width=accumulator_width, lanes=lanes)
    limit = 1 << (accumulator_width - 1)
    bias = rng.integers(-limit, limit, count)
    bias[:1] = -limit
    multiplier = rng.integers(0, 1 << 31, count)
    shift = rng.integers(-31, 8, count)
    words = layout.encode(bias=bias, multiplier=multiplier, shift=shift)
    assert words.dtype == np.uint32
    assert words.shape == (-(-count // lanes), layout.word_width // 32)
    for channel in range(len(words) * lanes):
        word = sum(int(part) << (32 * index) for index, part in enumerate(words[channel // lanes]))
        bits = (word >> (channel % lanes * layout.channel_width)) & ((1 << layout.channel_width) - 1)
        values = layout.channel.unpack([(bits >> 32 * i) & 0xFFFFFFFF for i in range(layout.channel.words)])
        expected = {"bias": 0, "multiplier": 0, "shift": 0, "enable": 0}
        if channel < count:
            code = int(shift_code(shift[channel]))
            expected = {"bias": bias[channel], "multiplier": multiplier[channel], "shift": code, "enable": 1}
        assert values == expected, f"seed {SEED}, channel {channel}"


def test_hardware_slices_by_the_same_layout() -> None:
    layout = ParameterLayout(accumulator_width=33, lanes=2)
    struct = struct_of(layout.channel)
    offset = 0
    for field in layout.channel:
        assert (struct[field.name].offset, struct[field.name].width) == (offset, field.width)
        offset += field.width
    assert offset == struct.size == layout.channel_width == 33 + 31 + 6 + 1
    assert layout.word_width == 160


def test_shift_codes() -> None:
    """All different, in six bits, and as documented: 7 - shift with bit 5 set, or -1 - shift."""
    codes = shift_code(range(-31, 8)).tolist()
    assert codes == [*range(30, -1, -1), *range(39, 31, -1)]
    assert len(set(codes)) == 39


def test_rounding_codes() -> None:
    assert [rounding_code(rounding) for rounding in ROUNDINGS] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": [128]}, "bias=128 must be from -128 to 127"),
        ({"bias": [-129]}, "bias=-129"),
        ({"multiplier": [1 << 31]}, "multiplier=2147483648"),
        ({"shift": [8]}, "shift=8"),
        ({"bias": [1, 2], "shift": [1, 2, 3]}, "shape mismatch"),
        ({"bias": 1, "multiplier": 1, "shift": 1}, r"shape \(\)"),
    ],
)
def test_encode_refuses(change: dict[str, object], words: str) -> None:
    values: dict[str, object] = {"bias": [0], "multiplier": [1], "shift": [0]}
    with pytest.raises(ValueError, match=words):
        ParameterLayout(accumulator_width=8).encode(**(values | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(("values", "words"), [((49, 1), "accumulator_width=49"), ((8, 0), "lanes=0")])
def test_layout_refuses(values: tuple[int, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ParameterLayout(accumulator_width=values[0], lanes=values[1])


def test_no_such_rounding() -> None:
    with pytest.raises(ValueError, match="'nearest' must be one of: double, away, even, up"):
        rounding_code("nearest")
