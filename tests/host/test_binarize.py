import itertools
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.binarize import Binarization, binarize, binary_weights, sign_layer
from celosia.host.models.binary import BinaryDense
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.prepare import _METHODS
from celosia.sim.golden import binary as golden

SEED = 41


def random_network(rng: np.random.Generator, sizes=(12, 9, 7, 5), activation="relu") -> FloatNetwork:
    pairs = list(itertools.pairwise(sizes))
    layers = [
        FloatDense(
            name=f"fc{i}",
            weights=rng.normal(0, k**-0.5, (k, n)),
            bias=rng.normal(0, 0.3, n),
            activation=activation if i < len(pairs) - 1 else "none",
        )
        for i, (k, n) in enumerate(pairs)
    ]
    labels = [str(i) for i in range(sizes[-1])]
    return FloatNetwork(name="random", layers=layers, input_shape=(sizes[0],), labels=labels)


def one_layer(weights, bias=None, activation="none") -> FloatNetwork:
    weights = np.asarray(weights, float)
    bias = np.zeros(weights.shape[1]) if bias is None else bias
    layer = FloatDense(name="fc", weights=weights, bias=bias, activation=activation)
    return FloatNetwork(name="n", layers=[layer], input_shape=(len(weights),))


def evaluate(network: Network, inputs: np.ndarray) -> np.ndarray:
    values = network.quantize_input(inputs)
    for layer in network.layers:
        values = golden.run_layer(layer, values)
    return values


def naive_weights(column: list[float], ternary: bool) -> list[float]:
    """What the weights of one output become, real."""
    mean = sum(map(abs, column)) / len(column)
    if not ternary:
        return [mean if weight >= 0 else -mean for weight in column]
    kept = [abs(weight) for weight in column if abs(weight) > 0.7 * mean]
    alpha = sum(kept) / len(kept) if kept else 0.0
    return [0.0 if abs(weight) <= 0.7 * mean else math.copysign(alpha, weight) for weight in column]


def naive_outputs(network: FloatNetwork, inputs: np.ndarray, ternary: bool) -> np.ndarray:
    """Outputs for real inputs (n, K), with signs between layers."""
    values = inputs.astype(np.float64)
    for layer in network.layers:
        weights = np.array([naive_weights(column, ternary) for column in layer.weights.T.astype(float).tolist()]).T
        outputs = values @ weights + layer.bias
        values = np.where(outputs >= 0, 1.0, -1.0)
    return outputs


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("dtype", ["bipolar", "uint1", "uint4", "uint8", "int2", "int8"])
def test_outputs_are_those_of_signs(dtype, ternary):
    rng = np.random.default_rng(SEED)
    for activation in ("relu", "none", (-1.0, 1.0)):
        network = random_network(rng, activation=activation)
        inputs = rng.normal(size=(200, 12)).astype(np.float32)
        if dtype.startswith("u"):
            inputs = np.abs(inputs)
        binarized = binarize(network, inputs, Binarization(input_dtype=dtype, ternary=ternary))
        integers = binarized.quantize_input(inputs)
        assert np.isin(np.unique(integers), np.arange(integer_range(dtype)[0], integer_range(dtype)[1] + 1)).all()
        expected = naive_outputs(network, integers * binarized.input_scale, ternary)
        outputs = binarized.dequantize_output(evaluate(binarized, inputs))
        np.testing.assert_allclose(outputs, expected, atol=1e-5, err_msg=f"seed {SEED}")
        assert len(np.unique(outputs.round(4))) > 10  # hidden signs that differ
        assert [type(layer) for layer in binarized.layers] == [BinaryDense] * 3
        assert [layer.input_dtype for layer in binarized.layers] == [dtype, "bipolar", "bipolar"]
        assert [layer.output_dtype for layer in binarized.layers] == ["bipolar", "bipolar", "int32"]
        assert [layer.is_ternary for layer in binarized.layers] == [ternary] * 3
        assert (binarized.labels, binarized.input_shape) == (network.labels, network.input_shape)


def test_inputs_fill_their_type():
    for dtype, inputs, scale in (
        ("uint4", [[0.0], [30.0]], 2.0),
        ("int4", [[-14.0], [7.0]], 2.0),
        ("uint1", [[0.0], [3.0]], 3.0),
    ):
        network = binarize(one_layer([[1.0]]), inputs, Binarization(input_dtype=dtype))
        assert network.input_scale == scale
        assert network.input_thresholds is None
        assert network.input_zero_point == 0
    assert network.quantize_input([[0.0], [1.4], [1.6], [9.0]]).ravel().tolist() == [0, 0, 1, 1]


