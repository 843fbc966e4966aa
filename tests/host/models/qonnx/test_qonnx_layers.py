"""Every kind of operator, in graphs whose outputs have to equal those of qonnx's own execution exactly."""

import numpy as np
import pytest

SEED = 50
ACTIVATIONS = {
    "bipolar": lambda graph, _: graph.bipolar(0.5),
    "int2": lambda graph, _: graph.quant(0.25, 0, 2),
    "int4": lambda graph, _: graph.quant(0.5, 0, 4, narrow=1),
    "1-bit": lambda graph, _: graph.quant(2, 0, 1),
    "ReLU and uint1": lambda graph, _: (graph.then("Relu"), graph.quant(2, 0, 1, signed=0)),
    "ReLU and uint4": lambda graph, _: (graph.then("Relu"), graph.quant(0.5, 0, 4, signed=0)),
    "uint2 narrow": lambda graph, _: graph.quant(0.5, 0, 2, signed=0, narrow=1),
    "uint3, zero point 3": lambda graph, _: graph.quant(0.5, 3, 3, signed=0),
    "int3, zero point -2": lambda graph, _: graph.quant(0.5, -2, 3),
    "int8, zero point 5": lambda graph, _: graph.quant(0.125, 5, 8),
    "Sign": lambda graph, _: graph.then("Sign"),
    "HardTanh and Sign": lambda graph, _: (graph.then("Clip", np.float32(-1), np.float32(1)), graph.then("Sign")),
    "BIPOLAR thresholds": lambda graph, _: graph.then(
        "MultiThreshold", np.zeros((1, 1), np.float32), out_scale=2.0, out_bias=-1.0, out_dtype="BIPOLAR"
    ),
    "thresholds by channel": lambda graph, channels: graph.then(
        "MultiThreshold",
        np.sort(np.random.default_rng(SEED).normal(0, 2, (channels, 3)).astype(np.float32), axis=1),
        out_scale=1.0,
        out_bias=-2.0,
        out_dtype="INT2",
    ),
    "thresholds, an offset between the integers": lambda graph, _: graph.then(
        "MultiThreshold", np.float32([[-2, 0, 2]]), out_scale=1.0, out_bias=-1.5, out_dtype="INT2"
    ),
    "quantized twice, then scaled": lambda graph, _: (
        graph.quant(0.5, 0, 4),
        graph.then("Mul", np.float32(2)),
        graph.quant(1, 0, 3),
        graph.then("Add", np.float32([1])),
        graph.then("Neg"),
    ),
    **{
        mode: lambda graph, _, mode=mode: graph.quant(1, 0, 3, rounding_mode=mode)
        for mode in ("CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN")
    },
}
ELEMENTWISE = {
    "nothing": lambda *_: None,
    "batch-norm with gamma of all signs": lambda graph, channels, rng: graph.norm(channels, rng, signs=(-1, 0, 1)),
    "Mul, Add, Sub, Div": lambda graph, channels, rng: (
        graph.then("Mul", vector(graph, channels, rng)),
        graph.then("Add", np.float32(0.3)),
        graph.add("Sub", vector(graph, channels, rng), graph.last),
        graph.then("Div", np.float32(-1.7)),
    ),
    "Neg, Min, Max": lambda graph, *_: (
        graph.then("Neg"),
        graph.then("Min", np.float32(3.5)),
        graph.add("Max", np.float32(-2.25), graph.last),
    ),
}


def vector(graph, channels, rng):
    return rng.normal(0, 1.5, (channels, 1, 1) if len(graph.shape) == 4 else channels).astype(np.float32)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("before", ELEMENTWISE)
def test_dense(before, name, build, equal):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((30, 21))
    graph.quant(0.5, 0, 3)
    graph.then("MatMul", build.ternary(rng, 21, 9) * 2.0 ** rng.integers(-3, 1, 9).astype(np.float32))
    ELEMENTWISE[before](graph, 9, rng)
    ACTIVATIONS[name](graph, 9)
    graph.then("MatMul", build.signs(rng, 9, 5))
    equal(graph, rng.normal(0, 1.5, (30, 21)).astype(np.float32))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("pool", ["none", "of sums", "of numbers", "of activations"])
def test_conv(pool, name, build, equal):
    """With pools at all places, where gamma is of both signs, then a convolution and a flattened image."""
    rng = np.random.default_rng(SEED)
    graph = build.Graph((4, 2, 11, 9))
    graph.quant(0.25, 0, 2)
    graph.then("Conv", build.signs(rng, 6, 2, 3, 2), kernel_shape=[3, 2], strides=[1, 1])
    pools = {"kernel_shape": [2, 3], "strides": [2, 1]}
    if pool == "of sums":
        graph.then("MaxPool", **pools)
    graph.norm(6, rng, spread=2)
    if pool == "of numbers":
        graph.then("MaxPool", **pools)
        graph.then("Mul", vector(graph, 6, rng))
    ACTIVATIONS[name](graph, 6)
    if pool == "of activations":
        graph.then("MaxPool", **pools)
    graph.then("Conv", build.ternary(rng, 4, 6, 2, 2), kernel_shape=[2, 2], strides=[2, 1])
    graph.quant(4, 0, 2)
    graph.then("Flatten")
    graph.then("MatMul", build.signs(rng, 4 * (2 if pool != "none" else 4) * (5 if pool != "none" else 7), 3))
    network = equal(graph, rng.normal(0, 1, graph.shape).astype(np.float32))
    assert network.layers[0].pool == ((1, 1) if pool == "none" else (2, 3))


