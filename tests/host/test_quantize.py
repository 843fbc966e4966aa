from fractions import Fraction

import numpy as np
import pytest

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import integer_range
from celosia.host.quantize import Quantization, quantize, quantize_multiplier


def random_network(rng: np.random.Generator, sizes=(12, 9, 7, 5)) -> FloatNetwork:
    layers = [
        FloatDense(
            name=f"fc{i}", weights=rng.normal(0, k**-0.5, (k, n)), bias=rng.normal(0, 0.3, n), activation=activation
        )
        for i, (k, n, activation) in enumerate(zip(sizes, sizes[1:], ("relu", (-0.5, 0.75), "none"), strict=False))
    ]
    return FloatNetwork(name="random", layers=layers, input_shape=(sizes[0],))


def test_multiplier_of_known_scales():
    # by hand from TensorFlow Lite's QuantizeMultiplier: frexp, then 31 bits
    scales = [0.5, 1.0, 0.25, 0.75, 1.0 - 2.0**-33, 2.0**-32, 2.0**-33, 0.0, 127.5, 2.0**-31 * (1 - 2.0**-33)]
    multiplier, shift = quantize_multiplier(scales)
    expected = [2**30, 2**30, 2**30, 3 * 2**29, 2**30, 2**30, 0, 0, 255 * 2**23, 2**30]
    assert multiplier.tolist() == expected
    assert shift.tolist() == [0, 1, -1, 0, 1, -31, 0, 0, 7, -30]


def test_multiplier_is_the_nearest():
    seed = 1
    rng = np.random.default_rng(seed)
    scales = 2.0 ** rng.uniform(-31.9, 7, 2000)
    multiplier, shift = quantize_multiplier(scales)
    assert multiplier.min() >= 2**30, f"seed {seed}"
    assert multiplier.max() < 2**31, f"seed {seed}"
    for scale, m, s in zip(scales.tolist(), multiplier.tolist(), shift.tolist(), strict=True):
        step = Fraction(2) ** (s - 31)
        assert abs(m * step - Fraction(scale)) <= step / 2, f"seed {seed}, scale {scale!r}"


def test_float32_scales_are_exact():
    scales = np.float32(2.0) ** np.linspace(-31, 6, 500, dtype=np.float32)
    multiplier, shift = quantize_multiplier(scales)
    assert all(
        m * Fraction(2) ** (s - 31) == Fraction(scale)
        for scale, m, s in zip(scales.tolist(), multiplier.tolist(), shift.tolist(), strict=True)
    )


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf])
def test_multiplier_refuses(scale):
    with pytest.raises(ModelError, match="finite number of at least 0"):
        quantize_multiplier(scale)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("rounding", ["double", "away", "even", "up"])
@pytest.mark.parametrize(
    ("weight_width", "activation_width", "error"), [(8, 8, 0.06), (16, 16, 4e-4), (16, 8, 0.06), (5, 12, 0.3)]
)
def test_integers_follow_the_float_network(evaluate, weight_width, activation_width, error, rounding, signed):
    seed = weight_width
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    inputs = rng.normal(size=(40, 12)).astype(np.float32)
    options = Quantization(
        weight_width=weight_width, activation_width=activation_width, signed=signed, rounding=rounding
    )
    quantized = quantize(network, inputs, options)
    result = quantized.network
    lowest, highest = integer_range(result.output_dtype)
    outputs = evaluate(result, result.quantize_input(inputs))
    assert lowest <= outputs.min() <= outputs.max() <= highest
    assert np.abs(result.dequantize_output(outputs) - network.evaluate(inputs)).max() < error, f"seed {seed}"
    limit = 2 ** (weight_width - 1) - 1
    for layer, scales in zip(result.layers, quantized.scales, strict=True):
        assert layer.name == scales.name
        assert np.abs(layer.weights).max() == limit
        assert layer.weight_width == weight_width
        assert layer.rounding == rounding
        assert scales.weight_error <= scales.weight_scales.max() * 0.501


