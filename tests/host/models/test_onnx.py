import itertools
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from celosia.host.models import read_model
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.models.onnx import read_onnx

SIZES = (20, 16, 12, 5)
SEED = 11


def save(path: Path, nodes, arrays, shape=("batch", 20), **options) -> Path:
    """A graph from x to y; `arrays` are its initializers."""
    elem_type = options.get("elem_type", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", elem_type, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", options.get("opset", 17)), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def random_mlp(path: Path, style: str, activation: str = "Relu") -> Path:
    """Three layers as Gemm, Gemm with transposed weights, or MatMul and Add."""
    rng = np.random.default_rng(SEED)
    nodes, arrays, values = [], {"low": np.float32(0), "high": np.float32(2)}, "x"
    for i, (k, n) in enumerate(itertools.pairwise(SIZES)):
        weights = rng.normal(0, k**-0.5, (k, n)).astype(np.float32)
        arrays |= {
            f"w{i}": weights.T if style == "transposed" else weights,
            f"b{i}": rng.normal(0, 0.3, n).astype(np.float32),
        }
        last = i == len(SIZES) - 2
        end = "y" if last else f"g{i}"
        if style == "matmul":
            nodes += [
                helper.make_node("MatMul", [values, f"w{i}"], [f"m{i}"], name=f"fc{i}"),
                helper.make_node("Add", [f"b{i}", f"m{i}"] if i % 2 else [f"m{i}", f"b{i}"], [end], name=f"add{i}"),
            ]
        else:
            transposed = int(style == "transposed")
            nodes.append(helper.make_node("Gemm", [values, f"w{i}", f"b{i}"], [end], name=f"fc{i}", transB=transposed))
        if not last:
            bounds = ["low", "high"] if activation == "Clip" else []
            nodes.append(helper.make_node(activation, [end, *bounds], [f"r{i}"], name=f"act{i}"))
            values = f"r{i}"
    return save(path, nodes, arrays)


