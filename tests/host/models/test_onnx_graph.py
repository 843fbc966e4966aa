import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx import read_onnx

SEED = 12


def run(path, inputs: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": inputs})[0]


def node(op: str, inputs: str, output: str, domain: str = "", **attributes):
    return helper.make_node(op, inputs.split(), [output], name=f"the_{op}_{output}", domain=domain, **attributes)


def test_passive_operators_and_bias_shapes(save_graph, tmp_path):
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
    path = save_graph(tmp_path / "mlp.onnx", nodes, arrays, shape=("n", 2, 3))
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


def test_clamps_of_integers_join_the_layer_before(save_graph, tmp_path, evaluate):
    nodes = [*QUANTIZED, node("Relu", "r", "t"), node("Clip", "t low high", "u"), node("QuantizeLinear", "u s2 z", "v")]
    nodes.append(node("DequantizeLinear", "v s2 z", "y"))
    arrays = GRID | WEIGHTS | {"low": np.float32(0.5), "high": np.float32(2)}
    path = save_graph(tmp_path / "clamp.onnx", nodes, arrays, shape=(1, 4))
    network = read_onnx(path)
    (layer,) = network.layers
    assert (layer.minimum, layer.maximum) == (3 + 2, 3 + 8)
    inputs = np.random.default_rng(SEED).normal(0, 4, (1, 4)).astype(np.float32)
    assert np.array_equal(
        network.dequantize_output(evaluate(network, network.quantize_input(inputs))), run(path, inputs)
    )


def test_integer_inputs_and_outputs_and_int16_weights(save_graph, tmp_path):
    """uint8 weights minus their zero point take nine bits; the network may begin and end in integers."""
    weights = {"w": np.array([[0, 255], [100, 101], [7, 8], [1, 2]], np.uint8), "wz": np.uint8(100)}
    nodes = [node("QLinearMatMul", "x s z w ws wz s2 z", "y")]
    path = save_graph(tmp_path / "integers.onnx", nodes, GRID | weights, shape=(1, 4), elem_type=TensorProto.INT8)
    network = read_onnx(path)
    (layer,) = network.layers
    assert layer.weights.dtype == np.int16
    assert np.array_equal(layer.weights, weights["w"].astype(int) - 100)
    assert (network.input_scale, network.input_zero_point, network.output_scale) == (0.5, 3, 0.25)
    assert (int(layer.multiplier[0]), int(layer.shift[0])) == (2**30, -1)  # 0.5 · 0.125 / 0.25


LAYER = [
    node("QuantizeLinear", "x s z", "q"),
    node("DequantizeLinear", "q s z", "r"),
    node("DequantizeLinear", "w ws wz", "wr"),
    node("Gemm", "r wr b", "g"),
    node("QuantizeLinear", "g s2 z", "h"),
    node("DequantizeLinear", "h s2 z", "y"),
]


def test_a_float_bias_is_rounded_to_accumulator_units(save_graph, tmp_path):
    arrays = GRID | WEIGHTS | {"b": np.float32([1.0, -0.1])}
    (layer,) = read_onnx(save_graph(tmp_path / "bias.onnx", LAYER, arrays, shape=(1, 4))).layers
    assert layer.bias.tolist() == [16, -2]  # in units of 0.5 · 0.125


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.0625, [2**30 + 1, -7]), (0.125, [2**31 + 2, -14]), (0.09375, [1610612738, -10])]
)
def test_a_bias_of_any_scale(save_graph, tmp_path, scale, expected):
    """Accumulator units are 0.5 · 0.125; −10.5 is a tie, and goes to even."""
    nodes = [node("DequantizeLinear", "bq bs", "b"), *LAYER]
    arrays = GRID | WEIGHTS | {"bq": np.int32([2**30 + 1, -7]), "bs": np.float32(scale)}
    (layer,) = read_onnx(save_graph(tmp_path / "bias.onnx", nodes, arrays, shape=(1, 4))).layers
    assert layer.bias.tolist() == expected


