"""Requantization, exactly: wide accumulators to narrow integers, as TensorFlow Lite and onnxruntime do it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celosia.hw.post.parameters import MULTIPLIER_WIDTH, SHIFT_MAX, SHIFT_MIN, rounding_code

IntArray = NDArray[np.int64]

_LOW = 23  # bits of an accumulator multiplied apart, so that no intermediate value needs more than 64 bits
_ACCUMULATOR_LIMIT = 1 << 47  # accumulators and biases are at most 48 bits wide


def requantize(
    acc: ArrayLike,
    bias: ArrayLike,
    multiplier: ArrayLike,
    shift: ArrayLike,
    *,
    rounding: str,
    zero_point: int,
    minimum: int,
    maximum: int,
) -> IntArray:
    """Return clamp(round((acc + bias) · multiplier · 2**(shift - 31)) + zero_point, minimum, maximum).

    Nothing on the way wraps or saturates: the result is that of unbounded integers. The modes differ in ties:

    * `double`: rounded twice when shift < 0. First to a multiple of 2**-shift's unit, ties towards +∞ (gemmlowp's
      SaturatingRoundingDoublingHighMul), then to an integer, ties away from zero (RoundingDivideByPOT). When shift ≥ 0
      there is only the first step. TFLM, CMSIS-NN, CFU-Playground, and LiteRT's reference kernels but the next.
    * `away`: rounded once, ties away from zero. LiteRT's reference FULLY_CONNECTED, but for multipliers of 31 bits: it
      multiplies in float64 (`celosia.host.models.tflite_scales` finds multipliers that never differ).
    * `even`: rounded once, ties to the even neighbour. onnxruntime, and LiteRT's default delegate XNNPACK.
    * `up`: rounded once, ties towards +∞. TFLite built for single rounding.

    The claims about LiteRT were measured on version 2.3.0 with scales that make ties frequent: no mismatch in 98,304
    values each, FULLY_CONNECTED and CONV_2D, per tensor and per channel. Its optimized kernels without the delegate
    (ruy) are none of these: they round twice, both times with ties towards +∞.

    TFLite shifts left inside 32 bits before it multiplies, where this does so exactly; the two are equal wherever
    TFLite's shift does not overflow, which is undefined there.

    Parameters
    ----------
    acc : array_like of int, (..., N)
        Accumulators of up to 48 bits.
    bias, multiplier, shift : array_like of int, (N,) or anything that broadcasts with `acc`
        Bias of up to 48 bits; multiplier from 0 to 2**31 - 1; shift from -31 to 7, positive to the left.
    rounding : str
        One of the modes above.
    zero_point, minimum, maximum : int
        Added after rounding; bounds of the result, both included.

    Returns
    -------
    ndarray of int64, (..., N)

    Raises
    ------
    ValueError
        A value is out of its range.
    """
    rounding_code(rounding)
    x = _checked("acc", acc, -_ACCUMULATOR_LIMIT, _ACCUMULATOR_LIMIT - 1)
    x = x + _checked("bias", bias, -_ACCUMULATOR_LIMIT, _ACCUMULATOR_LIMIT - 1)
    m = _checked("multiplier", multiplier, 0, (1 << MULTIPLIER_WIDTH) - 1)
    s = _checked("shift", shift, SHIFT_MIN, SHIFT_MAX)
    if minimum > maximum:
        raise ValueError(f"minimum={minimum} must not exceed maximum={maximum}.")
    # x·m = high·2**23 + low, with 0 <= low < 2**23 and high of at most 57 bits.
    low_product = (x & ((1 << _LOW) - 1)) * m
    high = (x >> _LOW) * m + (low_product >> _LOW)
    low = low_product & ((1 << _LOW) - 1)
    rounded = _round_twice(high, s) if rounding == "double" else _round_once(high, low, s, rounding)
    return np.clip(rounded + zero_point, minimum, maximum)


def _checked(name: str, values: ArrayLike, low: int, high: int) -> IntArray:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} of dtype {array.dtype} must be integers.")
    wrong = array[(array < low) | (array > high)]
    if wrong.size:
        raise ValueError(f"{name}={wrong.flat[0]} must be from {low} to {high}.")
    return array.astype(np.int64)


def _round_once(high: IntArray, low: IntArray, shift: IntArray, rounding: str) -> IntArray:
    """Round (high·2**23 + low)·2**(shift - 31) to an integer."""
    right = 8 - shift  # 1 to 39
    floor = high >> right
    half = np.int64(1) << (right - 1)
    rest = high & ((half << 1) - 1)
    tie = (rest == half) & (low == 0)
    above = (rest >= half) & ~tie
    match rounding:
        case "away":
            up = above | (tie & (floor >= 0))
        case "even":
            up = above | (tie & (floor & 1 == 1))
        case _:
            up = above | tie
    return floor + up


def _round_twice(high: IntArray, shift: IntArray) -> IntArray:
    """Round (high·2**23)·2**(shift - 31), first at the unit of right shifts, then to an integer."""
    first = 8 - np.maximum(shift, 0)  # 1 to 8
    once = (high + (np.int64(1) << (first - 1))) >> first
    right = np.maximum(-shift, 0)
    mask = (np.int64(1) << right) - 1
    return (once >> right) + ((once & mask) > (mask >> 1) + (once < 0))


def quantize_multiplier(scale: ArrayLike) -> tuple[IntArray, IntArray]:
    """Return the multiplier and shift nearest to a real scale: scale ≈ multiplier · 2**(shift - 31).

    TFLite's QuantizeMultiplier: the multiplier is in [2**30, 2**31), rounded half away from zero. A scale too small for
    a shift of -31 gives multiplier 0 and shift 0.

    Parameters
    ----------
    scale : array_like of float, any shape
        Finite, not negative, and below 128 after rounding.

    Returns
    -------
    multiplier, shift : ndarray of int64, the shape of `scale`

    Raises
    ------
    ValueError
        A scale is negative, not finite, or needs a shift of more than 7.
    """
    scales = np.asarray(scale, dtype=np.float64)
    if not (np.isfinite(scales) & (scales >= 0)).all():
        raise ValueError("scale must be finite and not negative.")
    fraction, exponent = np.frexp(scales)
    multiplier = np.floor(fraction * (1 << MULTIPLIER_WIDTH) + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    carry = multiplier == 1 << MULTIPLIER_WIDTH
    multiplier, shift = np.where(carry, multiplier >> 1, multiplier), shift + carry
    nothing = (multiplier == 0) | (shift < SHIFT_MIN)
    multiplier, shift = np.where(nothing, 0, multiplier), np.where(nothing, 0, shift)
    if (shift > SHIFT_MAX).any():
        raise ValueError(f"scale={scales[shift > SHIFT_MAX].flat[0]} must be below {1 << SHIFT_MAX}.")
    return multiplier, shift
