"""What is not read of convolutional networks is refused in one sentence that names it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx import read_onnx

SEED = 44


@pytest.fixture
def made(reference):
    """An empty graph for images of 2 × 6 × 6."""
    return reference.Graph((2, 6, 6), np.random.default_rng(SEED))


@pytest.fixture
def refused(tmp_path):
    """The sentence that refuses a graph, or a model."""

    def sentence(source, **options) -> str:
        path = tmp_path / "bad.onnx"
        if isinstance(source, onnx.ModelProto):
            onnx.save(source, path)
        else:
            source.save(path, **options)
        with pytest.raises(ModelError) as caught:
            read_onnx(path)
        text = str(caught.value)
        assert text.startswith(f"{path}: ")
        assert "\n" not in text
        assert text.endswith(".")
        return text

    return sentence


@pytest.mark.parametrize(
    ("weights", "options", "words"),
    [
        ((4, 2, 3, 3), {"group": 2}, r"does not fit 2 channels in 2 groups"),
        ((4, 2, 3, 3), {"group": 0}, r"does not fit 2 channels in 0 groups"),
        ((3, 1, 3, 3), {"group": 2}, r"does not fit 2 channels in 2 groups"),
        ((4, 2, 3), {}, r"only convolutions of images"),
        ((4, 2, 7, 7), {}, "spans (7, 7), which is larger"),
        ((4, 2, 3, 3), {"kernel_shape": [3, 2]}, "its kernel_shape is [3, 2], but its weights have (3, 3)"),
        ((4, 2, 3, 3), {"pads": [1, 1]}, "its pads are [1, 1]"),
        ((4, 2, 3, 3), {"pads": [0, 0, -1, 0]}, "its pads are [0, 0, -1, 0]"),
        ((4, 2, 3, 3), {"pads": [0, 0, 2**40, 0]}, "from 0 to 32768"),
        ((4, 2, 3, 3), {"strides": [1]}, "its strides is [1]"),
        ((4, 2, 3, 3), {"strides": [0, 1]}, "its strides is [0, 1]"),
        ((4, 2, 3, 3), {"strides": "ab"}, "strides is no list of integers"),
        ((4, 2, 3, 3), {"dilations": [1, 9]}, "spans (3, 19)"),
        ((4, 2, 3, 3), {"auto_pad": "SAME"}, "its auto_pad is 'SAME'"),
        ((4, 2, 3, 3), {"auto_pad": 3}, "auto_pad is no text"),
        ((4, 2, 3, 3), {"group": 1.0}, "group is 1.0, but an integer"),
    ],
)
def test_convolutions(made, refused, weights, options, words):
    x = made.product("Conv", made.both("x"), weights, **options)
    assert f'Conv "Conv_{x}": ' in refused(made)
    assert words in refused(made)


def test_weights(made, refused):
    x = made.both("x")
    made.add("Conv", x, made.constant(np.ones((1, 2, 3, 3), np.float32)))
    parts = [made.constant(np.array(value, kind)) for value, kind in ((0.1, np.float32), (10, np.uint8))]
    wide = made.add("DequantizeLinear", made.constant(np.full((1, 2, 3, 3), 255, np.uint8)), *parts)
    made.both(made.add("Conv", x, wide))
    text = refused(made)
    assert "its weights are not quantized, but its inputs are" in text
    assert "its weights minus their zero point exceed 8 bits" in text


def test_biases(made, refused):
    image = made.both("x")
    x = made.flat(image)
    weights = made.constant(np.ones((72, 6), np.int8))
    parts = [made.constant(np.float32(0.1)), made.constant(np.int8(0))]
    product = made.add("MatMul", x, made.add("DequantizeLinear", weights, *parts))
    turned = made.add("Transpose", made.add("Reshape", product, made.constant([0, 2, 3])), perm=[0, 2, 1])
    bias = made.constant(np.arange(6, dtype=np.float32))
    cases = [made.add("Add", made.add("Reshape", product, made.constant([0, 6, 1])), bias)]
    cases.append(made.add("Add", made.add("Flatten", turned), bias))
    conv = made.add("DequantizeLinear", made.constant(np.ones((4, 2, 1, 1), np.int8)), *parts)
    one = made.add("Conv", image, conv, made.constant(np.ones(1, np.float32)))
    text = refused(made)
    for output in cases:
        assert f'Add "Add_{output}"' in text
    assert f'Conv "Conv_{one}": its bias has shape (1,), but (4,) is needed' in text


POOL = {"kernel_shape": [2, 2]}


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("MaxPool", {}, "it has no kernel_shape"),
        ("MaxPool", {"kernel_shape": [2]}, "its kernel_shape is [2]"),
        ("MaxPool", {"kernel_shape": [0, 2]}, "its kernel_shape is [0, 2]"),
        ("MaxPool", {"kernel_shape": [2**40, 2]}, "its kernel_shape is [1099511627776, 2]"),
        ("MaxPool", {"kernel_shape": [7, 7]}, "larger than its padded image"),
        ("MaxPool", POOL | {"dilations": [2, 1]}, "its dilations are (2, 1)"),
        ("MaxPool", POOL | {"pads": [2, 0, 0, 0]}, "must be less than the kernel"),
        ("MaxPool", POOL | {"ceil_mode": 1, "strides": [6, 6], "pads": [0, 0, 1, 1]}, "begin behind the image"),
        ("MaxPool", POOL | {"ceil_mode": 1, "strides": [5, 5], "auto_pad": "VALID"}, "both ceil_mode and auto_pad"),
        ("AveragePool", POOL | {"pads": [1, 0, 0, 0]}, "does not count"),
        ("AveragePool", POOL | {"ceil_mode": 1, "strides": [5, 5], "count_include_pad": 1}, "different numbers"),
        ("AveragePool", {"kernel_shape": [32768, 32768], "pads": [32768] * 4, "count_include_pad": 1}, "elements"),
        ("ReduceMean", {"axes": [1, 2]}, "it is over axes [1, 2]"),
        ("ReduceMean", {"axes": [2, 2]}, "different ones of 4"),
        ("ReduceMean", {}, "it is over axes None"),
        ("Softmax", {}, "it is not computed in integers (leave it out"),
        ("ConvTranspose", {}, "transposed convolutions are not computed"),
        ("Sigmoid", {}, "functions other than clamps"),
        ("Reshape", {}, "its input 1 is left out"),
        ("Flatten", {"axis": 2}, "only axis = 1"),
        ("Transpose", {"perm": [1, 0, 2, 3]}, "its perm is [1, 0, 2, 3]"),
        ("Transpose", {}, "its perm is None"),
        ("Squeeze", {}, "its axes are None"),
        ("Concat", {"axis": 1}, "different shapes"),
    ],
)
def test_what_follows_a_convolution(made, refused, kind, options, words):
    x = made.add(kind, made.both("x"), **options)
    if kind == "MaxPool" and "less than the kernel" in words:
        made.add("Flatten", x)
    text = refused(made)
    assert f'{kind} "{kind}_{x}": ' in text
    assert words in text


def test_other_arrangements(made, refused):
    x = made.both("x")
    turned = made.add("Transpose", x, perm=[0, 1, 3, 2])
    conv = made.product("Conv", x, (2, 2, 1, 1))
    small = made.add("MaxPool", x, kernel_shape=[2, 2])
    cases = {
        made.add("MaxPool", turned, kernel_shape=[2, 2]): "in another order than the channels-last one",
        made.add("Add", x, turned): "one was put into another order",
        made.add("Add", x, small): "adds shapes (2, 6, 6) and (2, 5, 5)",
        made.add("Add", x, conv): "the output of the layer before it is not quantized",
        made.add("Concat", x, small, axis=1): "may differ in their channels only",
        made.add("Concat", x, x, axis=2): "along axis 1, the channels",
        made.add("MaxPool", made.add("Flatten", x), kernel_shape=[1, 1]): "needs images (channels, rows, columns)",
        made.add("Unsqueeze", x, made.constant([0])): "behind the batch axis can be put in",
        made.add("Squeeze", x, made.constant([1])): "size 1 behind the batch axis",
        made.add("Reshape", x, made.constant([2, 36])): "sizes of 72 elements in all",
        made.add("Reshape", x, made.constant([-1, -1])): "its shape is [-1, -1]",
        made.add("Reshape", x, made.constant([0, 5, -1])): "its shape is [0, 5, -1]",
        made.add("Reshape", x, made.constant([0, *[1] * 100, 72])): "its output has 102 axes",
        made.add("Dropout", x, "", made.constant(np.array(True))): "it is in training mode",
        made.add("QuantizeLinear", "x", *made.grid(0.5, 0)): "a second time and in another way",
        made.add("QLinearAveragePool", x, domain="com.microsoft"): "float activations, but quantized activations",
        made.add("QLinearConv", "x"): "its input 0 is float activations",
        made.add("QLinearConcat", *made.grid(), domain="com.microsoft"): "it has no inputs",
    }
    text = refused(made)
    for output, words in cases.items():
        reason = next((reason for reason in text.split(";") if f'_{output}"' in reason), f"{output} is not in {text}")
        assert words in reason, reason


def test_everything_is_named_at_once(made, refused):
    x = made.fitted(made.product("Conv", made.both("x"), (4, 2, 3, 3)))
    made.add("Sigmoid", x)
    made.add("Mul", x, x)
    made.add("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 1, 1])
    made.add("LSTM", x)
    made.add("HardSwish", x)
    text = refused(made)
    for words in (
        'Sigmoid "Sigmoid_',
        'Mul "Mul_',
        'AveragePool "AveragePool_',
        'LSTM "LSTM_',
        'HardSwish "HardSwish_',
    ):
        assert words in text
    assert "Supported are Add, AveragePool, " in text


def test_float_convolutions_are_refused_with_advice(made, refused):
    made.add("Conv", "x", made.constant(np.ones((1, 2, 3, 3), np.float32)))
    text = refused(made)
    assert "only fully connected networks are read in float (onnxruntime.quantization.quantize_static quantizes" in text


def test_additions_of_sixteen_bits(reference, refused):
    made = reference.Graph((2, 6, 6), np.random.default_rng(SEED), "int16")
    x = made.both("x", 0.1, 0)
    made.both(made.add("Add", x, x), 0.1, 0)
    assert "it adds in int16, but at most 8 bits" in refused(made)


def test_channels_last_and_inputs_without_a_scale(made, refused):
    x = made.quantized("x")
    pool = {"kernel_shape": [2, 2], "domain": "com.microsoft", "channels_last": 1}
    made.integer("QLinearAveragePool", x, *made.grids[x], **pool)
    assert "it has channels last" in refused(made)
    del made.nodes[:]
    made.add("MaxPool", "x", kernel_shape=[2, 2])
    assert "the scale of its inputs is not known" in refused(made, elem_type=TensorProto.INT8)


def test_activations_of_four_bits(made, refused):
    made.add("QuantizeLinear", "x", made.constant(np.float32(1)), "zero")
    model = made.model(opset=21)
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.INT4, [], [0]))
    assert "it quantizes to 4 bits, but 8 or 16 are needed" in refused(model)


def test_attributes_that_are_not_known(made, refused):
    x = made.product("Conv", made.both("x"), (4, 2, 3, 3), qads=[1, 1, 1, 1])
    y = made.product("Conv", made.both("x", *made.parameters("t0")), (4, 2, 3, 3), strides=[1, 1])
    made.nodes[-1].attribute.append(helper.make_attribute("strides", [2, 2]))
    text = refused(made)
    assert f"Conv \"Conv_{x}\": its attribute 'qads' is not known" in text
    assert f"Conv \"Conv_{y}\": its attribute 'strides' is there twice" in text


def test_zero_points_of_another_type(made, refused):
    parts = [made.constant(np.ones((4, 2, 1, 1), np.int8)), made.constant(np.float32(0.1)), made.constant(np.uint8(0))]
    made.add("Conv", made.both("x"), made.add("DequantizeLinear", *parts))
    assert "its values are int8, but their zero points uint8" in refused(made)


def test_second_outputs(made, refused):
    x = made.both("x")
    made.add("MaxPool", x, kernel_shape=[2, 2])
    made.nodes[-1].output.append("indices")
    assert "it has more than one output" in refused(made)


def small(made) -> onnx.ModelProto:
    """A network that can be read."""
    x = made.fitted(made.product("Conv", made.both("x"), (4, 2, 3, 3)))
    made.fitted(made.product("Gemm", made.flat(x), (3, 64), transB=1))
    return made.model()


def test_graphs_that_make_no_sense(made, refused, tmp_path):
    good = small(made)
    onnx.save(good, tmp_path / "good.onnx")
    assert len(read_onnx(tmp_path / "good.onnx").layers) == 2

    def broken(change) -> str:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        change(model.graph)
        return refused(model)

    def cycle(graph):
        graph.node[4].input[0] = graph.node[-1].output[0]

    def shape(*sizes):
        def change(graph):
            info = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(sizes))
            graph.input[0].CopyFrom(info)

        return change

    def same_name(graph):
        graph.node[4].output[0] = graph.node[3].output[0]

    assert "used before anything defines it" in broken(cycle)
    assert "is defined twice" in broken(same_name)
    assert "is defined twice" in broken(lambda graph: graph.node.append(graph.node[2]))
    assert "is defined twice" in broken(lambda graph: graph.node[0].output.__setitem__(0, "x"))
    assert "two of its constants have one name" in broken(lambda graph: graph.initializer.append(graph.initializer[0]))
    assert "needs a batch axis and then fixed sizes" in broken(lambda graph: graph.input[0].ClearField("type"))
    assert "its shape is [0, 2, 0, 0]" in broken(shape("n", 2, "h", "w"))
    assert "its shape is [0, 2, 0, 6]" in broken(shape("n", 2, 0, 6))
    assert "needs images" in broken(shape("n", 2, 6))
    assert "needs images" in broken(shape("n", 2, 1, 6, 6))
    assert "does not fit 3 channels" in broken(shape("n", 3, 6, 6))
    assert "at most 67108864 elements" in broken(shape("n", 2, 2**20, 2**20))
    assert "at most 67108864 elements" in broken(shape("n", 2**62, 2**62, 2**62))
    assert "along 8 axes" in broken(shape("n", *[1] * 100))
    assert "take 64 values, but its inputs have shape (4000000,)" in broken(shape("n", 2, 1002, 1002))
    assert "the graph has 0 inputs" in broken(lambda graph: graph.input.pop())
    assert "the graph has 0 outputs" in broken(lambda graph: graph.output.pop())


@pytest.mark.parametrize("name", ["QDQ", "integers"])
def test_damaged_files(made, tmp_path, reference, name):
    """Bytes are changed, or the end is cut off: a network or one sentence, nothing else."""
    content = small(made).SerializeToString()
    if name == "integers":
        del made.nodes[:]
        x = made.quantized("x")
        weights, scales = made.weights((3, 2, 3, 3), True)
        zeros = made.constant(np.zeros(3, np.int8))
        made.add("QLinearConv", x, *made.grids[x], made.constant(weights), made.constant(scales), zeros, *made.grid())
        content = made.model().SerializeToString()
    rng, path, sentences = np.random.default_rng(SEED), tmp_path / "bad.onnx", []
    for trial in range(300):
        damaged = bytearray(content)
        if trial % 4 == 0:
            damaged = damaged[: rng.integers(len(content))]
        else:
            for position in rng.integers(len(content), size=rng.integers(1, 8)):
                damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            network = read_onnx(path)
        except ModelError as error:
            sentences.append(str(error))
            continue
        if hasattr(network, "all_sources"):
            reference.golden(network, np.zeros((1, *network.input_shape), np.int8))
    assert len(sentences) > 100, f"seed {SEED}: only {len(sentences)} of 300 were refused"
    assert all(sentence.startswith(f"{path}: ") and "\n" not in sentence for sentence in sentences)
