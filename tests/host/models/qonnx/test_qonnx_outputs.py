"""The ends of a network: factors and offsets of outputs, what may follow them, and inputs that are integers."""

import numpy as np
import pytest
from onnx import TensorProto

from celosia.host.models.onnx import read_onnx

SEED = 55


def test_factors_of_weights_and_of_outputs(build, equal):
    """XNOR-Net: one factor for each output, in the weights, of any sign; in the last layer they scale the outputs."""
    rng = np.random.default_rng(SEED)
    graph = build.Graph((50, 31))
    graph.then("Sign")
    real = rng.normal(0, 1, (31, 12)).astype(np.float32)
    alpha = graph.add("ReduceMean", graph.add("Abs", real), axes=[0], keepdims=1)
    weights = graph.add("Mul", graph.add("Sign", real), alpha)
    graph.add("MatMul", graph.nodes[0].output[0], weights)
    graph.norm(12, rng)
    graph.then("Sign")
    factors = rng.normal(0, 1, 4).astype(np.float32)
    graph.then("MatMul", build.signs(rng, 12, 4) * factors)
    graph.then("Add", np.float32([1, 2, 3, 4]))
    network = equal(graph, rng.normal(0, 1, (50, 31)).astype(np.float32), exact=False)
    assert np.allclose(network.output_scale, np.abs(factors))
    assert network.output_bias.tolist() == [1, 2, 3, 4]


def test_affine_outputs_and_what_may_follow(build, equal, tmp_path):
    def graph():
        rng = np.random.default_rng(SEED)
        graph = build.Graph((25, 16))
        graph.bipolar()
        graph.then("MatMul", build.signs(rng, 16, 7))
        graph.norm(7, rng)
        graph.add("Sub", np.float32([1]), graph.last)
        graph.then("Neg")
        graph.then("Div", np.float32(3))
        return graph

    inputs = np.random.default_rng(SEED + 1).normal(0, 1, (25, 16)).astype(np.float32)
    network = equal(graph(), inputs, exact=False)
    expected = network.dequantize_output(build.golden(network, inputs)).argmax(axis=1)
    for ends in (["Softmax"], ["LogSoftmax", "ArgMax"], ["TopK"], ["Flatten", "Softmax", "TopK", "Squeeze"]):
        other = graph()
        for end in ends:
            if end == "TopK":
                other.then("TopK", np.int64([1]), outputs=2, axis=-1, take=1)
            else:
                other.then(end, **({"axis": 1} if "ax" in end else {}))
        read = read_onnx(other.save(tmp_path / "ends.onnx"))
        assert np.array_equal(build.golden(read, inputs), build.golden(network, inputs))
        if ends[-1] not in ("Softmax", "LogSoftmax"):
            other.output_type = TensorProto.INT64
            assert np.array_equal(build.reference(other.model(), inputs).ravel(), expected)


def test_quantized_outputs(build, equal):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((25, 2, 5, 5))
    graph.bipolar()
    graph.then("Conv", build.signs(rng, 6, 2, 4, 4), kernel_shape=[4, 4])
    graph.then("MaxPool", kernel_shape=[2, 2])
    graph.norm(6, rng, signs=(1,))
    graph.quant(0.5, 3, 4, signed=0)
    graph.then("Flatten")
    network = equal(graph, rng.normal(0, 1, graph.shape).astype(np.float32))
    assert (network.output_scale, network.output_bias) == (0.5, -1.5)
    assert network.output_dtype == "uint4"


@pytest.mark.parametrize("kind", ["annotated", "uint8", "int8"])
@pytest.mark.parametrize("scaled", [False, True])
def test_inputs_that_are_integers(kind, scaled, build, tmp_path):
    """FINN's annotation, or a tensor of integers, and no quantizer before the first product."""
    rng = np.random.default_rng(SEED)
    elem_type = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}.get(kind, TensorProto.FLOAT)
    graph = build.Graph((6, 2, 6, 5), elem_type=elem_type)
    if kind == "annotated":
        graph.annotations["x"] = "UINT8"
    else:
        graph.then("Cast", to=TensorProto.FLOAT)
    if scaled:
        graph.then("Div", np.float32(64))
        graph.then("Sub", np.float32([0.5]))
    graph.then("Conv", build.signs(rng, 4, 2, 3, 3), kernel_shape=[3, 3])
    graph.norm(4, rng, spread=20)
    graph.bipolar()
    graph.then("Flatten")
    graph.then("MatMul", build.signs(rng, 4 * 4 * 3, 3))
    network = read_onnx(graph.save(tmp_path / "integers.onnx"))
    assert network.input_dtype == ("int8" if kind == "int8" else "uint8")
    assert (network.input_scale, network.input_thresholds) == (1.0, None)
    low = -128 if kind == "int8" else 0
    inputs = rng.integers(low, low + 256, graph.shape)
    given = inputs.astype(np.float32 if kind == "annotated" else kind)
    assert np.array_equal(build.golden(network, inputs.astype(np.float32)), build.reference(graph.model(), given))
