import itertools

import numpy as np
import pytest

from celosia.host.models.binary import INPUT_DTYPES, BinaryConv, BinaryDense, as_conv
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.sim.golden import binary as golden

SEED = 31
WEIGHTS = np.array([[1, -1], [-1, -1], [1, 1]])
CONV_WEIGHTS = np.resize([1, -1, -1], (3, 2, 2, 4))


def dense(**changes) -> BinaryDense:
    return BinaryDense(**({"name": "fc", "weights": WEIGHTS, "thresholds": np.array([[0], [1]])} | changes))


def conv(**changes) -> BinaryConv:
    fields = {"name": "conv", "weights": CONV_WEIGHTS, "input_size": (6, 5), "thresholds": np.zeros((4, 1), int)}
    return BinaryConv(**(fields | changes))


def random_integers(rng: np.random.Generator, dtype: str, shape) -> np.ndarray:
    """Integers of a type, many of them at its ends."""
    low, high = integer_range(dtype)
    if dtype == "bipolar":
        return rng.choice([-1, 1], shape)
    return np.where(rng.random(shape) < 0.3, rng.choice([low, high], shape), rng.integers(low, high + 1, shape))


def random_outputs(rng: np.random.Generator, channels: int, reach: int) -> dict:
    """Thresholds of any number within sums of −reach to reach, and types that go with them; sometimes none."""
    dtype = str(rng.choice(["bipolar", "int32", rng.choice(INPUT_DTYPES)], p=[0.3, 0.15, 0.55]))
    if dtype == "int32":
        return {"output_dtype": "int32"}
    low, high = integer_range(dtype)
    steps = 1 if dtype == "bipolar" else int(rng.integers(1, min(high - low, 9) + 1))
    minimum = low if dtype == "bipolar" else int(rng.integers(low, high - steps + 1))
    thresholds = np.sort(rng.integers(-reach, reach + 1, (channels, steps)), axis=1)
    return {
        "thresholds": thresholds,
        "output_dtype": dtype,
        "output_minimum": rng.choice([None, minimum]) if minimum == low else minimum,
    }


def activate(layer: BinaryDense | BinaryConv, acc: int, n: int) -> int:
    """One output from its sum, as the docstring has it."""
    if layer.thresholds is None:
        return acc
    assert layer.output_minimum is not None
    step = 2 if layer.output_dtype == "bipolar" else 1
    return layer.output_minimum + step * sum(acc >= int(threshold) for threshold in layer.thresholds[n])


def naive_dense(layer: BinaryDense, x: list[int]) -> list[int]:
    inputs, outputs = layer.weights.shape
    sums = [sum(x[k] * int(layer.weights[k, n]) for k in range(inputs)) for n in range(outputs)]
    return [activate(layer, acc, n) for n, acc in enumerate(sums)]


def naive_sum(layer: BinaryConv, image: np.ndarray, y: int, x: int, n: int) -> int:
    acc = 0
    rows, columns, channels, _ = layer.weights.shape
    for i, j, c in itertools.product(range(rows), range(columns), range(channels)):
        row = y * layer.strides[0] + i - layer.padding[0]
        column = x * layer.strides[1] + j - layer.padding[1]
        inside = 0 <= row < layer.input_size[0] and 0 <= column < layer.input_size[1]
        acc += (int(image[row, column, c]) if inside else layer.pad_value) * int(layer.weights[i, j, c, n])
    return acc


def positions(length: int, window: int, stride: int) -> int:
    """How often a window fits when it moves on by a stride: counted."""
    return len([start for start in range(0, length, stride) if start + window <= length])


