"""Ranges of activations, seen on calibration inputs, become integer grids: a scale and a zero point per tensor."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.integers import integer_range, quantize_values


@dataclass(frozen=True)
class Grid:
    """The integers of one activation tensor: ``real = (integer − zero_point) · scale``.

    Parameters
    ----------
    dtype : str
        Type of the integers, see :func:`celosia.host.models.integers.integer_range`.
    scale : float
        Real value of one step, a float32 value.
    zero_point : int
        The integer that stands for 0.0.
    lowest, highest : float
        Range of the tensor, 0 included.
    """

    dtype: str
    scale: float
    zero_point: int
    lowest: float
    highest: float

    def quantize_bound(self, bound: float) -> int:
        """Return the integer of a real clamp, an end of the type for infinity."""
        if np.isinf(bound):
            return integer_range(self.dtype)[int(bound > 0)]
        return int(quantize_values(bound, self.scale, self.zero_point, self.dtype))


def choose_grid(values: np.ndarray, dtype: str, *, smallest_scale: float = 0.0) -> Grid:
    """Choose scale and zero point so that the values' range, widened to include 0, fills the type and 0.0 is exact.

    Parameters
    ----------
    values : ndarray of float, any shape
        At least one finite value.
    dtype : str
        Type of the integers.
    smallest_scale : float
        A scale that is not gone below, whatever the range.

    Returns
    -------
    Grid
    """
    smallest, largest = integer_range(dtype)
    lowest, highest = _range(values)
    scale = _storable_scale((highest - lowest) / (largest - smallest), smallest_scale, empty=lowest == highest)
    zero_point = int(np.clip(np.rint(smallest - lowest / scale), smallest, largest))
    return Grid(dtype, scale, zero_point, lowest, highest)


def choose_symmetric_grid(where: str, values: np.ndarray, dtype: str, *, smallest_scale: float = 0.0) -> Grid:
    """Choose the scale with which the largest magnitude fills the type; the zero point is 0.

    Parameters
    ----------
    where : str
        What the values are, for the error.
    values, dtype, smallest_scale
        As for :func:`choose_grid`.

    Returns
    -------
    Grid

    Raises
    ------
    ModelError
        If a value is negative and the type has no negative integers.
    """
    smallest, largest = integer_range(dtype)
    lowest, highest = _range(values)
    if lowest < 0 <= smallest:
        raise ModelError(f"{where} reach down to {lowest:.6g}, but {dtype} has no negative values; signed ones have.")
    magnitude = max(highest, -lowest)
    return Grid(dtype, _storable_scale(magnitude / largest, smallest_scale, empty=magnitude == 0), 0, lowest, highest)


def calibration_values(network: FloatNetwork, calibration: npt.ArrayLike) -> np.ndarray:
    """Return calibration inputs as the first layer takes them: float (samples, …) -> float32 (samples, K).

    Raises
    ------
    ModelError
        If they do not fit the network, are empty or not finite.
    """
    values = np.asarray(calibration, dtype=np.float32)
    if values.ndim < 2 or not len(values):
        raise ModelError(
            f"calibration inputs have shape {values.shape}, but (samples, ...) with at least one is needed."
        )
    if not np.isfinite(values).all():
        raise ModelError("calibration inputs contain NaN or infinity, but all must be finite.")
    return network.flatten(values)


def _range(values: np.ndarray) -> tuple[float, float]:
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def _storable_scale(scale: float, smallest: float, *, empty: bool) -> float:
    """Return a scale as the positive float32 that networks store; for a tensor of zeros any would do."""
    return max(float(np.float32(max(1.0 if empty else scale, smallest))), float(np.finfo(np.float32).tiny))
