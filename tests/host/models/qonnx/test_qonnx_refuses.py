"""What cannot be read is refused in one sentence, which names operators and reasons."""

import re
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx import read_onnx

SEED = 70
ONES = np.ones((8, 4), np.float32)
SCALE = [np.float32(value) for value in (1, 0, 2)]
PARAMETERS = np.ones((4, 4), np.float32)


def matmul(graph, *_):
    graph.bipolar()
    graph.then("MatMul", ONES)


def quant(graph, *values, **attributes):
    matmul(graph)
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | attributes
    graph.then("Quant", *(np.float32(value) for value in values), **attributes)


def norm(graph, row: int, value: float, **attributes):
    matmul(graph)
    parameters = PARAMETERS.copy()
    parameters[row, 2] = value
    graph.then("BatchNormalization", *parameters, **attributes)


def thresholds(graph, values, **attributes):
    matmul(graph)
    graph.then("MultiThreshold", np.asarray(values, np.float32), out_dtype="INT8", **attributes)


def both(graph):
    matmul(graph)
    value = graph.bipolar()
    graph.add("Add", graph.then("Relu"), value)


def scaled_by_channel(graph):
    quant(graph, np.float32([[1, 2, 1, 1]]), 0, 2)
    graph.then("MatMul", np.ones((4, 2)))


def softmax_inside(graph):
    matmul(graph)
    graph.then("Softmax")
    graph.then("Mul", np.float32(2))


