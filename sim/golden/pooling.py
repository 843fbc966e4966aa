"""Maxima and averages over windows, bit-exactly."""

from typing import Any

import numpy as np


def run_max(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a `celosia.host.models.pooling.MaxPool2d`: (M, H, W, C) integers to int64."""
    windows = _windows(layer, x.astype(np.int64), np.iinfo(np.int64).min)
    return np.clip(windows.max(axis=(-2, -1)), layer.minimum, layer.maximum)


def run_average(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a `celosia.host.models.pooling.AveragePool2d`: (M, H, W, C) integers to int64.

    TensorFlow Lite's: the sum is divided by the number of inputs inside of the image, half away from zero.
    """
    sums = _windows(layer, x.astype(np.int64), 0).sum(axis=(-2, -1))
    ones = np.ones((1, *layer.input_shape[:2], 1), dtype=np.int64)
    counts = _windows(layer, ones, 0).sum(axis=(-2, -1))
    rounded = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return np.clip(rounded, layer.minimum, layer.maximum)


def _windows(layer: Any, x: np.ndarray, outside: int) -> np.ndarray:
    """Return the windows of images (M, H, W, C): (M, H, W, C, kernel rows, kernel columns)."""
    top, left, bottom, right = layer.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(1, 2))
    return windows[:, :: layer.strides[0], :: layer.strides[1]]
