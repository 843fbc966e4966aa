"""The evenly spaced real values that a quantizer gives, and the integers that stand for them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from celosia.host.models.binary import MAX_ACTIVATION_BITS
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import BIPOLAR, signed_width

_ROUNDING: Final = 1e-6  # what float32 may have rounded off, relative to the largest value
_OF_A_STEP: Final = 0.01


@dataclass(frozen=True)
class Grid:
    """Real values ``scale · q + offset`` of the integers q from `minimum` to `maximum`, in steps of `step`.

    Parameters
    ----------
    dtype : str
        Type of the integers: bipolar, uintW or intW.
    scale, offset : float
        The scale is positive.
    minimum, maximum : int
        Within the type, which may be wider.
    """

    dtype: str
    scale: float
    offset: float
    minimum: int
    maximum: int

    @property
    def step(self) -> int:
        """Distance of neighbouring integers: 2 if they are −1 and +1, else 1."""
        return 2 if self.dtype == BIPOLAR else 1

    def integer_of(self, value: float) -> int | None:
        """The integer that stands for a real value, which may be between or outside of the grid's own; or None."""
        steps = (value - self.offset) / self.scale
        return int(steps) if steps == int(steps) or abs(steps - round(steps)) < _ROUNDING else None


def fit_grid(values: np.ndarray) -> tuple[Grid, np.ndarray]:
    """Find integers for real values.

    Parameters
    ----------
    values : ndarray (L,) of float32
        In rising order, none twice.

    Returns
    -------
    grid : Grid
        Without an offset if that takes no more bits.
    integers : ndarray (L,) of int64
        In rising order.

    Raises
    ------
    ModelError
        If there are fewer than two values, or they are not evenly spaced, or they need more than 8 bits.
    """
    levels = values.astype(np.float64)
    if len(levels) < 2:
        raise ModelError("its outputs are all equal, so nothing depends on its inputs")
    steps = np.rint((levels - levels[0]) / np.diff(levels).min()).astype(np.int64)
    scale = float((levels[-1] - levels[0]) / steps[-1])
    tolerance = min(_ROUNDING * np.abs(levels).max(), _OF_A_STEP * scale)
    if np.abs(levels[0] + scale * steps - levels).max() > tolerance:
        raise ModelError(f"its values ({_listed(values)}) are not evenly spaced, but those of integers are")
    width = int(steps[-1]).bit_length()
    if width > MAX_ACTIVATION_BITS:
        raise ModelError(f"its {len(levels)} values need {width} bits, but {MAX_ACTIVATION_BITS} are the most")
    if len(levels) == 2 and levels[0] == -levels[1]:
        return Grid(BIPOLAR, float(levels[1]), 0.0, -1, 1), np.array([-1, 1])
    integers = np.rint(levels / scale).astype(np.int64)
    if np.abs(scale * integers - levels).max() <= tolerance:
        low, high = int(integers[0]), int(integers[-1])
        own_width = signed_width(low, high) if low < 0 else high.bit_length()
        if own_width <= width:
            return Grid(_name(low, own_width), _scale_of(levels, integers), 0.0, low, high), integers
    return Grid(_name(0, width), scale, float(levels[0]), 0, int(steps[-1])), steps


def _scale_of(levels: np.ndarray, integers: np.ndarray) -> float:
    """The value of 1 (or −1), which no rounding has touched, or that of the largest."""
    best = int(np.argmin(np.abs(np.abs(integers) - 1)))
    best = best if abs(integers[best]) == 1 else int(np.argmax(np.abs(integers)))
    return float(levels[best] / integers[best])


def _name(low: int, width: int) -> str:
    return f"{'int' if low < 0 else 'uint'}{width}"


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return shown + (", …" if len(values) > 6 else "")
