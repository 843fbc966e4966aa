"""What each TensorFlow Lite operator that can be read adds to the network.

Each function takes the builder and a node and returns the activations of the node's output.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from celosia.host.models.arrangement import Concat
from celosia.host.models.elementwise import MAX_LEFT_SHIFT, Add, Rescale
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Layer
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.models.softmax import DIFFERENCE_BITS, Softmax
from celosia.host.models.tflite_builder import NO_PADDING, Activation, Builder, Grid
from celosia.host.models.tflite_layers import (
    add_multipliers,
    build_conv,
    build_dense,
    build_depthwise,
    build_mean,
    scale_multiplier,
    window_padding,
)
from celosia.host.models.tflite_node import BOUNDS, Node, integer_bounds, read_grid, strip_batch

Reader = Callable[[Builder, Node], Activation]

_TRANSCENDENTAL: Final = "functions other than clamps are not computed (RELU and RELU6 are)"
_SHAPES: Final = "shapes are not computed (convert the model with a fixed batch size of 1)"
REASONS: Final[Mapping[str, str]] = {
    "ARG_MAX": "indices are not computed (leave it out: the largest output is the class)",
    "BATCH_MATMUL": "two tensors of activations are not multiplied (FULLY_CONNECTED with constant weights is read)",
    "HARD_SWISH": _TRANSCENDENTAL,
    "LEAKY_RELU": _TRANSCENDENTAL,
    "LOGISTIC": _TRANSCENDENTAL,
    "MUL": "two tensors of activations are not multiplied (ADD, and convolutions with constant weights, are read)",
    "PACK": _SHAPES,
    "PADV2": "padding with other values than the zero point is not computed (PAD is read)",
    "PRELU": _TRANSCENDENTAL,
    "SHAPE": _SHAPES,
    "STRIDED_SLICE": _SHAPES,
    "SUB": "differences are not computed (ADD is read)",
    "TANH": _TRANSCENDENTAL,
    "TRANSPOSE_CONV": "transposed convolutions are not computed (CONV_2D is read)",
}
"""Why some well-known operators cannot be read, and what is nearest."""


def _finish(
    builder: Builder, node: Node, layer: Layer, *taken: Activation, shape: tuple[int, ...] | None = None
) -> Activation:
    """Add a layer, whose output the file must describe alike."""
    shape = layer.output_shape if shape is None else shape
    if node.output_shape != shape:
        raise ModelError(f"its output has shape {node.output.shape} in the file, but it gives {(1, *shape)}")
    tensor = builder.add(layer, *taken)
    return Activation(node.output.name, tensor, shape, read_grid(node.output, "output"))


def _name(builder: Builder, node: Node) -> str:
    return builder.unique_name(node.output.name)


def _unpadded(builder: Builder, value: Activation) -> Activation:
    """Return activations whose padding, if any, a layer has made part of them."""
    if value.padding == NO_PADDING:
        return value
    return Activation(value.name, builder.place(value), value.full_shape, value.grid, real=value.real)


def _conv_2d(builder: Builder, node: Node) -> Activation:
    value = node.image()
    layer = build_conv(builder, node, value)
    return _finish(builder, node, layer, _bare(value))


def _depthwise_conv_2d(builder: Builder, node: Node) -> Activation:
    value = node.image()
    layer = build_depthwise(builder, node, value)
    return _finish(builder, node, layer, _bare(value))


def _bare(value: Activation) -> Activation:
    """Return activations without their padding, which a convolution has taken over."""
    return Activation(value.name, value.tensor, value.shape, value.grid)


def _fully_connected(builder: Builder, node: Node) -> Activation:
    value = _unpadded(builder, node.activation())
    layer = build_dense(builder, node, value)
    shape = node.output_shape
    if math.prod(shape) != layer.output_shape[0]:
        raise ModelError(f"its output has shape {node.output.shape} in the file, but it gives {layer.output_shape}")
    flat = Activation(value.name, value.tensor, layer.input_shape, value.grid)
    return Activation(node.output.name, builder.add(layer, flat), shape, node.output_grid)


def _pool(kind: Any, builder: Builder, node: Node) -> Activation:
    value = _unpadded(builder, node.image())
    kernel = node.option("FilterHeight"), node.option("FilterWidth")
    minimum, maximum = node.bounds()
    layer = kind(
        name=_name(builder, node),
        input_shape=value.shape,
        kernel=kernel,
        strides=(node.option("StrideH"), node.option("StrideW")),
        padding=window_padding(node, value.shape, kernel),
        zero_point=node.same_grid(value).zero_point,
        minimum=minimum,
        maximum=maximum,
    )
    return _finish(builder, node, layer, value)


def _average_pool_2d(builder: Builder, node: Node) -> Activation:
    return _pool(AveragePool2d, builder, node)


def _max_pool_2d(builder: Builder, node: Node) -> Activation:
    return _pool(MaxPool2d, builder, node)


def _mean(builder: Builder, node: Node) -> Activation:
    value = _unpadded(builder, node.image())
    axes = node.array(1, "INT32").reshape(-1).tolist()
    if sorted(axis % 4 if -4 <= axis < 4 else axis for axis in axes) != [1, 2]:
        raise ModelError(f"it is over axes {axes[:8]}, but only means over the rows and columns of an image are read")
    layer = build_mean(builder, node, value)
    shape = layer.output_shape if node.option("KeepDims") else layer.output_shape[2:]
    return _finish(builder, node, layer, value, shape=shape)


def _add(builder: Builder, node: Node) -> Activation:
    first, second = (_unpadded(builder, node.activation(index)) for index in (0, 1))
    if first.shape != second.shape:
        shapes = f"{(1, *first.shape)} and {(1, *second.shape)}"
        raise ModelError(f"its inputs have shapes {shapes}, but only equal ones are added")
    assert first.grid is not None
    assert second.grid is not None
    minimum, maximum = node.bounds()
    layer = Add(
        name=_name(builder, node),
        shape=first.shape,
        left_shift=MAX_LEFT_SHIFT,
        rounding="double",
        input_zero_points=(first.grid.zero_point, second.grid.zero_point),
        output_zero_point=node.output_grid.zero_point,
        minimum=minimum,
        maximum=maximum,
        **add_multipliers(first.grid, second.grid, node.output_grid, MAX_LEFT_SHIFT),
    )
    return _finish(builder, node, layer, first, second)


def _concatenation(builder: Builder, node: Node) -> Activation:
    values = [_unpadded(builder, node.activation(index)) for index in range(len(node.operator.inputs))]
    if node.activation_name != "NONE":
        raise ModelError(f"it has the fused activation {node.activation_name}, but only NONE can be used")
    axis, rank = node.option("Axis"), len(node.output.shape)
    if axis not in (-1, rank - 1):
        raise ModelError(f"it is along axis {axis}, but only the last, the channels, can be used")
    for value in values:
        node.same_grid(value)
    layer = Concat(
        name=_name(builder, node),
        input_shapes=tuple(value.shape for value in values),
        zero_point=node.output_grid.zero_point,
    )
    return _finish(builder, node, layer, *values)


def _reshape(builder: Builder, node: Node) -> Activation:
    """Give activations another shape; a layer does that only where another takes them in that shape."""
    value, shape = _unpadded(builder, node.activation()), node.output_shape
    if math.prod(shape) != math.prod(value.shape):
        raise ModelError(f"its input has shape {(1, *value.shape)}, which cannot become {(1, *shape)}")
    if node.has(1):
        wanted = node.array(1, "INT32").reshape(-1).tolist()
        if len(wanted) != len(shape) + 1 or any(
            size not in (-1, real) for size, real in zip(wanted, (1, *shape), strict=True)
        ):
            raise ModelError(f"its shape is {wanted[:8]}, but its output has {(1, *shape)} in the file")
    return Activation(node.output.name, value.tensor, shape, node.same_grid(value))


def _pad(builder: Builder, node: Node) -> Activation:
    """Note padding, which a convolution takes over."""
    value = _unpadded(builder, node.image())
    grid, amounts = node.same_grid(value), node.array(1, "INT32")
    if amounts.shape != (4, 2) or amounts.min() < 0 or amounts[[0, 3]].any():
        raise ModelError(f"its padding is {amounts[:8].tolist()}, but only rows and columns can be padded")
    (top, bottom), (left, right) = amounts[1:3].tolist()
    padded = Activation(node.output.name, value.tensor, value.shape, grid, (top, left, bottom, right))
    if node.output_shape != padded.full_shape:
        raise ModelError(
            f"its output has shape {node.output.shape} in the file, but it gives {(1, *padded.full_shape)}"
        )
    return padded


def _softmax(builder: Builder, node: Node) -> Activation:
    value, grid = _unpadded(builder, node.activation()), node.output_grid
    assert value.grid is not None
    if (grid.scale, grid.zero_point) != (1 / 256, -128):
        raise ModelError(
            f"its output has scale {grid.scale:.9g} and zero point {grid.zero_point}, but only 1/256 and −128 are used"
        )
    factor = min(node.option("Beta") * value.grid.scale * 2.0 ** (31 - DIFFERENCE_BITS), 2.0**31 - 1)
    if not factor > 1:  # also NaN
        raise ModelError(f"its factor of {node.option('Beta') * value.grid.scale:.9g} is too small or negative")
    multiplier, shift = scale_multiplier(factor)
    layer = Softmax(
        name=_name(builder, node),
        shape=value.shape,
        multiplier=multiplier,
        shift=shift,
        input_zero_point=value.grid.zero_point,
    )
    return _finish(builder, node, layer, value)


def _rescale(builder: Builder, node: Node, value: Activation, grid: Grid, bounds: tuple[int, int]) -> Activation:
    value = _unpadded(builder, value)
    assert value.grid is not None
    multiplier, shift = scale_multiplier(value.grid.scale / grid.scale)
    layer = Rescale(
        name=_name(builder, node),
        shape=value.shape,
        multiplier=multiplier,
        shift=shift,
        rounding="double",
        input_zero_point=value.grid.zero_point,
        output_zero_point=grid.zero_point,
        minimum=bounds[0],
        maximum=bounds[1],
        input_dtype=value.grid.dtype,
        output_dtype=grid.dtype,
    )
    return _finish(builder, node, layer, value)


def _relu(builder: Builder, node: Node) -> Activation:
    grid = node.output_grid
    return _rescale(builder, node, node.activation(), grid, integer_bounds(BOUNDS[node.operator.kind], grid))


def _quantize(builder: Builder, node: Node) -> Activation:
    """Make the network's real inputs integers, or integers others."""
    value, grid = node.value(), read_grid(node.output, "output")
    if not value.real:
        return _rescale(builder, node, value, grid, integer_range(grid.dtype))
    if value.grid is not None:
        raise ModelError("it quantizes values that were dequantized before (QUANTIZE of integers is read)")
    if strip_batch(node.output.shape, "output") != value.shape:
        raise ModelError(f"its output has shape {node.output.shape} in the file, but it gives {(1, *value.shape)}")
    builder.quantize_input(grid)
    return Activation(node.output.name, value.tensor, value.shape, grid)


def _dequantize(builder: Builder, node: Node) -> Activation:
    """Note that integers are floats from here on: only the network's outputs may be."""
    value = _unpadded(builder, node.value())
    if value.real:
        raise ModelError("its input is float32 already")
    if node.output.type != "FLOAT32" or node.output_shape != value.shape:
        raise ModelError(f"its output is {node.output.type} of shape {node.output.shape}, but it must be as its input")
    return Activation(node.output.name, value.tensor, value.shape, value.grid, real=True)


OPERATORS: Final[Mapping[str, Reader]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average_pool_2d,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _max_pool_2d,
    "MEAN": _mean,
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "RELU": _relu,
    "RELU6": _relu,
    "RELU_0_TO_1": _relu,
    "RELU_N1_TO_1": _relu,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
"""Operator, as the schema names it → what reads it."""