def test_bipolar_inputs_stand_for_the_threshold_and_their_mean_distance_from_it():
    weights, bias = [[0.5], [-0.25], [0.75]], [0.125]
    inputs = np.array([[0.0, 16.0, 8.0], [4.0, 12.0, 16.0]])
    network = binarize(one_layer(weights, bias), inputs, Binarization(input_threshold=8.0))
    distance = (8 + 8 + 0 + 4 + 4 + 8) / 6
    assert network.input_scale == np.float32(distance)
    assert network.input_thresholds.tolist() == [8.0]
    assert network.quantize_input(inputs).tolist() == [[-1, 1, 1], [-1, 1, 1]]
    assert network.output_scale == pytest.approx([0.5 * distance], rel=1e-6)
    assert network.output_bias == pytest.approx([0.125 + 0.5 * 8 * (1 - 1 + 1)])
    real = 8 + distance * np.array([-1, 1, 1])
    assert network.dequantize_output(evaluate(network, inputs))[0, 0] == pytest.approx(
        real @ [0.5, -0.5, 0.5] + 0.125, rel=1e-6
    )
    plain = binarize(one_layer(weights), [[-1.0, 1.0, -1.0]])
    assert (plain.input_scale, plain.input_thresholds) == (1.0, None)
    assert plain.quantize_input([[0.0, -1e-9, 3.0]]).tolist() == [[1, -1, 1]]


def test_a_threshold_also_shifts_hidden_sums():
    rng = np.random.default_rng(SEED)
    network = random_network(rng)
    inputs = rng.uniform(0, 16, (200, 12)).astype(np.float32)
    binarized = binarize(network, inputs, Binarization(input_threshold=6.0))
    real = 6.0 + binarized.quantize_input(inputs) * binarized.input_scale
    expected = naive_outputs(network, real, ternary=False)
    np.testing.assert_allclose(binarized.dequantize_output(evaluate(binarized, inputs)), expected, atol=1e-5)


def test_weights_become_signs_and_a_mean():
    signs, alpha = binary_weights(np.float32([[0.0, -0.0], [-1e-30, 3.0], [2.0, -1.5]]))
    assert signs.dtype == np.int8
    assert signs.tolist() == [[1, 1], [-1, 1], [1, -1]]
    assert alpha == pytest.approx([2 / 3, 1.5])


def test_ternary_weights_of_the_paper():
    # the mean magnitude is 1, so that up to 0.7 all become 0; 1.55 is the mean of the others
    signs, alpha = binary_weights(np.array([[2.0, 0.0], [-1.1, 0.0], [0.7, 0.0], [-0.2, 0.0]]), ternary=True)
    assert signs.tolist() == [[1, 0], [-1, 0], [0, 0], [0, 0]]
    assert alpha == pytest.approx([1.55, 0])


def test_thresholds_are_exact():
    rng = np.random.default_rng(SEED)
    inputs, outputs = 40, 500
    weights = rng.integers(-1, 2, (inputs, outputs))
    scale = rng.normal(size=outputs) * 10.0 ** rng.integers(-12, 6, outputs)
    # biases for which the sign turns at or next to an integer, in float64 or in the reals
    bias = -scale * rng.integers(-80, 81, outputs) * (1 + rng.choice([-1, 0, 1], outputs) * 2.0**-52)
    layer = sign_layer("fc", weights, scale, bias, input_dtype="uint2")
    flipped = np.where(scale < 0, -weights, weights)
    assert np.array_equal(layer.weights, flipped)
    for n, threshold in enumerate(layer.thresholds[:, 0].tolist()):
        sums = range(3 * int(np.minimum(flipped[:, n], 0).sum()), 3 * int(np.maximum(flipped[:, n], 0).sum()) + 1)
        reached = [acc for acc in sums if abs(scale[n]) * acc + bias[n] >= 0]
        assert threshold == min(reached, default=sums[-1] + 1), f"seed {SEED}, output {n}"
    exact = [
        [Fraction(s) * int(acc) + Fraction(b) >= 0 for acc in range(-120, 121)]
        for s, b in zip(np.abs(scale).tolist(), bias.tolist(), strict=True)
    ]
    rounded = np.abs(scale)[:, None] * np.arange(-120, 121) + bias[:, None] >= 0
    assert (np.array(exact) != rounded).sum() > 0, "the case where float64 and the reals differ is among the tests"


def test_signs_with_negative_scales():
    weights = np.random.default_rng(SEED).choice([-1, 1], (5, 64))
    scale = np.resize([-2.0, 0.5, -0.1, 3.0], 64)
    bias = np.linspace(-4, 4, 64)
    layer = sign_layer("fc", weights, scale, bias, input_dtype="bipolar")
    x = np.array(list(itertools.product([-1, 1], repeat=5)))
    assert np.array_equal(golden.run_layer(layer, x), np.where(x @ weights * scale + bias >= 0, 1, -1))


