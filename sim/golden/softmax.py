"""Softmax in integers, bit-exactly: TensorFlow Lite's fixed-point reference, with gemmlowp's functions.

A fixed-point number Q*i*.*f* is an integer that stands for itself times 2^−f, with i + f = 31. Everything is in int64
here, where the reference's 32 bits do not overflow.
"""

from typing import Any, Final

import numpy as np

_ONE: Final = 2**31 - 1  # the largest Q0.31, which stands for 1
_DIFFERENCE_FRACTION: Final = 26  # differences are Q5.26
_SUM_BITS: Final = 12  # sums of exponentials are Q12.19
_FACTORS: Final = tuple(round(np.exp(-(2.0**power)) * 2**31) for power in range(-2, 5))
"""e^−2^p as Q0.31, for p from −2 to 4."""


def run_layer(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a `celosia.host.models.softmax.Softmax`: (M, …) int8 values to int64, (M, …)."""
    difference = x.astype(np.int64) - x.max(axis=-1, keepdims=True).astype(np.int64)
    counts = difference >= layer.smallest_difference
    scaled = _multiply(np.where(counts, difference, 0) << layer.shift, layer.multiplier)
    exponentials = _exp(scaled)
    sums = np.where(counts, _divide(exponentials, _SUM_BITS), 0).sum(axis=-1, keepdims=True)
    used_bits = np.frexp(sums.astype(np.float64))[1].astype(np.int64)  # sums are at least 1, and exact in float64
    # The sum is 2^bits_over_one times a number from 1 to 2, whose fraction is a Q0.31.
    bits_over_one = _SUM_BITS - (32 - used_bits)
    fraction = (sums << (32 - used_bits)) - 2**31
    outputs = _divide(_multiply(_reciprocal(fraction), exponentials), bits_over_one + 31 - 8)
    return np.where(counts, np.clip(outputs - 128, -128, 127), -128)


def _multiply(a: Any, b: Any) -> Any:
    """Product of two fixed-point numbers, halves towards +∞: integer bits add up."""
    return (a * b + (1 << 30)) >> 31


def _divide(value: Any, power: Any) -> Any:
    """Divide by 2^power, half away from zero."""
    mask = (np.int64(1) << power) - 1
    return (value >> power) + ((value & mask) > (mask >> 1) + (value < 0))


def _exp(x: np.ndarray) -> np.ndarray:
    """e^x of Q5.26, at most 0, as Q0.31: a polynomial within a quarter, times e^−2^p for each other bit of −x."""
    quarter = 1 << (_DIFFERENCE_FRACTION - 2)
    rest = (x & (quarter - 1)) - quarter  # from −1/4 to 0
    result = _exp_of_quarter(rest << 5)
    remainder = rest - x
    for power, factor in zip(range(-2, 5), _FACTORS, strict=True):
        has_bit = remainder & (1 << (_DIFFERENCE_FRACTION + power))
        result = np.where(has_bit, _multiply(result, factor), result)
    return np.where(x == 0, _ONE, result)


def _exp_of_quarter(a: np.ndarray) -> np.ndarray:
    """e^a of Q0.31 from −1/4 to 0: four terms of the Taylor series around −1/8."""
    x = a + (1 << 28)
    square = _multiply(x, x)
    cube, fourth = _multiply(square, x), _multiply(square, square)
    third = round(2**31 / 3)
    tail = _divide(_multiply(_divide(fourth, 2) + cube, third) + square, 1)  # x²/2 + x³/6 + x⁴/24
    constant = round(np.exp(-1 / 8) * 2**31)
    return constant + _multiply(constant, x + tail)


def _reciprocal(a: np.ndarray) -> np.ndarray:
    """1 / (1 + a) of Q0.31 from 0 to 1: three Newton-Raphson steps for 2 / d, d = (1 + a) / 2, in Q2.29."""
    half = (a + _ONE + 1) >> 1
    x = round(48 / 17 * 2**29) + _multiply(half, round(-32 / 17 * 2**29))
    for _ in range(3):
        rest = (1 << 29) - _multiply(half, x)
        x = x + np.clip(_multiply(x, rest) << 2, -(2**31), 2**31 - 1)
    return np.clip(x << 1, -(2**31), 2**31 - 1)
