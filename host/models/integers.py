"""Integer types of activations: names, ranges, numpy containers, and how real values become integers."""

import re
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from celosia.host.models.errors import ModelError

MAX_BITS: Final = 16
"""Widest activation and weight, in bits."""

BIPOLAR: Final = "bipolar"
"""Type of activations that are −1 or +1, and never 0."""

SUM: Final = "int32"
"""Type of sums that nothing was done to; no layer takes it."""

_DTYPE = re.compile(r"(u?)int([1-9][0-9]?)")


@cache
def integer_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer type.

    Parameters
    ----------
    dtype : str
        ``intW`` with W from 2 to 16 bits or ``uintW`` with 1 to 16, e.g. ``int8``, ``uint8``, ``int4``; ``bipolar``
        for −1 and +1; ``int32`` for sums.

    Returns
    -------
    tuple of int
        ``(smallest, largest)``.

    Raises
    ------
    ModelError
        If `dtype` does not name such a type.
    """
    if dtype == BIPOLAR:
        return -1, 1
    if dtype == SUM:
        return -(2**31), 2**31 - 1
    return activation_range(dtype)


@cache
def activation_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of ``intW`` or ``uintW``, as :func:`integer_range`, which other types have, too."""
    match = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    width = int(match[2]) if match else 0
    if match is None or not (1 if match[1] else 2) <= width <= MAX_BITS:
        raise ModelError(
            f"dtype {dtype!r} is not an activation type; int2 to int{MAX_BITS} and uint1 to uint{MAX_BITS} are."
        )
    return (0, 2**width - 1) if match[1] else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)


def container(dtype: str) -> np.dtype[np.integer]:
    """Smallest numpy integer type that holds an activation type, e.g. int8 for ``int4``, uint16 for ``uint9``."""
    smallest, largest = integer_range(dtype)
    bits = next(bits for bits in (8, 16, 32) if largest - smallest < 1 << bits)
    return np.dtype(f"{'u' if smallest == 0 else ''}int{bits}")


def quantize_values(values: npt.ArrayLike, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """Real to integer values as ONNX QuantizeLinear: ``clamp(round_half_even(value / scale) + zero_point)`` in float32.

    Parameters
    ----------
    values : array_like of float, any shape
    scale : float
        Real value of one integer step.
    zero_point : int
        The integer that stands for 0.0.
    dtype : str
        Activation type, see :func:`integer_range`.

    Returns
    -------
    ndarray, the shape of `values`, dtype ``container(dtype)``

    Raises
    ------
    ModelError
        If a value is not finite.
    """
    real = np.asarray(values, dtype=np.float32)
    if not np.isfinite(real).all():
        raise ModelError("the values to quantize contain NaN or infinity; only finite values have an integer.")
    smallest, largest = integer_range(dtype)
    with np.errstate(over="ignore"):  # a quotient beyond float32 saturates like any other
        steps = np.rint(real / np.float32(scale)).astype(np.float64)
    return np.clip(steps + zero_point, smallest, largest).astype(container(dtype))


def signed_width(smallest: int, largest: int) -> int:
    """Bits of the smallest two's-complement number that holds both values, at least 2."""
    return max(2, largest.bit_length() + 1, (~smallest if smallest < 0 else 0).bit_length() + 1)
