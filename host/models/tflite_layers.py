"""Layers out of the operators of a TensorFlow Lite graph that multiply: scales become multipliers as it does that."""

import dataclasses
import math
from typing import Any, Final, TypeVar

import numpy as np

from celosia.host.models.convolution import Conv2d
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Dense
from celosia.host.models.tflite_builder import NO_PADDING, Activation, Builder, Grid
from celosia.host.models.tflite_node import Node, with_padding
from celosia.host.models.tflite_scales import exact_multipliers
from celosia.host.models.window import MAX_SIDE
from celosia.host.quantize import quantize_multiplier

AnyLayer = TypeVar("AnyLayer", Conv2d, Dense)

SAME: Final = 0
VALID: Final = 1
_ACCUMULATOR_WIDTH: Final = 32


def build_dense(builder: Builder, node: Node, value: Activation) -> Dense:
    """Return the layer of a FULLY_CONNECTED: its reference kernel rounds once, half away from zero, in float64."""
    if node.option("WeightsFormat") != 0:
        raise ModelError("its weights are shuffled, but only the default format can be used")
    weights, scales = node.weights(2, 0)
    outputs, inputs = weights.shape
    if math.prod(value.shape) != inputs:
        raise ModelError(f"its weights take {inputs} values, but its input has shape {(1, *value.shape)}")
    builder.spend_outputs(outputs)
    fields = _requantization(node, value, scales, outputs)
    name = builder.unique_name(node.output.name)
    layer = _check_accumulator(Dense(name=name, weights=weights.T, rounding="away", **fields))
    least, most = layer.product_sums
    multiplier, shift = exact_multipliers(
        np.broadcast_to(_output_scales(node, value, scales), (outputs,)),
        least + layer.bias,
        most + layer.bias,
        layer.minimum - layer.output_zero_point,
        layer.maximum - layer.output_zero_point,
    )
    return dataclasses.replace(layer, multiplier=multiplier, shift=shift)


