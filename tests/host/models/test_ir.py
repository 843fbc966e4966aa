import dataclasses

import numpy as np
import pytest

from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import container, integer_range, quantize_values, signed_width
from celosia.host.models.ir import Dense, Network


def dense(**changes) -> Dense:
    fields = {
        "name": "fc",
        "weights": np.array([[1, -2], [3, 4], [-5, 6]], np.int8),
        "bias": np.array([7, -8], np.int32),
        "multiplier": np.array([2**30, 2**31 - 1]),
        "shift": np.array([-3, 1]),
        "rounding": "double",
        "input_zero_point": -128,
        "output_zero_point": 5,
        "minimum": -128,
        "maximum": 127,
    }
    return Dense(**(fields | changes))


def second(**changes) -> Dense:
    return dense(**({"name": "fc2", "weights": np.ones((2, 2), np.int8), "input_zero_point": 5} | changes))


@pytest.mark.parametrize(
    ("dtype", "limits", "numpy"),
    [
        ("int8", (-128, 127), "int8"),
        ("uint8", (0, 255), "uint8"),
        ("int2", (-2, 1), "int8"),
        ("uint4", (0, 15), "uint8"),
        ("int9", (-256, 255), "int16"),
        ("uint16", (0, 65535), "uint16"),
        ("int16", (-32768, 32767), "int16"),
    ],
)
def test_integer_types(dtype, limits, numpy):
    assert integer_range(dtype) == limits
    assert container(dtype) == np.dtype(numpy)


@pytest.mark.parametrize("dtype", ["int1", "int17", "uint32", "float32", "int08", "", None, 8])
def test_other_types_are_refused(dtype):
    with pytest.raises(ModelError, match="is not an activation type"):
        integer_range(dtype)


def test_quantize_values_rounds_half_to_even_and_saturates():
    values = [-0.25, 0.25, 0.75, 1.25, 1e30, -1e30, 0.0]
    assert quantize_values(values, 0.5, 3, "uint8").tolist() == [3, 3, 5, 5, 255, 0, 3]
    assert quantize_values([3e38], 1e-30, 0, "int8").tolist() == [127]  # the quotient is beyond float32
    with pytest.raises(ModelError, match="NaN or infinity"):
        quantize_values([np.nan], 1.0, 0, "int8")


@pytest.mark.parametrize(
    ("smallest", "largest", "width"),
    [(0, 0, 2), (-1, 1, 2), (-2, 1, 2), (-3, 0, 3), (0, 4, 4), (-128, 127, 8), (-128, 128, 9)],
)
def test_signed_width(smallest, largest, width):
    assert signed_width(smallest, largest) == width


