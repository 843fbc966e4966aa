import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from celosia.hw.post.parameters import ROUNDINGS
from celosia.sim.golden.requantize import quantize_multiplier, requantize

SEED = 20240
WIDE = {"zero_point": 0, "minimum": -(1 << 60), "maximum": 1 << 60}


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


def slow(x: int, multiplier: int, shift: int, rounding: str) -> int:
    """The definition, in rational numbers."""
    exact = Fraction(x) * multiplier * Fraction(2) ** (shift - 31)
    match rounding:
        case "up":
            return half_up(exact)
        case "away":
            return half_away(exact)
        case "even":
            return round(exact)  # Python rounds a Fraction half to even
    return half_away(Fraction(half_up(exact * 2 ** max(-shift, 0)), 2 ** max(-shift, 0)))


def gemmlowp(x: int, multiplier: int, shift: int) -> int:
    """What the C code of gemmlowp does, whose division truncates and whose shift floors."""
    product = (x << max(shift, 0)) * multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    exponent = max(-shift, 0)
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> exponent) + (1 if (high & mask) > threshold else 0)


def directed() -> list[tuple[int, int, int]]:
    accumulators = [0, 1, -1, 2, -2, 3, -3, 5, -5, 127, -128, 255, 256, (1 << 31) - 1, -(1 << 31)]
    accumulators += [(1 << 47) - 1, -(1 << 47), (1 << 46) + 1, -(1 << 46) - 1]
    multipliers = [0, 1, 2, 3, 1 << 29, 1 << 30, (1 << 30) + 1, 3 << 29, (1 << 31) - 1]
    return [(a, m, s) for a in accumulators for m in multipliers for s in range(-31, 8)]


def random_vectors(seed: int, count: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 48, count)
    accumulators = [int(rng.integers(-(1 << int(w)), 1 << int(w))) for w in widths]
    # Few ones in the multiplier make ties frequent.
    multipliers = np.where(rng.random(count) < 0.5, rng.integers(0, 1 << 31, count), 1 << rng.integers(0, 31, count))
    shifts = rng.integers(-31, 8, count)
    return list(zip(accumulators, multipliers.tolist(), shifts.tolist(), strict=True))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_equals_the_definition(rounding: str) -> None:
    vectors = directed() + random_vectors(SEED, 8000)
    x, m, s = (np.array(column, dtype=np.int64) for column in zip(*vectors, strict=True))
    got = requantize(x, 0, m, s, rounding=rounding, **WIDE)
    expected = [slow(*vector, rounding) for vector in vectors]
    wrong = [(v, int(g), e) for v, g, e in zip(vectors, got, expected, strict=True) if g != e]
    assert not wrong, f"seed {SEED}: {len(wrong)} differ, first (acc, multiplier, shift), got, expected: {wrong[:3]}"


def test_double_equals_gemmlowp() -> None:
    vectors = directed() + random_vectors(SEED + 1, 4000)
    x, m, s = (np.array(column, dtype=np.int64) for column in zip(*vectors, strict=True))
    got = requantize(x, 0, m, s, rounding="double", **WIDE).tolist()
    assert got == [gemmlowp(*vector) for vector in vectors], f"seed {SEED + 1}"


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("shift", range(-31, 8))
def test_every_tie(rounding: str, shift: int) -> None:
    """Accumulators around every odd multiple of half an output step, at multiplier 2**30."""
    half = Fraction(2) ** -shift  # accumulator of an exact half: acc · 2**30 · 2**(shift - 31) = 1/2
    ties = {int(odd * half) for odd in (-7, -5, -3, -1, 1, 3, 5, 7)}
    accumulators = sorted({tie + step for tie in ties for step in (-1, 0, 1)})
    got = requantize(np.array(accumulators), 0, 1 << 30, shift, rounding=rounding, **WIDE).tolist()
    assert got == [slow(a, 1 << 30, shift, rounding) for a in accumulators]


def test_modes_differ_only_where_they_should() -> None:
    acc = np.array([-3, -1, 1, 3])  # times 1/2: -1.5, -0.5, 0.5, 1.5
    results = {r: requantize(acc, 0, 1 << 30, 0, rounding=r, **WIDE).tolist() for r in ROUNDINGS}
    assert results == {"double": [-1, 0, 1, 2], "away": [-2, -1, 1, 2], "even": [-2, 0, 0, 2], "up": [-1, 0, 1, 2]}
    # 2**-32 short of a half: the first of two roundings makes it a half, the second a one.
    assert requantize(1, 0, (1 << 31) - 1, -1, rounding="double", **WIDE) == 1
    assert requantize(1, 0, (1 << 31) - 1, -1, rounding="away", **WIDE) == 0


