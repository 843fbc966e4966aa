"""Layers out of the matrix products of an ONNX graph."""

import math

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense
from celosia.host.models.integers import integer_range, quantize_values
from celosia.host.models.ir import Dense
from celosia.host.models.onnx_values import Constant, Grid, Product, QuantizedConstant
from celosia.host.quantize import quantize_multiplier

Bounds = tuple[float, float]


def check_sizes(shape: tuple[int, ...], weights: np.ndarray, transposed: bool) -> int:
    """Refuse weights that do not fit inputs of a shape, and return the number of outputs."""
    if weights.ndim != 2 or 0 in weights.shape:
        raise ModelError(f"its weights have shape {weights.shape}, but a matrix is needed")
    inputs, outputs = weights.shape[::-1] if transposed else weights.shape
    if shape != (inputs,):
        raise ModelError(f"its weights take {inputs} values, but its inputs have shape {shape} besides the batch axis")
    return outputs


def build_float_dense(product: Product, bounds: Bounds) -> FloatDense:
    """A float layer; quantized weights become the reals that they stand for."""
    weights = _reals(product.weights)
    weights = weights.T if product.transposed else weights
    bias = np.zeros(weights.shape[1]) if product.bias is None else _vector(_reals(product.bias), weights.shape[1])
    return FloatDense(name=product.name, weights=weights, bias=bias, activation=bounds)


def build_dense(product: Product, inputs: Grid, outputs: Grid, bounds: Bounds) -> Dense:
    """A quantized layer from quantized weights; a bias of plain integers is one in accumulator units.

    The scale is computed in float32, in onnxruntime's order: (input · weight) / output.
    """
    if not isinstance(product.weights, QuantizedConstant):
        raise ModelError(f'the weights of layer "{product.name}" are not quantized, but its inputs are')
    weights, weight_scales = integer_weights(product.weights, product.transposed)
    with np.errstate(over="ignore", under="ignore"):  # what float32 cannot hold is refused below
        accumulator_scales = np.float32(inputs.scale) * weight_scales
        scales = accumulator_scales / np.float32(outputs.scale)
    if not ((accumulator_scales > 0).all() and np.isfinite(scales).all()):
        raise ModelError(f'the scales of layer "{product.name}" multiply to more or less than float32 can hold')
    multiplier, shift = quantize_multiplier(scales)
    minimum, maximum = integer_bounds(bounds, outputs)
    return Dense(
        name=product.name,
        weights=weights,
        bias=_integer_bias(product.bias, accumulator_scales),
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


def integer_weights(weights: QuantizedConstant, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights with zero point 0 and their scale for each output.

    Parameters
    ----------
    weights : QuantizedConstant
        A matrix (K, N), or (N, K) if `transposed`.
    transposed : bool

    Returns
    -------
    weights : ndarray (K, N), int8 if the values fit, else int16
    scales : ndarray (N,), float32

    Raises
    ------
    ModelError
        If there are scales for each input, or a value does not fit 16 bits.
    """
    array = weights.array.T if transposed else weights.array
    if array.dtype.itemsize > 2:
        raise ModelError(f"its weights are {array.dtype}, but at most 16 bits can be used")
    if not {weights.scale.size, weights.zero_point.size} <= {1, array.shape[1]}:
        raise ModelError("its weights do not have one scale and zero point, or one for each output")
    if {weights.scale.size, weights.zero_point.size} != {1} and weights.axis != (0 if transposed else 1):
        raise ModelError("its weights have a scale for each input, but only scales for each output can be used")
    matrix = array.astype(np.int32) - weights.zero_point.astype(np.int32)
    scales = np.broadcast_to(weights.scale, array.shape[1:])
    for dtype in (np.int8, np.int16):
        if np.iinfo(dtype).min <= matrix.min() and matrix.max() <= np.iinfo(dtype).max:
            return matrix.astype(dtype), scales
    raise ModelError("its weights minus their zero point exceed 16 bits")


def _integer_bias(bias: Constant | QuantizedConstant | None, scales: np.ndarray) -> np.ndarray:
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


def _reals(constant: Constant | QuantizedConstant) -> np.ndarray:
    return constant.dequantize() if isinstance(constant, QuantizedConstant) else constant.array


def _vector(array: np.ndarray, size: int) -> np.ndarray:
    """A bias that broadcasts over the batch, as (size,)."""
    if array.size not in (1, size) or max((1, *array.shape[:-1])) > 1:
        raise ModelError(f"its bias has shape {array.shape}, but ({size},) is needed")
    return np.broadcast_to(array.reshape(-1), (size,))