def test_dense_keeps_its_own_read_only_arrays():
    weights = np.zeros((3, 2), np.int8)
    layer = dense(weights=weights)
    weights[:] = 1
    assert not layer.weights.any()
    for field in ("weights", "bias", "multiplier", "shift"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(layer, field)[0] = 1
    assert layer.bias.dtype == layer.multiplier.dtype == layer.shift.dtype == np.int64
    assert (layer.input_shape, layer.output_shape, layer.macs) == ((3,), (2,), 6)
    assert dense().weight_width == 4


def test_weights_become_c_order():
    weights = np.asfortranarray(np.arange(6, dtype=np.int8).reshape(3, 2))
    layer = dense(weights=weights)
    assert layer.weights.flags.c_contiguous
    assert np.array_equal(layer.weights, weights)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int4"])
def test_accumulator_width_is_the_smallest_that_fits(dtype):
    smallest, largest = integer_range(dtype)
    rng = np.random.default_rng(4)
    for zero_point in (smallest, 3, largest) * 10:
        weights = rng.integers(-128, rng.choice([1, 128]), (3, 2)).astype(np.int8)
        bias = rng.integers(-(2**14), 2**14, 2)
        layer = dense(input_dtype=dtype, input_zero_point=zero_point, weights=weights, bias=bias)
        extremes = [
            sum(side(w * (x - zero_point) for x in (smallest, largest)) for w in column) + start
            for column, bias in zip(layer.weights.T.tolist(), layer.bias.tolist(), strict=True)
            for start in (0, bias)
            for side in (min, max)
        ]
        extremes += [0]
        limit = 2 ** (layer.accumulator_width - 1)
        assert -limit <= min(extremes)
        assert max(extremes) < limit
        assert not (-limit // 2 <= min(extremes) and max(extremes) < limit // 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "not empty"),
        ({"weights": np.zeros((3, 2))}, "float64, but they must be int8 or int16"),
        ({"weights": np.zeros((3, 2), np.int32)}, "int32, but"),
        ({"weights": np.zeros(3, np.int8)}, r"shape \(3,\), but a dense layer needs \(K, N\)"),
        ({"weights": np.zeros((0, 2), np.int8)}, "both at least 1"),
        ({"bias": np.zeros(3, np.int32)}, r"bias has shape \(3,\), but 2 outputs need \(2,\)"),
        ({"bias": np.zeros(2)}, "bias is float64"),
        ({"bias": np.array([0, 2**47])}, r"bias\[1\] is 140737488355328, but it must be from -140737488355328"),
        ({"bias": np.array([0, 2**64 - 1], np.uint64)}, r"bias\[1\] is 18446744073709551615"),
        ({"multiplier": np.array([-1, 0])}, r"multiplier\[0\] is -1"),
        ({"multiplier": np.array([0, 2**31])}, r"multiplier\[1\] is 2147483648"),
        ({"shift": np.array([-32, 0])}, r"shift\[0\] is -32"),
        ({"shift": np.array([0, 8])}, r"shift\[1\] is 8, but it must be from -31 to 7"),
        ({"rounding": "down"}, "rounding 'down' is not one of double, away, even, up"),
        ({"input_zero_point": 128}, "input_zero_point is 128, but it must be from -128 to 127"),
        ({"output_zero_point": -1, "output_dtype": "uint8"}, "output_zero_point is -1, but it must be from 0 to 255"),
        ({"input_zero_point": 1.0}, "input_zero_point is 1.0, but it must be an integer"),
        ({"input_zero_point": True}, "must be an integer"),
        ({"minimum": -129}, "minimum is -129"),
        ({"maximum": 128}, "maximum is 128"),
        ({"minimum": 6, "maximum": 5}, "minimum 6 is above maximum 5"),
        ({"input_dtype": "int32"}, "'int32' is not an activation type"),
    ],
)
def test_dense_names_what_is_wrong(changes, words):
    with pytest.raises(ModelError, match=words):
        dense(**changes)


def test_network_derives_its_ends_from_the_layers():
    network = Network(name="net", layers=[dense(), second()], input_shape=(3,), output_scale=0.1, labels=["a", "b"])
    assert (network.input_dtype, network.input_zero_point) == ("int8", -128)
    assert (network.output_dtype, network.output_zero_point, network.output_shape) == ("int8", 5, (2,))
    assert network.macs == 10
    assert network.output_scale == float(np.float32(0.1))
    assert network.dequantize_output(np.array([5, 6], np.int8)).tolist() == [0.0, network.output_scale]
    assert network.quantize_input([[0, 1.5, 500]]).tolist() == [[-128, -126, 127]]
    assert isinstance(network.layers, tuple)


def test_a_dense_layer_takes_any_shape_of_its_size():
    assert Network(name="net", layers=[dense()], input_shape=(1, 3, 1)).input_shape == (1, 3, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": []}, "at least one"),
        ({"name": ""}, "not empty"),
        ({"input_shape": (4,)}, r'layer "fc": it takes shape \(3,\), but the input has shape \(4,\)'),
        ({"input_shape": ()}, "at least one dimension"),
        ({"input_shape": (3, 0)}, "must be from 1"),
        ({"layers": [dense(), dense(name="fc2")]}, r'layer "fc2": it takes shape \(3,\), but the output of layer "fc"'),
        ({"layers": [dense(), second(name="fc")]}, 'two layers are named "fc"'),
        (
            {"layers": [dense(), second(input_zero_point=4)]},
            'zero point 4, but layer "fc" gives int8 with zero point 5',
        ),
        ({"layers": [dense(), second(input_dtype="uint8")]}, "takes uint8"),
        ({"labels": ["a"]}, "1 labels for 2 outputs"),
        ({"labels": [1, 2]}, "label is not a string"),
        ({"input_scale": 0.0}, "input_scale is 0.0, but it must be positive"),
        ({"output_scale": float("nan")}, "output_scale contains NaN"),
        ({"output_scale": 1e-60}, "must not be 0"),
    ],
)
def test_network_names_what_is_wrong(changes, words):
    with pytest.raises(ModelError, match=words):
        Network(**({"name": "net", "layers": [dense()], "input_shape": (3,)} | changes))


