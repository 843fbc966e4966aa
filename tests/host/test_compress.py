import itertools

import numpy as np
import pytest

from celosia.host.compress import Compression, compress
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import integer_range


def random_network(
    rng: np.random.Generator, sizes=(12, 9, 7, 5), activations=("relu", "relu6", "none")
) -> FloatNetwork:
    layers = [
        FloatDense(
            name=f"fc{i}", weights=rng.normal(0, k**-0.5, (k, n)), bias=rng.normal(0, 0.3, n), activation=activation
        )
        for i, ((k, n), activation) in enumerate(zip(itertools.pairwise(sizes), activations, strict=True))
    ]
    return FloatNetwork(name="random", layers=layers, input_shape=(sizes[0],), labels=["a", "b", "c", "d", "e"])


def one_weight(weight: float, bias: float = 0.0, activation="none") -> FloatNetwork:
    layer = FloatDense(name="fc", weights=[[weight]], bias=[bias], activation=activation)
    return FloatNetwork(name="n", layers=[layer], input_shape=(1,))


@pytest.mark.parametrize("codebook_width", [None, 8])
@pytest.mark.parametrize(
    ("weight_width", "activation_width", "error"), [(8, 8, 0.1), (16, 16, 1e-3), (16, 8, 0.1), (5, 16, 0.3)]
)
def test_integers_follow_the_shared_network(evaluate, codebook_width, weight_width, activation_width, error):
    seed = weight_width
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(40, 12)).astype(np.float32)
    options = Compression(
        density=0.6, codebook_width=codebook_width, weight_width=weight_width, activation_width=activation_width
    )
    result = compress(random_network(rng), inputs, options)
    outputs = evaluate(result.network, result.network.quantize_input(inputs))
    assert np.abs(result.network.dequantize_output(outputs) - result.shared.evaluate(inputs)).max() < error
    assert result.network.labels == ("a", "b", "c", "d", "e")
    limit = 2 ** (weight_width - 1) - 1
    for layer, shared, pruned, scales in zip(
        result.network.layers, result.shared.layers, result.pruned.layers, result.scales, strict=True
    ):
        assert (layer.codebook is None) == (codebook_width is None)
        assert layer.input_dtype == layer.output_dtype == f"int{activation_width}"
        # the largest shift: the largest weight is more than half of the limit
        assert limit / 2 <= np.abs(layer.weights).max() <= limit
        # a pure power of two: weight · input_scale · 2^shift / output_scale
        scale = scales.output_scale / (scales.input_scale * 2**layer.shift)
        assert np.array_equal(scales.weight_scales, np.full(layer.output_shape, scale))
        errors = np.abs(layer.weights * scale - shared.weights.astype(float))
        assert errors.max() <= 0.5000001 * scale
        assert scales.weight_error == pytest.approx(errors.max(), abs=1e-9)
        bias_scale = scales.output_scale / 2**layer.shift
        assert np.abs(layer.bias * bias_scale - shared.bias.astype(float)).max() <= 0.5000001 * bias_scale
        assert np.count_nonzero(pruned.weights) == round(0.6 * pruned.weights.size)
        assert np.array_equal(pruned.weights == 0, shared.weights == 0)


def test_shared_values_come_through_exactly():
    rng = np.random.default_rng(2)
    values = np.float32([-0.9, -0.5, 0.1, 0.3, 0.7])
    weights = rng.choice(np.append(values, np.float32(0)), (30, 20))
    layer = FloatDense(name="fc", weights=weights, bias=np.zeros(20))
    result = compress(
        FloatNetwork(name="n", layers=[layer], input_shape=(30,)), rng.normal(size=(9, 30)), Compression()
    )
    assert np.array_equal(result.shared.layers[0].weights, weights)
    compressed = result.network.layers[0]
    assert compressed.codebook[0] == 0
    assert (np.diff(compressed.codebook[1:]) > 0).all()
    assert np.array_equal(np.append(np.float32(0), values)[compressed.codes], weights)


