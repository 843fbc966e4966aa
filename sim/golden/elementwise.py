"""Layers that compute each element for itself, bit-exactly."""

from typing import Any

import numpy as np

from celosia.sim.golden.requantize import requantize

_WIDE = {"minimum": -(1 << 47), "maximum": (1 << 47) - 1}  # bounds that no sum of an addition reaches


def run_rescale(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a `celosia.host.models.elementwise.Rescale`: (M, …) integers to int64, (M, …)."""
    return requantize(
        x.astype(np.int64) - layer.input_zero_point,
        0,
        layer.multiplier,
        layer.shift,
        rounding=layer.rounding,
        zero_point=layer.output_zero_point,
        minimum=layer.minimum,
        maximum=layer.maximum,
    )


def run_add(layer: Any, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the outputs of a `celosia.host.models.elementwise.Add`: twice (M, …) integers to int64, (M, …)."""
    total: Any = 0
    for x, zero_point, multiplier, shift in zip(
        (first, second), layer.input_zero_points, layer.multipliers, layer.shifts, strict=True
    ):
        acc = (x.astype(np.int64) - zero_point) << layer.left_shift
        total = total + requantize(acc, 0, multiplier, shift, rounding=layer.rounding, zero_point=0, **_WIDE)
    return requantize(
        total,
        0,
        layer.output_multiplier,
        layer.output_shift,
        rounding=layer.rounding,
        zero_point=layer.output_zero_point,
        minimum=layer.minimum,
        maximum=layer.maximum,
    )