def binary(dtype: str = "bipolar", **changes) -> Network:
    """A network of one layer of 3 inputs and 2 sums."""
    layer = BinaryDense(
        name="fc", weights=np.array([[1, 1], [1, -1], [-1, 1]]), input_dtype=dtype, output_dtype="int32"
    )
    return Network(**({"name": "net", "layers": [layer], "input_shape": (3,)} | changes))


def test_bipolar_inputs_are_signs():
    network = binary()
    assert network.input_step == 2
    values = network.quantize_input([[-0.0, 0.0, 1e-30], [-1e-30, 5, -np.float32(3e38)]])
    assert values.dtype == np.int8
    assert values.tolist() == [[1, 1, 1], [-1, 1, -1]]
    assert network.quantize_input(-2).tolist() == -1
    with pytest.raises(ModelError, match="NaN or infinity"):
        network.quantize_input([0, np.inf, 0])


@pytest.mark.parametrize(
    ("dtype", "thresholds", "expected"),
    [
        ("bipolar", [8], [-1, -1, 1, 1]),
        ("uint1", [8], [0, 0, 1, 1]),
        ("uint2", [8, 8, 9], [0, 0, 2, 3]),
        ("uint8", [7.5, 8.5], [1, 1, 1, 2]),
        ("int2", [0, 1, 9], [0, 0, 0, 1]),
        ("int8", [-np.inf, 8, np.inf], [-127, -127, -126, -126]),
    ],
)
def test_inputs_by_thresholds(dtype, thresholds, expected):
    network = binary(dtype, input_thresholds=np.array(thresholds))
    assert network.input_thresholds.dtype == np.float32
    assert network.input_step == (2 if dtype == "bipolar" else 1)
    below = np.nextafter(np.float32(8), np.float32(0))
    values = network.quantize_input([[7.5], [below], [8], [9]])
    assert values.shape == (4, 1)
    assert values.dtype == container(dtype)
    assert values.ravel().tolist() == expected
    with pytest.raises(ValueError, match="read-only"):
        network.input_thresholds[0] = 1


@pytest.mark.parametrize(
    ("dtype", "changes", "words"),
    [
        ("bipolar", {"input_thresholds": [0, 1]}, "2 input_thresholds, but bipolar inputs take 1 to 1"),
        ("uint2", {"input_thresholds": [0, 1, 2, 3]}, "4 input_thresholds, but uint2 inputs take 1 to 3"),
        ("uint2", {"input_thresholds": []}, "0 input_thresholds, but"),
        ("uint2", {"input_thresholds": [1, 0]}, "input_thresholds must be numbers .* in rising order"),
        ("uint2", {"input_thresholds": [np.nan]}, "in rising order"),
        ("uint2", {"input_thresholds": [[1]]}, "in rising order"),
        ("uint2", {"input_thresholds": 1}, "in rising order"),
        ("uint2", {"output_scale": [1, 2, 3]}, r"output_scale has shape \(3,\), but \(2,\) is needed"),
        ("uint2", {"output_scale": [1, 0]}, "output_scale is .* but it must not be 0"),
        ("uint2", {"output_bias": [[1, 2]]}, r"output_bias has shape \(1, 2\), but \(2,\) is needed"),
        ("uint2", {"output_bias": [1, np.inf]}, "output_bias contains NaN or infinity"),
        ("uint2", {"output_bias": "a"}, "output_bias is <U1, but it must be an array of numbers"),
        ("uint2", {"input_scale": [1.0]}, r"input_scale has shape \(1,\), but"),
        ("uint2", {"input_scale": -1.0}, "input_scale is -1.0, but it must be positive"),
        ("uint2", {"channels_first": True}, r"inputs of shape \(3,\) have no channels first"),
    ],
)
def test_members_of_binarized_networks_are_checked(dtype, changes, words):
    with pytest.raises(ModelError, match=words) as caught:
        binary(dtype, **changes)
    assert str(caught.value).startswith('network "net": ')


def test_outputs_with_a_scale_and_a_bias_each():
    network = binary(output_scale=[0.5, -2], output_bias=np.array([0.25, 1]))
    assert network.output_scale.dtype == network.output_bias.dtype == np.float32
    outputs = network.dequantize_output([[3, -1], [0, 3]])
    assert outputs.dtype == np.float32
    assert outputs.tolist() == [[1.75, 3.0], [0.25, -5.0]]
    assert network.dequantize_output([3, -1]).tolist() == [1.75, 3.0]  # one input, without a batch axis
    assert network.dequantize_output(np.zeros((0, 2))).shape == (0, 2)
    assert binary(output_scale=0.1, output_bias=1).output_bias == 1.0
    assert binary(output_bias=0.1).dequantize_output([[1, 2]]).tolist() == [
        [float(np.float32(np.float32(0.1) + np.float64(1))), float(np.float32(np.float32(0.1) + np.float64(2)))]
    ]
    with pytest.raises(ValueError, match="read-only"):
        network.output_scale[0] = 1