DENSE = {
    "weights of many bits": (
        lambda graph: (graph.bipolar(), graph.then("MatMul", np.float32(np.arange(32).reshape(8, 4) % 15 - 7))),
        'MatMul "MatMul_1": its weights have 8 different values from -7 to 6 in output 0, but only ±alpha and 0 with',
    ),
    "weights of NaN": (
        lambda graph: (graph.bipolar(), graph.then("MatMul", ONES * np.float32(np.nan))),
        "its weights contain NaN or infinity",
    ),
    "weights of another size": (
        lambda graph: (graph.bipolar(), graph.then("MatMul", np.ones((7, 4), np.float32))),
        r"its weights \(7, 4\) do not fit activations of shape \(1, 8\)",
    ),
    "weights of three axes": (
        lambda graph: (graph.bipolar(), graph.then("MatMul", np.ones((1, 8, 4), np.float32))),
        "but a matrix is needed",
    ),
    "a product of activations": (
        lambda graph: (graph.bipolar(), graph.add("MatMul", graph.last, graph.last)),
        '"t0_0" is used more than once, but branches cannot be read',
    ),
    "a constant first": (
        lambda graph: (graph.bipolar(), graph.add("MatMul", ONES, graph.last)),
        "its input 1 is computed from the graph's input, but a constant is needed",
    ),
    "inputs that are not quantized": (
        lambda graph: (graph.then("Mul", np.float32(2)), graph.then("MatMul", ONES), graph.bipolar()),
        'MatMul "MatMul_1": its inputs are not quantized, but a BipolarQuant, Quant, MultiThreshold or Sign has to be',
    ),
    "a layer that is not quantized": (
        lambda graph: (matmul(graph), graph.then("Relu"), graph.then("MatMul", np.ones((4, 2), np.float32))),
        'MatMul "MatMul_3": its inputs are not quantized.*between MatMul "MatMul_1" and it',
    ),
    "inputs that fall": (
        lambda graph: (graph.then("Neg"), matmul(graph)),
        "its inputs do not rise with the graph's input",
    ),
    "inputs that do not matter": (
        lambda graph: (graph.then("Relu"), matmul(graph)),
        "its inputs do not depend on the graph's input",
    ),
    "inputs by channel": (
        lambda graph: (graph.then("Mul", np.arange(8, dtype=np.float32)), matmul(graph)),
        'Mul "Mul_0": it has other constants for each pixel or channel of the input',
    ),
    "branches": (both, '"t2_0" is used more than once'),
    "9 bits": (lambda graph: quant(graph, 1, 0, 9), "it quantizes to 9 bits, but 1 to 8 can be used"),
    "half a bit": (lambda graph: quant(graph, 1, 0, 2.5), "it quantizes to 2.5 bits"),
    "a scale of 0": (lambda graph: quant(graph, 0, 0, 2), "its scale is 0, but it must be positive"),
    "a scale below 0": (lambda graph: quant(graph, -1, 0, 2), "its scale is -1, but it must be positive"),
    "a scale of NaN": (lambda graph: quant(graph, np.nan, 0, 2), "its parameters contain NaN, infinity"),
    "a scale for each channel": (
        scaled_by_channel,
        'MatMul "MatMul_3": its inputs have another scale or offset for each channel after Quant "Quant_2"',
    ),
    "an unknown rounding": (
        lambda graph: (quant(graph, 1, 0, 2, rounding_mode="UPSIDE"), graph.then("MatMul", np.ones((4, 1)))),
        "it cannot be executed .ValueError: Could not resolve rounding mode called: UPSIDE",
    ),
    "one value": (
        lambda graph: (quant(graph, 1, 0, 1, signed=0, narrow=1), graph.then("MatMul", np.ones((4, 1)))),
        "its outputs are all equal, so nothing depends on its inputs",
    ),
    "gamma of NaN": (lambda graph: norm(graph, 0, np.nan), 'BatchNormalization "B.*_2": its parameters contain NaN'),
    "mean of infinity": (lambda graph: norm(graph, 2, np.inf), "its parameters contain NaN, infinity"),
    "negative variance": (lambda graph: norm(graph, 3, -1), "the variance of channel 2 is -1, but none can be below 0"),
    "training mode": (lambda graph: norm(graph, 0, 1, training_mode=1), "it is in training mode"),
    "parameters of another size": (
        lambda graph: (matmul(graph), graph.then("BatchNormalization", *np.ones((4, 3), np.float32))),
        "its parameters have 3 values, but 4 channels need one each",
    ),
    "thresholds of NaN": (lambda graph: thresholds(graph, [[0, np.nan]]), "its parameters contain NaN, infinity"),
    "thresholds of infinity": (lambda graph: thresholds(graph, [[0, np.inf]]), "its parameters contain NaN, infinity"),
    "thresholds for other channels": (lambda graph: thresholds(graph, np.zeros((3, 2))), "it has 3 rows of thresholds"),
    "too many thresholds": (lambda graph: thresholds(graph, np.zeros((1, 256))), r"thresholds have shape \(1, 256\)"),
    "thresholds that scale by 0": (lambda graph: thresholds(graph, [[0]], out_scale=0.0), "its scale is 0, but"),
    "division by 0": (lambda graph: (matmul(graph), graph.then("Div", np.float32(0))), "it divides by 0"),
    "division by activations": (
        lambda graph: (matmul(graph), graph.add("Div", np.float32(1), graph.last)),
        "its first input is a constant, but it has to be the activations",
    ),
    "a constant that makes more": (
        lambda graph: (matmul(graph), graph.then("Add", np.zeros((3, 4), np.float32))),
        r"its constant of shape \(3, 4\) does not fit activations of shape \(1, 4\)",
    ),
    "uneven values": (
        lambda graph: (quant(graph, 1, 0, 3), graph.then("Max", np.float32(-0.3)), graph.then("MatMul", ONES[:4])),
        "its values .-0.3, 0, 1, 2, 3. are not evenly spaced",
    ),
    "outputs that are not affine": (
        lambda graph: (matmul(graph), graph.then("Relu")),
        'Relu "Relu_2" changes the graph\'s outputs in a way that is not affine',
    ),
    "outputs that are 0": (
        lambda graph: norm(graph, 0, 0),
        'MatMul "MatMul_1": output 2 is multiplied by 0',
    ),
    "something after the end": (softmax_inside, 'Mul "Mul_3": it follows Softmax "Softmax_2", after which nothing'),
    "the second largest": (
        lambda graph: (matmul(graph), graph.then("TopK", np.int64([2]), outputs=2)),
        "only the largest one, k = 1, can be used",
    ),
    "the last one": (
        lambda graph: (matmul(graph), graph.then("ArgMax", axis=1, select_last_index=1)),
        "of equal outputs it takes the last one",
    ),
    "the largest of another axis": (
        lambda graph: (matmul(graph), graph.then("ArgMax", axis=0)),
        r"its axis 0 is not that of the outputs, whose shape is \(1, 4\)",
    ),
    "no product": (lambda graph: graph.bipolar(), "the graph has no matrix product or convolution"),
    "a batch that moves": (
        lambda graph: (matmul(graph), graph.then("Transpose", perm=[1, 0])),
        r"it moves the batch axis: a batch of one would get shape \(4, 1\)",
    ),
    "a size that does not fit": (
        lambda graph: (matmul(graph), graph.then("Reshape", np.int64([1, 3]))),
        r"it does not fit activations of shape \(1, 4\)",
    ),
    "transA": (lambda graph: (graph.bipolar(), graph.then("Gemm", ONES, transA=1)), "only transA = 0 can be used"),
    "a pool of numbers": (
        lambda graph: (matmul(graph), graph.then("MaxPool", kernel_shape=[1, 1])),
        "it does not follow a convolution",
    ),
    "a damaged constant": (
        lambda graph: (matmul(graph), graph.then("Add", graph.add("Add", np.ones(3), np.ones(2)))),
        "its constants do not fit each other",
    ),
    "an operator of another kind": (
        lambda graph: (matmul(graph), graph.then("Secret", domain="os.path")),
        'unsupported: Secret "Secret_2": no supported operator. Supported are chains of Add, ArgMax, Batch',
    ),
}


