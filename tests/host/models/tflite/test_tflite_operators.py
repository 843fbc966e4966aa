"""Each operator against LiteRT's reference kernels (2.3.0), with random shapes, scales and values, all elements."""

import numpy as np
import pytest

from celosia.host.models.tflite import read_tflite, read_tflite_tensors
from celosia.sim.golden.network import tensors

SEED = 77
RELUS = (0, 1, 2, 3)  # NONE, RELU, RELU_N1_TO_1, RELU6


def random_inputs(rng, shape, count=4):
    """Half of them over the whole range, the rest around one value, and the extremes."""
    wide = rng.integers(-128, 128, (count, *shape))
    narrow = np.clip(rng.integers(-120, 120) + rng.integers(-6, 7, (count, *shape)), -128, 127)
    ends = np.stack([np.full(shape, value) for value in (-128, 127, 0, 1, -1)])
    return np.concatenate([wide, narrow, ends]).astype(np.int8)


def scale(rng, low=-6.0, high=0.0) -> float:
    """A scale; powers of two, which make ties frequent, every other time."""
    exponent = rng.uniform(low, high)
    return float(np.float32(2.0 ** (exponent if rng.random() < 0.5 else round(exponent))))


def size(length, kernel, stride, dilation, same):
    span = (kernel - 1) * dilation + 1
    return -(-length // stride) if same else -(-(length - span + 1) // stride)


@pytest.mark.parametrize("case", range(40))
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
def test_convolutions(tflite, tmp_path, case, depthwise):
    rng = np.random.default_rng([SEED, case, depthwise])
    height, width, channels = rng.integers(1, 11), rng.integers(1, 11), rng.integers(1, 9)
    kernel = [int(rng.integers(1, 5)), int(rng.integers(1, 5))]
    strides, dilations = rng.integers(1, 4, 2).tolist(), rng.integers(1, 3, 2).tolist()
    same = bool(rng.random() < 0.5)
    if not same:
        height = max(height, (kernel[0] - 1) * dilations[0] + 1)
        width = max(width, (kernel[1] - 1) * dilations[1] + 1)
    groups = int(rng.choice([d for d in range(1, channels + 1) if channels % d == 0]))
    outputs = channels * int(rng.integers(1, 4)) if depthwise else groups * int(rng.integers(1, 5))
    shape = (1, *kernel, outputs) if depthwise else (outputs, *kernel, channels // groups)
    weights = rng.integers(-127, 128, shape)
    in_scale, out_scale = scale(rng), scale(rng)
    unit = out_scale / in_scale / np.sqrt(kernel[0] * kernel[1] * shape[3]) / 60
    scales = [float(np.float32(unit * 2.0 ** rng.integers(-2, 3))) for _ in range(outputs if rng.random() < 0.7 else 1)]
    bias = rng.integers(-3000, 3000, outputs)  # LiteRT wants one for int8
    graph = tflite.Graph()
    x = graph.input((1, height, width, channels), in_scale, int(rng.integers(-128, 128)))
    sizes = zip((height, width), kernel, strides, dilations, strict=True)
    out_shape = [size(*each, same) for each in sizes]
    y = graph.tensor((1, *out_shape, outputs), out_scale, int(rng.integers(-128, 128)))
    graph.conv(
        x,
        weights,
        y,
        scales,
        bias,
        depthwise=depthwise,
        padding=0 if same else 1,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilations[0],
        dilationWFactor=dilations[1],
        fusedActivationFunction=RELUS[case % 4],
    )
    tflite.compare(graph.save(tmp_path / "conv.tflite"), random_inputs(rng, (height, width, channels)))


@pytest.mark.parametrize("case", range(30))
def test_fully_connected(tflite, tmp_path, case):
    rng = np.random.default_rng([SEED, 1, case])
    shape = [(24,), (2, 3, 4), (6, 4)][case % 3]
    outputs = int(rng.integers(1, 20))
    in_scale, out_scale = scale(rng), scale(rng)
    unit = out_scale / in_scale / np.sqrt(24) / 60
    scales = [float(np.float32(unit * 2.0 ** rng.integers(-2, 3))) for _ in range(outputs if case % 2 else 1)]
    graph = tflite.Graph()
    x = graph.input((1, *shape), in_scale, int(rng.integers(-128, 128)))
    y = graph.tensor((1, outputs), out_scale, int(rng.integers(-128, 128)))
    bias = None if rng.random() < 0.2 or case % 2 else rng.integers(-3000, 3000, outputs)
    graph.dense(x, rng.integers(-127, 128, (outputs, 24)), y, scales, bias, fusedActivationFunction=RELUS[case % 4])
    tflite.compare(graph.save(tmp_path / "fc.tflite"), random_inputs(rng, shape, 20))


@pytest.mark.parametrize("case", range(12))
@pytest.mark.parametrize("kind", ["conv", "channels", "dense"])
def test_multipliers_to_the_last_bit(tflite, tmp_path, case, kind):
    """Biases next to the ties of their scales: they tell a multiplier from its neighbours, a rounding from others."""
    rng = np.random.default_rng([SEED, 2, case])
    in_scale, weight_scale, out_scale = (np.float32(rng.uniform(0.5, 1)) for _ in range(3))
    weight_scale, per_channel = weight_scale * np.float32(2.0**-19), kind == "channels"
    factor = float(in_scale) * float(weight_scale) / float(out_scale)
    ties = (np.arange(-126, 126) + 0.5) / factor
    bias = np.concatenate([np.rint(ties) + step for step in (-2, -1, 0, 1, 2)]).astype(np.int64)
    graph, outputs = tflite.Graph(), len(bias)
    if kind == "dense":
        x, y = graph.input((1, 2), float(in_scale), 3), graph.tensor((1, outputs), float(out_scale), -1)
        graph.dense(x, np.zeros((outputs, 2)), y, float(weight_scale), bias)
    else:
        x, y = graph.input((1, 1, 1, 2), float(in_scale), 3), graph.tensor((1, 1, 1, outputs), float(out_scale), -1)
        scales = np.full(outputs, weight_scale) if per_channel else float(weight_scale)
        graph.conv(x, np.zeros((outputs, 1, 1, 2)), y, scales, bias)
    shape = (2,) if kind == "dense" else (1, 1, 2)
    tflite.compare(graph.save(tmp_path / "ties.tflite"), np.zeros((1, *shape), np.int8))


@pytest.mark.parametrize("case", range(30))
def test_add(tflite, tmp_path, case):
    rng = np.random.default_rng([SEED, 3, case])
    shape = [(17,), (3, 4, 5), (6, 7)][case % 3]
    graph = tflite.Graph()
    first_scale, second_scale, middle = scale(rng), scale(rng), scale(rng)
    x = graph.input((1, *shape), first_scale, int(rng.integers(-128, 128)))
    middle_tensor = graph.tensor((1, *shape), middle, int(rng.integers(-128, 128)))
    graph.add("QUANTIZE", [x], middle_tensor, "QuantizeOptions")
    y = graph.tensor((1, *shape), max(first_scale, middle, second_scale), int(rng.integers(-128, 128)))
    order = [x, middle_tensor] if case % 2 else [middle_tensor, x]
    graph.add("ADD", order, y, "AddOptions", fusedActivationFunction=RELUS[case % 4])
    tflite.compare(graph.save(tmp_path / "add.tflite"), random_inputs(rng, shape, 20))


def test_add_of_every_pair(tflite, tmp_path):
    """All 65,536 pairs of values; the second input comes from the first, reversed by a convolution."""
    graph = tflite.Graph()
    x = graph.input((1, 256, 256, 2), 0.37, 5)
    first, second = (graph.tensor((1, 256, 256, 1), 0.37, 5), graph.tensor((1, 256, 256, 1), 0.37, 5))
    graph.conv(x, [[[[1, 0]]]], first, 1.0, [0])
    graph.conv(x, [[[[0, 1]]]], second, 1.0, [0])
    other = graph.tensor((1, 256, 256, 1), 0.11, -77)
    graph.add("QUANTIZE", [second], other, "QuantizeOptions")
    y = graph.tensor((1, 256, 256, 1), 0.41, -9)
    graph.add("ADD", [first, other], y, "AddOptions")
    grid = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), axis=-1).astype(np.int8)
    tflite.compare(graph.save(tmp_path / "pairs.tflite"), grid[None])