@pytest.mark.parametrize("name", ["bipolar", "int2", "ReLU and uint4", "uint3, zero point 3"])
def test_pooled_sums_that_fall_into_a_dense_layer(name, build, equal):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((7, 2, 8, 7))
    graph.bipolar()
    graph.then("Conv", build.signs(rng, 6, 2, 3, 3) * np.float32(0.25), kernel_shape=[3, 3])
    graph.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    graph.norm(6, rng, spread=1.5)
    ACTIVATIONS[name](graph, 6)
    graph.then("Flatten")
    graph.then("MatMul", build.ternary(rng, 6 * 3 * 2, 8))
    graph.norm(8, rng)
    graph.bipolar()
    graph.then("MatMul", build.signs(rng, 8, 3))
    equal(graph, rng.normal(0, 1, graph.shape).astype(np.float32))


PADDED = {
    "bipolar": (lambda graph: graph.bipolar(), 1, 0),
    "int3": (lambda graph: graph.quant(0.5, 0, 3), 2, 0),
    "uint3, zero point 3": (lambda graph: graph.quant(0.5, 3, 3, signed=0), 2, 3),
    "1, 2 and 3": (
        lambda graph: graph.then("MultiThreshold", np.float32([[-0.5, 0.5]]), out_bias=1.0, out_dtype="UINT2"),
        1,
        0,
    ),
}
"""A quantizer, the integers in 1.0, and the integer of 0.0."""


@pytest.mark.parametrize("inputs", PADDED)
@pytest.mark.parametrize(
    "mode", ["pads", "SAME_UPPER", "SAME_LOWER", "VALID", "Pad", "Pad with its own value", "old Pad"]
)
def test_padding(mode, inputs, build, equal):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((5, 3, 7, 6), opset=9 if mode == "old Pad" else 13)
    quantize, scale, zero = PADDED[inputs]
    quantize(graph)
    sides, value, attributes = [0, 0, 1, 2, 0, 0, 2, 0], 1.0 if "own" in mode else 0.0, {}
    if mode == "old Pad":
        graph.then("Pad", pads=sides, value=0.0)
    elif "Pad" in mode:
        graph.then("Pad", np.int64(sides), np.float32(value))
    elif mode == "pads":
        attributes = {"pads": [1, 2, 2, 0]}
    else:
        attributes = {"auto_pad": mode}
    graph.then("Conv", build.signs(rng, 12, 3, 4, 3), kernel_shape=[4, 3], strides=[2, 1], **attributes)
    graph.norm(12, rng, spread=3)
    graph.bipolar()
    graph.then("Flatten")
    height, width = (2, 4) if mode == "VALID" else (4, 6)
    graph.then("MatMul", build.signs(rng, 12 * height * width, 30))
    network = equal(graph, rng.normal(0, 1, graph.shape).astype(np.float32))
    padding = {"VALID": (0, 0, 0, 0), "SAME_UPPER": (1, 1, 2, 1), "SAME_LOWER": (2, 1, 1, 1)}.get(mode, (1, 2, 2, 0))
    assert network.layers[0].padding == padding
    assert network.layers[0].pad_value == (value * scale + zero if any(padding) else 0)