@pytest.mark.parametrize("name", DENSE)
def test_dense(name, build, refused):
    write, words = DENSE[name]
    graph = build.Graph((1, 8))
    write(graph)
    assert re.search(words, refused(graph))


def test_everything_is_named(build, refused):
    """As of a MobileNet: groups, averages, weights of 4 bits, a residual and an operator that is unknown."""
    graph = build.Graph((1, 3, 8, 8))
    graph.quant(1 / 128, 0, 8)
    graph.then("Conv", np.float32(np.random.default_rng(SEED).integers(-7, 8, (8, 3, 3, 3))), name="first")
    graph.quant(1, 0, 4)
    graph.then("Conv", np.ones((8, 1, 3, 3), np.float32), group=8, name="depthwise")
    graph.then("HardSwish")
    graph.then("GlobalAveragePool", name="average")
    graph.then("Trunc", *SCALE, domain="qonnx.custom_op.general")
    graph.then("Flatten")
    graph.then("MatMul", np.float32(np.random.default_rng(SEED).integers(-7, 8, (8, 10))), name="classifier")
    sentence = refused(graph)
    for words in (
        'Conv "first": its weights have',
        'Conv "depthwise": it has 8 groups',
        'HardSwish "HardSwish_4": no supported operator',
        'GlobalAveragePool "average": averages',
        'Trunc "Trunc_6": only averages need it',
        'MatMul "classifier": its weights have',
        "Supported are chains of Add,",
    ):
        assert words in sentence
    assert "Flatten" not in sentence.split("Supported")[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda model: model.graph.input.append(helper.make_tensor_value_info("z", 1, [1, 8])),
            "has 2 inputs, but one",
        ),
        (lambda model: model.graph.output.append(model.graph.output[0]), "has 2 outputs, but one"),
        (lambda model: model.graph.input[0].type.tensor_type.shape.ClearField("dim"), "needs a batch axis and then"),
        (
            lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
            "has element type 11, but float32, int8 or uint8 is read",
        ),
        (
            lambda model: setattr(model.opset_import[0], "version", 6),
            "the model uses opset 6, but 7 or newer is needed",
        ),
        (lambda model: setattr(model.graph.output[0], "name", "c0"), "output does not depend on its input"),
        (lambda model: setattr(model.graph.output[0], "name", "none"), 'the tensor "none" is used before anything'),
        (lambda model: model.graph.node[0].input.__setitem__(0, model.graph.node[1].output[0]), "before anything def"),
        (lambda model: model.graph.node[1].ClearField("output"), "has no output, so the file is damaged"),
    ],
)
def test_graphs(change, words, build, tmp_path):
    graph = build.Graph((1, 8))
    matmul(graph)
    model = graph.model()
    change(model)
    onnx.save(model, tmp_path / "network.onnx")
    with pytest.raises(ModelError, match=words):
        read_onnx(tmp_path / "network.onnx")


def test_integers_that_are_quantized_otherwise(build, refused):
    graph = build.Graph((1, 8), elem_type=TensorProto.UINT8)
    graph.then("Cast", to=TensorProto.FLOAT)
    graph.quant(1, 0, 8)
    graph.then("MatMul", ONES)
    assert "its inputs are uint8, but the operators before it do not keep them" in refused(graph)
    other = build.Graph((1, 8), elem_type=TensorProto.UINT8)
    matmul(other)
    assert "it takes integers, but a Cast to float has to come first" in refused(other)


def test_a_batch_that_is_reshaped(build, refused):
    graph = build.Graph((4, 8))
    graph.bipolar()
    graph.then("Reshape", np.int64([1, -1]))
    graph.then("MatMul", np.ones((32, 2), np.float32))
    assert 'Reshape "Reshape_1": it makes 1 of a batch of 4' in refused(graph)


def test_sums_beyond_float32(build, refused):
    graph = build.Graph((1, 2**17 + 8))
    graph.quant(1, 0, 8)
    graph.then("MatMul", np.ones((2**17 + 8, 1), np.float32))
    assert "float32, in which the file's operators work, holds all integers only up to" in refused(graph)


@pytest.mark.parametrize("package", ["qonnx", "onnxruntime"])
def test_without_the_package(package, build, tmp_path, monkeypatch):
    graph = build.Graph((1, 8))
    matmul(graph)
    path = graph.save(tmp_path / "network.onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ModelError, match=rf"needs the package {package}, which is missing; pip install 'celosia\[qonnx"
    ):
        read_onnx(path)
