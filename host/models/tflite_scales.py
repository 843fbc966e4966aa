"""Multipliers of 31 bits that round as LiteRT's reference FULLY_CONNECTED does, which multiplies in float64.

LiteRT (2.3.0) rounds ``sum · scale`` half away from zero, with the scale and the product in float64. A multiplier of 31
bits is off by up to 2^−32 of the scale, so that a sum next to a tie can come out one higher or lower. Which sums do is
known beforehand: those around the sums at which the outputs step. Here the multiplier is chosen with which no sum that
can occur does.
"""

from typing import Final

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.quantize import quantize_multiplier

_REACH: Final = 64
"""How far from the nearest multiplier others are tried."""

_CHANNELS: Final = 1024
"""Channels that are looked at together."""


def exact_multipliers(
    scales: np.ndarray, least: np.ndarray, most: np.ndarray, smallest: int, largest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return multipliers and shifts that, rounded once and half away from zero, give what float64 gives.

    Parameters
    ----------
    scales : ndarray (N,) of float64
        From sums to outputs, positive.
    least, most : ndarray (N,) of int64
        Bounds of the sums, bias included, of 32 bits.
    smallest, largest : int
        Bounds of the outputs less their zero point.

    Returns
    -------
    multiplier, shift : ndarray (N,) of int64

    Raises
    ------
    ModelError
        If there is no such multiplier.
    """
    multiplier, shift = quantize_multiplier(scales)
    steps = np.arange(smallest + 1, largest + 1)
    for start in range(0, len(scales), _CHANNELS):
        part = slice(start, start + _CHANNELS)
        different, which = np.unique(scales[part], return_inverse=True)
        first = _first_sums(different[:, None], steps)[which]
        change, found = _find(first, least[part], most[part], steps, multiplier[part], shift[part])
        if not found.all():
            index = start + int(np.argmin(found))
            raise ModelError(
                f"its sums can reach from {least[index]} to {most[index]} and are scaled by {scales[index]:.9g}, which "
                "no 31-bit multiplier rounds as TensorFlow Lite's float64 does"
            )
        multiplier[part] += change
    return multiplier, shift


def _find(
    first: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    steps: np.ndarray,
    multiplier: np.ndarray,
    shift: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what to add to the multiplier of each channel, by bisection, and whether that helps."""
    low = -np.minimum(_REACH, np.maximum(multiplier - 2**30, 0))
    high = np.minimum(_REACH, np.maximum(2**31 - 1 - multiplier, 0))
    change, found = np.zeros_like(multiplier), np.zeros(len(multiplier), dtype=bool)
    for _ in range(2 * _REACH.bit_length()):
        at = np.flatnonzero(~found & (low <= high))
        if not len(at):
            break
        too_small, too_large = _compare(first[at], least[at], most[at], steps, multiplier[at] + change[at], shift[at])
        found[at] = ~too_small & ~too_large
        low[at] = np.where(too_small, change[at] + 1, low[at])
        high[at] = np.where(too_large, change[at] - 1, high[at])
        change[at] = np.where(found[at], change[at], (low[at] + high[at]) // 2)
    return change, found


def _compare(
    first: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    steps: np.ndarray,
    multiplier: np.ndarray,
    shift: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each channel whether its multiplier is too small, and whether it is too large.

    `first` (N, S) are the sums at which float64 reaches a step. The outputs rise with the sum, so they are the same if
    they rise to each step at the same sums; of a sum beyond `least` or `most` it does not matter.
    """
    least, most = least[:, None], most[:, None]
    reached = _scale(np.clip(first, least, most), multiplier[:, None], shift[:, None]) >= steps
    missed = _scale(np.clip(first - 1, least, most), multiplier[:, None], shift[:, None]) < steps
    too_low, too_high = ~reached & (first <= most), ~missed & (first > least)
    # a larger multiplier raises the outputs of positive sums, and lowers those of negative ones
    too_small = (too_low & (first > 0)) | (too_high & (first <= 0))
    too_large = (too_low & (first <= 0)) | (too_high & (first > 0))
    return np.any(too_small, axis=1), np.any(too_large, axis=1)


def _first_sums(scales: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the smallest sum whose product with the scale rounds to a step or more; at most 2^40, at least −2^40."""
    first = np.clip(np.floor((steps - 0.5) / scales), -(2.0**40), 2.0**40) - 2
    for _ in range(4):  # the quotient is off by less than one
        product = first * scales
        first = np.where(np.sign(product) * np.floor(np.abs(product) + 0.5) >= steps, first, first + 1)
    return first.astype(np.int64)


def _scale(sums: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return round(sum · multiplier · 2^(shift − 31)), half away from zero; sums of 32 bits, shifts of at most 30."""
    product, right = sums * multiplier, 31 - shift
    return np.asarray(np.sign(product) * ((np.abs(product) + (np.int64(1) << (right - 1))) >> right))
