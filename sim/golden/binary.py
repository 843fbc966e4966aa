"""Binarized layers, bit-exactly: what the binary engine computes, by plain products, counts and maxima."""

import math
from typing import Any

import numpy as np

_EXACT_FLOAT32 = 2**24  # float32 holds every integer up to here; activations have 8 bits, weights 2
_BLOCK = 1 << 24  # elements of the window matrices that are made at a time


def accumulate(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the sums of a layer, exactly.

    Parameters
    ----------
    layer : celosia.host.models.binary.BinaryDense or BinaryConv
    x : ndarray (M, …), any integer type
        Inputs of the layer, in C order of its `input_shape`.

    Returns
    -------
    ndarray of int64, (M, N) or (M, H, W, N)
        Before thresholds and pooling.
    """
    if layer.weights.ndim == 2:
        return _product(x.reshape(len(x), len(layer.weights)), layer.weights)
    top, left, bottom, right = layer.padding
    image = x.reshape(len(x), *layer.input_shape)
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=layer.pad_value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(1, 2))
    windows = windows[:, :: layer.strides[0], :: layer.strides[1]]  # (M, H, W, C, kernel rows, kernel columns)
    weights = layer.weights.transpose(2, 0, 1, 3).reshape(-1, layer.weights.shape[3])
    at_a_time = max(_BLOCK // math.prod(windows.shape[1:]), 1)
    sums = [
        _product(block.reshape(-1, len(weights)), weights)
        for block in np.split(windows, range(at_a_time, len(windows), at_a_time))
    ]
    return np.concatenate(sums).reshape(*windows.shape[:3], -1)


def _product(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    largest = int(np.abs(x.astype(np.int64)).max(initial=0)) * x.shape[1]
    kind = np.float32 if largest < _EXACT_FLOAT32 else np.float64
    return (x.astype(kind) @ weights.astype(kind)).astype(np.int64)


def run_layer(arranged: Any, x: np.ndarray, engine: Any = None) -> np.ndarray:  # noqa: ARG001
    """Return the outputs of a binarized layer: (M, …) integers to int64, (M, *output_shape).

    `arranged` has the member `layer`, or is one, with those of `celosia.host.models.binary.BinaryDense` or
    `BinaryConv`, whose docstrings have the arithmetic. It does not depend on the engine's config: the compiler has seen
    to it that no sum overflows.
    """
    layer = getattr(arranged, "layer", arranged)
    sums = accumulate(layer, x)
    if layer.thresholds is None:
        return sums
    counts = np.zeros(sums.shape, dtype=np.int64)
    for thresholds in layer.thresholds.T:
        counts += sums >= thresholds
    outputs = layer.output_minimum + layer.output_step * counts
    return outputs if layer.weights.ndim == 2 else _pool(outputs, layer)


def _pool(outputs: np.ndarray, layer: Any) -> np.ndarray:
    if layer.pool == (1, 1) and layer.pool_strides == (1, 1):
        return outputs
    windows = np.lib.stride_tricks.sliding_window_view(outputs, layer.pool, axis=(1, 2))
    result: np.ndarray = windows[:, :: layer.pool_strides[0], :: layer.pool_strides[1]].max(axis=(-1, -2))
    return result


def useful_macs(arranged: Any, x: np.ndarray) -> int:
    """Return the binary operations, an XNOR and an addition each, that a layer needs for M inputs.

    An activation of n bits times a weight of one bit are n of them, times a ternary weight 2 · n.
    """
    return len(x) * int(arranged.layer.macs) * int(arranged.planes)