@pytest.mark.parametrize("case", range(30))
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pooling(tflite, tmp_path, case, kind):
    rng = np.random.default_rng([SEED, 4, case])
    height, width, channels = rng.integers(1, 12), rng.integers(1, 12), rng.integers(1, 6)
    same = bool(rng.random() < 0.6)
    kernel = [int(rng.integers(1, 5)), int(rng.integers(1, 5))]
    if not same:
        kernel = [min(kernel[0], int(height)), min(kernel[1], int(width))]
    if case % 5 == 0:
        kernel, same = [int(height), int(width)], False
    strides = rng.integers(1, 4, 2).tolist()
    graph, grid = tflite.Graph(), (scale(rng), int(rng.integers(-128, 128)))
    x = graph.input((1, height, width, channels), *grid)
    sizes = [size(*each, 1, same) for each in zip((height, width), kernel, strides, strict=True)]
    y = graph.tensor((1, *sizes, channels), *grid)
    graph.add(
        kind,
        [x],
        y,
        "Pool2DOptions",
        padding=0 if same else 1,
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        strideH=strides[0],
        strideW=strides[1],
        fusedActivationFunction=RELUS[case % 4],
    )
    tflite.compare(graph.save(tmp_path / "pool.tflite"), random_inputs(rng, (height, width, channels)))


