import numpy as np
import pytest

from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Dense, Network


def compressed(**changes) -> CompressedDense:
    fields = {
        "name": "fc",
        "codes": np.array([[0, 1], [2, 0], [1, 2]], np.uint8),
        "codebook": np.array([0, -300, 7], np.int16),
        "bias": np.array([5, -6], np.int32),
        "shift": 3,
        "minimum": -128,
        "maximum": 127,
    }
    return CompressedDense(**(fields | changes))


def test_codes_become_weights():
    layer = compressed()
    assert layer.weights.tolist() == [[0, -300], [7, 0], [-300, 7]]
    assert layer.weights.dtype == np.int16
    assert layer.weights is layer.weights
    assert (layer.input_shape, layer.output_shape, layer.macs) == ((3,), (2,), 6)
    assert (layer.nonzeros, layer.density) == (4, 4 / 6)
    assert (layer.input_zero_point, layer.output_zero_point) == (0, 0)
    assert layer.weight_width == 10
    assert layer.codebook.dtype == layer.bias.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_without_a_codebook_codes_are_weights(dtype):
    layer = compressed(codes=np.array([[0, -128], [3, 0], [0, 127]], dtype), codebook=None)
    assert layer.weights.tolist() == [[0, -128], [3, 0], [0, 127]]
    assert layer.weights.dtype == layer.codes.dtype == np.int16
    assert layer.nonzeros == 3


def test_its_arrays_are_its_own_and_read_only():
    codes = np.ones((3, 2), np.uint8)
    layer = compressed(codes=codes)
    codes[:] = 0
    assert layer.codes.all()
    for array in (layer.codes, layer.codebook, layer.bias, layer.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_by_hand(evaluate):
    # fc[0]: 7·1 − 300·2 + 5 = −588, /8 = −73.5 -> −73; fc[1]: 300·4 + 7·2 − 6 = 1208, /8 = 151 -> 127
    network = Network(name="net", layers=[compressed()], input_shape=(3,))
    assert evaluate(network, np.array([[-4, 1, 2]], np.int8)).tolist() == [[-73, 127]]
    shifted = Network(name="net", layers=[compressed(shift=0, output_dtype="int16")], input_shape=(3,))
    assert evaluate(shifted, np.array([[0, 1, 0]], np.int8)).tolist() == [[12, -6]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_extremes_of_every_type(dtype, evaluate):
    limits = np.iinfo(dtype)
    layer = compressed(
        codes=np.array([[1, 2]], np.uint8),
        codebook=np.array([0, -(2**15), 2**15 - 1]),
        bias=np.array([0, 0]),
        shift=15,
        minimum=limits.min,
        maximum=limits.max,
        input_dtype=dtype,
        output_dtype=dtype,
    )
    network = Network(name="net", layers=[layer], input_shape=(1,))
    for x in (limits.min, 0, 1, limits.max):
        low = min(max(-x, limits.min), limits.max)
        high = (x * (2**15 - 1) + 2**14) // 2**15
        assert evaluate(network, np.array([[x]])).tolist() == [[low, high]]


def test_accumulator_width_is_the_smallest_that_fits():
    layer = compressed(codes=np.array([[1, 2]], np.uint8), codebook=[0, -1, 1], bias=np.array([0, 0]))
    assert layer.accumulator_width == 9  # −1 · −128
    assert compressed(bias=np.array([2**47 - 1, 0])).accumulator_width == 49


def test_kinds_of_layers_mix_where_types_and_zero_points_meet():
    dense = Dense(
        name="dense",
        weights=np.ones((2, 2), np.int8),
        bias=np.zeros(2, int),
        multiplier=np.full(2, 2**30),
        shift=np.zeros(2, int),
        rounding="up",
        input_zero_point=0,
        output_zero_point=0,
        minimum=-128,
        maximum=127,
    )
    assert Network(name="net", layers=[compressed(), dense], input_shape=(3,)).macs == 10
    with pytest.raises(ModelError, match="takes int8 with zero point 0"):
        Network(name="net", layers=[compressed(output_dtype="int16"), dense], input_shape=(3,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "not empty"),
        ({"codes": np.zeros((3, 2), np.int8)}, "codes are int8, but with a codebook they must be uint8"),
        ({"codebook": None}, "codes are uint8, but without a codebook they must be int8 or int16"),
        ({"codes": np.zeros((3, 0), np.uint8)}, "both at least 1"),
        ({"codes": np.zeros(3, np.uint8)}, r"shape \(3,\)"),
        ({"codebook": np.zeros(1, int)}, r"codebook has shape \(1,\), but 2 to 256 values"),
        ({"codebook": np.zeros(257, int)}, r"shape \(257,\)"),
        ({"codebook": np.zeros((2, 2), int)}, r"shape \(2, 2\)"),
        ({"codebook": np.zeros(3)}, "codebook is float64"),
        ({"codebook": np.array([1, 2, 3])}, r"codebook\[0\] is 1, but it must be 0"),
        ({"codebook": np.array([0, 2**15, 3])}, r"codebook\[1\] is 32768, but it must be from -32768 to 32767"),
        ({"codebook": np.array([0, 1])}, "a code is 2, but a codebook of 2 values ends at 1"),
        ({"bias": np.zeros(3, int)}, r"bias has shape \(3,\), but 2 outputs"),
        ({"bias": np.array([0, -(2**47) - 1])}, r"bias\[1\] is -140737488355329"),
        ({"shift": -1}, "shift is -1, but it must be from 0 to 47"),
        ({"shift": 48}, "shift is 48"),
        ({"shift": 1.0}, "shift is 1.0, but it must be an integer"),
        ({"minimum": -129}, "minimum is -129"),
        ({"maximum": 128}, "maximum is 128"),
        ({"minimum": 6, "maximum": 5}, "minimum 6 is above maximum 5"),
        ({"input_dtype": "int9"}, "'int9' is not one of int8, int16, uint8, uint16"),
        ({"output_dtype": None}, "dtype None is not one of"),
    ],
)
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(ModelError, match=words) as caught:
        compressed(**changes)
    assert "\n" not in str(caught.value)