def test_activations_become_clamps():
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(50, 12))
    quantized = quantize(random_network(rng), inputs)
    relu, clip, linear = quantized.network.layers
    assert (relu.minimum, relu.output_zero_point, relu.maximum) == (-128, -128, 127)
    assert (clip.minimum, clip.maximum) == (-128, 127)
    assert (linear.minimum, linear.maximum) == (-128, 127)
    assert quantized.scales[1].output_range == (-0.5, 0.75)


def test_relu6_clamps_inside_the_type():
    # outputs from -3 to 12 before the clamp; the range on the calibration inputs, 0 to 6, fills the type
    layer = FloatDense(name="fc", weights=[[1.0]], bias=[0.0], activation="relu6")
    network = FloatNetwork(name="n", layers=[layer], input_shape=(1,))
    small = quantize(network, [[3.0], [1.0]]).network.layers[0]
    assert (small.minimum, small.maximum) == (-128, 127)
    two = FloatNetwork(name="n", layers=[layer, FloatDense(name="b", weights=[[1.0]], bias=[0.0])], input_shape=(1,))
    assert quantize(two, [[-3.0], [12.0]]).scales[0].output_range == (0.0, 6.0)


def test_zero_is_exact_and_ranges_include_it():
    layer = FloatDense(name="fc", weights=[[1.0]], bias=[0.0])
    network = FloatNetwork(name="n", layers=[layer], input_shape=(1,))
    for inputs, zero_point in (
        ([[5.0], [10.0]], -128),
        ([[-10.0], [-5.0]], 127),
        ([[0.0]], -128),
        ([[-2.0], [1.0]], 42),
    ):
        result = quantize(network, inputs).network
        assert result.quantize_input([0.0]) == result.input_zero_point
        assert result.input_zero_point == zero_point


def test_channels_of_zeros_and_large_biases(evaluate):
    weights = np.array([[1.0, 0.0, 0.0, 1e-9], [2.0, 0.0, 0.0, -1e-9]])
    layer = FloatDense(name="fc", weights=weights, bias=[0.0, 0.0, 3.0, -4.0])
    network = FloatNetwork(name="n", layers=[layer], input_shape=(2,))
    inputs = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    result = quantize(network, inputs).network
    assert np.abs(result.layers[0].bias).max() <= 2**30
    assert result.layers[0].accumulator_width <= 32
    outputs = result.dequantize_output(evaluate(result, result.quantize_input(inputs)))
    assert np.abs(outputs - network.evaluate(inputs)).max() < 0.04


def test_narrow_sums_never_need_a_shift_beyond_the_hardware(evaluate):
    layer = FloatDense(name="fc", weights=[[1.0]], bias=[0.0])
    network = FloatNetwork(name="n", layers=[layer], input_shape=(1,))
    inputs = np.array([[-1.0], [1.0]])
    result = quantize(network, inputs, Quantization(weight_width=2, activation_width=16)).network
    assert result.layers[0].shift.max() <= 7
    outputs = result.dequantize_output(evaluate(result, result.quantize_input(inputs)))
    assert np.abs(outputs - inputs).max() < 1e-3


def test_one_scale_per_layer():
    rng = np.random.default_rng(6)
    quantized = quantize(random_network(rng), rng.normal(size=(9, 12)), Quantization(per_channel=False))
    for layer, scales in zip(quantized.network.layers, quantized.scales, strict=True):
        assert len(set(layer.multiplier.tolist())) == len(set(scales.weight_scales.tolist())) == 1


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
        quantize(random_network(np.random.default_rng(7)), calibration)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_width": 1}, "weight_width is 1, but it must be an integer from 2 to 16 bits"),
        ({"activation_width": 17}, "activation_width is 17"),
        ({"weight_width": 8.0}, "weight_width is 8.0"),
        ({"rounding": "down"}, "rounding 'down'"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ModelError, match=words):
        Quantization(**options)