def test_padding_below_all_inputs(build, equal):
    """Sums at the border of an image of 1, 2 and 3 are smaller than any inside."""
    graph = build.Graph((5, 1, 4, 4))
    graph.then("MultiThreshold", np.float32([[-0.5, 0.5]]), out_bias=1.0, out_dtype="UINT2")
    graph.then("Conv", np.ones((1, 1, 3, 3), np.float32), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    graph.then("Sub", np.float32(7.5))
    graph.bipolar()
    graph.then("Flatten")
    graph.then("MatMul", np.eye(16, dtype=np.float32))
    equal(graph, np.random.default_rng(SEED).normal(-1, 1, graph.shape).astype(np.float32))


def test_gemm_with_biases(build, equal):
    """Transposed or not, alpha, beta, a bias of each shape; and a convolution's bias."""
    rng = np.random.default_rng(SEED)
    graph = build.Graph((20, 1, 4, 5))
    graph.bipolar()
    graph.then("Conv", build.signs(rng, 6, 1, 2, 2), np.float32(rng.normal(0, 2, 6)), kernel_shape=[2, 2])
    graph.then("Sign")
    graph.then("Reshape", np.int64([20, -1]))
    graph.then("Gemm", build.signs(rng, 11, 72), np.float32(rng.integers(-9, 9, 11)) / 8, transB=1, alpha=0.5, beta=2.0)
    graph.bipolar()
    graph.then("Gemm", build.signs(rng, 11, 8), np.float32([[0.25]]), alpha=-2.0)
    graph.quant(1, 0, 3)
    graph.then("Gemm", build.signs(rng, 8, 3))
    network = equal(graph, rng.normal(0, 1, graph.shape).astype(np.float32))
    assert network.input_shape == (1, 4, 5)


def test_dense_after_an_image_with_its_axes_moved(build, equal):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((6, 60))
    graph.bipolar()
    graph.then("Reshape", np.int64([0, 3, 5, -1]))
    graph.then("Conv", build.signs(rng, 7, 3, 2, 2), kernel_shape=[2, 2])
    graph.then("Transpose", perm=[0, 2, 3, 1])
    graph.then("Mul", np.float32(rng.normal(0, 1, 7)))
    graph.bipolar()
    graph.then("Transpose", perm=[0, 2, 1, 3])
    graph.then("Unsqueeze", np.int64([1, 5]))
    graph.then("Squeeze", np.int64([1]))
    graph.then("Dropout")
    graph.then("Identity")
    graph.then("Flatten", axis=1)
    graph.then("MatMul", build.signs(rng, 7 * 4 * 3, 5))
    network = equal(graph, rng.normal(0, 1, (6, 60)).astype(np.float32))
    assert network.input_shape == (3, 5, 4)


def test_channels_last_as_finn_streamlines_it(build, equal):
    """Transposes, thresholds by channel in both layouts, and FINN's own pool."""
    rng = np.random.default_rng(SEED)
    graph = build.Graph((4, 3, 9, 8))
    graph.then("MultiThreshold", np.float32([np.arange(-3, 4) / 2]), out_bias=-4.0, out_dtype="INT4")
    graph.then("Conv", build.signs(rng, 7, 3, 2, 3), kernel_shape=[2, 3])
    values = np.sort(rng.integers(-20, 20, (7, 3)), axis=1).astype(np.float32)
    graph.then("Transpose", perm=[0, 2, 3, 1])
    graph.then("MultiThreshold", values, out_bias=-1.0, out_dtype="INT2", data_layout="NHWC")
    graph.shapes[graph.last] = (4, 8, 6, 7)
    graph.then("MaxPoolNHWC", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    graph.then("Transpose", perm=[0, 3, 1, 2])
    graph.then("Conv", build.signs(rng, 5, 7, 2, 2), kernel_shape=[2, 2])
    values = np.sort(rng.integers(-9, 9, (5, 1)), axis=1).astype(np.float32)
    graph.then("MultiThreshold", values, out_scale=2.0, out_bias=-1.0, out_dtype="BIPOLAR", data_layout="NCHW")
    graph.then("Transpose", perm=[0, 2, 3, 1])
    graph.then("Reshape", np.int64([4, -1]))
    graph.then("MatMul", build.signs(rng, 5 * 3 * 2, 4))
    network = equal(graph, rng.normal(0, 1, graph.shape).astype(np.float32))
    assert [layer.input_dtype for layer in network.layers] == ["int3", "uint2", "bipolar"]
    assert [layer.output_minimum for layer in network.layers] == [0, -1, None]


def test_int_quant_and_old_domains(build, equal):
    """IntQuant is Quant's later name; brevitas and finn are what the domain was called before."""
    rng = np.random.default_rng(SEED)
    graph = build.Graph((9, 12))
    graph.bipolar()
    graph.then("MatMul", build.signs(rng, 12, 8))
    graph.quant(2, 0, 3)
    graph.nodes[-1].op_type = "IntQuant"
    graph.then("MatMul", build.signs(rng, 8, 2))
    inputs = rng.normal(0, 1, (9, 12)).astype(np.float32)
    layers = [layer.thresholds for layer in equal(graph, inputs).layers[:1]]
    graph.nodes[0].domain = "onnx.brevitas"
    graph.nodes[2].domain = "finn.custom_op.general"
    graph.nodes[2].op_type = "Quant"
    layers += [layer.thresholds for layer in equal(graph, inputs).layers[:1]]
    assert np.array_equal(*layers)


@pytest.mark.parametrize("size", [20, 21])
def test_sign_has_a_zero_only_where_a_sum_can_be_zero(size, build, equal):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((40, size))
    graph.bipolar()
    graph.then("MatMul", build.signs(rng, size, 8))
    graph.then("Sign")
    graph.then("MatMul", build.signs(rng, 8, 3))
    network = equal(graph, rng.normal(0, 1, (40, size)).astype(np.float32))
    assert network.layers[0].output_dtype == ("int2" if size == 20 else "bipolar")
    assert network.layers[0].thresholds.shape == (8, 2 if size == 20 else 1)
    if size == 20:
        assert network.layers[0].output_minimum == -1
