"""Layers of every size around those of the engine, and the ends of what their numbers can be."""

import itertools

import numpy as np
import pytest

from celosia.host.errors import CompileError

ODD_INTEGERS = ["uint1", "int2", "uint3", "int4"]


def most_bits(config, *dtypes):
    """Types of no more bits than the config takes in and gives out, bipolar among them."""
    width = min(config.engine.activation_width, config.engine.output_width)
    return ["bipolar", *(dtype for dtype in dtypes if int(dtype.lstrip("uint")) <= width)]


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize("ternary", [False, True], ids=["binary", "ternary"])
def test_inputs_around_whole_words(bench, make, config, words, beyond, ternary):
    K = words * config.engine.simd + beyond
    for dtype in most_bits(config, "uint4", "int4"):
        out = most_bits(config, "uint3")[-1]
        bench.check(make.dense(K, 5, dtype=dtype, out=out, ternary=ternary, seed=K), config=config)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("what", ["pes", "simd", "resolved_post_lanes"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_outputs_around_whole_folds_words_and_groups(bench, make, config, what, times, beyond):
    """The next layer's weights see what is stored in the lanes that have no channel."""
    N = times * getattr(config.engine, what) + beyond
    if N < 1:
        return
    out = most_bits(config, "uint3")[-1]
    layers = [make.dense(7, N, out=out), make.dense(N, 5, dtype=out, out="int32", ternary=True)]
    bench.check(layers, config=config)


@pytest.mark.parametrize("out", ["bipolar", "int32"])
@pytest.mark.parametrize(("K", "N"), [(1, 1), (1, 9), (9, 1)])
def test_one_input_one_output(bench, make, config, K, N, out):
    for ternary in (False, True):
        bench.check(make.dense(K, N, out=out, ternary=ternary), config=config)


def test_one_input_and_one_output_of_an_image(bench, make, config):
    bench.check(make.conv((1, 1), (1, 1), 1, 1), config=config)
    bench.check([make.conv((3, 2), (1, 1), 1, 1, out="bipolar"), make.dense(6, 1, out="int32")], config=config)


@pytest.mark.parametrize("weight", [-1, 1, 0])
@pytest.mark.parametrize("value", ["smallest", "largest", "one is the largest", "one is the smallest"])
def test_weights_and_inputs_at_their_ends(bench, make, config, weight, value):
    K, N = 2 * config.engine.simd + 1, 7
    for dtype in most_bits(config, *ODD_INTEGERS, "uint8", "int8"):
        layer = make.dense(K, N, dtype=dtype, out="int32", weights=np.full((K, N), weight))
        low, high = make.inputs(layer, 4)[:2, 0]
        x = np.full((1, K), high if value in ("largest", "one is the smallest") else low)
        if value.startswith("one"):
            x[0, K // 2] = low + high - x[0, 0]
        outcome = bench.check(layer, x, config=config)
        assert outcome.outputs.tolist() == [[int(weight * x.sum())] * N]


@pytest.mark.parametrize("ternary", [False, True], ids=["binary", "ternary"])
def test_each_weight_alone(bench, make, config, ternary):
    """One input of a kind and all others of the other: each weight is where it should be."""
    K, N = 2 * config.engine.simd + 1, config.engine.pes + 1
    layer = make.dense(K, N, out="int32", ternary=ternary)
    outcome = bench.check(layer, 2 * np.eye(K, dtype=int) - 1, config=config)
    assert np.array_equal(outcome.outputs, 2 * layer.weights - layer.weights.sum(axis=0, dtype=int))


def test_sums_at_the_limit_of_the_accumulator(bench, make):
    """Every PE counts up to the largest number that its sum holds, and down to 0."""
    K, N = 273, 5  # 4 bits: 273 · 15 = 4095
    for dtype, weight in itertools.product(("uint4", "int4"), (-1, 1)):
        layer = make.dense(K, N, dtype=dtype, out="int32", weights=np.full((K, N), weight))
        outcome = bench.check(layer, config=make.small)
        assert outcome.program.layers[0].arranged.most_matches == (1 << 12) - 1
        steps = make.dense(K, N, dtype=dtype, thresholds=np.sort(outcome.outputs[:N].T[:, :1]), weights=layer.weights)
        bench.check(steps, config=make.small)
    for dtype in ("uint4", "int4"):
        with pytest.raises(CompileError, match="can reach sums of 4110; accumulator_width=12 holds up to 4095"):
            bench.check(make.dense(K + 1, N, dtype=dtype), config=make.small)


def test_sums_of_ternary_weights_at_the_limit(bench, make):
    K = 127  # two planes: 254 of 255
    for weight in (-1, 0, 1):
        weights = np.full((K, 4), weight)
        weights[0, 1:] = [0, 1, -1]
        outcome = bench.check(make.dense(K, 4, out="int32", weights=weights), config=make.one)
        assert outcome.program.layers[0].arranged.most_matches == 254
    with pytest.raises(CompileError, match="can reach sums of 256; accumulator_width=8 holds up to 255"):
        bench.check(make.dense(128, 4, ternary=True), config=make.one)


def test_unused_lanes_count_in_flipped_planes(bench, make):
    """Zero padding of signed inputs: what is not there is stored as 0, and counted as a one that is taken off again."""
    outcome = bench.check(
        make.conv((3, 3), (2, 2), 5, 7, dtype="int4", out="int32", padding=(1, 1, 0, 0)), config=make.small
    )
    arranged = outcome.program.layers[0].arranged
    assert arranged.codes.flip == 8
    assert arranged.most_matches == 4 * (5 * 15 + 3 * 8)


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_width_in_and_out(bench, make, width, signed):
    """Through two layers: the bit planes that one writes are those that the other reads."""
    dtype = f"{'' if signed else 'u'}int{width}" if width > 1 or not signed else "bipolar"
    layers = [
        make.dense(9, 7, dtype=dtype, out=dtype),
        make.dense(7, 6, dtype=dtype, out=dtype, ternary=True),
        make.dense(6, 3, dtype=dtype, out="int32"),
    ]
    bench.check(layers, config=make.many)


@pytest.mark.parametrize(("minimum", "T"), [(0, 1), (3, 2), (-7, 4), (-8, 15), (6, 1)])
def test_outputs_that_use_a_part_of_their_type(bench, make, minimum, T):
    thresholds = np.sort(np.random.default_rng(T).integers(-9, 9, (6, T)), axis=1)
    layers = [
        make.dense(9, 6, thresholds=thresholds, output_dtype="int4", output_minimum=minimum),
        make.dense(6, 5, dtype="int4", out="int32", ternary=True),
    ]
    outcome = bench.check(layers, config=make.small)
    assert outcome.program.layers[1].arranged.codes.planes == T.bit_length()
