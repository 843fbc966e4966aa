"""FULLY_CONNECTED multiplies in float64: the multipliers that are chosen round every possible sum alike."""

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.tflite import read_tflite
from celosia.host.models.tflite_scales import exact_multipliers
from celosia.host.quantize import quantize_multiplier
from celosia.sim.golden.requantize import requantize

SEED = 5


def by_float64(sums: np.ndarray, scale: float) -> np.ndarray:
    product = sums * scale
    return np.sign(product) * np.floor(np.abs(product) + 0.5)


def by_multiplier(sums: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    return requantize(sums, 0, multiplier, shift, rounding="away", zero_point=0, minimum=-(2**31), maximum=2**31 - 1)


def choose(scale: float, reach: int, outputs=(-128, 127)) -> tuple[int, int]:
    bounds = np.array([reach])
    multiplier, shift = exact_multipliers(np.array([scale]), -bounds, bounds, *outputs)
    return int(multiplier[0]), int(shift[0])


def sums_next_to_ties(scale: float, reach: int) -> np.ndarray:
    sums = np.rint((np.arange(-130, 130) + 0.5) / scale)[:, None] + np.arange(-3, 4)
    return np.clip(sums.ravel(), -reach, reach).astype(np.int64)


def test_every_scale_rounds_alike_or_is_refused():
    rng, changed, refused = np.random.default_rng(SEED), 0, 0
    for _ in range(400):
        scale = float(2.0 ** rng.uniform(-20, 2))
        reach = int(min(200 / scale, 2**30))
        try:
            multiplier, shift = choose(scale, reach)
        except ModelError:
            refused += 1
            assert scale < 2.0**-14, "sums that are this small always have a multiplier"
            continue
        nearest, _ = quantize_multiplier(scale)
        changed += multiplier != nearest
        sums = sums_next_to_ties(scale, reach)
        inside = np.abs(by_float64(sums, scale)) <= 127
        assert np.array_equal(by_multiplier(sums, multiplier, shift)[inside], by_float64(sums, scale)[inside])
    assert changed > 3
    assert refused > 3


def test_all_sums_of_one_scale():
    """A scale whose nearest multiplier is wrong, found by trying; every sum is looked at."""
    rng, sums = np.random.default_rng(SEED), np.arange(-(2**18), 2**18)
    for _ in range(4000):
        scale = float(2.0 ** rng.uniform(-11, -10))
        multiplier, shift = choose(scale, 2**18)
        nearest, _ = quantize_multiplier(scale)
        if multiplier != nearest:
            break
    limits = (-128, 127)
    expected = np.clip(by_float64(sums, scale), *limits)
    assert np.array_equal(np.clip(by_multiplier(sums, multiplier, shift), *limits), expected)
    assert not np.array_equal(np.clip(by_multiplier(sums, int(nearest), shift), *limits), expected)


def test_sums_that_cannot_occur_do_not_matter():
    rng, words = np.random.default_rng(SEED), "which no 31-bit multiplier rounds as TensorFlow Lite's float64 does"
    for _ in range(100):
        scale = float(2.0 ** rng.uniform(-21, -20))
        try:
            choose(scale, 2**29)
        except ModelError as error:
            sentence = str(error)
            break
    assert words in sentence
    assert choose(scale, 2**10) == tuple(int(part) for part in quantize_multiplier(scale))


def test_scales_of_powers_of_two_tie_often():
    for power in range(-12, 3):
        scale = 2.0**power
        multiplier, shift = choose(scale, 2**16)
        sums = np.arange(-(2**16), 2**16 + 1)
        limits = (-128, 127)
        expected = np.clip(by_float64(sums, scale), *limits)
        assert np.array_equal(np.clip(by_multiplier(sums, multiplier, shift), *limits), expected)


def test_a_layer_gets_another_multiplier_than_the_nearest(tflite, tmp_path):
    """LiteRT itself, at the sums where the nearest multiplier is wrong."""
    rng = np.random.default_rng(SEED)
    for _ in range(3000):
        in_scale, weight_scale, out_scale = (float(np.float32(2.0 ** rng.uniform(-6, 0))) for _ in range(3))
        scale, reach = in_scale * weight_scale / out_scale, 2 * 127 * 255 + 2**20
        if not 2.0**-11 < scale < 2.0**-9:
            continue
        nearest, shift = quantize_multiplier(scale)
        multiplier, _ = choose(scale, reach)
        sums = sums_next_to_ties(scale, 2**20)
        wrong = sums[by_multiplier(sums, int(nearest), int(shift)) != by_float64(sums, scale)]
        if multiplier != nearest and wrong.size:
            break
    graph = tflite.Graph()
    bias = np.unique(np.concatenate([wrong, [2**20, -(2**20)]]))
    x, y = graph.input((1, 2), in_scale, 0), graph.tensor((1, len(bias)), out_scale, 0)
    weights = np.zeros((len(bias), 2))
    weights[:, 0] = 127  # so that other sums can occur, too
    graph.dense(x, weights, y, weight_scale, bias)
    path = graph.save(tmp_path / "fc.tflite")
    assert (read_tflite(path).layers[0].multiplier != nearest).any()
    tflite.compare(path, np.zeros((1, 2), np.int8))
