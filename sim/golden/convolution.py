"""Convolutions, bit-exactly: plain products of windows and weights."""

import math
from typing import Any

import numpy as np

from celosia.sim.golden.requantize import requantize

_EXACT_FLOAT32 = 2**24  # float32 holds every integer up to here
_BLOCK = 1 << 23  # elements of the window matrices that are made at a time


def run_layer(arranged: Any, x: np.ndarray, engine: Any = None) -> np.ndarray:  # noqa: ARG001
    """Return the outputs of a convolution: (M, H, W, C) integers to int64, (M, H, W, N).

    `arranged` has the member `layer`, or is one, with those of `celosia.host.models.convolution.Conv2d`, whose
    docstring has the arithmetic.
    """
    layer = getattr(arranged, "layer", arranged)
    return requantize(
        accumulate(layer, x),
        layer.bias,
        layer.multiplier,
        layer.shift,
        rounding=layer.rounding,
        zero_point=layer.output_zero_point,
        minimum=layer.minimum,
        maximum=layer.maximum,
    )


def accumulate(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the sums of a convolution without its bias, exactly.

    Parameters
    ----------
    layer : celosia.host.models.convolution.Conv2d
    x : ndarray (M, H, W, C), any integer type

    Returns
    -------
    ndarray of int64, (M, H, W, N)
    """
    kind = _exact_type(layer, x)
    top, left, bottom, right = layer.padding
    centered = x.reshape(len(x), *layer.input_shape).astype(kind) - kind(layer.input_zero_point)
    padded = np.pad(centered, ((0, 0), (top, bottom), (left, right), (0, 0)))
    weights = layer.weights.astype(kind)
    per_input = math.prod(layer.output_shape) + math.prod(layer.output_size) * math.prod(weights.shape[:3])
    at_a_time = max(_BLOCK // per_input, 1)
    product = _depthwise if weights.shape[2] == 1 and layer.groups > 1 else _grouped
    blocks = (padded[start : start + at_a_time] for start in range(0, len(padded), at_a_time))
    return np.concatenate([product(layer, block, weights).astype(np.int64) for block in blocks])


def _exact_type(layer: Any, x: np.ndarray) -> Any:
    """Return a type that holds every sum of some of the products exactly, in whatever order they are added."""
    largest = int(np.abs(x.astype(np.int64) - layer.input_zero_point).max(initial=0))
    weights = np.abs(layer.weights.astype(np.int64)).sum(axis=(0, 1, 2))
    # weights and activations of 16 bits at most: float64's 53 bits hold 2^21 of their products
    return np.float32 if largest * int(weights.max()) < _EXACT_FLOAT32 else np.float64


def _view(layer: Any, padded: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return what all windows have in one row and column: (M, H, W, C)."""
    (height, width), (down, right), (gap, gap_right) = layer.output_size, layer.strides, layer.dilations
    y, x = row * gap, column * gap_right
    return padded[:, y : y + (height - 1) * down + 1 : down, x : x + (width - 1) * right + 1 : right]


def _grouped(layer: Any, padded: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply window matrices by weight matrices, one for each group."""
    rows, columns, depth, outputs = weights.shape
    groups, windows = layer.groups, (len(padded), *layer.output_size)
    matrix = np.empty((*windows, groups, rows * columns, depth), dtype=padded.dtype)
    for position in range(rows * columns):
        view = _view(layer, padded, *divmod(position, columns))
        matrix[..., position, :] = view.reshape(*windows, groups, depth)
    by_group = matrix.reshape(-1, groups, rows * columns * depth).transpose(1, 0, 2)
    factors = weights.reshape(-1, groups, outputs // groups).transpose(1, 0, 2)
    return (by_group @ factors).transpose(1, 0, 2).reshape(*windows, outputs)


def _depthwise(layer: Any, padded: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply and add, position by position of the kernel or, if there are fewer, of the output.

    A matrix product for each channel would be small and slow.
    """
    (rows, columns, _, outputs), (height, width) = weights.shape, layer.output_size
    factors = weights.reshape(rows, columns, layer.groups, outputs // layer.groups)
    sums = np.zeros((len(padded), height, width, *factors.shape[2:]), dtype=padded.dtype)
    if rows * columns <= height * width:
        for row, column in np.ndindex(rows, columns):
            sums += _view(layer, padded, row, column)[..., None] * factors[row, column]
    else:
        for y, x in np.ndindex(height, width):
            top, left = y * layer.strides[0], x * layer.strides[1]
            window = padded[:, top :: layer.dilations[0], left :: layer.dilations[1]][:, :rows, :columns]
            sums[:, y, x] = np.einsum("mijc,ijcd->mcd", window, factors)
    return sums.reshape(len(padded), height, width, outputs)