def build_conv(builder: Builder, node: Node, value: Activation) -> Conv2d:
    """Return the layer of a CONV_2D, whose kernel rounds twice as gemmlowp."""
    weights, scales = node.weights(4, 0)
    depth, channels = weights.shape[3], value.shape[2]
    if channels % depth:
        raise ModelError(f"its weights take {depth} channels, but its input has {channels}")
    return _conv(builder, node, value, weights.transpose(1, 2, 3, 0), scales, channels // depth)


def build_depthwise(builder: Builder, node: Node, value: Activation) -> Conv2d:
    """Return the layer of a DEPTHWISE_CONV_2D, whose kernel rounds twice as gemmlowp."""
    weights, scales = node.weights(4, 3)
    channels, outputs = value.shape[2], weights.shape[3]
    if weights.shape[0] != 1 or outputs != channels * node.option("DepthMultiplier"):
        raise ModelError(
            f"its weights have shape {weights.shape}, but {channels} channels and depth multiplier "
            f"{node.option('DepthMultiplier')} need (1, rows, columns, {channels * node.option('DepthMultiplier')})"
        )
    return _conv(builder, node, value, weights.transpose(1, 2, 0, 3), scales, channels)


def _conv(
    builder: Builder, node: Node, value: Activation, weights: np.ndarray, scales: np.ndarray, groups: int
) -> Conv2d:
    dilations = node.option("DilationHFactor"), node.option("DilationWFactor")
    spans = [(size - 1) * gap + 1 for size, gap in zip(weights.shape[:2], dilations, strict=True)]
    padding = window_padding(node, value.full_shape, (spans[0], spans[1]))
    layer = Conv2d(
        name=builder.unique_name(node.output.name),
        weights=weights,
        input_size=(value.shape[0], value.shape[1]),
        strides=(node.option("StrideH"), node.option("StrideW")),
        padding=with_padding(value, padding),
        dilations=dilations,
        groups=groups,
        rounding="double",
        **_requantization(node, value, scales, weights.shape[3]),
    )
    return _check_accumulator(layer)


def build_mean(builder: Builder, node: Node, value: Activation) -> Conv2d:
    """Return the layer of a MEAN over rows and columns: a depthwise convolution of ones with one window.

    The reference takes the zero point off the sum and puts the division into the multiplier, which it rounds down.
    """
    assert value.grid is not None
    height, width, channels = value.shape
    if max(height, width) > MAX_SIDE:
        raise ModelError(f"its input has {height} × {width} elements, but at most {MAX_SIDE} in a row can be used")
    outputs, count = node.output_grid, height * width
    builder.spend((count + 24) * channels)
    multiplier, shift = scale_multiplier(value.grid.scale / outputs.scale)
    down = min(count.bit_length() - 1, 32, 31 + shift)
    return Conv2d(
        name=builder.unique_name(node.output.name),
        weights=np.ones((height, width, 1, channels), np.int8),
        input_size=(height, width),
        groups=channels,
        bias=np.zeros(channels, np.int64),
        multiplier=np.full(channels, (multiplier << down) // count),
        shift=np.full(channels, shift - down),
        rounding="double",
        input_zero_point=value.grid.zero_point,
        output_zero_point=outputs.zero_point,
        minimum=-128,
        maximum=127,
    )


def _output_scales(node: Node, value: Activation, scales: np.ndarray) -> np.ndarray:
    """Return the factors from sums to outputs, of weights with some scales, float64."""
    assert value.grid is not None
    return value.grid.scale * scales.astype(np.float64) / node.output_grid.scale


def _requantization(node: Node, value: Activation, scales: np.ndarray, outputs: int) -> dict[str, Any]:
    """Return bias, multipliers, zero points and clamp of a layer."""
    assert value.grid is not None
    grid = node.output_grid
    multiplier, shift = quantize_multiplier(np.broadcast_to(_output_scales(node, value, scales), (outputs,)))
    minimum, maximum = node.bounds()
    return {
        "bias": node.bias(outputs),
        "multiplier": multiplier,
        "shift": shift,
        "input_zero_point": value.grid.zero_point,
        "output_zero_point": grid.zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }


def _check_accumulator(layer: AnyLayer) -> AnyLayer:
    if layer.accumulator_width > _ACCUMULATOR_WIDTH:
        raise ModelError(
            f"its sums can need {layer.accumulator_width} bits, but TensorFlow Lite adds in {_ACCUMULATOR_WIDTH}"
        )
    return layer


def window_padding(node: Node, shape: tuple[int, ...], spans: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the padding of windows that span so many rows and columns of an image: none, or that of SAME."""
    kind = node.option("Padding")
    if kind == VALID:
        return NO_PADDING
    if kind != SAME:
        raise ModelError(f"its padding is of kind {kind}, but only SAME and VALID are known")
    before, after = [], []
    for size, span, stride in zip(shape[:2], spans, (node.option("StrideH"), node.option("StrideW")), strict=True):
        if stride < 1:
            raise ModelError(f"a stride is {stride}, but it must be at least 1")
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before[0], before[1], after[0], after[1]


def scale_multiplier(scale: float) -> tuple[int, int]:
    """Return one scale as multiplier and shift."""
    multiplier, shift = quantize_multiplier(scale)
    return int(multiplier), int(shift)


def add_multipliers(first: Grid, second: Grid, output: Grid, left_shift: int) -> dict[str, Any]:
    """Return the multipliers of an addition: of both inputs to twice the larger scale, and of the sum to the output's.

    Raises
    ------
    ModelError
        If the output's scale is so small that the sum would have to be scaled up, which TensorFlow Lite refuses, too.
    """
    twice = 2 * max(first.scale, second.scale)
    back = twice / (2**left_shift * output.scale)
    if back >= 1:
        raise ModelError(f"its output's scale {output.scale:.9g} is too small for inputs of scale {twice / 2:.9g}")
    (first_multiplier, first_shift), (second_multiplier, second_shift), (output_multiplier, output_shift) = (
        scale_multiplier(scale) for scale in (first.scale / twice, second.scale / twice, back)
    )
    return {
        "multipliers": (first_multiplier, second_multiplier),
        "shifts": (first_shift, second_shift),
        "output_multiplier": output_multiplier,
        "output_shift": output_shift,
    }
