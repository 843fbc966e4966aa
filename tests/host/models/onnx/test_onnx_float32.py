"""Multipliers that equal onnxruntime's float32 for every sum, tried for every sum."""

import numpy as np
import pytest

from celosia.host.models.ir import Dense, Network
from celosia.host.models.onnx_float32 import nearest_multipliers, round_as_onnxruntime
from celosia.sim.golden.requantize import quantize_multiplier, requantize

SEED = 45
WIDE = {"rounding": "even", "zero_point": 0, "minimum": -(2**40), "maximum": 2**40}


def float32(sums: np.ndarray, scale: np.float32) -> np.ndarray:
    return np.rint(sums.astype(np.float32) * scale).astype(np.int64)


@pytest.mark.parametrize("bits", [8, 12, 16, 19])
def test_every_sum(bits):
    rng = np.random.default_rng([SEED, bits])
    sums = np.arange(-(2**bits), 2**bits)
    scales = (rng.uniform(0.5, 2, 6 if bits == 19 else 40) * 100 / 2**bits).astype(np.float32)
    least, most = np.full(len(scales), sums[0]), np.full(len(scales), sums[-1])
    multiplier, shift = quantize_multiplier(scales)
    steps = np.arange(-250, 251)
    better, found = nearest_multipliers(multiplier, shift, least, most, steps)
    improved = 0
    for index, scale in enumerate(scales):
        expected = np.clip(float32(sums, scale), steps[0] - 1, steps[-1])
        plain, got = (
            np.clip(requantize(sums, 0, factor[index], shift[index], **WIDE), steps[0] - 1, steps[-1])
            for factor in (multiplier, better)
        )
        assert np.array_equal(got, expected) == found[index], f"seed {SEED}: {bits} bits, scale {scale}"
        improved += found[index] and not np.array_equal(plain, expected)
        if np.array_equal(plain, expected):
            assert better[index] == multiplier[index], "a multiplier that was right was changed"
    assert found.any() if bits == 19 else found.mean() > 0.7
    assert improved > 0 or bits != 16


@pytest.mark.parametrize("exponent", [-30, -24, 4])
def test_extreme_scales(exponent):
    """Sums of 32 bits, which float32 does not hold, around each step."""
    rng = np.random.default_rng([SEED, 100 + exponent])
    scale = np.float32(rng.uniform(1, 2) * 2.0**exponent)
    most = np.array([min(2**31 - 1, int(300 / scale))])
    multiplier, shift = quantize_multiplier(scale[None])
    steps = np.arange(-127, 128)
    better, found = nearest_multipliers(multiplier, shift, -most, most, steps)
    near = np.round((steps - 0.5) / float(scale)).astype(np.int64)[:, None] + np.arange(-300, 301)
    near = near[np.abs(near) <= most]
    got = np.clip(requantize(near, 0, better, shift, **WIDE), -128, 127)
    assert np.array_equal(got, np.clip(float32(near, scale), -128, 127)) == found[0]


@pytest.mark.parametrize("scale", [0.5, 0.25, 1.5, 0.625])
def test_scales_with_ties(scale):
    """Both round ties to even, so the multiplier stays."""
    multiplier, shift = quantize_multiplier(np.float32([scale]))
    limit = np.array([2000])
    better, found = nearest_multipliers(multiplier, shift, -limit, limit, np.arange(-127, 128))
    assert found.all()
    assert better == multiplier


def test_layers():
    """Half of the outputs have sums that float32 rounds to a tie; all that can be are equal, and the others named."""
    rng = np.random.default_rng([SEED, 200])
    multiplier, shift = quantize_multiplier((rng.uniform(0.5, 2, 40) * 2e-3).astype(np.float32))
    layer = Dense(
        name="layer",
        weights=rng.integers(-127, 128, (6, 40)).astype(np.int8),
        bias=rng.integers(-(10**5), 10**5, 40),
        multiplier=multiplier,
        shift=shift,
        rounding="even",
        input_zero_point=-5,
        output_zero_point=3,
        minimum=-100,
        maximum=127,
    )
    other, unequal = round_as_onnxruntime(Network(name="network", layers=[layer], input_shape=(6,)))
    least, most = layer.product_sums
    for index in range(40):
        sums = np.arange(least[index], most[index] + 1) + layer.bias[index]
        scale = np.float32(np.ldexp(float(multiplier[index]), int(shift[index]) - 31))
        options = {"rounding": "even", "zero_point": 3, "minimum": -100, "maximum": 127}
        got = requantize(sums, 0, other.layers[0].multiplier[index], shift[index], **options)
        same = np.array_equal(got, np.clip(float32(sums, scale) + 3, -100, 127))
        assert same == (index not in unequal.get("layer", ()))
    assert not np.array_equal(other.layers[0].multiplier, multiplier)


def test_sums_of_more_than_32_bits_stay():
    layer = Dense(
        name="layer",
        weights=np.ones((2, 2), np.int8),
        bias=np.array([2**31, 5]),
        multiplier=np.full(2, 2**30 + 2**10),
        shift=np.array([-8, -8]),
        rounding="even",
        input_zero_point=0,
        output_zero_point=0,
        minimum=-128,
        maximum=127,
    )
    _, unequal = round_as_onnxruntime(Network(name="network", layers=[layer], input_shape=(2,)))
    assert unequal["layer"].tolist() == [0]
