"""Whole networks: trained ones with published answers, and random ones of the same families."""

import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.bipolar_to_xnor import ConvertBipolarMatMulToXnorPopcount
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model

from celosia.host.models import read_model
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.errors import ModelError
from celosia.host.models.onnx import read_onnx

SEED = 40
FOLDER = Path(os.environ.get("CELOSIA_DATA", "")) / "finn_tfc"
needs_data = pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the networks")
pytestmark = pytest.mark.filterwarnings("ignore:Some old-style domain attributes")  # of qonnx's own ModelWrapper


@needs_data
def test_tfc_w1a1_gives_the_published_answers(build):
    network = read_model(FOLDER / "model.onnx")
    outputs = build.golden(network, np.load(FOLDER / "input.npy").astype(np.float32))
    assert outputs.argmax(axis=1).tolist() == np.load(FOLDER / "expected_output.npy").ravel().tolist() == [7, 2, 1, 0]
    assert [layer.name for layer in network.layers] == [f"MatMul_{index}" for index in range(4)]
    assert {layer.input_dtype for layer in network.layers} == {"bipolar"}
    assert network.input_shape == (1, 28, 28)
    assert network.input_thresholds.tolist() == [127.5]


@needs_data
@pytest.mark.parametrize("name", ["TFC_1W2A", "TFC_2W2A"])
def test_tfc_equals_qonnx(name, build):
    """The sums of the last product exactly, for inputs as pixels are and beyond them."""
    rng = np.random.default_rng(SEED)
    network = read_onnx(FOLDER / f"{name}.onnx")
    model = cleanup_model(ModelWrapper(os.fspath(FOLDER / f"{name}.onnx")), preserve_qnt_ops=False)
    last = [node for node in model.graph.node if node.op_type == "MatMul"][-1].output[0]
    inputs = np.concatenate([rng.random((90, 1, 28, 28)), rng.normal(0.5, 2, (10, 1, 28, 28))]).astype(np.float32)
    sums = build.golden(network, inputs)
    outputs = network.dequantize_output(sums)
    for index, image in enumerate(inputs):
        seen = execute_onnx(model, {"global_in": image[None]}, return_full_exec_context=True)
        assert np.array_equal(sums[index], seen[last][0])
        assert np.allclose(outputs[index], seen["global_out"][0], rtol=1e-5, atol=1e-6)
        assert outputs[index].argmax() == seen["global_out"][0].argmax()
    assert [layer.input_dtype for layer in network.layers] == ["int2"] * 4
    assert [layer.output_minimum for layer in network.layers] == [-1, -1, -1, None]
    assert all(layer.is_ternary == (name == "TFC_2W2A") for layer in network.layers)


@needs_data
def test_xnor_popcount_is_the_same_network(build, tmp_path):
    """FINN's next form of the W1A1 network, which qonnx makes: 0 and 1, and counts of equal ones."""
    model = ModelWrapper(os.fspath(FOLDER / "model.onnx")).transform(InferShapes()).transform(InferDataTypes())
    model = model.transform(ConvertBipolarMatMulToXnorPopcount())
    assert len(model.get_nodes_by_op_type("XnorPopcountMatMul")) == 4
    model.save(tmp_path / "xnor.onnx")
    inputs = np.random.default_rng(SEED).uniform(0, 255, (50, 1, 28, 28)).astype(np.float32)
    networks = [read_onnx(tmp_path / "xnor.onnx"), read_onnx(FOLDER / "model.onnx")]
    first, second = (network.dequantize_output(build.golden(network, inputs)) for network in networks)
    assert np.allclose(first, second, rtol=0, atol=1e-6)
    assert [layer.input_dtype for layer in networks[0].layers] == ["bipolar"] * 4


@needs_data
def test_damaged_files(tmp_path):
    """Truncated and with flipped bits: a sentence or a network, never anything else."""
    content = (FOLDER / "model.onnx").read_bytes()
    rng = np.random.default_rng(SEED)
    refused = 0
    for case in range(120):
        damaged = bytearray(content[: rng.integers(len(content))] if case % 3 == 0 else content)
        names = int(content.rindex(b"TopK_0_param0") * 0.98)  # most of the file is weights; look at the rest, too
        for _ in range(1 + case % 4 if case % 3 else 0):
            place = rng.integers(len(damaged)) if case % 2 else rng.integers(names, len(damaged))
            damaged[place] ^= 1 << rng.integers(8)
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sentence = refusal(path)
        assert sentence is None or (sentence.startswith(f"{path}: ") and "\n" not in sentence)
        refused += sentence is not None
    assert refused > 40


