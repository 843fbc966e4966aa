"""ONNX operators on images: convolutions and pooling.

Each reader takes the builder and a node and returns the value of the node's first output. Images are (C, H, W) in the
file and (H, W, C) in the network.
"""

import dataclasses
import math

from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.onnx_builder import Builder
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_sources import Average, Convolution, Dequantized, dequantized
from celosia.host.models.onnx_values import NO_BOUNDS, Constant, Integers, QuantizedConstant, Reals, Value
from celosia.host.models.onnx_window import Window, read_pooling_window, read_window
from celosia.host.models.pooling import MaxPool2d


def read_conv(builder: Builder, node: Node) -> Value:
    """A convolution, bias included."""
    return convolve(builder, node, dequantized(node.reals()), node.weights(1), node.bias(2))


def convolve(
    builder: Builder,
    node: Node,
    source: Dequantized,
    weights: Constant | QuantizedConstant,
    bias: Constant | QuantizedConstant | None,
) -> Reals:
    """A convolution by weights (N, C / groups, kernel rows, kernel columns), whose layer a clamp may follow."""
    if weights.array.ndim != 4 or 0 in weights.array.shape:
        raise ModelError(
            f"its weights have shape {weights.array.shape}, but only convolutions of images, with (N, C / groups, "
            "kernel rows, kernel columns), are read"
        )
    if not isinstance(weights, QuantizedConstant):
        raise ModelError("its weights are not quantized, but its inputs are")
    size, channels = image_size(source.integers), source.integers.order.shape[0]
    tensor = builder.image(node.name, source.integers, source.grid)
    outputs, inputs, *kernel = weights.array.shape
    groups = node.integer("group", 1)
    if groups < 1 or inputs * groups != channels or outputs % groups:
        raise ModelError(
            f"its weights have shape {weights.array.shape}, which does not fit {channels} channels in {groups} groups"
        )
    if bias is not None and bias.array.shape != (outputs,):
        raise ModelError(f"its bias has shape {bias.array.shape}, but ({outputs},) is needed")
    window = read_window(node, size, (kernel[0], kernel[1]))
    order = builder.image_order(*_output_size(window), outputs)
    moved = weights.transpose((2, 3, 1, 0))
    return Reals(order, Convolution(node.name, tensor, source.grid, moved, window, groups, bias))


def image_size(values: Integers | Reals) -> tuple[int, int]:
    """Rows and columns of images (C, H, W).

    Raises
    ------
    ModelError
        If they are none.
    """
    shape = values.order.shape
    if len(shape) != 3:
        raise ModelError(f"it needs images (channels, rows, columns), but its inputs have shape {shape}")
    return shape[1], shape[2]


def _output_size(window: Window) -> tuple[int, int]:
    """Rows and columns that a window gives."""
    sizes = [
        (window.size[axis] + window.padding[axis] + window.padding[axis + 2] - window.span[axis])
        // window.strides[axis]
        + 1
        for axis in (0, 1)
    ]
    if min(sizes) < 1:
        raise ModelError(f"its window spans {window.span}, which is larger than its padded image")
    return sizes[0], sizes[1]


def read_max_pool(builder: Builder, node: Node) -> Value:
    """The largest of each window: of the integers, which are in the same order as the reals."""
    node.refuse_further_outputs()
    value = node.activations()
    return _maximum(builder, node, value, read_pooling_window(node, image_size(value)))


def read_global_max_pool(builder: Builder, node: Node) -> Value:
    """The largest of each channel."""
    value = node.activations()
    size = image_size(value)
    return _maximum(builder, node, value, Window(size, size))


def _maximum(builder: Builder, node: Node, value: Integers | Reals, window: Window) -> Value:
    if isinstance(value, Reals):
        source = dequantized(dataclasses.replace(value, bounds=NO_BOUNDS))
        integers, grid = source.integers, source.grid
    else:
        known = value.grid or builder.input_grid
        if known is None:
            raise ModelError("the scale of its inputs is not known")
        integers, grid = value, known
    tensor = builder.image(node.name, integers, grid)
    order = builder.image_order(*_output_size(window), value.order.shape[0])
    minimum, maximum = integer_range(grid.dtype)
    layer = MaxPool2d(
        name=builder.unique_name(node.name),
        input_shape=(*window.size, value.order.shape[0]),
        kernel=window.kernel,
        strides=window.strides,
        padding=window.padding,
        zero_point=grid.zero_point,
        minimum=minimum,
        maximum=maximum,
        dtype=grid.dtype,
    )
    pooled = Integers(order, builder.add(layer, tensor), grid.dtype, grid)
    return Reals(order, Dequantized(pooled, grid), value.bounds) if isinstance(value, Reals) else pooled


def read_average_pool(builder: Builder, node: Node) -> Value:
    """The average of each window."""
    return average_windows(builder, node, dequantized(node.reals()))


def average_windows(builder: Builder, node: Node, source: Dequantized) -> Reals:
    """The average of each window; padding counts, or there is none."""
    window = read_pooling_window(node, image_size(source.integers))
    if any(window.padding) and not node.integer("count_include_pad", 0):
        raise ModelError(
            f"its padding {window.padding} does not count, so that windows have different numbers of elements "
            "(averages without padding or with count_include_pad = 1 are read)"
        )
    if node.integer("ceil_mode", 0) and window.padding != tuple(node.numbers("pads") or (0, 0, 0, 0)):
        raise ModelError("ceil_mode gives windows of different numbers of elements, but all must have the same")
    return average(builder, node, source, window)


def average(builder: Builder, node: Node, source: Dequantized, window: Window) -> Reals:
    """The average of each window, which has as many elements as its kernel."""
    tensor = builder.image(node.name, source.integers, source.grid)
    channels = source.integers.order.shape[0]
    order = builder.image_order(*_output_size(window), channels)
    builder.spend(math.prod(window.kernel) * channels)
    return Reals(order, Average(node.name, tensor, source.grid, window, channels))


def read_global_average_pool(builder: Builder, node: Node) -> Value:
    """The average of each channel."""
    return average_image(builder, node, dequantized(node.reals()))


def average_image(builder: Builder, node: Node, source: Dequantized) -> Reals:
    """The average of each channel: (C, H, W) to (C, 1, 1)."""
    size = image_size(source.integers)
    return average(builder, node, source, Window(size, size))


def read_reduce_mean(builder: Builder, node: Node) -> Value:
    """The average of each channel."""
    source = dequantized(node.reals())
    axes = node.axes(source.integers.order.ndim + 1)
    if axes != [2, 3]:
        raise ModelError(f"it is over axes {axes}, but only means over the rows and columns of an image are read")
    reals = average_image(builder, node, source)
    return reals if node.integer("keepdims", 1) else dataclasses.replace(reals, order=reals.order.reshape(-1))