def test_values_that_are_equal_as_integers_share_a_code():
    weights = np.float32([[1.0, 0.5], [0.50001, 1e-6], [-1e-6, -0.5]])
    layer = FloatDense(name="fc", weights=weights, bias=[0, 0])
    network = FloatNetwork(name="n", layers=[layer], input_shape=(3,))
    layer = compress(network, np.ones((1, 3)), Compression(weight_width=8)).network.layers[0]
    assert len(layer.codebook) == 4
    assert layer.codes.tolist() == [[3, 2], [2, 0], [0, 1]]
    assert layer.nonzeros == 4


def test_signed_grids_are_symmetric():
    result = compress(one_weight(0.5), [[-3.0], [1.0]]).network
    assert result.input_scale == np.float32(3 / 127)
    assert result.output_scale == np.float32(1.5 / 127)
    assert result.quantize_input([[-3.0], [0.0], [3.0]]).ravel().tolist() == [-127, 0, 127]


def test_activations_become_clamps():
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(50, 12)) * 3
    network = random_network(rng, activations=((-0.5, 0.75), "relu", "none"))
    clip, relu, linear = compress(network, inputs, Compression()).network.layers
    assert (clip.minimum, clip.maximum) == (-85, 127)  # −0.5 of 0.75 / 127
    assert (relu.minimum, relu.maximum) == (0, 127)
    assert (linear.minimum, linear.maximum) == (-128, 127)


def test_unsigned_activations(evaluate):
    rng = np.random.default_rng(6)
    network = random_network(rng, activations=("relu", "relu", "relu"))
    inputs = np.abs(rng.normal(size=(50, 12))).astype(np.float32)
    result = compress(network, inputs, Compression(codebook_width=8, signed=False))
    assert {layer.input_dtype for layer in result.network.layers} == {"uint8"}
    assert result.network.layers[0].maximum == 255
    outputs = evaluate(result.network, result.network.quantize_input(inputs))
    assert outputs.max() == 255
    assert np.abs(result.network.dequantize_output(outputs) - result.shared.evaluate(inputs)).max() < 0.05
    with pytest.raises(ModelError, match="the calibration inputs reach down to -1, but uint8 has no negative values"):
        compress(one_weight(1.0), [[-1.0]], Compression(signed=False))
    with pytest.raises(ModelError, match='the outputs of layer "fc" reach down to -2'):
        compress(one_weight(-2.0), [[1.0]], Compression(signed=False))


@pytest.mark.parametrize("accumulator_width", [24, 28, 48])
def test_sums_on_calibration_inputs_fit_the_accumulators(accumulator_width):
    rng = np.random.default_rng(7)
    network = random_network(rng)
    inputs = rng.normal(size=(60, 12)).astype(np.float32)
    options = Compression(codebook_width=None, activation_width=8, accumulator_width=accumulator_width)
    result = compress(network, inputs, options).network
    values = result.quantize_input(inputs).astype(np.int64)
    for layer in result.layers:
        largest = (np.abs(values) @ np.abs(layer.weights.astype(np.int64)) + np.abs(layer.bias)).max()
        assert largest < 2 ** (accumulator_width - 1)
        if accumulator_width == 24:  # what limits the shift here: one more bit, and half of the room would be gone
            assert 4.2 * largest > 2 ** (accumulator_width - 1)
        acc = values @ layer.weights.astype(np.int64) + layer.bias
        values = np.clip((acc + (1 << layer.shift >> 1)) >> layer.shift, layer.minimum, layer.maximum)


def test_accumulators_that_are_too_narrow():
    # a sum that cancels: its parts are 10^6 times its result
    layer = FloatDense(name="fc", weights=np.float32([[1000.0], [-999.999]]), bias=[0])
    network = FloatNetwork(name="n", layers=[layer], input_shape=(2,))
    options = Compression(activation_width=16, accumulator_width=24)
    with pytest.raises(ModelError, match=r'layer "fc": its sums reach .* too much for accumulators of 24 bits'):
        compress(network, [[1.0, 1.0]], options)


@pytest.mark.parametrize(
    ("weight", "bias", "inputs"),
    [
        (0.0, 0.0, [[1.0]]),
        (0.0, 3.0, [[1.0]]),
        (1.0, 0.0, [[0.0]]),
        (1e-12, 2.0, [[1.0]]),
        (1e12, 2.0, [[1.0]]),
        (5.0, 0.0, [[1e-20]]),
        (1e4, -1e9, [[1.0]]),
    ],
)
def test_extremes_of_scale(evaluate, weight, bias, inputs):
    network = one_weight(weight, bias)
    for activation_width in (8, 16):
        result = compress(network, inputs, Compression(activation_width=activation_width)).network
        outputs = result.dequantize_output(evaluate(result, result.quantize_input(inputs)))
        expected = network.evaluate(inputs)
        assert np.abs(outputs - expected).max() <= 0.01 * np.abs(expected).max()


