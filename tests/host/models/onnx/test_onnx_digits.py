"""Small convolutional networks on handwritten digits, quantized by onnxruntime: against it and exact arithmetic."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sklearn.datasets import load_digits

from celosia.host.models.ir import Network
from celosia.host.models.onnx import read_onnx
from celosia.host.models.onnx_float32 import round_as_onnxruntime
from celosia.sim.golden.network import LAYERS

SEED = 41


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def features(end: str):
    """Nodes up to the vector that the last layer takes, and random weights."""
    rng = np.random.default_rng(SEED)
    arrays = {}

    def conv(inputs: str, output: str, shape, **options):
        fan_in = np.prod(shape[1:])
        arrays[f"w_{output}"] = rng.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)
        arrays[f"b_{output}"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
        return helper.make_node("Conv", [inputs, f"w_{output}", f"b_{output}"], [output], name=output, **options)

    def node(kind: str, inputs: str, output: str, **options):
        return helper.make_node(kind, inputs.split(), [output], name=output, **options)

    nodes = [
        conv("x", "stem", (8, 1, 3, 3), pads=[1, 1, 1, 1]),
        node("Relu", "stem", "stem_relu"),
        conv("stem_relu", "depthwise", (8, 1, 3, 3), pads=[1, 1, 1, 1], group=8),
        node("Relu", "depthwise", "depthwise_relu"),
        conv("depthwise_relu", "pointwise", (8, 8, 1, 1)),
        node("Add", "pointwise stem_relu", "sum"),
        node("Relu", "sum", "sum_relu"),
        node("MaxPool", "sum_relu", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        conv("pool", "grouped", (16, 4, 3, 3), pads=[1, 1, 1, 1], group=2),
        node("Relu", "grouped", "grouped_relu"),
    ]
    if end == "flatten":
        nodes.append(node("Flatten", "grouped_relu", "vector"))
    else:
        nodes += [node("GlobalAveragePool", "grouped_relu", "average"), node("Flatten", "average", "vector")]
    return nodes, arrays


@pytest.fixture(scope="module")
def float_path(save_graph, tmp_path_factory, digits, reference):
    """Float networks, whose last layer is the least-squares solution for the first 1,200 digits."""
    made = {}

    def write(end: str):
        if end not in made:
            path = tmp_path_factory.mktemp(end) / "float.onnx"
            nodes, arrays = features(end)
            images, labels = digits
            save_graph(path, [*nodes, helper.make_node("Identity", ["vector"], ["y"])], arrays, ("n", 1, 8, 8))
            vectors = reference.run(path, images[:1200], ["y"])["y"]
            ones = np.concatenate([vectors, np.ones((1200, 1), np.float32)], axis=1)
            solution = np.linalg.solve(ones.T @ ones + 0.1 * np.eye(ones.shape[1]), ones.T @ np.eye(10)[labels[:1200]])
            arrays |= {"w_y": solution[:-1].astype(np.float32), "b_y": solution[-1].astype(np.float32)}
            last = helper.make_node("Gemm", ["vector", "w_y", "b_y"], ["y"], name="classes")
            made[end] = save_graph(path, [*nodes, last], arrays, ("n", 1, 8, 8))
        return made[end]

    return write


class Calibration(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter([{"x": images[start : start + 100]} for start in range(0, 300, 100)])

    def get_next(self):
        return next(self.batches, None)


CASES = [
    pytest.param(style, per_channel, activations, end, id=f"{style.name}-{kind}-{activations.name}-{end}")
    for style, per_channel, activations, end in (
        (QuantFormat.QDQ, False, QuantType.QInt8, "average"),
        (QuantFormat.QDQ, True, QuantType.QUInt8, "flatten"),
        (QuantFormat.QOperator, True, QuantType.QInt8, "average"),
        (QuantFormat.QOperator, False, QuantType.QUInt8, "flatten"),
    )
    for kind in ["channel" if per_channel else "tensor"]
]


def differing(forced, theirs, images) -> tuple[int, np.ndarray]:
    """How many values differ from onnxruntime's, all next to a tie, and in which images."""
    total, touched = 0, np.zeros(len(images), bool)
    for name, values in forced.values.items():
        wrong = np.argwhere(values != theirs[name])
        total += len(wrong)
        touched[wrong[:, 0]] = True
        quotient, error = (part[tuple(wrong.T)] for part in forced.reals[name])
        distance = np.abs(quotient - np.floor(quotient) - 0.5)
        assert np.all(distance < error), f"{name}: {distance} from a tie, but only {error} would be explained"
        assert np.all(np.abs(values - theirs[name]) <= 1)
    return total, touched


@pytest.mark.parametrize(("style", "per_channel", "activations", "end"), CASES)
def test_digits(float_path, tmp_path, digits, reference, seven_bit_weights, style, per_channel, activations, end):
    images, labels = digits
    path = tmp_path / "quantized.onnx"
    quantize_static(
        float_path(end),
        path,
        Calibration(images),
        quant_format=style,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        reduce_range=seven_bit_weights,
    )
    network = read_onnx(path)
    assert isinstance(network, Network)
    exact = reference.Exact(path, images)
    got = reference.golden(network, network.quantize_input(images))
    assert np.array_equal(got, exact.output.terms[0][0] + network.output_zero_point)
    assert np.mean(got.argmax(axis=1) == labels) > (0.9 if end == "flatten" else 0.7)

    # each operator on what onnxruntime gives it: only values next to a tie differ; 1 to 7 of 4.2 to 4.8 million did
    theirs = reference.run(path, images, [*exact.values, "y"])
    total, touched = differing(reference.Exact(path, images, theirs), theirs, images)
    assert total <= 20
    same = network.dequantize_output(got) == theirs["y"]
    assert same[~touched].all()
    if style is QuantFormat.QOperator:
        nodes = [node for node in onnx.load(path).graph.node if node.op_type == "QLinearConv"]
        tensors = reference.run(path, images, [name for node in nodes for name in (node.input[0], node.output[0])])
        check_integer_kernels(network, nodes, tensors)


def check_integer_kernels(network: Network, nodes, tensors) -> None:
    """Outputs whose multiplier was chosen for float32 are onnxruntime's without an exception."""
    network, unequal = round_as_onnxruntime(network)
    layers = {layer.name: layer for layer in network.layers}
    compared, outputs = 0, 0
    for node in nodes:
        layer = layers[node.name]
        got = np.moveaxis(LAYERS["Conv2d"](layer, np.moveaxis(tensors[node.input[0]], 1, -1)), -1, 1)
        kept = np.delete(np.arange(len(layer.bias)), unequal.get(node.name, []))
        assert np.array_equal(got[:, kept], tensors[node.output[0]][:, kept])
        compared, outputs = compared + len(kept), outputs + len(layer.bias)
    assert compared > outputs / 2, f"only {compared} of {outputs} outputs have a multiplier that equals float32"
