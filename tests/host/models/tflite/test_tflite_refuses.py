"""What is not supported is named: operator, layer, reason, nearest supported form, everything in one run."""

import numpy as np
import pytest

from celosia.host.models.errors import ModelError
from celosia.host.models.tflite import read_tflite
from celosia.host.models.tflite_operators import OPERATORS, REASONS

IMAGE = (1, 4, 4, 2)


@pytest.fixture
def refused(tflite, tmp_path):
    """Builds a graph after an image x and returns the sentence that it is refused with."""

    def refuse(build, shape=IMAGE, kind="int8", **grid) -> str:
        graph = tflite.Graph()
        x = graph.input(shape, kind=kind, **grid)
        build(graph, x)
        with pytest.raises(ModelError) as caught:
            read_tflite(graph.save(tmp_path / "m.tflite"))
        sentence = str(caught.value)
        assert sentence.startswith(f"{tmp_path / 'm.tflite'}: ")
        assert "\n" not in sentence
        return sentence

    return refuse


def test_everything_unsupported_is_named_in_one_run(refused):
    """Operators behind something unsupported are looked at, too, and equal reasons are said once."""

    def build(graph, x):
        a, b, c, d, e = (graph.tensor(IMAGE, name=f"layer_{letter};fused") for letter in "abcde")
        graph.add("LOGISTIC", [x], a)
        graph.add("TANH", [a], b)
        graph.add("CUMSUM", [b], c)
        graph.conv(c, np.ones((2, 1, 1, 3)), d, bias=[0, 0])
        graph.add("RELU", [d], e)
        graph.graph.tensors[e].type = 7  # INT16
        f = graph.tensor(IMAGE, name="layer_f")
        graph.add("RELU", [e], f)

    sentence = refused(build)
    assert 'LOGISTIC "layer_a", TANH "layer_b": functions other than clamps are not computed (RELU and' in sentence
    assert 'CUMSUM "layer_c": no supported operator' in sentence
    assert 'CONV_2D "layer_d": its weights take 3 channels, but its input has 2' in sentence
    assert 'RELU "layer_e": its output is INT16, but only INT8 can be used' in sentence
    assert "layer_f" not in sentence, "what takes an unknown tensor is not wrong by itself"
    assert "Supported are ADD, AVERAGE_POOL_2D, " in sentence


def test_many_problems_are_cut(refused):
    def build(graph, x):
        for index in range(40):
            graph.add("TANH", [x], graph.tensor(IMAGE, name=f"t_{index}"))
        for index in range(40):
            graph.conv(x, np.ones((1, 1, 1, 3 + index)), graph.tensor(IMAGE, name=f"c_{index}"), bias=[0])

    sentence = refused(build)
    assert 'TANH "t_19" and 20 more: functions' in sentence
    assert "and 21 more reasons" in sentence


@pytest.mark.parametrize("kind", REASONS)
def test_reasons_of_well_known_operators(refused, kind):
    assert kind not in OPERATORS
    assert f'{kind} "t1": {REASONS[kind]}' in refused(lambda graph, x: graph.add(kind, [x], graph.tensor(IMAGE)))


def conv(shape=IMAGE, weights=(2, 1, 1, 2), scale=0.01, out=None, **fields):
    def build(graph, x):
        out_shape = (1, *shape[1:3], weights[0]) if out is None else out
        graph.conv(x, np.ones(weights), graph.tensor(out_shape), scale, np.zeros(weights[0]), **fields)

    return build


def change(build, tensor, **fields):
    """Sets fields of a tensor, or of its quantization, of a graph."""

    def changed(graph, x):
        build(graph, x)
        for name, value in fields.items():
            target = graph.graph.tensors[tensor]
            setattr(target if hasattr(target, name) else target.quantization, name, value)

    return changed


def pool(out=IMAGE, kind="AVERAGE_POOL_2D", grid=(0.5, 0), **fields):
    fields = {"filterHeight": 1, "filterWidth": 1, "strideH": 1, "strideW": 1, "padding": 1} | fields

    def build(graph, x):
        graph.add(kind, [x], graph.tensor(out, *grid), "Pool2DOptions", **fields)

    return build