def naive_conv(layer: BinaryConv, image: np.ndarray) -> np.ndarray:
    """Outputs (H, W, N) of one image (H, W, C)."""
    top, left, bottom, right = layer.padding
    height = positions(layer.input_size[0] + top + bottom, layer.weights.shape[0], layer.strides[0])
    width = positions(layer.input_size[1] + left + right, layer.weights.shape[1], layer.strides[1])
    assert layer.conv_size == (height, width)
    outputs = layer.weights.shape[3]
    values = np.zeros((height, width, outputs), int)
    for y, x, n in np.ndindex(values.shape):
        values[y, x, n] = activate(layer, naive_sum(layer, image, y, x, n), n)
    assert layer.pool_strides is not None
    pooled = np.zeros(
        (
            positions(height, layer.pool[0], layer.pool_strides[0]),
            positions(width, layer.pool[1], layer.pool_strides[1]),
            outputs,
        ),
        int,
    )
    for y, x, n in np.ndindex(pooled.shape):
        top, left = y * layer.pool_strides[0], x * layer.pool_strides[1]
        pooled[y, x, n] = max(
            values[top + i, left + j, n] for i, j in itertools.product(*(range(side) for side in layer.pool))
        )
    return pooled


@pytest.mark.parametrize("dtype", INPUT_DTYPES)
@pytest.mark.parametrize("ternary", [False, True])
def test_dense_equals_loops(dtype, ternary):
    rng = np.random.default_rng(SEED)
    for _ in range(5):
        inputs, outputs = rng.integers(1, 9, 2)
        weights = rng.integers(-1, 2, (inputs, outputs)) if ternary else rng.choice([-1, 1], (inputs, outputs))
        reach = int(inputs) * max(map(abs, integer_range(dtype)))
        layer = dense(
            weights=weights, input_dtype=dtype, **({"thresholds": None} | random_outputs(rng, outputs, reach))
        )
        x = random_integers(rng, dtype, (6, inputs))
        x[0], x[1] = integer_range(dtype)
        expected = [naive_dense(layer, row) for row in x.tolist()]
        assert golden.run_layer(layer, x).tolist() == expected, f"seed {SEED}: {layer}"
        convolution = as_conv(layer)
        assert (convolution.input_shape, convolution.output_shape) == ((1, 1, inputs), (1, 1, outputs))
        assert golden.run_layer(convolution, x).reshape(len(x), -1).tolist() == expected