def refusal(path: Path) -> str | None:
    try:
        read_onnx(path)
    except ModelError as error:
        return str(error)
    return None


def cnv(graph, rng, *, ternary: bool, bits: int, sizes, dense: int):
    """The CNV of FINN and the QONNX model zoo, as Brevitas exports it, with fewer channels."""

    def weights(*shape):
        values = rng.normal(0, 1, shape).astype(np.float32)
        if ternary:
            return graph.quant(1, 0, 2, narrow=1, of=graph.constant(values))
        return graph.add("BipolarQuant", values, np.float32(1))

    def activate():
        return graph.bipolar() if bits == 1 else graph.quant(1, 0, bits, narrow=1)

    graph.then("Mul", np.float32(2))
    graph.then("Sub", np.float32([1]))
    values, channels = graph.quant(1 / 128, 0, 8), graph.shape[1]
    for count, pool in sizes:
        graph.add("Conv", values, weights(count, channels, 3, 3), kernel_shape=[3, 3], group=1, dilations=[1, 1])
        graph.norm(count, rng, signs=(1,))
        values = activate()
        if pool:
            values = graph.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
        channels = count
    size = graph.add("Gather", graph.then("Shape"), np.int64(0), axis=0)
    graph.add("Reshape", values, graph.add("Concat", graph.add("Unsqueeze", size, axes=[0]), np.int64([-1]), axis=0))
    values, inputs = graph.last, channels
    for count in (dense, 10):
        graph.add("MatMul", values, graph.add("Transpose", weights(count, inputs), perm=[1, 0]))
        if count == dense:
            graph.norm(count, rng, signs=(1,))
            values, inputs = activate(), count
    values = graph.then("Sub", np.float32([0.3]))
    graph.add("Div", values, graph.add("Pow", np.float32([300]), np.float32(0.5)))
    graph.then("Mul", np.float32([0.7]))
    graph.then("Add", np.float32([0.1]))


@pytest.mark.parametrize(("ternary", "bits"), [(False, 1), (False, 2), (True, 2)])
def test_cnv_equals_qonnx(ternary, bits, build, equal):
    rng = np.random.default_rng(SEED + bits)
    graph = build.Graph((4, 3, 18, 18), opset=9)
    cnv(graph, rng, ternary=ternary, bits=bits, sizes=[(8, 0), (8, 1), (12, 0), (12, 1)], dense=20)
    inputs = rng.random(graph.shape).astype(np.float32)
    network = equal(graph, inputs, exact=False)
    assert [type(layer) for layer in network.layers] == [BinaryConv] * 4 + [BinaryDense] * 2
    assert [layer.input_dtype for layer in network.layers] == ["int8"] + ["bipolar" if bits == 1 else "int2"] * 5
    assert network.channels_first
    assert network.input_shape == (3, 18, 18)
    assert network.layers[1].pool == network.layers[1].pool_strides == (2, 2)
    assert len(network.input_thresholds) == 255
    assert any(layer.is_ternary for layer in network.layers) == ternary


@pytest.mark.parametrize("last_input", [False, True])
def test_channels_last_is_the_same_network(last_input, build, tmp_path):
    """As qonnx's transformation writes it: Transposes, and operators that take channels last."""
    rng = np.random.default_rng(SEED)
    graph = build.Graph((1, 3, 20, 16))
    graph.quant(1 / 128, 0, 8)
    channels = 3
    for count, pads, pool in ((8, 0, 0), (8, 0, 1), (12, 1, 0)):
        weights = build.signs(rng, count, channels, 3, 3)
        graph.then("Conv", weights, kernel_shape=[3, 3], strides=[1, 1], pads=[pads] * 4, dilations=[1, 1], group=1)
        graph.norm(count, rng)
        graph.quant(1, 0, 2, narrow=1)
        if pool:
            graph.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
        channels = count
    graph.then("Flatten")
    graph.then("MatMul", build.signs(rng, 12 * 8 * 6, 10))
    inputs = rng.normal(size=(3, 3, 20, 16)).astype(np.float32)
    expected = np.concatenate([build.reference(graph.model(), image[None]) for image in inputs])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cleanup_model(ModelWrapper(graph.model()).transform(InferShapes()), preserve_qnt_ops=False)
        model = model.transform(ConvertToChannelsLastAndClean(make_input_channels_last=last_input))
    assert sum(node.domain.endswith("channels_last") for node in model.graph.node) == 7
    onnx.save(model.model, tmp_path / "last.onnx")
    network = read_onnx(tmp_path / "last.onnx")
    assert network.channels_first != last_input
    given = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1)) if last_input else inputs
    assert np.array_equal(build.golden(network, given), expected)