def plain(kind, out, *constants, options="", inputs=1, **fields):
    def build(graph, x):
        operands = [x] * inputs + [graph.constant(np.asarray(value)) for value in constants]
        graph.add(kind, operands, graph.tensor(out) if isinstance(out, tuple) else out(graph), options, **fields)

    return build


INT32 = np.int32
VECTOR = (1, 8)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (conv(out=(1, 4, 4, 3)), "its output has shape (1, 4, 4, 3) in the file, but it gives (1, 4, 4, 2)"),
        (conv(scale=[0.1, 0.1, 0.1]), "its weights have 3 scales along axis 0, but one, or 2 along axis 0, are needed"),
        (change(conv(scale=[0.1, 0.2]), 2, quantizedDimension=3), "have 2 scales along axis 3"),
        (conv(scale=0.0), "a scale of its weights is not positive and finite"),
        (conv(scale=np.nan), "a scale of its weights is not positive and finite"),
        (conv(scale=None), "its weights have no scale, but they must be quantized"),
        (change(conv(), 2, zeroPoint=[3]), "its weights have a zero point that is not 0"),
        (change(conv(), 2, shape=[2, 1, 1, 3]), "its input 1 has 4 bytes, but shape (2, 1, 1, 3) of INT8 takes 6"),
        (change(conv(), 2, type=3), "its input 1 is UINT8, but a constant of INT8 is needed"),
        (change(conv(), 2, type=17), "its input 1 is INT4, but a constant of INT8 is needed"),
        (change(conv(), 2, shape=[2, 1, 2]), "its weights have shape (2, 1, 2), but 4 axes are needed"),
        (change(conv(), 3, type=4), "its input 2 is INT64, but a constant of INT32 is needed"),
        (
            change(conv(), 1, scale=[0.1, 0.2], zeroPoint=[0, 0]),
            "its output has 2 scales, but activations can have only",
        ),
        (change(conv(), 1, zeroPoint=[200]), "its output has zero point 200, but INT8 holds -128 to 127"),
        (change(conv(), 1, scale=[np.inf]), "a scale of its output's values is not positive and finite"),
        (change(conv(), 1, type=3), "its output is uint8, but only int8 can be used"),
        (
            change(conv(), 1, type=0),
            "its output is FLOAT32, but only INT8 can be used (quantize all operators to int8)",
        ),
        (change(conv(), 1, isVariable=True), "cannot be used: it is a variable"),
        (conv(scale=1e9), "shift[0] is"),
        (conv(strideH=0), "strides is 0, but it must be from 1"),
        (conv(strideH=0, padding=0), "a stride is 0, but it must be at least 1"),
        (conv(dilationHFactor=-1), "dilations is -1, but it must be from 1"),
        (conv(dilationHFactor=4, weights=(2, 3, 1, 2)), "its window spans 9 × 1, which is larger than the image"),
        (conv(fusedActivationFunction=4), "its fused activation TANH is not computed; NONE, RELU, "),
        (conv(fusedActivationFunction=9), "its fused activation function 9 is not computed"),
        (conv(weights=(2, 1, 1, 2), depthwise=True, depthMultiplier=2, out=IMAGE), "need (1, rows, columns, 4)"),
        (
            pool(kind="MAX_POOL_2D", grid=(0.25, 0)),
            "scale 0.25 and zero point 0 but an input scale 0.5 and zero point 0",
        ),
        (pool(grid=(0.5, 1)), "both must be equal"),
        (pool(filterHeight=0), "kernel is 0, but it must be from 1"),
        (pool(filterHeight=5), "its window spans 5 × 1, which is larger than the image"),
        (pool(filterHeight=2**30, padding=0), "kernel is 1073741824, but it must be"),
        (plain("MEAN", (1, 4, 1, 2), INT32([2]), options="ReducerOptions", keepDims=True), "it is over axes [2], but"),
        (plain("MEAN", (1, 1, 1, 2), INT32([1, 7]), options="ReducerOptions"), "it is over axes [1, 7], but"),
        (
            plain("PAD", IMAGE, INT32([[0, 0]] * 3 + [[0, 1]]), options="PadOptions"),
            "only rows and columns can be padded",
        ),
        (plain("PAD", IMAGE, INT32([[0, 0], [1, -1], [0, 0], [0, 0]])), "only rows and columns can be padded"),
        (plain("PAD", IMAGE, INT32([[0, 0], [1, 0], [0, 0], [0, 0]])), "but it gives (1, 5, 4, 2)"),
        (
            plain("CONCATENATION", IMAGE, options="ConcatenationOptions", inputs=2, axis=1),
            "it is along axis 1, but only",
        ),
        (plain("CONCATENATION", IMAGE, options="ConcatenationOptions", axis=3), "but two or more shapes are needed"),
        (
            plain(
                "CONCATENATION",
                (1, 4, 4, 4),
                options="ConcatenationOptions",
                inputs=2,
                axis=3,
                fusedActivationFunction=1,
            ),
            "it has the fused activation RELU, but only NONE",
        ),
        (plain("SOFTMAX", IMAGE, options="SoftmaxOptions", beta=1.0), "but only 1/256 and −128 are used"),
        (
            plain("ADD", IMAGE, np.int8(np.ones(IMAGE)), options="AddOptions"),
            "is a constant, but activations are needed",
        ),
        (plain("ADD", IMAGE, options="AddOptions"), "its input 1 is left out, but it is needed"),
        (plain("ADD", IMAGE, inputs=2), "its options are missing"),
        (
            plain("ADD", lambda g: g.tensor(IMAGE, 1e-9), options="AddOptions", inputs=2),
            "is too small for inputs of scale",
        ),
        (plain("RESHAPE", (1, 31)), "its input has shape (1, 4, 4, 2), which cannot become (1, 31)"),
        (plain("RESHAPE", (1, 32), INT32([2, 16])), "its shape is [2, 16], but its output has (1, 32)"),
        (plain("RESHAPE", (32,)), "its output has shape (32,), but a batch axis of 1"),
        (plain("RESHAPE", lambda g: g.tensor((1, 32), 0.25)), "both must be equal"),
        (plain("DEQUANTIZE", IMAGE), "its output is INT8 of shape (1, 4, 4, 2), but it must be as its input"),
        (plain("RELU", lambda g: g.tensor(IMAGE, 1e-9)), "shift is"),
    ],
)
def test_one_operator(refused, build, words):
    sentence = refused(build)
    assert "unsupported: " in sentence
    assert words in sentence