def random_conv(rng: np.random.Generator, dtype: str) -> BinaryConv:
    kernel = rng.integers(1, 4, 2)
    channels, outputs = rng.integers(1, 4, 2)
    shape = (*kernel, channels, outputs)
    low, high = integer_range(dtype)
    reach = int(np.prod(shape[:3])) * max(-low, high)
    after = {"thresholds": None} | random_outputs(rng, outputs, reach)
    size = kernel + rng.integers(0, 6, 2)
    strides, padding = rng.choice([1, 1, 2, 3], 2), rng.integers(0, np.tile(kernel, 2))
    padded = size + padding[:2] + padding[2:]
    fields = {
        "name": "conv",
        "weights": rng.integers(-1, 2, shape) if rng.random() < 0.5 else rng.choice([-1, 1], shape),
        "input_size": tuple(size),
        "strides": tuple(strides),
        "padding": tuple(padding),
        "pad_value": int(rng.choice([0, low, high])),
        "input_dtype": dtype,
    }
    if after["thresholds"] is None:
        return BinaryConv(**fields, **after)
    pool = rng.integers(1, np.minimum((padded - kernel) // strides + 1, 3) + 1)
    pool_strides = rng.integers(1, 4, 2)  # less than, as much as, or more than the window
    return BinaryConv(
        **fields, **after, pool=tuple(pool), pool_strides=None if rng.random() < 0.3 else tuple(pool_strides)
    )


@pytest.mark.parametrize("dtype", ["bipolar", "uint1", "uint4", "uint8", "int2", "int3", "int8"])
def test_conv_equals_loops(dtype):
    rng = np.random.default_rng(SEED)
    for _ in range(12):
        layer = random_conv(rng, dtype)
        images = random_integers(rng, dtype, (3, *layer.input_shape))
        images[0] = integer_range(dtype)[0]
        expected = np.stack([naive_conv(layer, image) for image in images])
        assert layer.output_shape == expected.shape[1:]
        assert np.array_equal(golden.run_layer(layer, images), expected), f"seed {SEED}: {layer}"
        assert np.array_equal(golden.run_layer(layer, images.reshape(3, -1)), expected)


def test_sums_beyond_float32_are_exact():
    weights = np.ones((2**17, 1), np.int8)
    x = np.full((2, 2**17), 255, np.uint8)
    x[1, 0] = 254
    assert golden.run_layer(
        dense(weights=weights, thresholds=None, input_dtype="uint8", output_dtype="int32"), x
    ).tolist() == [
        [255 * 2**17],
        [255 * 2**17 - 1],
    ]


def test_batches_larger_than_a_block(monkeypatch):
    layer = conv(padding=(1, 1, 1, 0))
    images = np.random.default_rng(SEED).choice([-1, 1], (7, 6, 5, 2))
    expected = golden.run_layer(layer, images)
    windows = 6 * 5 * 12
    for block in (1, 2 * windows, 3 * windows + 1):
        monkeypatch.setattr(golden, "_BLOCK", block)
        assert np.array_equal(golden.run_layer(layer, images), expected)


@pytest.mark.parametrize(
    ("changes", "conv_size", "output_shape", "macs"),
    [
        ({}, (4, 4), (4, 4, 4), 16 * 48),
        ({"strides": (2, 3)}, (2, 2), (2, 2, 4), 4 * 48),
        ({"padding": (2, 0, 1, 1)}, (7, 5), (7, 5, 4), 35 * 48),
        ({"pool": (2, 2)}, (4, 4), (2, 2, 4), 16 * 48),
        ({"pool": (3, 3)}, (4, 4), (1, 1, 4), 9 * 48),  # a row and a column of sums are not looked at
        ({"pool": (2, 1), "pool_strides": (1, 1)}, (4, 4), (3, 4, 4), 24 * 48),  # a row counts in each of its windows
        ({"weights": np.ones((6, 5, 2, 4), int)}, (1, 1), (1, 1, 4), 240),
    ],
)
def test_shapes_and_work(changes, conv_size, output_shape, macs):
    layer = conv(**changes)
    assert (layer.conv_size, layer.output_shape, layer.macs) == (conv_size, output_shape, macs)
    assert layer.input_shape == (6, 5, 2)
    assert layer.kernel == layer.weights.shape[:2]


def test_dense_layers_have_their_matrix_shapes():
    layer = dense()
    assert (layer.input_shape, layer.output_shape, layer.macs) == ((3,), (2,), 6)
    assert (layer.input_zero_point, layer.output_zero_point) == (0, 0)
    assert (layer.output_minimum, layer.output_step, layer.is_ternary) == (-1, 2, False)
    assert dense(weights=WEIGHTS * [0, 1]).is_ternary
    assert dense(output_dtype="uint1").output_step == 1
    assert dense(output_dtype="int2").output_minimum == -2
    sums = dense(thresholds=None, output_dtype="int32")
    assert (sums.output_minimum, sums.output_step) == (None, 1)


def test_layers_keep_their_own_read_only_arrays():
    weights, thresholds = np.ones((3, 2), np.int16), np.zeros((2, 1), np.int8)
    layer = dense(weights=weights, thresholds=thresholds)
    weights[:] = -1
    thresholds[:] = 1
    assert (layer.weights.dtype, layer.thresholds.dtype) == (np.int8, np.int64)
    assert layer.weights.all()
    assert not layer.thresholds.any()
    for field in ("weights", "thresholds"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(layer, field)[0] = 0


def test_defaults_of_a_convolution():
    layer = conv(pool=(2, 1))
    assert (layer.strides, layer.padding, layer.pad_value, layer.pool_strides) == ((1, 1), (0, 0, 0, 0), 0, (2, 1))
    assert conv(input_size=np.array([6, 5])).input_size == (6, 5)
    assert conv(input_dtype="int4", pad_value=np.int8(-8)).pad_value == -8


def test_dense_layers_as_convolutions_of_an_image():
    weights = np.random.default_rng(SEED).choice([-1, 1], (30, 4))
    layer = dense(weights=weights, thresholds=np.arange(8).reshape(4, 2), input_dtype="uint2", output_dtype="uint2")
    image = as_conv(layer, (3, 5, 2))
    assert (image.input_shape, image.kernel, image.output_shape, image.macs) == ((3, 5, 2), (3, 5), (1, 1, 4), 120)
    x = np.random.default_rng(SEED).integers(0, 4, (9, 3, 5, 2))
    assert np.array_equal(golden.run_layer(image, x).reshape(9, 4), golden.run_layer(layer, x))
    assert as_conv(image) is image
    for field in ("name", "input_dtype", "output_dtype", "output_minimum"):
        assert getattr(image, field) == getattr(layer, field)


@pytest.mark.parametrize("make", [dense, conv])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "a name must be a string that is not empty"),
        (
            {"input_dtype": "uint9"},
            "inputs of type 'uint9' are not supported; bipolar, uint1 to uint8 and int2 to int8",
        ),
        ({"input_dtype": "int32"}, "inputs of type 'int32' are not supported"),
        ({"input_dtype": "int1"}, "inputs of type 'int1' are not supported"),
        ({"thresholds": None}, "without thresholds its outputs are sums, whose type is int32"),
        ({"thresholds": None, "output_dtype": "int32", "output_minimum": 0}, "without thresholds its outputs are sums"),
        ({"output_dtype": "int32"}, "outputs of type 'int32' are not supported; .* and int32 without thresholds"),
        ({"output_dtype": "uint16"}, "outputs of type 'uint16' are not supported"),
        ({"output_minimum": -2}, "output_minimum is -2, but it must be from -1 to 1"),
        ({"output_minimum": 0.0}, "output_minimum is 0.0, but it must be an integer"),
        ({"output_minimum": 1}, "1 thresholds from 1 on reach 3, but bipolar ends at 1"),
        ({"output_minimum": 0}, "1 thresholds from 0 on reach 2, but bipolar ends at 1"),
        ({"output_dtype": "uint2", "output_minimum": 3}, "1 thresholds from 3 on reach 4, but uint2 ends at 3"),
    ],
)
def test_types_are_checked(make, changes, words):
    with pytest.raises(ModelError, match=words):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": WEIGHTS * 1.0}, "the weights are float64, but they must be integers −1, 0 or"),
        ({"weights": WEIGHTS > 0}, "the weights are bool, but"),
        (
            {"weights": WEIGHTS * [1, 2]},
            r"weights\[0, 1\] is -2, but binarized weights are −1 or \+1, ternary ones −1, 0",
        ),
        ({"weights": np.full((3, 2), 2**63, np.uint64)}, r"weights\[0, 0\] is 9223372036854775808"),
        ({"weights": np.ones(3, int)}, r"shape \(3,\), but a dense layer needs \(K, N\)"),
        ({"weights": np.ones((3, 0), int)}, "both at least 1"),
        ({"thresholds": np.zeros((2, 1))}, "the thresholds are float64, but they must be integers"),
        ({"thresholds": np.zeros((3, 1), int)}, r"shape \(3, 1\), but 2 outputs need \(2, T\), T from 1 to 255"),
        ({"thresholds": np.zeros(2, int)}, r"shape \(2,\), but 2 outputs need \(2, T\)"),
        ({"thresholds": np.zeros((2, 0), int)}, r"shape \(2, 0\), but"),
        ({"thresholds": np.zeros((2, 256), int)}, r"shape \(2, 256\), but"),
        ({"thresholds": np.array([[0], [2**31]])}, "is 2147483648, but it must be from -2147483648 to 2147483647"),
        ({"thresholds": np.array([[-(2**31) - 1], [0]])}, "is -2147483649"),
        ({"thresholds": np.array([[2**64 - 1], [0]], np.uint64)}, "is 18446744073709551615"),
        (
            {"thresholds": [[0, 0], [2, 1]], "output_dtype": "uint2"},
            "thresholds of output 1 fall, but they must be in r",
        ),
        ({"thresholds": [[0, 0], [0, 1]]}, "2 thresholds from -1 on reach 3, but bipolar ends at 1"),
        ({"thresholds": np.zeros((2, 4), int), "output_dtype": "uint2"}, "4 thresholds from 0 on reach 4, but uint2"),
    ],
)
def test_dense_names_what_is_wrong(changes, words):
    with pytest.raises(ModelError, match=words) as caught:
        dense(**changes)
    assert str(caught.value).startswith('layer "fc": ')


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": WEIGHTS}, r"shape \(3, 2\), but a convolution needs \(kernel rows, kernel columns, C, N\)"),
        ({"weights": np.ones((3, 0, 2, 4), int)}, r"shape \(3, 0, 2, 4\), but"),
        ({"weights": CONV_WEIGHTS * 2}, r"weights\[0, 0, 0, 0\] is 2, but"),
        ({"thresholds": np.zeros((2, 1), int)}, r"but 4 outputs need \(4, T\)"),
        ({"input_size": (6,)}, r"input_size is \(6,\), but 2 integers are needed"),
        ({"input_size": (6, 4097)}, "input_size is 4097, but it must be from 1 to 4096"),
        ({"input_size": (0, 5)}, "input_size is 0, but"),
        ({"input_size": (6.0, 5)}, "input_size is 6.0, but it must be an integer"),
        ({"strides": (1, 0)}, "strides is 0, but it must be from 1"),
        ({"padding": (1, 1)}, r"padding is \(1, 1\), but 4 integers are needed"),
        ({"padding": (-1, 0, 0, 0)}, "padding is -1, but it must be from 0"),
        ({"padding": (3, 0, 0, 0)}, r"padding \(3, 0, 0, 0\) must be less than the kernel, \(3, 2\)"),
        ({"padding": (0, 2, 0, 0)}, "must be less than the kernel"),
        ({"padding": (0, 0, 3, 0)}, "must be less than the kernel"),
        ({"padding": (0, 0, 0, 2)}, "must be less than the kernel"),
        ({"pad_value": 2}, "pad_value is 2, but it must be from -1 to 1"),
        ({"pad_value": -1, "input_dtype": "uint4"}, "pad_value is -1, but it must be from 0 to 15"),
        ({"pad_value": False}, "pad_value is False, but it must be an integer"),
        ({"pool": (0, 1)}, "pool is 0, but"),
        ({"pool": (1, 1, 1)}, "pool is .* but 2 integers are needed"),
        ({"pool_strides": (1, 0)}, "pool_strides is 0, but"),
        (
            {"pool": (1, 2), "thresholds": None, "output_dtype": "int32"},
            "it pools sums, but only outputs of thresholds",
        ),
        ({"input_size": (2, 5)}, "its kernel is larger than the image that it is moved over"),
        ({"input_size": (6, 1)}, "its kernel is larger than the image"),
        ({"pool": (5, 1)}, "its pool window is larger than the image that it is moved over"),
        ({"pool": (1, 5)}, "its pool window is larger"),
    ],
)
def test_conv_names_what_is_wrong(changes, words):
    with pytest.raises(ModelError, match=words) as caught:
        conv(**changes)
    assert str(caught.value).startswith('layer "conv": ')


