"""Dense layers, bit-exactly, by plain matrix products."""

from typing import Any

import numpy as np

from celosia.sim.golden.requantize import requantize

_EXACT = 2**53  # float64 holds every integer up to here


def accumulate(x: np.ndarray, weights: np.ndarray, input_zero_point: int) -> np.ndarray:
    """Return (x − input_zero_point) · weights, exactly.

    Parameters
    ----------
    x : ndarray (M, K), any integer type
        Activations.
    weights : ndarray (K, N), any integer type
        Weights.
    input_zero_point : int
        The activation that stands for 0.

    Returns
    -------
    ndarray of int64, (M, N)
    """
    centered = x.astype(np.int64) - input_zero_point
    largest = float(np.abs(centered).max(initial=0)) * float(np.abs(weights.astype(np.int64)).max(initial=0))
    if largest * x.shape[1] < _EXACT:  # then the fast floating-point product is exact, too
        return (centered.astype(np.float64) @ weights.astype(np.float64)).astype(np.int64)
    return centered @ weights.astype(np.int64)


def run_layer(arranged: Any, x: np.ndarray, engine: Any = None) -> np.ndarray:  # noqa: ARG001
    """Return the outputs of a dense layer: (M, K) integers to int64, (M, N).

    `arranged` has the member `layer`, or is one, with those of `celosia.host.models.ir.Dense`, whose docstring has the
    arithmetic. It does not depend on the engine's config: the compiler has seen to it that no sum overflows.
    """
    layer = getattr(arranged, "layer", arranged)
    acc = accumulate(x.reshape(len(x), -1), layer.weights, layer.input_zero_point)
    return requantize(
        acc,
        layer.bias,
        layer.multiplier,
        layer.shift,
        rounding=layer.rounding,
        zero_point=layer.output_zero_point,
        minimum=layer.minimum,
        maximum=layer.maximum,
    )
