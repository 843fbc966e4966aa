"""Thresholds on, beside and far from the sums that are there, and sums that are given out as they are."""

from dataclasses import replace

import numpy as np
import pytest

from celosia.host.errors import CompileError

ROWS = np.arange(8)  # K = 7 bipolar inputs have sums of −7, −5, …, 7


@pytest.fixture
def count(make):
    """A layer whose every output is the sum of its bipolar inputs, held against some thresholds, and inputs."""

    def layer(thresholds, N=6, **changes):
        T = len(thresholds)
        dtype = "bipolar" if T == 1 else f"uint{T.bit_length()}"
        return make.dense(
            7,
            N,
            weights=np.ones((7, N), int),
            thresholds=np.tile(np.array(thresholds), (N, 1)),
            **({"output_dtype": dtype} | changes),
        )

    return layer, np.where(np.arange(7) < ROWS[:, None], 1, -1)


@pytest.mark.parametrize("sum_", range(-9, 10))
def test_a_threshold_on_and_beside_each_sum(bench, count, config, sum_):
    """A sum that is equal reaches it."""
    layer, x = count
    outcome = bench.check(layer([sum_]), x, config=config)
    assert np.array_equal(outcome.outputs[:, 0] > 0, sum_ <= 2 * ROWS - 7)


@pytest.mark.parametrize("ends", ["always", "never"])
def test_thresholds_that_all_sums_or_none_reach(bench, make, count, config, ends):
    layer, x = count
    outcome = bench.check(layer([getattr(make, ends)]), x, config=config)
    assert set(outcome.outputs.ravel()) == {1 if ends == "always" else -1}


def test_some_always_some_never(bench, make, count):
    layer, x = count
    outcome = bench.check(layer([make.always, make.always, 1, 1, 1, 3, make.never]), x, config=make.small)
    assert outcome.outputs[:, 0].tolist() == [2, 2, 2, 2, 5, 6, 6, 6]
    outcome = bench.check(layer([make.always] * 7), x, config=make.small)
    assert set(outcome.outputs.ravel()) == {7}
    outcome = bench.check(layer([make.never] * 15), x, config=make.small)
    assert set(outcome.outputs.ravel()) == {0}


def test_equal_thresholds_count_each(bench, make, count):
    layer, x = count
    outcome = bench.check(layer([-1] * 3 + [5] * 4), x, config=make.small)
    assert outcome.outputs[:, 0].tolist() == [0, 0, 0, 3, 3, 3, 7, 7]


def test_each_channel_has_its_own(bench, make, config):
    """The parameters of all groups, folds and vectors are read in their order."""
    N = 3 * config.engine.pes + 1
    layer = make.dense(7, N, weights=np.ones((7, N), int), thresholds=np.arange(N)[:, None] % 9 - 4)
    x = np.where(np.arange(7) < ROWS[:, None], 1, -1)
    outcome = bench.check(layer, x, config=config)
    assert np.array_equal(outcome.outputs > 0, (2 * ROWS - 7)[:, None] >= layer.thresholds[:, 0])


@pytest.mark.parametrize("T", [1, 2, 3, 4, 7, 8, 127, 128, 254, 255])
def test_as_many_thresholds_as_there_may_be(bench, make, T):
    layers = [
        make.dense(40, 7, dtype="uint4", thresholds=np.tile(np.arange(T) - T // 2, (7, 1)), output_dtype="uint8"),
        make.dense(7, 3, dtype="uint8", out="int32"),
    ]
    outcome = bench.check(layers[0], 8, config=make.many)
    assert outcome.outputs.max() == T
    bench.check(layers, config=make.many)


@pytest.mark.parametrize("dtype", ["bipolar", "uint1", "int2", "uint5", "int8"])
@pytest.mark.parametrize("ternary", [False, True], ids=["binary", "ternary"])
def test_sums_as_they_are(bench, make, config, dtype, ternary):
    """Twice, or for ternary weights of whole numbers four times, the sum is shifted right; signs go up to the top."""
    if dtype not in ("bipolar", "uint1") and config.engine.activation_width < 8:
        dtype = "int4" if config.engine.activation_width == 4 else "uint1"
    for N in (1, config.engine.pes, config.engine.pes + 1):
        outcome = bench.check(make.dense(14, N, dtype=dtype, out="int32", ternary=ternary), 9, config=config)
        assert outcome.program.layers[0].arranged.raw_shift == ternary + (dtype != "bipolar")
        assert outcome.outputs.min() < 0 < outcome.outputs.max()


@pytest.mark.parametrize("simd", ["narrower", "wider", "equal"])
def test_words_narrower_and_wider_than_a_sum(bench, make, simd):
    config = {"narrower": make.many, "wider": make.one, "equal": make.equal}[simd]
    words = {"narrower": 4, "wider": 1, "equal": 1}[simd]
    assert config.engine.result_words == words
    outcome = bench.check(make.dense(12, 13, out="int32"), config=config)
    arranged = outcome.program.layers[0].arranged
    lanes = config.engine.resolved_post_lanes
    assert arranged.output_words == words * -(-13 // lanes) * lanes


def test_sums_of_an_image(bench, make, config):
    """Pixel by pixel, every one of them whole folds of sums."""
    bench.check(make.conv((4, 3), (2, 2), 9, 7, out="int32"), 3, config=config)
    bench.check(make.conv((3, 3), (2, 2), 2, 7, out="int32", padding=(1, 0, 1, 1), ternary=True), 3, config=config)
    layers = [
        make.conv((4, 4), (1, 1), 3, 6),
        make.conv((4, 4), (3, 3), 6, 5, out="int32", padding=(1, 1, 1, 1), pad_value=-1, strides=(2, 1)),
    ]
    bench.check(layers, 3, config=config)


def test_sums_of_inputs_that_are_far_from_zero(bench, make):
    """Inputs from 200 to 203 have two bits, but their sums many more than the matches that are counted."""
    layers = [
        make.dense(9, 50, thresholds=np.tile([0, 1, 2], (50, 1)), output_dtype="uint8", output_minimum=200),
        make.dense(50, 4, weights=np.ones((50, 4), int), dtype="uint8", out="int32"),
    ]
    with pytest.raises(CompileError, match="no room for that, make it 14 or more"):
        bench.check(layers, config=make.equal)
    engine = replace(make.equal.engine, accumulator_width=14)
    bench.check(layers, config=replace(make.equal, engine=engine))
