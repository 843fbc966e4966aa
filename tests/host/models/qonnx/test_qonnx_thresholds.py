"""Thresholds, proven on every sum that a product can give, and input thresholds, on the floats around them."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from celosia.host.models import qonnx_fold
from celosia.host.models.onnx import read_onnx
from celosia.sim.golden.binary import run_layer

SEED = 60
SIZE, OUTPUTS = 101, 24
LARGEST = np.finfo(np.float32).max


def parameters(kind: str, rng) -> list[np.ndarray]:
    """Gamma, beta, mean, variance."""
    gamma = rng.uniform(0.1, 3, OUTPUTS) * rng.choice([-1, 0, 1], OUTPUTS, p=[0.4, 0.1, 0.5])
    mean, variance = rng.normal(0, 20, OUTPUTS), rng.uniform(1, 400, OUTPUTS)
    beta = rng.normal(0, 2, OUTPUTS)
    if kind == "on an integer":  # where only the rounding of float32 decides
        mean, beta = np.rint(mean), np.zeros(OUTPUTS)
    elif kind == "next to an integer":
        mean = np.nextafter(np.rint(mean).astype(np.float32), rng.choice([-1e9, 1e9], OUTPUTS).astype(np.float32))
        beta = np.zeros(OUTPUTS)
    elif kind == "out of reach":
        beta = rng.choice([-1e6, 1e6], OUTPUTS)
    elif kind == "extreme":
        gamma, variance = gamma * 1e-30, variance * 1e-12
    return [np.float32(each) for each in (gamma, beta, mean, variance)]


def executed(sums: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    """Batch-norm by onnxruntime, all sums as an image of each channel: (S,) -> (S, N)."""
    names = ["x", "gamma", "beta", "mean", "variance"]
    graph = helper.make_graph(
        [helper.make_node("BatchNormalization", names, ["y"], epsilon=1e-5)],
        "graph",
        [helper.make_tensor_value_info("x", 1, [1, OUTPUTS, len(sums), 1])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in zip(names[1:], arrays, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.broadcast_to(sums.astype(np.float32)[None, None, :, None], (1, OUTPUTS, len(sums), 1))
    return session.run(None, {"x": np.ascontiguousarray(image)})[0][0, :, :, 0].T


@pytest.mark.parametrize("kind", ["random", "on an integer", "next to an integer", "out of reach", "extreme"])
@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("everything", [True, False])
def test_every_sum(everything, bits, kind, build, tmp_path, monkeypatch):
    """With the whole table, and by bisection, which has to find the same."""
    monkeypatch.setattr(qonnx_fold, "_ALL", 1 << 26 if everything else 0)
    rng = np.random.default_rng([SEED, bits])
    arrays = parameters(kind, rng)
    graph = build.Graph((1, SIZE))
    graph.bipolar()
    graph.then("MatMul", build.signs(rng, SIZE, OUTPUTS))
    graph.then("BatchNormalization", *arrays, epsilon=1e-5)
    _ = graph.bipolar() if bits == 1 else graph.quant(0.25, 0, bits)
    graph.then("MatMul", build.signs(rng, OUTPUTS, 2))
    network = read_onnx(graph.save(tmp_path / "network.onnx"))
    layer = network.layers[0]
    values = executed(np.arange(-SIZE, SIZE + 1, 2), arrays)
    if bits == 1:
        expected = np.where(values >= 0, 1, -1)
    else:
        expected = np.clip(np.rint(values / np.float32(0.25)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    weights = graph.arrays[graph.nodes[1].input[1]]
    order = weights[:, None, :] * np.where(np.tri(SIZE + 1, SIZE, -1), 1, -1).T[:, :, None]  # every sum of each output
    for output in range(OUTPUTS):
        given = run_layer(layer, order[:, :, output].T.astype(np.int64))[:, output]
        assert np.array_equal(given, expected[:, output]), f"output {output}"
    low, high = layer.thresholds.min(), layer.thresholds.max()
    assert -SIZE <= low <= high <= SIZE + 1
    if kind == "out of reach":
        constant = expected[0] == expected[-1]
        assert constant.all()
        assert set(layer.thresholds.ravel().tolist()) == {-SIZE, SIZE + 1}


@pytest.mark.parametrize(
    ("before", "quantizer"),
    [
        ("none", "Sign"),
        ("Mul", "bipolar"),
        ("Mul", "int8"),
        ("Div, Mul, Sub", "uint3"),
        ("Div, Mul, Sub", "int2 narrow"),
        ("Relu", "uint8"),
        ("Clip", "int8"),
        ("BatchNormalization", "int4"),
        ("Mul", "MultiThreshold"),
    ],
)
def test_inputs_around_every_threshold(before, quantizer, build, tmp_path):
    rng = np.random.default_rng(SEED)
    graph = build.Graph((1, 3))
    if before == "Mul":
        graph.then("Mul", np.float32(0.3))
    elif "Div" in before:
        graph.then("Div", np.float32(255))
        graph.then("Mul", np.float32([2]))
        graph.then("Sub", np.float32([1]))
    elif before == "BatchNormalization":
        graph.then("BatchNormalization", *(np.full(3, value, np.float32) for value in (1.7, 0.2, 3.1, 2.2)))
    elif before == "Relu":
        graph.then("Relu")
    elif before == "Clip":
        graph.then("Clip", np.float32(-0.1), np.float32(0.2))
    makers = {
        "Sign": lambda: graph.then("Sign"),
        "bipolar": graph.bipolar,
        "int8": lambda: graph.quant(0.007, 0, 8),
        "uint8": lambda: graph.quant(0.007, 0, 8, signed=0),
        "uint3": lambda: graph.quant(0.1, 2, 3, signed=0),
        "int2 narrow": lambda: graph.quant(1, 0, 2, narrow=1),
        "int4": lambda: graph.quant(0.3, 0, 4, rounding_mode="CEIL"),
        "MultiThreshold": lambda: graph.then(
            "MultiThreshold", np.float32([[-1.5, -1.5, 0.1, 2.25]]), out_dtype="INT8", out_bias=-2.0
        ),
    }
    makers[quantizer]()
    quantized = graph.last
    graph.then("MatMul", build.signs(rng, 3, 2))
    network = read_onnx(graph.save(tmp_path / "network.onnx"))
    finite = network.input_thresholds[network.input_thresholds > -LARGEST]
    around = np.concatenate(
        [np.nextafter(finite, np.float32(-np.inf)), finite, np.nextafter(finite, np.float32(np.inf))]
    )
    extremes = np.float32([0, -0.0, 1e-45, -1e-45, LARGEST, -LARGEST, 1, -1])
    inputs = np.concatenate([around, extremes, rng.normal(0, 1, 50).astype(np.float32)])
    inputs = np.repeat(inputs[:, None], 3, axis=1)
    graph.nodes.pop()
    graph.last, graph.shape = quantized, inputs.shape
    expected = build.reference(graph.model(), inputs)
    given = network.quantize_input(inputs).astype(np.float64)
    levels = np.unique(np.stack([given[:, 0], expected[:, 0]], axis=1), axis=0)
    assert (np.diff(levels, axis=0) > 0).all()  # each integer has one real value, in the same order
    if quantizer == "int2 narrow":
        assert network.input_dtype == "int2"
        assert network.input_thresholds[0] == -LARGEST
        assert set(given.ravel().tolist()) == {-1, 0, 1}
