"""Each operator of a quantized convolutional network at random, against exact arithmetic and onnxruntime."""

import numpy as np
import pytest

from celosia.host.models.arrangement import Concat, Reshape
from celosia.host.models.convolution import Conv2d
from celosia.host.models.elementwise import Add, Rescale
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Dense
from celosia.host.models.onnx import read_onnx
from celosia.host.models.pooling import MaxPool2d

SEED = 42
MICROSOFT = "com.microsoft"


@pytest.fixture
def graph(reference):
    """An empty graph for images; odd seeds are those of unsigned activations."""

    def make(shape, seed: int = 0, **options):
        return reference.Graph(shape, np.random.default_rng([SEED, seed]), "uint8" if seed % 2 else "int8", **options)

    return make


@pytest.fixture
def check(reference, tmp_path):
    """Saves a graph and compares; images are classified first."""

    def compare(made, x: str, count: int = 3, differing: float = 2e-3):
        shape = made.values(x).shape[1:]
        if len(shape) > 1:
            size = int(np.prod(shape))
            x = made.product("Gemm", made.flat(x), (7, size), True, transB=1)
            made.fitted(x)
        return reference.check(made.save(tmp_path / "graph.onnx"), made.inputs(count), differing)

    return compare


def random_window(rng) -> dict:
    options = {"strides": rng.integers(1, 4, 2).tolist()}
    mode = rng.choice(["NOTSET", "pads", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if mode == "pads":
        options["pads"] = rng.integers(0, 2, 4).tolist()
    else:
        options["auto_pad"] = str(mode)
    return options


@pytest.mark.parametrize("seed", range(16))
def test_conv(graph, check, seed):
    rng = np.random.default_rng([SEED, 1, seed])
    groups, per_group = ((1, 3), (2, 2), (4, 1), (1, 1))[seed // 2 % 4]
    made = graph((groups * per_group, *rng.integers(7, 10, 2)), seed)
    kernel, options = rng.integers(1, 4, 2).tolist(), random_window(rng)
    if "SAME" not in options.get("auto_pad", ""):  # onnxruntime does not pad for dilation there
        options["dilations"] = rng.integers(1, 3, 2).tolist()
    shape = (groups * int(rng.integers(1, 4)), per_group, *kernel)
    x = made.product("Conv", made.both("x"), shape, seed % 3 > 0, group=groups, **options)
    network = check(made, made.fitted(made.add("Relu", x) if seed & 8 else x))
    conv, dense = network.layers
    assert isinstance(conv, Conv2d)
    assert isinstance(dense, Dense)
    assert (conv.groups, conv.is_depthwise) == (groups, groups == 4)
    assert network.channels_first
    assert (len(set(conv.multiplier.tolist())) > 1) <= (seed % 3 > 0)
    assert (conv.minimum == conv.output_zero_point) == bool(seed & 8)


@pytest.mark.parametrize("seed", range(2))
def test_ties_go_to_even(graph, check, seed):
    """Scales that are powers of two: half of all sums, then of all values, are ties; float32 computes them exactly."""
    made = graph((2, 4, 4), seed)
    weights = made.rng.integers(-3, 4, (3, 2, 1, 1)).astype(np.int8)
    parts = [made.constant(array) for array in (weights, np.float32(0.25), np.int8(0))]
    x = made.add("Conv", made.both("x", 0.125, 100), made.add("DequantizeLinear", *parts))
    x = made.both(made.both(x, 0.0625), 0.125)
    made.fitted(made.product("Gemm", made.flat(x), (5, 48), transB=1))
    network = check(made, made.flat(made.nodes[-1].output[0]), differing=0)
    assert [type(layer) for layer in network.layers] == [Conv2d, Rescale, Dense]
    assert {layer.rounding for layer in network.layers} == {"even"}
    assert (network.layers[0].multiplier == 2**30).all()
    assert network.layers[0].shift.tolist() == [0] * 3


def test_scales_are_products_in_float32(graph, tmp_path):
    made = graph((2, 3, 3))
    x = made.both("x", 0.0123, 0)
    made.fitted(made.product("Gemm", made.flat(x), (40, 18), True, transB=1))
    network = read_onnx(made.save(tmp_path / "graph.onnx"))
    (layer,) = network.layers
    (weights,) = (
        array
        for array in made.arrays.values()
        if array.shape == (40,) and array.dtype == np.float32 and array.max() > 0.002
    )
    scales = np.float32(0.0123) * weights / np.float32(network.output_scale)
    assert scales.dtype == np.float32
    assert np.array_equal(np.ldexp(layer.multiplier.astype(float), layer.shift - 31), scales.astype(float))


@pytest.mark.parametrize("seed", range(6))
def test_max_pool(graph, check, seed):
    rng = np.random.default_rng([SEED, 2, seed])
    made = graph((3, *rng.integers(6, 10, 2)), seed)
    options = random_window(rng) | {"kernel_shape": [2, 3]}
    x = made.quantized("x")
    if seed < 3:
        pooled = made.both(made.add("MaxPool", made.reals(x), **options), *made.parameters(x))
    else:
        pooled = made.add("MaxPool", x, **options)
        made.grids[pooled] = made.grids[x]
        pooled = made.reals(pooled)
    network = check(made, pooled)
    assert [type(layer) for layer in network.layers] == [MaxPool2d, Dense]


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((6, 9), {"kernel_shape": [3, 2], "strides": [2, 2]}),
        ((8, 7), {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [1, 0, 0, 1]}),
        ((7, 5), {"kernel_shape": [2, 3], "strides": [3, 1]}),
    ],
)
def test_windows_that_hang_over(graph, check, size, options):
    made = graph((2, *size))
    x = made.quantized("x")
    pooled = made.add("MaxPool", made.reals(x), ceil_mode=1, **options)
    network = check(made, made.both(pooled, *made.parameters(x)))
    assert network.layers[0].padding != tuple(options.get("pads", (0, 0, 0, 0)))


def test_a_clamp_before_a_maximum(graph, check):
    made = graph((2, 4, 4))
    pooled = made.add("GlobalMaxPool", made.add("Relu", made.both("x")))
    network = check(made, made.fitted(made.add("Flatten", pooled)))
    assert isinstance(network.layers[1], Rescale)
    assert network.layers[1].minimum == network.layers[1].output_zero_point


@pytest.mark.parametrize("seed", range(8))
def test_averages(graph, check, seed):
    rng = np.random.default_rng([SEED, 3, seed])
    made = graph((3, *rng.integers(5, 9, 2)), seed, opset=18 if seed == 5 else 17)
    x = made.both("x", 0.03)
    if seed < 4:
        options = {"strides": [2, 1], "kernel_shape": rng.integers(2, 4, 2).tolist(), "ceil_mode": seed // 3}
        padding = {"pads": [1, 0, 0, 1], "count_include_pad": 1} if seed % 2 else {}
        average = made.add("AveragePool", x, **options, **padding)
    elif seed == 4:
        average = made.add("ReduceMean", x, axes=[-1, 2], keepdims=0)
    elif seed == 5:
        average = made.add("ReduceMean", x, made.constant([2, 3]))
    else:
        average = made.add("GlobalAveragePool", x)
    network = check(made, made.both(average, 0.01234))
    assert isinstance(network.layers[0], Conv2d)
    assert network.layers[0].rounding == "even"


@pytest.mark.parametrize("kernel", [(2, 2), (2, 4), (3, 3)])
def test_averages_of_one_scale_go_to_even(graph, check, kernel):
    """As QDQ files have them: with ties, in which onnxruntime's float32 arithmetic rounds to either side."""
    made = graph((3, 8, 8))
    average = made.add("AveragePool", made.both("x", 0.03, 5), kernel_shape=kernel, strides=kernel)
    check(made, made.both(average, 0.03, 5), differing=1.0)


@pytest.mark.parametrize("seed", range(6))
def test_add(graph, check, seed):
    made = graph((3, 4, 4), seed)
    x = made.both("x")
    first, second = (made.fitted(made.product("Conv", x, (3, 3, 1, 1))) for _ in range(2))
    total = made.add("Add", first, second)
    network = check(made, made.fitted(made.add("Clip", total, *made.clip(-0.5, 2)) if seed % 3 else total))
    added = network.layers[-2]
    assert isinstance(added, Add)
    assert network.sources[-2] == (1, 2)
    assert (added.maximum == (255 if seed % 2 else 127)) == (seed % 3 == 0)


@pytest.mark.parametrize("seed", range(4))
def test_concat(graph, check, seed):
    """Parts of other scales are rescaled; one that was clamped is clamped."""
    made = graph((3, 4, 4), seed)
    x = made.both("x", 0.03, 5)
    parts = [made.fitted(made.product("Conv", x, (2, 3, 1, 1))), made.add("Relu", x), x]
    if seed >= 2:
        parts = [made.add("Flatten", part) for part in parts]
    joined = made.both(made.add("Concat", *parts, axis=1 if seed % 2 else (-3 if seed < 2 else -1)), 0.03, 5)
    if seed >= 2:
        joined = made.fitted(made.product("Gemm", joined, (7, 128), transB=1))
    network = check(made, joined)
    kinds = [type(layer) for layer in network.layers]
    assert kinds.count(Concat) == 1
    assert kinds.count(Rescale) == 2


def test_shapes_need_no_layers(graph, check):
    made = graph((4, 6), 1)
    x = made.add("Unsqueeze", made.both("x", 0.05), made.constant([1]))
    x = made.add("Transpose", x, perm=[0, 3, 1, 2])
    x = made.add("Reshape", x, made.constant([0, 2, -1, 4]))
    x = made.add("Transpose", x, perm=[0, 2, 3, 1])
    x = made.add("Squeeze", made.add("Reshape", x, made.constant([-1, 24, 1])), made.constant([-1]))
    made.scales[x] = np.float32(0.05)
    network = check(made, made.fitted(made.product("Gemm", x, (5, 24), transB=1)))
    assert [type(layer) for layer in network.layers] == [Dense]
    assert not network.channels_first


def test_an_image_that_is_turned_and_turned_back(graph, check):
    made = graph((2, 5, 6))
    x = made.fitted(made.product("Conv", made.both("x"), (3, 2, 2, 2)))
    scale = made.scales[x]
    x = made.add("Transpose", x, perm=[0, 2, 3, 1])
    x = made.add("Reshape", x, made.constant([0, -1, 3, 1]))
    x = made.add("Reshape", made.add("Squeeze", x, made.constant([3])), made.constant([0, 4, 5, 3]))
    x = made.add("Transpose", x, perm=[0, 3, 1, 2])
    made.scales[x] = scale
    network = check(made, made.fitted(made.product("Conv", x, (2, 3, 2, 1))))
    assert [type(layer) for layer in network.layers] == [Conv2d, Conv2d, Dense]


def test_channels_last_inputs_that_are_transposed_at_once(graph, check):
    made = graph((5, 6, 3))
    x = made.both("x", 0.05, 3)
    x = made.quantized(made.add("Transpose", x, perm=[0, 3, 1, 2]), 0.05, 3)
    network = check(made, made.fitted(made.product("Conv", made.reals(x), (4, 3, 3, 3))))
    assert not network.channels_first
    assert network.input_shape == (5, 6, 3)
    assert [type(layer) for layer in network.layers] == [Conv2d, Dense]


def test_passive_operators(graph, check):
    made = graph((2, 5, 5))
    x = made.product("Conv", made.both(made.add("Identity", "x")), (2, 2, 1, 1))
    network = check(made, made.fitted(made.add("Dropout", made.add("Identity", x))))
    assert [type(layer) for layer in network.layers] == [Conv2d, Dense]


def test_integers_of_another_scale(graph, check):
    made = graph((2, 4, 4), 1)
    x = made.both(made.both("x", 0.02), 0.037)
    network = check(made, made.both(made.add("Flatten", made.add("Relu", x)), 0.05))
    assert [type(layer) for layer in network.layers] == [Rescale, Rescale, Reshape]


def test_clamps_of_clamps(graph, check):
    """The first becomes part of the layer before, the others do not, because something takes what the first gives."""
    made = graph((3, 4, 4))
    x = made.both(made.product("Conv", made.both("x"), (3, 3, 1, 1)), 0.2, 0)
    once = made.both(made.add("Relu", x), 0.2, 0)
    twice = made.both(made.add("Clip", once, *made.clip(1, 4)), 0.2, 0)
    thrice = made.both(made.add("Clip", twice, *made.clip(2, 9)), 0.2, 0)
    network = check(made, made.fitted(made.add("Add", once, thrice)))
    assert [type(layer) for layer in network.layers] == [Conv2d, Rescale, Add, Dense]
    assert [(layer.minimum, layer.maximum) for layer in network.layers[:2]] == [(0, 127), (10, 20)]


def test_images_of_one_channel(graph, check):
    made = graph((4, 6))
    x = made.both("x", 0.05)
    scale = made.scales[x]
    x = made.add("Unsqueeze", x, made.constant([1]))
    made.scales[x] = scale
    network = check(made, made.fitted(made.product("Conv", x, (2, 1, 3, 3))))
    assert [type(layer) for layer in network.layers] == [Reshape, Conv2d, Dense]


def test_a_tensor_that_two_take_keeps_its_values(graph, check):
    """A clamp of one of two branches is no clamp of the layer before."""
    made = graph((3, 4, 4))
    x = made.quantized(made.product("Conv", made.both("x"), (3, 3, 1, 1)), 0.2, 0)
    clamped = made.both(made.add("Relu", made.reals(x)), 0.2, 0)
    network = check(made, made.fitted(made.add("Add", made.reals(x), clamped)))
    assert [type(layer) for layer in network.layers] == [Conv2d, Rescale, Add, Dense]


def test_what_the_output_does_not_need_is_left_out(graph, check):
    made = graph((3, 4, 4))
    x = made.both("x")
    made.fitted(made.add("MaxPool", made.fitted(made.product("Conv", x, (3, 3, 1, 1))), kernel_shape=[2, 2]))
    network = check(made, made.fitted(made.product("Conv", x, (2, 3, 2, 2))))
    assert [type(layer) for layer in network.layers] == [Conv2d, Dense]
    assert network.sources is None


@pytest.mark.parametrize("seed", range(4))
def test_integer_operators(graph, check, seed):
    """What the QOperator form has: a network of each."""
    made = graph((3, 8, 8), seed)
    x = made.quantized("x")

    def conv(x: str, shape, **options) -> str:
        weights, scales = made.weights(shape, seed >= 2)
        zeros = made.constant(np.zeros(scales.shape, np.int8))
        given = [x, *made.grids[x], made.constant(weights), made.constant(scales), zeros, *made.grid(0.2)]
        bias = made.constant(made.rng.integers(-3000, 3000, shape[0]).astype(np.int32))
        output = made.add("QLinearConv", *given, bias, **options)
        made.grids[output] = given[6:]
        return output

    first = conv(x, (4, 3, 3, 3), pads=[1, 1, 1, 1])
    second = conv(first, (4, 1, 3, 3), pads=[1, 1, 1, 1], group=4)
    total = made.integer("QLinearAdd", first, *made.grids[first], second, *made.grids[second], domain=MICROSOFT)
    grid = made.grid(0.15)
    parts = [total, *made.grids[total], first, *made.grids[first]]
    joined = made.add("QLinearConcat", *grid, *parts, axis=1, domain=MICROSOFT)
    made.grids[joined] = grid
    pool = {"kernel_shape": [2, 2], "strides": [2, 2], "domain": MICROSOFT, "scale": 0.1234}
    x = made.integer("QLinearAveragePool", joined, *grid, **pool)
    pooled = made.add("MaxPool", x, kernel_shape=[2, 2])
    made.grids[pooled] = made.grids[x]
    average = made.integer("QLinearGlobalAveragePool", pooled, *made.grids[x], domain=MICROSOFT, scale=0.05)
    vector = made.add("Reshape", average, made.constant([-1, 8]))
    weights, scales = made.weights((8, 6), seed >= 2, 1)
    zeros = made.constant(np.zeros(scales.shape, np.int8))
    factor = [made.constant(weights), made.constant(scales), zeros]
    output = made.integer("QLinearMatMul", vector, *made.grids[average], *factor, scale=0.1)
    if seed % 2:
        weights, scales = made.weights((5, 6), seed >= 2, 0)
        factor = [made.constant(weights), made.constant(scales), made.constant(np.zeros(scales.shape, np.int8))]
        bias = made.constant(made.rng.integers(-3000, 3000, 5).astype(np.int32))
        given = [output, *made.grids[output], *factor, bias]
        output = made.integer("QGemm", *given, transB=1, domain=MICROSOFT, scale=0.2)
    network = check(made, made.reals(output), count=20, differing=0.02)
    kinds = {type(layer) for layer in network.layers}
    assert kinds == {Add, Concat, Conv2d, Dense, MaxPool2d, Rescale}


def test_integer_inputs(graph, reference, tmp_path):
    """They are given with channels first, and the first operator says their scale."""
    made = graph((2, 4, 4), 1)
    made.grids["x"] = made.grid(0.5, 7)
    pooled = made.add("Flatten", made.reals("x"))
    made.scales[pooled] = np.float32(0.5)
    made.quantized(made.product("Gemm", pooled, (3, 32), transB=1), 5.0)
    path = made.save(tmp_path / "graph.onnx", elem_type=2)
    network = read_onnx(path)
    inputs = np.random.default_rng(SEED).integers(0, 256, (20, 2, 4, 4)).astype(np.uint8)
    assert (network.input_scale, network.input_zero_point, network.input_dtype) == (0.5, 7, "uint8")
    got = reference.golden(network, inputs)
    assert np.array_equal(got, reference.Exact(path, inputs).output)
    assert np.array_equal(got, reference.run(path, inputs, ["y"])["y"])


def test_outputs_that_are_images_are_refused(graph, tmp_path):
    made = graph((2, 4, 4))
    made.fitted(made.product("Conv", made.both("x"), (2, 2, 1, 1)))
    with pytest.raises(ModelError, match="output is an image with channels first"):
        read_onnx(made.save(tmp_path / "graph.onnx"))