def test_padding_that_makes_the_image_large_enough():
    assert conv(input_size=(1, 1), padding=(2, 1, 2, 1)).conv_size == (3, 2)


def test_a_chain_from_image_to_sums():
    rng = np.random.default_rng(SEED)
    first = conv(pool=(2, 2))  # (2, 2, 4) outputs
    sums = dense(weights=rng.choice([-1, 1], (16, 3)), thresholds=None, output_dtype="int32")
    network = Network(name="net", layers=[first, sums], input_shape=(6, 5, 2), labels=["a", "b", "c"])
    assert (network.input_dtype, network.output_dtype, network.output_shape) == ("bipolar", "int32", (3,))
    assert network.macs == 16 * 48 + 48
    image = rng.choice([-1, 1], (6, 5, 2))
    hidden = golden.run_layer(first, image[None])
    assert golden.run_layer(sums, hidden).tolist() == [naive_dense(sums, naive_conv(first, image).ravel().tolist())]


def test_layers_that_do_not_follow_each_other():
    sums = dense(weights=np.ones((64, 2), int), thresholds=None, output_dtype="int32", input_dtype="uint1")
    with pytest.raises(ModelError, match='takes uint1 with zero point 0, but layer "conv" gives bipolar'):
        Network(name="net", layers=[conv(), sums], input_shape=(6, 5, 2))
    with pytest.raises(ModelError, match=r'layer "conv": it takes shape \(6, 5, 2\), but the input has shape \(60,\)'):
        Network(name="net", layers=[conv()], input_shape=(60,))