def test_the_channels_of_transposed_weights(save_graph, tmp_path, evaluate):
    scales = {"ws": np.float32([0.125, 0.5]), "wz": np.int8([0, 0]), "w": WEIGHTS["w"].T, "b": np.float32([0, 1])}
    nodes = [node("DequantizeLinear", "w ws wz", "wd", axis=0), node("Transpose", "wd", "wr", perm=[1, 0])]
    nodes += [item for item in LAYER if "wr" not in item.output]
    path = save_graph(tmp_path / "transposed.onnx", nodes, GRID | scales, shape=(1, 4))
    network = read_onnx(path)
    assert network.layers[0].shift.tolist() == [-1, 1]
    inputs = np.random.default_rng(SEED).normal(0, 4, (1, 4)).astype(np.float32)
    outputs = network.dequantize_output(evaluate(network, network.quantize_input(inputs)))
    assert np.array_equal(outputs, run(path, inputs))
    wrong = [node("DequantizeLinear", "w ws4 wz", "wd", axis=1), *nodes[1:]]
    with pytest.raises(ModelError, match="one for each output"):
        read_onnx(
            save_graph(
                tmp_path / "w.onnx",
                wrong,
                GRID | scales | {"ws4": np.float32([1, 2, 3, 4]), "wz": np.int8(0)},
                shape=(1, 4),
            )
        )


def broken(nodes, words, arrays=None, **options):
    return pytest.param(nodes, words, GRID | WEIGHTS | {"v": np.ones((4, 2), np.float32)} | (arrays or {}), options)


@pytest.mark.parametrize(
    ("nodes", "words", "arrays", "options"),
    [
        broken([node("Softmax", "x", "y")], 'Softmax "the_Softmax_y": it is not computed in integers'),
        broken(
            [node("Conv", "x v", "a"), node("Tanh", "a", "y")],
            'Conv "the_Conv_a": its inputs are float.*; Tanh "the_Tanh_y": functions other than clamps',
        ),
        broken([node("Gemm", "x v", "y", alpha=2.0)], 'Gemm "the_Gemm_y": only alpha = 1'),
        broken([node("Gemm", "x v", "y", transA=1)], "transA = 0"),
        broken([node("MatMul", "v x", "y")], "input 0 is a constant of float32, but float activations are needed"),
        broken([node("MatMul", "x x", "y")], "its input 1 is float activations, but a constant is needed"),
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
        broken([node("Transpose", "x", "y")], "its perm is None, but all axes, the batch axis in front, are needed"),
        broken([node("Flatten", "x", "a", axis=0), node("MatMul", "a v", "y")], "only axis = 1"),
        broken([node("Reshape", "x k", "y")], r"its shape is \[2, 2\], but the batch", {"k": np.array([2, 2])}),
        broken([*QUANTIZED, node("Softmax", "r", "y")], "Softmax"),
        broken(
            [*QUANTIZED, node("MatMul", "r v2", "y")], "weights are not quantized", {"v2": np.ones((2, 2), np.float32)}
        ),
        broken([*QUANTIZED, node("Relu", "r", "y")], "last layer's output is not quantized"),
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
def test_what_cannot_be_read_is_named(save_graph, tmp_path, nodes, words, arrays, options):
    path = save_graph(tmp_path / "bad.onnx", nodes, arrays, **({"shape": ("n", 4)} | options))
    with pytest.raises(ModelError, match=words) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_everything_unsupported_is_named_at_once(save_graph, tmp_path):
    nodes = [
        node("LayerNormalization", "x s", "a"),
        node("MatMul", "a v", "b"),
        node("Tanh", "b", "c"),
        node("Gemm", "c v", "d", beta=0.5),
        node("Tanh", "d", "y"),
    ]
    with pytest.raises(ModelError) as caught:
        read_onnx(save_graph(tmp_path / "bad.onnx", nodes, GRID))
    sentence = str(caught.value)
    for words in (
        'LayerNormalization "the_LayerNormalization_a": no supported',
        'Tanh "the_Tanh_c", Tanh "the_Tanh_y": functions other than clamps are not computed',
        "QGemm,",
    ):
        assert words in sentence


def test_many_problems_stay_one_short_sentence(save_graph, tmp_path):
    nodes = [node("Tanh", f"t{i}" if i else "x", f"t{i + 1}") for i in range(500)] + [node("Tanh", "t500", "y")]
    with pytest.raises(ModelError, match="and 481 more") as caught:
        read_onnx(save_graph(tmp_path / "bad.onnx", nodes, {}))
    assert len(str(caught.value)) < 1500