@pytest.mark.parametrize("case", range(30))
def test_mean_over_the_image(tflite, tmp_path, case):
    rng = np.random.default_rng([SEED, 5, case])
    height, width, channels = (int(rng.integers(1, 9)) for _ in range(3))
    graph, keep, in_scale = tflite.Graph(), case % 2 == 0, scale(rng)
    x = graph.input((1, height, width, channels), in_scale, int(rng.integers(-128, 128)))
    out = in_scale if case % 3 == 0 else scale(rng)
    y = graph.tensor((1, 1, 1, channels) if keep else (1, channels), out, int(rng.integers(-128, 128)))
    axes = graph.constant(np.array([[1, 2], [2, 1], [-3, -2]][case % 3], np.int32))
    graph.add("MEAN", [x, axes], y, "ReducerOptions", keepDims=keep)
    tflite.compare(graph.save(tmp_path / "mean.tflite"), random_inputs(rng, (height, width, channels), 20))


@pytest.mark.parametrize("case", range(24))
@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE"])
def test_every_value_of_elementwise_operators(tflite, tmp_path, case, kind):
    rng = np.random.default_rng([SEED, 6, case])
    graph, in_scale = tflite.Graph(), scale(rng)
    x = graph.input((1, 256), in_scale, int(rng.integers(-128, 128)))
    out = in_scale if case % 3 == 0 else scale(rng)
    y = graph.tensor((1, 256), out, int(rng.integers(-128, 128)))
    graph.add(kind, [x], y)
    path = graph.save(tmp_path / "clamp.tflite")
    tflite.compare(path, np.arange(-128, 128).astype(np.int8)[None])


@pytest.mark.parametrize("case", range(40))
def test_softmax(tflite, tmp_path, case):
    rng = np.random.default_rng([SEED, 7, case])
    shape = [(10,), (2, 3, 7), (1,), (300,)][case % 4]
    graph = tflite.Graph()
    in_scale = float(np.float32(2.0 ** rng.uniform(-9, 6)))
    x, y = graph.input((1, *shape), in_scale, int(rng.integers(-128, 128))), graph.tensor((1, *shape), 1 / 256, -128)
    graph.add("SOFTMAX", [x], y, "SoftmaxOptions", beta=[1.0, 0.3, 2.5][case % 3])
    tflite.compare(graph.save(tmp_path / "softmax.tflite"), random_inputs(rng, shape, 30))


def test_softmax_of_every_difference(tflite, tmp_path):
    for in_scale in (0.001, 0.05, 0.1, 0.25, 1.0, 7.0):
        graph = tflite.Graph()
        x, y = graph.input((1, 256), in_scale, 0), graph.tensor((1, 256), 1 / 256, -128)
        graph.add("SOFTMAX", [x], y, "SoftmaxOptions", beta=1.0)
        values = np.arange(-128, 128).astype(np.int8)
        pairs = np.stack([np.where(np.arange(256) < 2, value, values) for value in (-128, 0, 127)])
        tflite.compare(graph.save(tmp_path / "softmax.tflite"), pairs.astype(np.int8))