def test_a_dead_layer_keeps_its_weights_in_range():
    network = one_weight(1e9, -2e9, "relu")  # 0 for all calibration inputs, with weights far from 0
    layer = compress(network, [[1.0], [0.5]]).network.layers[0]
    assert 2**14 <= layer.weights.max() < 2**15


def test_outputs_that_are_small_beside_the_weights(evaluate):
    # parts of 1 cancel to 0.001, 30 steps of a 16-bit input: weights of 4 bits need a coarser output
    layer = FloatDense(name="fc", weights=np.float32([[1.0], [-1.0]]), bias=[0])
    network = FloatNetwork(name="n", layers=[layer], input_shape=(2,))
    result = compress(network, [[1.0, 0.999]], Compression(weight_width=4, activation_width=16)).network
    assert result.layers[0].weights.ravel().tolist() == [7, -7]
    outputs = result.dequantize_output(evaluate(result, result.quantize_input([[1.0, 0.999], [0.999, 1.0]])))
    np.testing.assert_allclose(outputs.ravel(), [0.001, -0.001], rtol=0.02)


def test_half_of_a_step_rounds_up(evaluate):
    network = one_weight(0.5)
    result = compress(network, [[127.0]], Compression()).network
    inputs = np.array([[1], [-1], [3], [-3]], np.int8)
    assert evaluate(result, inputs).ravel().tolist() == [1, -1, 3, -3]
    assert result.layers[0].weights.tolist() == [[2**14]]
    assert result.layers[0].shift == 14


def test_retraining_and_densities_per_layer():
    rng = np.random.default_rng(8)
    calls = []

    def retrain(network, masks):
        calls.append([int(mask.sum()) for mask in masks])
        return network

    options = Compression(density=(0.25, 0.5, 1.0), rounds=2)
    result = compress(random_network(rng), rng.normal(size=(9, 12)), options, retrain=retrain)
    assert len(calls) == 2
    assert [layer.density for layer in result.network.layers[:1]] == [0.25]
    assert [np.count_nonzero(layer.weights) for layer in result.pruned.layers] == [27, 32, 35] == calls[-1]


def test_defaults_prune_nothing():
    network = random_network(np.random.default_rng(9))
    result = compress(network, np.ones((1, 12)))
    assert result.pruned is network
    assert all(len(layer.codebook) <= 16 for layer in result.network.layers)
    assert [integer_range(layer.output_dtype) for layer in result.network.layers] == [(-128, 127)] * 3


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (np.zeros((0, 12)), "at least one"),
        (np.zeros(12), "at least one"),
        (np.zeros((3, 11)), r"takes \(batch, 12\)"),
        (np.full((3, 12), np.nan), "NaN or infinity"),
    ],
)
def test_calibration_inputs_are_checked(calibration, words):
    with pytest.raises(ModelError, match=words):
        compress(random_network(np.random.default_rng(7)), calibration)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codebook_width": 1}, "codebook_width is 1, but it must be from 2 to 8"),
        ({"codebook_width": 9}, "codebook_width is 9"),
        ({"weight_width": 3}, "weight_width is 3, but it must be from 4 to 16"),
        ({"weight_width": 8.0}, "weight_width is 8.0, but it must be an integer"),
        ({"activation_width": 12}, "activation_width is 12, but it must be 8 or 16"),
        ({"accumulator_width": 23}, "accumulator_width is 23"),
        ({"rounds": 0}, "rounds is 0"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ModelError, match=words):
        Compression(**options)


def test_densities_are_checked():
    network, inputs = random_network(np.random.default_rng(10)), np.ones((1, 12))
    with pytest.raises(ModelError, match="density has 2 values for 3 layers"):
        compress(network, inputs, Compression(density=(0.1, 0.2)))
    with pytest.raises(ModelError, match=r"density is -0\.1"):
        compress(network, inputs, Compression(density=-0.1))
