"""What each ONNX operator on reals adds to the network: what is between DequantizeLinear and QuantizeLinear is a layer.

Each function takes the builder and a node and returns the value of the node's first output.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_builder import Builder
from celosia.host.models.onnx_images import (
    read_average_pool,
    read_conv,
    read_global_average_pool,
    read_global_max_pool,
    read_max_pool,
    read_reduce_mean,
)
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_shapes import (
    read_flatten,
    read_reshape,
    read_squeeze,
    read_transpose,
    read_unsqueeze,
)
from celosia.host.models.onnx_sources import (
    Dequantized,
    FloatProduct,
    Joined,
    Product,
    Sum,
    dequantized,
)
from celosia.host.models.onnx_values import NO_BOUNDS, Constant, Integers, QuantizedConstant, Reals, Value

Reader = Callable[[Builder, Node], Value]

ADD_REASON: Final = (
    "adding a constant to values that were quantized before is not computed (fuse MatMul and Add into Gemm before "
    "quantizing, as onnxruntime.quantization.quant_pre_process does)"
)


class RefusedError(ModelError):
    """Something is unsupported; reading can go on with `value`, to find what else is."""

    def __init__(self, sentence: str, value: Value) -> None:
        super().__init__(sentence)
        self.value = value


def _quantize_linear(builder: Builder, node: Node) -> Value:
    """Complete a layer, quantize the input or constant weights, or rescale integers."""
    if isinstance(node.get(0), Constant):
        return node.quantize_constant()
    return builder.quantize(node.name, node.reals(), node.grid(1, node.output_dtype()))


def _dequantize_linear(builder: Builder, node: Node) -> Value:
    """Note that activations or weights stand for reals."""
    if isinstance(node.get(0), Constant):
        return node.dequantize_constant()
    integers = node.integers()
    return dequantize(builder, integers, node, 1)


def dequantize(builder: Builder, integers: Integers, node: Node, index: int) -> Reals:
    """Integers as reals, by the scale that is input `index` of a node, and the zero point that is the next."""
    return Reals(integers.order, Dequantized(integers, builder.check_grid(integers, node.grid(index, integers.dtype))))


def _gemm(_: Builder, node: Node) -> Value:
    if node.number("alpha", 1.0) != 1.0 or node.number("beta", 1.0) != 1.0 or node.number("transA", 0) != 0:
        raise ModelError("only alpha = 1, beta = 1 and transA = 0 can be used")
    return multiply(node, node.reals(), node.weights(1), node.number("transB", 0) != 0, node.bias(2))


def _matmul(_: Builder, node: Node) -> Value:
    return multiply(node, node.reals(), node.weights(1), False, None)


def multiply(
    node: Node,
    reals: Reals,
    weights: Constant | QuantizedConstant,
    transposed: bool,
    bias: Constant | QuantizedConstant | None,
) -> Reals:
    """A product of reals and a matrix (K, N), or (N, K) if `transposed`, whose layer a bias and a clamp may follow."""
    if weights.array.ndim != 2 or 0 in weights.array.shape:
        raise ModelError(f"its weights have shape {weights.array.shape}, but a matrix is needed")
    matrix = weights.transpose((1, 0)) if transposed else weights
    inputs, outputs = matrix.array.shape
    shape = reals.order.shape
    if shape != (inputs,):
        raise ModelError(f"its weights take {inputs} values, but its inputs have shape {shape} besides the batch axis")
    # row order[k] belongs to element k of the file, so that the network's tensor need not be put into that order
    rows = np.argsort(reals.order)
    order = np.arange(outputs, dtype=np.int32)
    if reals.source is None or isinstance(reals.source, FloatProduct):
        if reals.source is None and reals.clamped:
            raise ModelError("its inputs are clamped without a layer before that")
        before = () if reals.source is None else reals.source.complete(reals.bounds)
        return Reals(order, FloatProduct(node.name, before, Constant(matrix.dequantize()[rows]), bias))
    source = dequantized(reals)
    if not isinstance(matrix, QuantizedConstant):
        raise ModelError("its weights are not quantized, but its inputs are")
    weights = dataclasses.replace(matrix, array=matrix.array[rows])
    return Reals(order, Product(node.name, source.integers, source.grid, weights, bias))


def _add(_: Builder, node: Node) -> Value:
    """Give a layer its bias, or add two tensors."""
    if isinstance(node.get(0), Constant | QuantizedConstant):
        node = dataclasses.replace(node, inputs=node.inputs[::-1])
    reals = node.reals()
    if isinstance(node.get(1), Reals):
        return add(node, reals, node.reals(1))
    bias = node.bias(1)
    source = reals.source
    if isinstance(source, Dequantized):
        raise RefusedError(ADD_REASON, reals)
    plain = np.array_equal(
        reals.order, np.arange(reals.order.size)
    )  # a bias belongs to outputs as the product has them
    if not isinstance(source, FloatProduct | Product) or source.bias is not None or reals.clamped or not plain:
        raise ModelError("only one constant can be added, right after a matrix product")
    return dataclasses.replace(reals, source=dataclasses.replace(source, bias=bias))


def add(node: Node, first: Reals, second: Reals) -> Reals:
    """The sum of two tensors of one shape."""
    terms = dequantized(first), dequantized(second)
    if first.order.shape != second.order.shape:
        raise ModelError(f"it adds shapes {first.order.shape} and {second.order.shape}, but only equal ones are added")
    if not np.array_equal(first.order, second.order):
        raise ModelError("it adds two tensors of which one was put into another order")
    return Reals(first.order, Sum(node.name, *terms))


def _relu(_: Builder, node: Node) -> Value:
    """Clamp to 0 and more."""
    return _clamp(node.reals(), 0.0, math.inf)


def _clip(_: Builder, node: Node) -> Value:
    """Clamp to bounds given as inputs (opset 11 and newer) or attributes."""
    lowest, highest = node.bound(1, "min", -math.inf), node.bound(2, "max", math.inf)
    if not lowest <= highest:
        raise ModelError(f"its bounds are {lowest} and {highest}, but they must be in order")
    return _clamp(node.reals(), lowest, highest)


def _clamp(reals: Reals, lowest: float, highest: float) -> Reals:
    least, most = (min(max(bound, lowest), highest) for bound in reals.bounds)
    return dataclasses.replace(reals, bounds=(least, most))


def _concat(builder: Builder, node: Node) -> Value:
    return concatenate(builder, node, [node.reals(index) for index in range(len(node.inputs))])


def concatenate(builder: Builder, node: Node, parts: list[Reals]) -> Reals:
    """Vectors, or images along their channels, one after the other."""
    orders = [part.order for part in parts]
    axis, rank = node.integer("axis", 1), orders[0].ndim + 1
    if axis not in (1, 1 - rank) or rank not in (2, 4) or any(order.ndim + 1 != rank for order in orders):
        raise ModelError("only vectors, or images along axis 1, the channels, are put one after the other")
    if any(order.shape[1:] != orders[0].shape[1:] for order in orders) or len(orders) < 2:
        raise ModelError("its inputs have different shapes, but they may differ in their channels only")
    sources = tuple(dequantized(dataclasses.replace(part, bounds=NO_BOUNDS)) for part in parts)
    bounds, name = tuple(part.bounds for part in parts), node.name
    channels = [order.shape[0] for order in orders]
    if rank == 4:
        sources = tuple(_as_image(builder, name, source) for source in sources)
        height, width = orders[0].shape[1:]
        order = builder.image_order(height, width, sum(channels))
        return Reals(order, Joined(name, sources, tuple((height, width, count) for count in channels), bounds))
    starts = np.cumsum([0, *channels[:-1]], dtype=np.int32)
    order = np.concatenate([order + start for order, start in zip(orders, starts, strict=True)])
    builder.spend(order.size)
    return Reals(order, Joined(name, sources, tuple((count,) for count in channels), bounds))


def _as_image(builder: Builder, name: str, source: Dequantized) -> Dequantized:
    """The same integers in a tensor (H, W, C)."""
    tensor = builder.image(name, source.integers, source.grid)
    return Dequantized(dataclasses.replace(source.integers, tensor=tensor), source.grid)


def _dropout(builder: Builder, node: Node) -> Value:
    """Pass the value on, as inference does."""
    if isinstance(node.get(2), Constant) and np.any(node.array(2, "biu")):
        raise ModelError("it is in training mode, but inference is read")
    return _identity(builder, node)


def _identity(_: Builder, node: Node) -> Value:
    """Pass the value on."""
    value = node.get(0)
    if value is None:
        raise ModelError("its input is missing")
    return value


def _constant(_: Builder, node: Node) -> Value:
    """A constant written as a node."""
    return node.tensor()


OPERATORS: Final[Mapping[tuple[str, str], Reader]] = {
    ("", "Add"): _add,
    ("", "AveragePool"): read_average_pool,
    ("", "Clip"): _clip,
    ("", "Concat"): _concat,
    ("", "Constant"): _constant,
    ("", "Conv"): read_conv,
    ("", "DequantizeLinear"): _dequantize_linear,
    ("", "Dropout"): _dropout,
    ("", "Flatten"): read_flatten,
    ("", "Gemm"): _gemm,
    ("", "GlobalAveragePool"): read_global_average_pool,
    ("", "GlobalMaxPool"): read_global_max_pool,
    ("", "Identity"): _identity,
    ("", "MatMul"): _matmul,
    ("", "MaxPool"): read_max_pool,
    ("", "QuantizeLinear"): _quantize_linear,
    ("", "ReduceMean"): read_reduce_mean,
    ("", "Relu"): _relu,
    ("", "Reshape"): read_reshape,
    ("", "Squeeze"): read_squeeze,
    ("", "Transpose"): read_transpose,
    ("", "Unsqueeze"): read_unsqueeze,
    ("com.microsoft", "DequantizeLinear"): _dequantize_linear,
    ("com.microsoft", "QuantizeLinear"): _quantize_linear,
}
"""Domain and type of each operator on reals, or on any values, that can be read."""
