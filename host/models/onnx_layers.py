"""Layers out of the matrix products and convolutions of an ONNX graph. N is the number of outputs of a layer."""

import math
from typing import Any

import numpy as np

from celosia.host.models.convolution import Conv2d
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense
from celosia.host.models.integers import integer_range, quantize_values
from celosia.host.models.ir import Dense
from celosia.host.models.onnx_values import Bounds, Constant, Grid, QuantizedConstant
from celosia.host.models.onnx_window import Window
from celosia.host.quantize import quantize_multiplier

Weights = Constant | QuantizedConstant


def build_float_dense(name: str, weights: Weights, bias: Weights | None, bounds: Bounds) -> FloatDense:
    """A float layer from weights (K, N); quantized ones become the reals that they stand for."""
    matrix = weights.dequantize()
    vector = np.zeros(matrix.shape[1]) if bias is None else _vector(bias.dequantize(), matrix.shape[1])
    return FloatDense(name=name, weights=matrix, bias=vector, activation=bounds)


def build_dense(
    name: str, weights: QuantizedConstant, bias: Weights | None, inputs: Grid, outputs: Grid, bounds: Bounds
) -> Dense:
    """A quantized layer from weights (K, N)."""
    array, scales = integer_weights(weights)
    return Dense(name=name, weights=array, **_requantization(name, scales, bias, inputs, outputs, bounds))


def build_conv(
    name: str,
    weights: QuantizedConstant,
    bias: Weights | None,
    window: Window,
    groups: int,
    inputs: Grid,
    outputs: Grid,
    bounds: Bounds,
) -> Conv2d:
    """A convolution from weights (kernel rows, kernel columns, C / groups, N)."""
    array, scales = integer_weights(weights)
    if array.dtype != np.int8:
        raise ModelError("its weights minus their zero point exceed 8 bits, but a convolution's must not")
    return Conv2d(
        name=name,
        weights=array,
        input_size=window.size,
        strides=window.strides,
        padding=window.padding,
        dilations=window.dilations,
        groups=groups,
        **_requantization(name, scales, bias, inputs, outputs, bounds),
    )


def build_average(name: str, window: Window, channels: int, inputs: Grid, outputs: Grid, bounds: Bounds) -> Conv2d:
    """The average over windows, padding counted: a depthwise convolution of ones, which can give another scale.

    Its scale is computed in float32 as in onnxruntime's QLinearGlobalAveragePool: input / (output · elements).
    """
    with np.errstate(over="ignore", under="ignore"):  # what float32 cannot hold is refused by the next function
        scale = np.float32(inputs.scale) / (np.float32(outputs.scale) * np.float32(math.prod(window.kernel)))
    multiplier, shift = scale_multipliers(name, np.full(channels, scale, np.float32))
    minimum, maximum = integer_bounds(bounds, outputs)
    return Conv2d(
        name=name,
        weights=np.ones((*window.kernel, 1, channels), np.int8),
        input_size=window.size,
        strides=window.strides,
        padding=window.padding,
        groups=channels,
        bias=np.zeros(channels, np.int64),
        multiplier=multiplier,
        shift=shift,
        rounding="even",
        input_zero_point=inputs.zero_point,
        output_zero_point=outputs.zero_point,
        minimum=minimum,
        maximum=maximum,
        input_dtype=inputs.dtype,
        output_dtype=outputs.dtype,
    )


