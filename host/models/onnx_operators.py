"""What each ONNX operator that can be read does to the chain of layers.

Each function takes the chain and a node and returns the value of the node's first output.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Final

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_chain import Chain, TwiceRoundedError
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_values import Constant, QuantizedConstant, Reals, Value

ADD_REASON: Final = (
    "adding to values that were quantized before rounds twice (fuse MatMul and Add into Gemm before quantizing, as "
    "onnxruntime.quantization.quant_pre_process does)"
)

REASONS: Final = {
    ("com.microsoft", "QLinearAdd"): ADD_REASON,
    ("", "Softmax"): "it is not computed in integers (leave it out: the largest input gives the largest output)",
}
"""Why some well-known operators cannot be read, and what to do."""


def _quantize_linear(chain: Chain, node: Node) -> Value:
    """Close a layer, quantize the input or constant weights, or clamp integers."""
    if isinstance(node.get(0), Constant):
        return node.quantize_constant()
    return chain.quantize(node.reals(), node.grid(1, node.output_dtype()))


def _dequantize_linear(chain: Chain, node: Node) -> Value:
    """Note that activations or weights stand for reals."""
    if isinstance(node.get(0), Constant):
        return node.dequantize_constant()
    integers = node.integers()
    return Reals(integers.shape, chain.check_grid(integers, node.grid(1, integers.dtype)))


def _gemm(chain: Chain, node: Node) -> Value:
    """Open a layer, bias included."""
    if node.number("alpha", 1.0) != 1.0 or node.number("beta", 1.0) != 1.0 or node.number("transA", 0) != 0:
        raise ModelError("only alpha = 1, beta = 1 and transA = 0 can be used")
    bias = node.constant(2) if node.get(2) is not None else None
    return chain.open(node, transposed=node.number("transB", 0) != 0, bias=bias)


def _matmul(chain: Chain, node: Node) -> Value:
    """Open a layer without a bias."""
    return chain.open(node, transposed=False, bias=None)


def _add(_: Chain, node: Node) -> Value:
    """Give the open layer its bias."""
    if isinstance(node.get(0), Constant | QuantizedConstant):
        node = dataclasses.replace(node, inputs=node.inputs[::-1])
    reals, bias = node.reals(), node.constant(1)
    if reals.product is None and reals.grid is not None:
        raise TwiceRoundedError(ADD_REASON, dataclasses.replace(reals, refused=True))
    if reals.product is None or reals.product.bias is not None or reals.clamped:
        raise ModelError("only one constant can be added, right after a matrix product")
    return dataclasses.replace(reals, product=dataclasses.replace(reals.product, bias=bias))


def _relu(_: Chain, node: Node) -> Value:
    """Clamp to 0 and more."""
    return _clamp(node.reals(), 0.0, math.inf)


def _clip(_: Chain, node: Node) -> Value:
    """Clamp to bounds given as inputs (opset 11 and newer) or attributes."""
    lowest, highest = node.bound(1, "min", -math.inf), node.bound(2, "max", math.inf)
    if not lowest <= highest:
        raise ModelError(f"its bounds are {lowest} and {highest}, but they must be in order")
    return _clamp(node.reals(), lowest, highest)


def _reshape(_: Chain, node: Node) -> Value:
    """Flatten each input."""
    values = node.activations()
    sizes, size = node.array(1, "i").reshape(-1).tolist(), math.prod(values.shape)
    # 0 copies an axis, -1 takes what is left: the batch axis must stay in front and each input keep its size
    if len(sizes) != 2 or sizes[0] not in (-1, 0, 1) or sizes[1] not in (-1, size) or sizes == [-1, -1]:
        raise ModelError(f"its shape is {sizes}, but only [-1, {size}], which flattens each input, can be used")
    return dataclasses.replace(values, shape=(size,))


def _flatten(_: Chain, node: Node) -> Value:
    """Flatten each input."""
    values = node.activations()
    if node.number("axis", 1) != 1:
        raise ModelError("only axis = 1 can be used")
    return dataclasses.replace(values, shape=(math.prod(values.shape),))


def _identity(_: Chain, node: Node) -> Value:
    """Pass the value on."""
    value = node.get(0)
    if value is None:
        raise ModelError("its input is missing")
    return value


def _constant(_: Chain, node: Node) -> Value:
    """A constant written as a node."""
    return Constant(node.tensor())


def _transpose(_: Chain, node: Node) -> Value:
    """Transpose a constant matrix."""
    value = node.constant(0)
    if value.array.ndim != 2 or node.permutation() not in ([], [1, 0]):
        raise ModelError("only constant matrices can be transposed")
    if isinstance(value, QuantizedConstant):
        return dataclasses.replace(value, array=value.array.T, axis=1 - value.axis)
    return Constant(value.array.T)


def _qlinear_matmul(chain: Chain, node: Node) -> Value:
    """A whole quantized layer without a bias."""
    return chain.integer_layer(node, grid=node.grid(6), transposed=False, bias=None)


def _qgemm(chain: Chain, node: Node) -> Value:
    """A whole quantized layer."""
    if node.number("alpha", 1.0) != 1.0 or node.number("transA", 0) != 0:
        raise ModelError("only alpha = 1 and transA = 0 can be used")
    if node.get(7) is None:
        raise ModelError("its output is not quantized, but every layer's must be")
    bias = Constant(node.array(6, "i")) if node.get(6) is not None else None
    return chain.integer_layer(node, grid=node.grid(7), transposed=node.number("transB", 0) != 0, bias=bias)


def _clamp(reals: Reals, lowest: float, highest: float) -> Reals:
    least, most = (min(max(bound, lowest), highest) for bound in reals.bounds)
    return dataclasses.replace(reals, bounds=(least, most))


OPERATORS: Final[dict[tuple[str, str], Callable[[Chain, Node], Value]]] = {
    ("", "Add"): _add,
    ("", "Clip"): _clip,
    ("", "Constant"): _constant,
    ("", "DequantizeLinear"): _dequantize_linear,
    ("", "Dropout"): _identity,
    ("", "Flatten"): _flatten,
    ("", "Gemm"): _gemm,
    ("", "Identity"): _identity,
    ("", "MatMul"): _matmul,
    ("", "QLinearMatMul"): _qlinear_matmul,
    ("", "QuantizeLinear"): _quantize_linear,
    ("", "Relu"): _relu,
    ("", "Reshape"): _reshape,
    ("", "Transpose"): _transpose,
    ("com.microsoft", "DequantizeLinear"): _dequantize_linear,
    ("com.microsoft", "QGemm"): _qgemm,
    ("com.microsoft", "QuantizeLinear"): _quantize_linear,
}
"""Domain and type of each operator that can be read."""