def test_bias_zero_point_and_clamp() -> None:
    acc = np.array([[-1000, -10, 0], [10, 300, 1 << 46]])
    got = requantize(acc, [0, 4, -4], 1 << 30, [1, 1, 0], rounding="even", zero_point=-3, minimum=-100, maximum=120)
    assert got.tolist() == [[-100, -9, -5], [7, 120, 120]]
    assert got.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rounding": "down"}, "rounding='down'"),
        ({"shift": 8}, "shift=8"),
        ({"shift": -32}, "shift=-32"),
        ({"multiplier": 1 << 31}, "multiplier=2147483648"),
        ({"multiplier": -1}, "multiplier=-1"),
        ({"acc": 1 << 47}, "acc="),
        ({"bias": -(1 << 47) - 1}, "bias="),
        ({"acc": 0.5}, "acc of dtype float64"),
        ({"minimum": 1, "maximum": 0}, "minimum=1"),
    ],
)
def test_refuses(change: dict[str, object], words: str) -> None:
    values: dict[str, object] = {"acc": 1, "bias": 0, "multiplier": 1 << 30, "shift": 0, "rounding": "even"}
    values |= {"zero_point": 0, "minimum": -128, "maximum": 127}
    with pytest.raises(ValueError, match=words):
        requantize(**(values | change))  # type: ignore[arg-type]


def test_quantize_multiplier_is_nearest() -> None:
    rng = np.random.default_rng(SEED)
    scales = np.concatenate([2.0 ** rng.uniform(-31, 6.9, 2000), [0.5, 1.0, 0.25, 0.75, 127.999]])
    multiplier, shift = quantize_multiplier(scales)
    assert ((multiplier >= 1 << 30) & (multiplier < 1 << 31)).all()
    for scale, m, s in zip(scales.tolist(), multiplier.tolist(), shift.tolist(), strict=True):
        assert m == half_away(Fraction(scale) / Fraction(2) ** (s - 31)), f"seed {SEED}: scale {scale!r}"


def test_quantize_multiplier_corners() -> None:
    one = 1 << 30
    below_one = 1 - 2.0**-40  # rounds up to 1.0: the multiplier's carry moves into the shift
    scales = [0.0, 1.0, 0.5, below_one, 2.0**-32, 2.0**-33, 5e-324, 64.0]
    multiplier, shift = quantize_multiplier(scales)
    assert multiplier.tolist() == [0, one, one, one, one, 0, 0, one]
    assert shift.tolist() == [0, 1, 0, 1, -31, 0, 0, 7]
    assert [int(part) for part in quantize_multiplier(0.3)] == [1288490189, -1]
    for wrong in (-0.1, float("nan"), float("inf"), 128.0):
        with pytest.raises(ValueError, match="scale"):
            quantize_multiplier(wrong)


def convolve(vector: dict[str, np.ndarray]) -> np.ndarray:
    """Accumulators (batch, height, width, channels) of a published convolution, by its definition."""
    x = vector["input"].astype(np.int64) + int(vector["input_offset"])
    weights, groups = vector["weights"].astype(np.int64), int(vector["groups"])
    (stride_y, stride_x), (dilation_y, dilation_x) = vector["stride"], vector["dilation"]
    batch, height, width, outputs = vector["expected"].shape
    _, kernel_y, kernel_x, depth = weights.shape
    pad_y, pad_x = vector["pad"]
    # The shape of the result says how much padding there is below and on the right.
    x = np.pad(x, ((0, 0), (pad_y, pad_y + 64), (pad_x, pad_x + 64), (0, 0)))
    acc = np.zeros((batch, height, width, outputs), dtype=np.int64)
    for ky in range(kernel_y):
        for kx in range(kernel_x):
            top, left = ky * dilation_y, kx * dilation_x
            patch = x[:, top : top + height * stride_y : stride_y, left : left + width * stride_x : stride_x]
            for channel in range(outputs):
                first = channel // (outputs // groups) * depth
                acc[..., channel] += patch[..., first : first + depth] @ weights[channel, ky, kx]
    return acc


VECTORS = sorted((Path(os.environ["CELOSIA_DATA"]) / "cmsis_nn").glob("*.npz")) if "CELOSIA_DATA" in os.environ else []


@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the published vectors")
def test_published_cmsis_nn_vectors() -> None:
    assert len(VECTORS) == 16
    for path in VECTORS:
        vector = dict(np.load(path))
        got = requantize(
            convolve(vector),
            vector["bias"],
            vector["multiplier"],
            vector["shift"],
            rounding="double",
            zero_point=int(vector["output_offset"]),
            minimum=int(vector["output_min"]),
            maximum=int(vector["output_max"]),
        )
        np.testing.assert_array_equal(got, vector["expected"], err_msg=path.name)