def test_concatenation_padding_and_reshapes(tflite, tmp_path):
    """Images side by side; padding before a convolution, a pooling and another padding; every kind of reshape."""
    rng = np.random.default_rng(SEED)
    graph, grid = tflite.Graph(), (0.25, -7)
    x = graph.input((1, 5, 6, 3), *grid)
    amounts = graph.constant(np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))
    padded = graph.tensor((1, 8, 9, 3), *grid)
    graph.add("PAD", [x, amounts], padded, "PadOptions")
    conv = graph.tensor((1, 4, 5, 2), *grid)
    graph.conv(padded, rng.integers(-9, 10, (2, 3, 3, 3)), conv, 0.1, [5, -7], padding=0, strideH=2, strideW=2)
    pooled = graph.tensor((1, 4, 5, 3), *grid)
    graph.add(
        "MAX_POOL_2D", [padded], pooled, "Pool2DOptions", padding=0, filterHeight=2, filterWidth=2, strideH=2, strideW=2
    )
    both = graph.tensor((1, 4, 5, 5), *grid)
    graph.add("CONCATENATION", [conv, pooled], both, "ConcatenationOptions", axis=3)
    again = graph.tensor((1, 11, 12, 3), *grid)
    graph.add("PAD", [padded, amounts], again, "PadOptions")
    average = graph.tensor((1, 5, 4, 3), *grid)
    graph.add(
        "AVERAGE_POOL_2D",
        [again],
        average,
        "Pool2DOptions",
        padding=1,
        filterHeight=3,
        filterWidth=3,
        strideH=2,
        strideW=3,
    )
    wide = graph.tensor((1, 4, 5, 3), *grid)
    graph.add("RESHAPE", [average, graph.constant(np.array([-1, 4, 5, 3], np.int32))], wide)
    last = graph.tensor((1, 4, 5, 8), *grid)
    graph.add("CONCATENATION", [both, wide], last, "ConcatenationOptions", axis=-1)
    flat = graph.tensor((1, 160), *grid)
    graph.add("RESHAPE", [last, graph.constant(np.array([1, 160], np.int32))], flat)
    square = graph.tensor((1, 8, 20), *grid)
    graph.add("RESHAPE", [flat], square, "ReshapeOptions", newShape=[1, 8, 20])
    path = graph.save(tmp_path / "mixed.tflite")
    network, places = read_tflite_tensors(path)
    assert network.output_shape == (8, 20)
    assert len(places) == 11 - 2  # all activations but those that are padded only on paper
    tflite.compare(path, random_inputs(rng, (5, 6, 3)))


def test_a_flat_output_of_an_image(tflite, tmp_path):
    graph = tflite.Graph()
    x, y, z = graph.input((1, 2, 2, 2)), graph.tensor((1, 2, 2, 2)), graph.tensor((1, 8))
    graph.add("RELU", [x], y)
    graph.add("RESHAPE", [y], z, "ReshapeOptions", newShape=[1, 8])
    path = graph.save(tmp_path / "flat.tflite")
    assert read_tflite(path).output_shape == (8,)
    tflite.compare(path, random_inputs(np.random.default_rng(SEED), (2, 2, 2)))


@pytest.mark.parametrize("in_scale", [0.5, 1.0, 0.0078431377, 0.1, 3.7])
def test_real_inputs_and_outputs(tflite, tmp_path, in_scale):
    """QUANTIZE rounds half away from zero: every tie, and its neighbours, become the same integers."""
    graph = tflite.Graph()
    x = graph.input((1, 4096), None, kind="float32")
    q, r, y = graph.tensor((1, 4096), in_scale, 3), graph.tensor((1, 4096), in_scale, 3), graph.tensor((1, 4096), None)
    graph.graph.tensors[y].type = tflite.schema.TensorType.FLOAT32
    graph.add("QUANTIZE", [x], q)
    graph.add("RELU_N1_TO_1" if in_scale == 3.7 else "RELU", [q], r)
    graph.add("DEQUANTIZE", [r], y)
    path = graph.save(tmp_path / "reals.tflite")
    network, reference = read_tflite(path), tflite.Reference(path)
    ties = ((np.arange(-135, 135) + 0.5) * np.float64(np.float32(in_scale))).astype(np.float32)
    near = [ties]
    for direction in (-np.inf, np.inf):
        values = ties
        for _ in range(4):
            values = np.nextafter(values, np.float32(direction))
            near.append(values)
    values = np.concatenate(near)
    values = np.concatenate([values, np.random.default_rng(SEED).normal(0, 50 * in_scale, 4096 - len(values))])
    values = values.astype(np.float32)[None]
    expected = reference.run(values)
    integers = network.quantize_input(values)
    assert np.array_equal(integers, reference.tensor(q))
    assert np.array_equal(network.dequantize_output(tensors(network, integers)[-1]), expected)


def test_unsigned_inputs_and_outputs(tflite, tmp_path):
    graph = tflite.Graph()
    x, a = graph.input((1, 256), 0.5, 128, "uint8"), graph.tensor((1, 256), 0.5, 0)
    b, y = graph.tensor((1, 256), 0.75, 10), graph.tensor((1, 256), 0.75, 138, "uint8")
    graph.add("QUANTIZE", [x], a)
    graph.add("RELU", [a], b)
    graph.add("QUANTIZE", [b], y)
    path = graph.save(tmp_path / "unsigned.tflite")
    network = read_tflite(path)
    assert (network.input_dtype, network.output_dtype) == ("uint8", "uint8")
    tflite.compare(path, np.arange(256).astype(np.uint8)[None])