@pytest.mark.parametrize(
    ("shape", "weights", "words", "fields"),
    [
        (VECTOR, (3, 7), "its weights take 7 values, but its input has shape (1, 8)", {}),
        (VECTOR, (3, 8), "its weights are shuffled, but only the default format", {"weightsFormat": 1}),
        (VECTOR, (2, 8), "its output has shape (1, 3) in the file, but it gives (2,)", {}),
        ((1, 2, 8), (3, 8), "its weights take 8 values, but its input has shape (1, 2, 8)", {}),
    ],
)
def test_fully_connected(refused, shape, weights, words, fields):
    build = lambda graph, x: graph.dense(x, np.ones(weights), graph.tensor((1, 3)), **fields)  # noqa: E731
    assert words in refused(build, shape)


def test_sums_beyond_32_bits(refused):
    def build(graph, x):
        graph.dense(x, np.full((1, 70_000), 127), graph.tensor((1, 1)), 1e-6)

    assert "its sums can need 33 bits, but TensorFlow Lite adds in 32" in refused(build, (1, 70_000), zero_point=-128)


@pytest.mark.parametrize(
    ("kind", "grid", "words"),
    [
        ("int16", {}, "its input is INT16, but only INT8 can be used"),
        ("int8", {"scale": None}, "its input's values have no scale, but they must be quantized"),
        ("BOOL", {}, "its input is BOOL"),
    ],
)
def test_inputs(refused, kind, grid, words):
    sentence = refused(lambda graph, x: graph.add("RELU", [x], graph.tensor(IMAGE)), kind=kind, **grid)
    assert 'the graph\'s input "x" cannot be used: ' in sentence
    assert words in sentence


def test_float_networks(refused):
    def build(graph, x):
        graph.conv(x, np.ones((2, 1, 1, 2)), graph.tensor(IMAGE, kind="float32"))

    assert "its input 0 is float32, but int8 activations are needed (quantize all operators)" in refused(
        build, kind="float32", scale=None
    )


