"""Integer types of activations: names, ranges, numpy containers, and how real values become integers."""

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from celosia.host.models.errors import ModelError

MAX_BITS: Final = 16
"""Widest activation and weight, in bits."""

_DTYPE = re.compile(r"(u?)int([1-9][0-9]?)")


def integer_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer type.

    Parameters
    ----------
    dtype : str
        ``intW`` or ``uintW`` with W from 2 to 16 bits, e.g. ``int8``, ``uint8``, ``int4``.

    Returns
    -------
    tuple of int
        ``(smallest, largest)``.

    Raises
    ------
    ModelError
        If `dtype` does not name such a type.
    """
    match = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    if match is None or not 2 <= int(match[2]) <= MAX_BITS:
        raise ModelError(
            f"dtype {dtype!r} is not an activation type; int2 to int{MAX_BITS} and uint2 to uint{MAX_BITS} are."
        )
    width = int(match[2])
    return (0, 2**width - 1) if match[1] else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)


def container(dtype: str) -> np.dtype[np.integer]:
    """Smallest numpy integer type that holds an activation type, e.g. int8 for ``int4``, uint16 for ``uint9``."""
    smallest, largest = integer_range(dtype)
    bits = 8 if largest - smallest < 256 else 16
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