def test_scales_of_an_image_are_one_for_each_element():
    layer = BinaryConv(name="conv", weights=np.ones((1, 1, 1, 3), int), input_size=(2, 1), output_dtype="int32")
    network = Network(
        name="net", layers=[layer], input_shape=(2, 1, 1), output_scale=np.arange(1, 7), output_bias=np.arange(6)
    )
    outputs = network.dequantize_output(np.full((4, 2, 1, 3), 10))
    assert outputs.shape == (4, 2, 1, 3)
    assert outputs[3].tolist() == [[[10, 21, 32]], [[43, 54, 65]]]


def test_scale_and_bias_beside_a_zero_point():
    network = Network(name="net", layers=[dense()], input_shape=(3,), output_scale=[2, 3], output_bias=[-1, 1])
    assert network.dequantize_output(np.array([[5, 6]], np.int8)).tolist() == [[-1, 4]]


def test_images_with_channels_first():
    layer = BinaryConv(
        name="conv", weights=np.ones((2, 2, 3, 1), int), input_size=(4, 5), input_dtype="uint8", output_dtype="int32"
    )
    network = Network(name="net", layers=[layer], input_shape=(3, 4, 5), channels_first=True)
    assert network.input_shape == (3, 4, 5)
    images = np.arange(120).reshape(2, 3, 4, 5)
    taken = network.layer_inputs(network.quantize_input(images))
    assert taken.shape == (2, *layer.input_shape)
    for n, c, y, x in np.ndindex(images.shape):
        assert taken[n, y, x, c] == images[n, c, y, x]
    with pytest.raises(
        ModelError, match=r'layer "conv": it takes shape \(4, 5, 3\), but the input has shape \(5, 3, 4'
    ):
        Network(name="net", layers=[layer], input_shape=(4, 5, 3), channels_first=True)
    last = Network(name="net", layers=[layer], input_shape=(4, 5, 3))
    assert last.layer_inputs(images) is images


def test_layers_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        dense().name = "other"


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("none", [-3.5, 9.0]), ("relu", [0.0, 9.0]), ("relu6", [0.0, 6.0]), ((-1.0, 8.0), [-1.0, 8.0])],
)
def test_float_dense(activation, expected):
    layer = FloatDense(name="fc", weights=np.array([[1, 2], [2, 3]]), bias=np.array([-6.5, 1]), activation=activation)
    network = FloatNetwork(name="net", layers=[layer], input_shape=(2, 1))
    assert layer.weights.dtype == layer.bias.dtype == np.float32
    assert network.evaluate([[[1], [1]], [[1], [2]]])[0].tolist() == [max(expected[0], -3.5), min(expected[1], 6.0)]
    assert network.evaluate([[[-1], [2]]]).tolist() == [[max(expected[0], -3.5), 5.0]]
    assert network.evaluate([[[1], [2]]]).tolist() == [[max(expected[0], -1.5), expected[1]]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": np.array([[np.nan]])}, "weights contains NaN or infinity"),
        ({"weights": np.array([[1e39]])}, "finite float32"),
        ({"weights": np.array([["a"]])}, "array of numbers"),
        ({"weights": np.zeros((1, 1, 1))}, "a dense layer needs"),
        ({"bias": np.zeros(2)}, r"bias has shape \(2,\), but 1 outputs need \(1,\)"),
        ({"bias": np.array([np.inf])}, "bias contains"),
        ({"activation": "tanh"}, "activation 'tanh' is not none, relu, relu6"),
        ({"activation": (2.0, 1.0)}, "in that order"),
        ({"activation": (np.nan, 1.0)}, "in that order"),
    ],
)
def test_float_dense_names_what_is_wrong(changes, words):
    with pytest.raises(ModelError, match=words):
        FloatDense(**({"name": "fc", "weights": np.zeros((1, 1)), "bias": np.zeros(1)} | changes))


def test_float_network_refuses_inputs_of_another_size():
    network = FloatNetwork(name="n", layers=[FloatDense(name="f", weights=np.ones((2, 1)), bias=[0])], input_shape=(2,))
    for inputs in ([1, 2], [[1, 2, 3]], 1):
        with pytest.raises(ModelError, match=r"takes \(batch, 2\)"):
            network.evaluate(inputs)
