"""Additions of two quantized tensors that equal exact real arithmetic for every pair of inputs.

The reference is ``clamp(round((s1·(x1 − z1) + s2·(x2 − z2)) / s) + z)`` with the file's scales as exact numbers and
halves to even. The layer :class:`celosia.host.models.elementwise.Add` rounds three times, to a common unit of about
2^−20 of the larger input scale and then to the output; that is a different number for a few pairs next to a tie, which
ones depends on the unit. Here a unit is chosen with which none is, by trying all pairs.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from celosia.host.models.elementwise import MAX_LEFT_SHIFT
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.onnx_values import Grid
from celosia.host.quantize import quantize_multiplier

_NEAR: Final = 1e-6
"""Distance from a tie below which float64, off by less than 1e-12 here, is not relied on."""

_UNITS: Final = 60
"""Units that are tried besides those that are a power of two of a scale."""


def exact_addition(first: Grid, second: Grid, output: Grid, minimum: int, maximum: int) -> dict[str, Any]:
    """The fields of an Add that say how it rounds, with which it equals the reference.

    Parameters
    ----------
    first, second, output : Grid
        Of 8 bits at most; the inputs have one type.
    minimum, maximum : int
        Clamp of the output.

    Raises
    ------
    ModelError
        If the types are others, or no unit is right.
    """
    if first.dtype != second.dtype:
        raise ModelError(f"it adds {first.dtype} and {second.dtype}, but only equal types are added")
    for grid in (first, output):
        low, high = integer_range(grid.dtype)
        if high - low > 255:
            raise ModelError(f"it adds in {grid.dtype}, but at most 8 bits are added")
    steps = [np.arange(low, high + 1) - g.zero_point for g in (first, second) for low, high in [integer_range(g.dtype)]]
    low, high = minimum - output.zero_point, maximum - output.zero_point
    expected = np.clip(_reference(steps, (first.scale, second.scale, output.scale)), low, high)
    for unit in _units(first.scale, second.scale, output.scale):
        ratios = np.array([first.scale / unit / 2**MAX_LEFT_SHIFT, second.scale / unit / 2**MAX_LEFT_SHIFT])
        ratios = np.append(ratios, unit / output.scale)
        if ratios.max() > 1:
            continue
        multipliers, shifts = quantize_multiplier(ratios)
        if shifts.max() > 0:
            continue
        if np.array_equal(np.clip(_add(steps, multipliers, shifts), low, high), expected):
            return {
                "left_shift": MAX_LEFT_SHIFT,
                "multipliers": tuple(multipliers[:2].tolist()),
                "shifts": tuple(shifts[:2].tolist()),
                "output_multiplier": int(multipliers[2]),
                "output_shift": int(shifts[2]),
                "rounding": "even",
            }
    raise ModelError(
        f"no multipliers of 31 bits add scales {first.scale:.9g} and {second.scale:.9g} to {output.scale:.9g} exactly"
    )


def _units(first: float, second: float, output: float) -> Iterator[float]:
    """Units of the sum, finest first: those in which a scale is a power of two keep its ties, others vary."""
    finest = max(first, second) / 2**MAX_LEFT_SHIFT
    for scale in (first, second, output):
        unit = scale * 2.0 ** math.ceil(math.log2(finest) - math.log2(scale))
        yield from (unit * factor for factor in (1, 2, 4))
    yield from (finest * (1 + (index + 0.5) / _UNITS) for index in range(_UNITS))


def _reference(steps: list[np.ndarray], scales: tuple[float, float, float]) -> np.ndarray:
    """Rounded quotients of all pairs of steps, beyond ±1000 only nearly: int64 (first, second)."""
    first, second, output = scales
    value = (first * steps[0][:, None] + second * steps[1]) / output
    value = np.clip(value, -1e3, 1e3)
    result = np.rint(value).astype(np.int64)
    near = np.abs(value - np.floor(value) - 0.5) < _NEAR
    parts = [scale.as_integer_ratio() for scale in scales]
    common = max(part[1] for part in parts)  # denominators of floats are powers of two
    a, b, c = (numerator * (common // denominator) for numerator, denominator in parts)
    rows, columns = np.nonzero(near)
    sums = steps[0][rows].astype(object) * a + steps[1][columns].astype(object) * b
    doubled = 2 * sums + c
    floor = doubled // (2 * c)
    tie = (doubled % (2 * c) == 0) & (floor % 2 == 1)
    result[near] = (floor - tie.astype(object)).astype(np.int64)
    return result


def _add(steps: list[np.ndarray], multipliers: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """What an Add computes of all pairs, without zero point and clamp: int64 (first, second)."""
    terms = [
        _scale(step.astype(np.int64) << MAX_LEFT_SHIFT, int(multiplier), int(shift))
        for step, multiplier, shift in zip(steps, multipliers, shifts, strict=False)
    ]
    return _scale(terms[0][:, None] + terms[1], int(multipliers[2]), int(shifts[2]))


def _scale(values: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """Return round(value · multiplier · 2^(shift − 31)), half to even; values of 30 bits, shifts of at most 0."""
    product, right = values * multiplier, 31 - shift
    floor, rest, half = product >> right, product & ((1 << right) - 1), 1 << (right - 1)
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))