def test_uint8_networks(refused):
    sentence = refused(lambda graph, x: graph.add("RELU", [x], graph.tensor(IMAGE)), kind="uint8")
    assert "its input 0 is uint8, but int8 activations are needed" in sentence


def test_quantized_twice(refused):
    def build(graph, x):
        a, b, c = graph.tensor(IMAGE), graph.tensor(IMAGE), graph.tensor(IMAGE)
        graph.add("QUANTIZE", [x], a)
        graph.add("QUANTIZE", [x], b)
        graph.add("ADD", [a, b], c, "AddOptions")

    assert "it quantizes the network's input a second time" in refused(build, kind="float32", scale=None)


def test_reals_between(refused):
    def build(graph, x):
        a, b = graph.tensor(IMAGE, None, kind="float32"), graph.tensor(IMAGE)
        graph.add("DEQUANTIZE", [x], a)
        graph.add("QUANTIZE", [a], b)

    assert "it quantizes values that were dequantized before" in refused(build)


def test_ends_of_the_graph(refused):
    def unused(graph, x):
        a, b = graph.tensor(IMAGE, name="a"), graph.tensor(IMAGE, name="b")
        graph.add("RELU", [x], a)
        graph.add("RELU", [x], b)

    assert 'no layer takes the output of layer "a", but every tensor except the last must be taken' in refused(unused)

    def early(graph, x):
        a, b = graph.tensor(IMAGE, name="a"), graph.tensor(IMAGE, name="b")
        graph.add("RELU", [x], a)
        graph.add("RELU", [a], b)
        graph.graph.outputs = [a]

    assert 'the graph\'s output "a" is not what its last operator gives' in refused(early)

    def several(graph, x):
        graph.add("RELU", [x], graph.tensor(IMAGE))
        graph.graph.outputs *= 2

    assert "the graph has 2 outputs, but one would be right" in refused(several)

    def two_inputs(graph, x):
        y = graph.input(IMAGE)
        graph.add("ADD", [x, y], graph.tensor(IMAGE), "AddOptions")

    assert "the graph has 2 inputs, but one would be right" in refused(two_inputs)

    def nothing(graph, x):
        graph.graph.outputs = [x]

    assert "is not what its last operator gives" in refused(nothing)


def test_other_files_of_the_schema(refused, tflite):
    def version(graph, x):
        graph.add("RELU", [x], graph.tensor(IMAGE))
        graph.model.version = 2

    assert "its schema has version 2, but only version 3 is read" in refused(version)

    def subgraphs(graph, x):
        graph.add("RELU", [x], graph.tensor(IMAGE))
        graph.model.subgraphs = [graph.graph, graph.graph]

    assert "it has 2 subgraphs, but one would be right" in refused(subgraphs)

    def custom(graph, x):
        graph.add("CUSTOM", [x], graph.tensor(IMAGE))
        graph.model.operatorCodes[0].customCode = "MyOperator"

    assert 'CUSTOM MyOperator "t1": no supported operator' in refused(custom)

    def sparse(graph, x):
        graph.conv(x, np.ones((2, 1, 1, 2)), graph.tensor(IMAGE))
        graph.graph.tensors[2].sparsity = tflite.schema.SparsityParametersT()

    assert "its input 1 cannot be used: its values are stored sparsely" in refused(sparse)

    def outside(graph, x):
        graph.conv(x, np.ones((2, 1, 1, 2)), graph.tensor(IMAGE))
        graph.model.buffers[-1].offset = 10_000

    assert "its input 1 cannot be used: its values lie outside of the file's tables" in refused(outside)


def test_what_follows_an_operator_that_cannot_be_read_is_not_blamed(refused):
    def activations(graph, x):
        for channels in (2, 5):
            y, z = graph.tensor((1, 4, 4, 5)), graph.tensor((1, 4, 4, 5))
            graph.conv(x, np.ones((5, 1, 1, channels)), y)
            graph.add("HARD_SWISH", [y], z)
            x = z

    sentence = refused(activations)
    assert sentence.count("HARD_SWISH") == 2
    assert "CONV_2D " not in sentence.partition("Supported are")[0]