def scale_multipliers(name: str, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers and shifts that are float32 scales (N,) exactly: 24 of the 31 bits hold each.

    Raises
    ------
    ModelError
        If a scale is so small or large that no shift reaches it.
    """
    if not ((scales > 0).all() and np.isfinite(scales).all()):
        raise ModelError(f'the scales of layer "{name}" multiply to more or less than float32 can hold')
    multiplier, shift = quantize_multiplier(scales)
    if not multiplier.all():
        raise ModelError(f'the scales of layer "{name}" multiply to {scales.min():.3g}, but 2^-32 is the least')
    return multiplier, shift


def integer_bounds(bounds: Bounds, grid: Grid) -> tuple[int, int]:
    """Bounds of reals as bounds of the integers of a grid."""
    limits = integer_range(grid.dtype)
    minimum, maximum = (
        limits[int(bound > 0)]
        if math.isinf(bound)
        else int(quantize_values(bound, grid.scale, grid.zero_point, grid.dtype))
        for bound in bounds
    )
    return minimum, maximum


def integer_weights(weights: QuantizedConstant) -> tuple[np.ndarray, np.ndarray]:
    """Weights with zero point 0 and their scale for each output.

    Parameters
    ----------
    weights : QuantizedConstant
        The last axis is that of the outputs, (…, N).

    Returns
    -------
    weights : ndarray (…, N), int8 if the values fit, else int16
    scales : ndarray (N,), float32

    Raises
    ------
    ModelError
        If there are scales for each input, or a value does not fit 16 bits.
    """
    array = weights.array
    if array.dtype.itemsize > 2:
        raise ModelError(f"its weights are {array.dtype}, but at most 16 bits can be used")
    if not {weights.scale.size, weights.zero_point.size} <= {1, array.shape[-1]}:
        raise ModelError("its weights do not have one scale and zero point, or one for each output")
    if {weights.scale.size, weights.zero_point.size} != {1} and weights.axis != array.ndim - 1:
        raise ModelError("its weights have a scale for each input, but only scales for each output can be used")
    matrix = array.astype(np.int32) - weights.along(weights.zero_point).astype(np.int32)
    scales = np.broadcast_to(weights.scale, array.shape[-1:])
    for dtype in (np.int8, np.int16):
        if np.iinfo(dtype).min <= matrix.min() and matrix.max() <= np.iinfo(dtype).max:
            return matrix.astype(dtype), scales
    raise ModelError("its weights minus their zero point exceed 16 bits")


def _requantization(
    name: str, weight_scales: np.ndarray, bias: Weights | None, inputs: Grid, outputs: Grid, bounds: Bounds
) -> dict[str, Any]:
    """What layers that multiply by weights have in common; a bias of plain integers is one in accumulator units.

    The scale is computed in float32, in onnxruntime's order: (input · weight) / output.
    """
    with np.errstate(over="ignore", under="ignore"):  # what float32 cannot hold is refused below
        accumulator_scales = np.float32(inputs.scale) * weight_scales
        scales = accumulator_scales / np.float32(outputs.scale)
    multiplier, shift = scale_multipliers(name, np.where(accumulator_scales > 0, scales, np.float32(0)))
    minimum, maximum = integer_bounds(bounds, outputs)
    return {
        "bias": _integer_bias(bias, accumulator_scales),
        "multiplier": multiplier,
        "shift": shift,
        "rounding": "even",
        "input_zero_point": inputs.zero_point,
        "output_zero_point": outputs.zero_point,
        "minimum": minimum,
        "maximum": maximum,
        "input_dtype": inputs.dtype,
        "output_dtype": outputs.dtype,
    }


def _integer_bias(bias: Weights | None, scales: np.ndarray) -> np.ndarray:
    """A bias in accumulator units, int64 (N,)."""
    size = len(scales)
    if bias is None:
        return np.zeros(size, np.int64)
    if isinstance(bias, Constant) and bias.array.dtype.kind in "iu":
        return _vector(bias.array, size).astype(np.int64)
    if isinstance(bias, QuantizedConstant):
        steps = _vector(bias.array.astype(np.int64) - bias.along(bias.zero_point), size)
        real = steps * np.broadcast_to(bias.scale, (size,)).astype(np.float64)
        return _round(real / scales.astype(np.float64))  # float64 gives the steps back exactly if the scales are equal
    return _round(_vector(bias.array, size).astype(np.float64) / scales.astype(np.float64))


def _round(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(np.nan_to_num(values), -(2.0**62), 2.0**62)).astype(np.int64)  # the layer checks the range


def _vector(array: np.ndarray, size: int) -> np.ndarray:
    """A bias that broadcasts over the batch, as (size,)."""
    if array.size not in (1, size) or max((1, *array.shape[:-1])) > 1:
        raise ModelError(f"its bias has shape {array.shape}, but ({size},) is needed")
    return np.broadcast_to(array.reshape(-1), (size,))
