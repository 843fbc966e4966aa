"""ONNX operators on integers, as onnxruntime's quantizer writes them in its QOperator form.

Each is read as DequantizeLinear of its inputs, the operator on reals, and QuantizeLinear.
"""

from collections.abc import Callable, Mapping
from typing import Final

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_builder import Builder
from celosia.host.models.onnx_images import average_image, average_windows, convolve
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_operators import (
    ADD_REASON,
    RefusedError,
    add,
    concatenate,
    dequantize,
    multiply,
)
from celosia.host.models.onnx_sources import dequantized
from celosia.host.models.onnx_values import Constant, Integers, QuantizedConstant, Reals, Value

Reader = Callable[[Builder, Node], Value]


def _weights(node: Node, index: int, axis: int) -> QuantizedConstant:
    """Constant integers with the scales and zero points that follow; those for each output are along `axis`."""
    array = node.array(index, "iu")
    return QuantizedConstant(array, node.scales(index + 1), node.zero_points(index + 2, array.dtype), axis)


def _bias(node: Node, index: int) -> Constant | None:
    """Constant integers in accumulator units."""
    return Constant(node.array(index, "i")) if node.get(index) is not None else None


def _first(builder: Builder, node: Node) -> Reals:
    """Input 0, with the scale and zero point that follow it."""
    return dequantize(builder, node.integers(), node, 1)


def _finish(builder: Builder, node: Node, reals: Reals, index: int) -> Value:
    """Quantize by the scale that is input `index`, and the zero point that is the next."""
    return builder.quantize(node.name, reals, node.grid(index, node.integers().dtype))


def _qlinear_matmul(builder: Builder, node: Node) -> Value:
    reals = multiply(node, _first(builder, node), _weights(node, 3, axis=1), transposed=False, bias=None)
    return _finish(builder, node, reals, 6)


def _qgemm(builder: Builder, node: Node) -> Value:
    if node.number("alpha", 1.0) != 1.0 or node.number("transA", 0) != 0:
        raise ModelError("only alpha = 1 and transA = 0 can be used")
    if node.get(7) is None:
        raise ModelError("its output is not quantized, but every layer's must be")
    transposed = node.number("transB", 0) != 0
    weights = _weights(node, 3, axis=0 if transposed else 1)
    reals = multiply(node, _first(builder, node), weights, transposed, _bias(node, 6))
    return _finish(builder, node, reals, 7)


def _qlinear_conv(builder: Builder, node: Node) -> Value:
    source = dequantized(_first(builder, node))
    return _finish(builder, node, convolve(builder, node, source, _weights(node, 3, axis=0), _bias(node, 8)), 6)


def _qlinear_add(builder: Builder, node: Node) -> Value:
    places = [index for index in (0, 3) if isinstance(node.get(index), Integers)]
    terms = [dequantize(builder, node.integers(index), node, index + 1) for index in places]
    if len(terms) == 1:
        grid = node.grid(6, node.integers(places[0]).dtype)
        raise RefusedError(ADD_REASON, Integers(terms[0].order, node.integers(places[0]).tensor, grid.dtype, grid))
    if not terms:
        raise ModelError("it adds constants, but quantized activations are needed")
    return _finish(builder, node, add(node, *terms), 6)


def _qlinear_concat(builder: Builder, node: Node) -> Value:
    places = range(2, len(node.inputs), 3)
    parts = [dequantize(builder, node.integers(index), node, index + 1) for index in places]
    if not parts:
        raise ModelError("it has no inputs, but needs two or more")
    grid = node.grid(0, node.integers(2).dtype)
    return builder.quantize(node.name, concatenate(builder, node, parts), grid)


def _qlinear_average_pool(builder: Builder, node: Node) -> Value:
    _refuse_channels_last(node)
    return _finish(builder, node, average_windows(builder, node, dequantized(_first(builder, node))), 3)


def _qlinear_global_average_pool(builder: Builder, node: Node) -> Value:
    _refuse_channels_last(node)
    return _finish(builder, node, average_image(builder, node, dequantized(_first(builder, node))), 3)


def _refuse_channels_last(node: Node) -> None:
    if node.integer("channels_last", 0) != 0:
        raise ModelError("it has channels last, but channels first are read")


INTEGER_OPERATORS: Final[Mapping[tuple[str, str], Reader]] = {
    ("", "QLinearConv"): _qlinear_conv,
    ("", "QLinearMatMul"): _qlinear_matmul,
    ("com.microsoft", "QGemm"): _qgemm,
    ("com.microsoft", "QLinearAdd"): _qlinear_add,
    ("com.microsoft", "QLinearAveragePool"): _qlinear_average_pool,
    ("com.microsoft", "QLinearConcat"): _qlinear_concat,
    ("com.microsoft", "QLinearGlobalAveragePool"): _qlinear_global_average_pool,
}
"""Domain and type of each operator on integers that can be read."""