def test_a_scale_of_zero_gives_a_constant():
    weights = np.array([[1, 1, 1], [1, -1, 0]])
    layer = sign_layer("fc", weights, np.zeros(3), np.array([0.0, -1e-300, 1.0]), input_dtype="int2")
    assert layer.thresholds.ravel().tolist() == [-4, 4, -2]  # the smallest sum; the largest plus 1; the smallest
    x = np.array(list(itertools.product([-2, -1, 0, 1], repeat=2)))
    assert np.array_equal(golden.run_layer(layer, x), np.broadcast_to([1, -1, 1], (16, 3)))


def test_outputs_that_no_input_turns():
    weights = np.ones((3, 4), int)
    bias = np.array([-3.0, -3.5, 3.0, 1e300])
    layer = sign_layer("fc", weights, np.ones(4), bias, input_dtype="bipolar")
    assert layer.thresholds.ravel().tolist() == [3, 4, -3, -3]


@pytest.mark.parametrize("ternary", [False, True])
def test_weights_of_zero(ternary):
    options = Binarization(input_dtype="uint4", ternary=ternary)
    network = binarize(one_layer([[0.0, 1.0], [0.0, 1.0]], [0.5, 0.0]), [[1.0, 1.0]], options)
    outputs = network.dequantize_output(evaluate(network, np.ones((1, 2))))
    assert outputs[0].tolist() == [0.5, 2.0]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_extremes_of_scale(size):
    network = one_layer([[size, -size], [size, size]], [0.0, size])
    binarized = binarize(network, [[1.0, 1.0]], Binarization(input_dtype="uint8"))
    outputs = binarized.dequantize_output(evaluate(binarized, np.ones((1, 2))))
    np.testing.assert_allclose(outputs, [[2 * size, size]], rtol=1e-5)
    binarize(one_layer([[1e-30]]), [[1e-30]])  # a product that float32 does not hold


def test_calibration_of_nothing_but_the_threshold():
    network = binarize(one_layer([[2.0], [2.0]]), [[8.0, 8.0]], Binarization(input_threshold=8.0))
    outputs = network.dequantize_output(evaluate(network, np.full((1, 2), 8.0)))
    assert outputs.tolist() == [[32.0]]


@pytest.mark.parametrize(
    ("calibration", "options", "words"),
    [
        (np.zeros((0, 12)), {}, "at least one"),
        (np.zeros((3, 11)), {}, r"takes \(batch, 12\)"),
        (np.full((3, 12), np.nan), {}, "NaN or infinity"),
        (np.full((3, 12), -1.0), {"input_dtype": "uint4"}, "inputs reach down to -1, but uint4 has no negative values"),
    ],
)
def test_calibration_inputs_are_checked(calibration, options, words):
    with pytest.raises(ModelError, match=words):
        binarize(random_network(np.random.default_rng(SEED)), calibration, Binarization(**options))


@pytest.mark.parametrize("activation", ["relu", "relu6", (-1.0, 1.0)])
def test_a_last_layer_with_an_activation_is_refused(activation):
    with pytest.raises(ModelError, match=r'layer "fc": it ends in the activation .* without an activation would be r'):
        binarize(one_layer([[1.0]], activation=activation), [[1.0]])
    assert binarize(one_layer([[1.0]], activation=(-np.inf, np.inf)), [[1.0]]).output_dtype == "int32"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_dtype": "uint9"}, "input_dtype is 'uint9', but it must be bipolar, uint1 to uint8 or int2 to int8"),
        ({"input_dtype": "int32"}, "input_dtype is 'int32'"),
        ({"input_threshold": np.nan}, "input_threshold is nan, but it must be finite"),
        ({"input_threshold": 8.0, "input_dtype": "uint4"}, "only bipolar inputs have one; it must be 0 for uint4"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ModelError, match=words):
        Binarization(**options)


@pytest.mark.parametrize(
    ("width", "lowest", "dtype", "thresholds"),
    [(1, 0.0, "bipolar", [8.0]), (1, -3.0, "bipolar", None), (4, 0.0, "uint4", None), (3, -3.0, "int3", None)],
)
def test_what_the_engine_of_some_activation_width_gets(width, lowest, dtype, thresholds):
    inputs = np.array([[lowest] * 12, [16.0] * 12])
    engine = SimpleNamespace(activation_width=width)
    network = _METHODS["binary"](random_network(np.random.default_rng(SEED)), inputs, engine)
    assert network.input_dtype == dtype
    assert (None if network.input_thresholds is None else network.input_thresholds.tolist()) == thresholds
    with pytest.raises(ModelError, match="at least one"):
        _METHODS["binary"](random_network(np.random.default_rng(SEED)), np.zeros((0, 12)), engine)