class Calibration(CalibrationDataReader):
    def __init__(self):
        rng = np.random.default_rng(SEED + 1)
        self.batches = iter([{"x": rng.normal(size=(16, 20)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


def quantized(
    source: Path, style: QuantFormat, activations=QuantType.QInt8, weights=QuantType.QInt8, **options
) -> Path:
    target = source.with_name(f"quantized_{source.name}")
    quantize_static(
        source, target, Calibration(), quant_format=style, activation_type=activations, weight_type=weights, **options
    )
    return target


def run(path: Path, inputs: np.ndarray, level: str = "ORT_ENABLE_ALL") -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0]


def some_inputs(count: int = 200) -> np.ndarray:
    return np.random.default_rng(SEED + 2).normal(size=(count, 20)).astype(np.float32)


def check_against_onnxruntime(path: Path, evaluate, level: str = "ORT_ENABLE_ALL") -> Network:
    network = read_model(path)
    assert isinstance(network, Network)
    inputs = some_inputs()
    ours = network.dequantize_output(evaluate(network, network.quantize_input(inputs)))
    theirs = run(path, inputs, level)
    assert len(np.unique(theirs)) > 50, "the outputs are too uniform to compare"
    assert np.array_equal(ours, theirs), f"seed {SEED}: {(ours != theirs).sum()} of {ours.size} differ"
    return network


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize(
    ("activations", "weights"),  # onnxruntime's kernels; int8 activations with uint8 weights have none
    [(QuantType.QInt8, QuantType.QInt8), (QuantType.QUInt8, QuantType.QInt8), (QuantType.QUInt8, QuantType.QUInt8)],
)
@pytest.mark.parametrize("style", ["gemm", "transposed"])
def test_qoperator_is_onnxruntime_bit_for_bit(tmp_path, evaluate, style, activations, weights, per_channel):
    source = random_mlp(tmp_path / "mlp.onnx", style)
    path = quantized(source, QuantFormat.QOperator, activations, weights, per_channel=per_channel)
    network = check_against_onnxruntime(path, evaluate)
    assert network.input_dtype == ("int8" if activations == QuantType.QInt8 else "uint8")
    assert [layer.rounding for layer in network.layers] == ["even"] * 3
    channels = {len(set(zip(layer.multiplier.tolist(), layer.shift.tolist(), strict=True))) for layer in network.layers}
    assert (channels == {1}) == (not per_channel)


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("style", ["gemm", "transposed"])
def test_qdq_is_onnxruntime_bit_for_bit(tmp_path, evaluate, style, activations, per_channel, level):
    source = random_mlp(tmp_path / "mlp.onnx", style)
    path = quantized(source, QuantFormat.QDQ, activations, per_channel=per_channel)
    check_against_onnxruntime(path, evaluate, level)


def test_qdq_around_float_weights_and_a_clip(tmp_path, evaluate):
    source = random_mlp(tmp_path / "mlp.onnx", "gemm", "Clip")
    options = {"AddQDQPairToWeight": True}
    network = check_against_onnxruntime(quantized(source, QuantFormat.QDQ, extra_options=options), evaluate)
    assert len(network.layers) == 3


def test_sixteen_bit_activations(tmp_path, evaluate):
    path = quantized(random_mlp(tmp_path / "mlp.onnx", "gemm"), QuantFormat.QDQ, QuantType.QUInt16)
    network = read_onnx(path)
    assert (network.input_dtype, network.output_dtype) == ("uint16", "uint16")
    inputs = some_inputs()
    ours = network.dequantize_output(evaluate(network, network.quantize_input(inputs)))
    # onnxruntime computes this graph in float32, whose 24 bits do not hold the sums exactly: one step may differ
    assert np.abs(ours - run(path, inputs)).max() <= 1.001 * network.output_scale


def test_the_scale_and_zero_point_of_the_input_reach_the_network(tmp_path):
    path = quantized(random_mlp(tmp_path / "mlp.onnx", "gemm"), QuantFormat.QOperator)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    network = read_onnx(path)
    assert network.input_scale == float(arrays["x_scale"])
    assert network.input_zero_point == int(arrays["x_zero_point"])
    assert network.output_scale == float(arrays["y_scale"])
    assert network.name == "quantized_mlp"
    assert (network.input_shape, network.output_shape) == ((20,), (5,))


@pytest.mark.parametrize("style", ["gemm", "transposed", "matmul"])
@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_float_networks(tmp_path, style, activation):
    path = random_mlp(tmp_path / "mlp.onnx", style, activation)
    network = read_model(path)
    assert isinstance(network, FloatNetwork)
    assert [layer.name for layer in network.layers] == ["fc0", "fc1", "fc2"]
    assert np.allclose(network.evaluate(some_inputs()), run(path, some_inputs()), rtol=0, atol=1e-5)


def test_tensors_beside_the_model(tmp_path):
    model = onnx.load(random_mlp(tmp_path / "mlp.onnx", "gemm"))
    expected = read_onnx(tmp_path / "mlp.onnx").evaluate(some_inputs())
    onnx.save(model, tmp_path / "outside.onnx", save_as_external_data=True, location="outside.data", size_threshold=0)
    assert np.array_equal(read_onnx(tmp_path / "outside.onnx").evaluate(some_inputs()), expected)
    (tmp_path / "outside.data").unlink()
    with pytest.raises(ModelError, match='tensor "w0" is damaged'):
        read_onnx(tmp_path / "outside.onnx")


def node(op: str, inputs: str, output: str, domain: str = "", **attributes):
    return helper.make_node(op, inputs.split(), [output], name=f"the_{op}_{output}", domain=domain, **attributes)


def test_passive_operators_and_bias_shapes(tmp_path):
    """Reshape, Flatten, Identity, Dropout, a Constant node, transposed constants, a scalar bias and a bias (1, N)."""
    rng = np.random.default_rng(SEED)
    w0, w1, w2 = (rng.normal(size=shape).astype(np.float32) for shape in ((6, 4), (3, 4), (3, 2)))
    nodes = [
        node("Identity", "x", "a"),
        node("Flatten", "a", "b", axis=1),
        node("MatMul", "b w0", "c"),
        node("Add", "c one", "d"),
        node("Relu", "d", "e"),
        node("Clip", "e low high", "f"),
        node("Dropout", "f", "g"),
        node("Reshape", "g shape", "h"),
        node("Transpose", "w1", "w1t", perm=[1, 0]),
        node("MatMul", "h w1t", "i"),
        helper.make_node("Constant", [], ["w2"], value=numpy_helper.from_array(w2)),
        node("Gemm", "i w2 row", "y"),
    ]
    arrays = {"w0": w0, "w1": w1, "one": np.float32([1]), "low": np.float32(-1), "high": np.float32(3)}
    arrays |= {"shape": np.array([0, -1]), "row": np.float32([[1, 2]])}
    path = save(tmp_path / "mlp.onnx", nodes, arrays, shape=("n", 2, 3))
    network = read_onnx(path)
    inputs = rng.normal(size=(9, 2, 3)).astype(np.float32)
    assert network.input_shape == (2, 3)
    assert [layer.bounds for layer in network.layers] == [(0.0, 3.0), (-np.inf, np.inf), (-np.inf, np.inf)]
    assert np.allclose(network.evaluate(inputs), run(path, inputs), rtol=0, atol=1e-5)


GRID = {"s": np.float32(0.5), "z": np.int8(3), "s2": np.float32(0.25), "ws": np.float32(0.125), "wz": np.int8(0)}
WEIGHTS = {"w": np.arange(-4, 4, dtype=np.int8).reshape(4, 2)}
QUANTIZED = [
    node("QuantizeLinear", "x s z", "q"),
    node("QLinearMatMul", "q s z w ws wz s2 z", "p"),
    node("DequantizeLinear", "p s2 z", "r"),
]


def test_clamps_of_integers_join_the_layer_before(tmp_path, evaluate):
    nodes = [*QUANTIZED, node("Relu", "r", "t"), node("Clip", "t low high", "u"), node("QuantizeLinear", "u s2 z", "v")]
    nodes.append(node("DequantizeLinear", "v s2 z", "y"))
    arrays = GRID | WEIGHTS | {"low": np.float32(0.5), "high": np.float32(2)}
    path = save(tmp_path / "clamp.onnx", nodes, arrays, shape=(1, 4))
    network = read_onnx(path)
    (layer,) = network.layers
    assert (layer.minimum, layer.maximum) == (3 + 2, 3 + 8)
    inputs = np.random.default_rng(SEED).normal(0, 4, (1, 4)).astype(np.float32)
    assert np.array_equal(
        network.dequantize_output(evaluate(network, network.quantize_input(inputs))), run(path, inputs)
    )


def test_integer_inputs_and_outputs_and_int16_weights(tmp_path):
    """uint8 weights minus their zero point take nine bits; the network may begin and end in integers."""
    weights = {"w": np.array([[0, 255], [100, 101], [7, 8], [1, 2]], np.uint8), "wz": np.uint8(100)}
    nodes = [node("QLinearMatMul", "x s z w ws wz s2 z", "y")]
    path = save(tmp_path / "integers.onnx", nodes, GRID | weights, shape=(1, 4), elem_type=TensorProto.INT8)
    network = read_onnx(path)
    (layer,) = network.layers
    assert layer.weights.dtype == np.int16
    assert np.array_equal(layer.weights, weights["w"].astype(int) - 100)
    assert (network.input_scale, network.input_zero_point, network.output_scale) == (0.5, 3, 0.25)
    assert (int(layer.multiplier[0]), int(layer.shift[0])) == (2**30, -1)  # 0.5 · 0.125 / 0.25


def test_a_float_bias_is_rounded_to_accumulator_units(tmp_path):
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "r"),
        node("DequantizeLinear", "w ws wz", "wr"),
        node("Gemm", "r wr b", "g"),
        node("QuantizeLinear", "g s2 z", "h"),
        node("DequantizeLinear", "h s2 z", "y"),
    ]
    arrays = GRID | WEIGHTS | {"b": np.float32([1.0, -0.1])}
    (layer,) = read_onnx(save(tmp_path / "bias.onnx", nodes, arrays, shape=(1, 4))).layers
    assert layer.bias.tolist() == [16, -2]  # in units of 0.5 · 0.125


def broken(nodes, words, arrays=None, **options):
    return pytest.param(nodes, words, GRID | WEIGHTS | {"v": np.ones((4, 2), np.float32)} | (arrays or {}), options)


@pytest.mark.parametrize(
    ("nodes", "words", "arrays", "options"),
    [
        broken([node("Softmax", "x", "y")], 'Softmax "the_Softmax_y": it is not computed in integers'),
        broken(
            [node("Conv", "x v", "a"), node("Tanh", "a", "y")], 'Conv "the_Conv_a", Tanh "the_Tanh_y": no supported op'
        ),
        broken([node("Gemm", "x v", "y", alpha=2.0)], 'Gemm "the_Gemm_y": only alpha = 1'),
        broken([node("Gemm", "x v", "y", transA=1)], "transA = 0"),
        broken([node("MatMul", "v x", "y")], "input 0 is a constant of float32, but float activations are needed"),
        broken([node("MatMul", "x x", "y")], '"x" is used more than once, but branches cannot be read'),
        broken([node("MatMul", "x none", "y")], 'tensor "none" is used before anything defines it'),
        broken([node("MatMul", "x v", "y")], "take 4 values, but its inputs have shape", None, shape=("n", 3)),
        broken([node("MatMul", "x v", "y")], "take 4 values", None, shape=("n", 5, 4)),
        broken([node("MatMul", "x v", "y")], "needs a batch axis and then fixed sizes", None, shape=("n", "k")),
        broken([node("MatMul", "x v", "y")], "needs a batch axis", None, shape=(4,)),
        broken([node("MatMul", "x v", "y")], "opset 6, but 7 or newer is needed", None, opset=6),
        broken([node("MatMul", "x v", "y")], "element type 8", None, elem_type=TensorProto.STRING),
        broken([node("MatMul", "x v", "y")], "weights contains NaN", {"v": np.full((4, 2), np.nan, np.float32)}),
        broken([node("MatMul", "x v", "y")], "has type STRING, but only", {"v": np.array([["a"]])}),
        broken(
            [node("Gemm", "x v c", "y")],
            r"bias has shape \(4, 2\), but \(2,\) is needed",
            {"c": np.ones((4, 2), np.float32)},
        ),
        broken([node("Relu", "x", "a"), node("MatMul", "a v", "y")], "inputs are clamped without a layer"),
        broken([node("Relu", "x", "y")], "output does not come from a fully connected layer"),
        broken([node("Add", "x v", "y")], "only one constant can be added"),
        broken([node("Transpose", "x", "y")], "a constant is needed"),
        broken([node("Flatten", "x", "a", axis=0), node("MatMul", "a v", "y")], "only axis = 1"),
        broken([node("Reshape", "x k", "y")], r"its shape is \[2, 2\], but only \[-1, 4\]", {"k": np.array([2, 2])}),
        broken([*QUANTIZED, node("Softmax", "r", "y")], "Softmax"),
        broken([*QUANTIZED, node("MatMul", "r v2", "y")], "is not quantized", {"v2": np.ones((2, 2), np.float32)}),
        broken([*QUANTIZED, node("Relu", "r", "y")], "last layer's output is not quantized"),
        broken([*QUANTIZED, node("Relu", "r", "a"), node("QuantizeLinear", "a s z", "y")], "rounds twice"),
        broken([*QUANTIZED, node("Add", "r s", "a"), node("QuantizeLinear", "a s z", "y")], "quant_pre_process"),
        broken([QUANTIZED[0], node("DequantizeLinear", "q s2 z", "y")], "not that of the operator before it"),
        broken([node("Relu", "x", "a"), node("QuantizeLinear", "a s z", "y")], "a clamp needs a layer"),
        broken([node("QuantizeLinear", "x s z", "y")], "scale is not positive", {"s": np.float32(0)}),
        broken([node("QuantizeLinear", "x s z", "y")], "scale is not positive", {"s": np.float32("nan")}),
        broken([node("QuantizeLinear", "x s z", "y")], "2 scales, but only one", {"s": np.float32([1, 2])}),
        broken(
            QUANTIZED,
            r"shift\[0\] is 9, but it must be from -31 to 7",
            {"s2": np.float32(2.0**-11), "s": np.float32(1)},
        ),
        broken(QUANTIZED, "more or less than float32 can hold", {"s2": np.float32(1e-38), "s": np.float32(1e38)}),
        broken(QUANTIZED, "do not have one scale and zero point, or one for each", {"ws": np.float32([1, 2, 3])}),
        broken([node("QGemm", "x s z w ws wz", "y", "com.microsoft")], "its output is not quantized"),
        broken([], "holds no graph"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, nodes, words, arrays, options):
    path = save(tmp_path / "bad.onnx", nodes, arrays, **({"shape": ("n", 4)} | options))
    with pytest.raises(ModelError, match=words) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_everything_unsupported_is_named_at_once(tmp_path):
    nodes = [
        node("LayerNormalization", "x s", "a"),
        node("MatMul", "a v", "b"),
        node("Tanh", "b", "c"),
        node("Gemm", "c v", "d", beta=0.5),
        node("Tanh", "d", "y"),
    ]
    with pytest.raises(ModelError) as caught:
        read_onnx(save(tmp_path / "bad.onnx", nodes, GRID))
    sentence = str(caught.value)
    for words in (
        'LayerNormalization "the_LayerNormalization_a", Tanh "the_Tanh_c", Tanh "the_Tanh_y": no supported',
        "QGemm,",
    ):
        assert words in sentence


def test_matmul_and_add_quantized_apart_are_refused_with_advice(tmp_path):
    source = random_mlp(tmp_path / "mlp.onnx", "matmul")
    for style, names in (
        (QuantFormat.QDQ, 'Add "add0", Add "add1", Add "add2"'),
        (QuantFormat.QOperator, 'QLinearAdd "add0_quant", QLinearAdd "add1_quant", QLinearAdd "add2_quant"'),
    ):
        with pytest.raises(ModelError, match=f"{names}: adding to values .*fuse MatMul and Add into Gemm"):
            read_onnx(quantized(source, style))


def test_many_problems_stay_one_short_sentence(tmp_path):
    nodes = [node("Tanh", f"t{i}" if i else "x", f"t{i + 1}") for i in range(500)] + [node("Tanh", "t500", "y")]
    with pytest.raises(ModelError, match="and 481 more") as caught:
        read_onnx(save(tmp_path / "bad.onnx", nodes, {}))
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("style", [None, QuantFormat.QDQ, QuantFormat.QOperator])
def test_damaged_files_give_one_sentence(tmp_path, style):
    source = random_mlp(tmp_path / "mlp.onnx", "gemm")
    content = (quantized(source, style, per_channel=True) if style else source).read_bytes()
    rng = np.random.default_rng(SEED)
    path = tmp_path / "bad.onnx"
    refused = 0
    for trial in range(300):
        damaged = bytearray(content)
        if trial % 3 == 0:
            damaged = damaged[: rng.integers(len(content))]
        else:
            for position in rng.integers(len(content), size=rng.integers(1, 12)):
                damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_onnx(path)
        except ModelError as error:
            refused += str(error).startswith(f"{path}: ") and "\n" not in str(error)
        # every other exception fails the test
    assert refused > 150, f"seed {SEED}: only {refused} of 300 damaged files were refused in one sentence"


def test_sizes_in_a_file_are_not_trusted(tmp_path):
    model = onnx.load(random_mlp(tmp_path / "mlp.onnx", "gemm"))
    for dims, words in (
        ([2**40, 2**40], "at most"),
        ([20, 17], "is damaged"),
        ([-1, 16], "at most"),
        ([0, 16], "a matrix is needed"),
    ):
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w0")
        del weights.dims[:]
        weights.dims.extend(dims)
        if dims[0] == 0:
            weights.raw_data = b""
        (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=words):
            read_onnx(tmp_path / "bad.onnx")


def test_missing_files_and_package(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"none.onnx: there is no such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"cannot be read \(Is a directory\)"):
        read_onnx(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelError, match="damaged or no ONNX"):
        read_onnx(tmp_path / "text.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"pip install 'celosia\[onnx\]'"):
        read_onnx(tmp_path / "text.onnx")
