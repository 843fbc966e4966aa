"""The graph's input: how real values become the integers of the first layer.

P is a number of inputs, L of levels (values that the first quantizer can give), T of thresholds.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.integers import BIPOLAR, integer_range
from celosia.host.models.qonnx_grid import Grid, fit_grid
from celosia.host.models.qonnx_values import Pool, Step, last_quantizer, reached_levels, run_steps

_SMALLEST: Final = np.finfo(np.float32).min  # every finite input reaches it
_LARGEST: Final = int(np.finfo(np.float32).max.view(np.int32))
_SAMPLES: Final = 4001


@dataclass(frozen=True)
class GraphInput:
    """The graph's input.

    Parameters
    ----------
    shape : tuple of int
        Without the batch axis.
    dtype : str or None
        Type of its integers, if the file says that it has but integers; None: any float32.
    is_float : bool
        Whether its elements are floats, be they integers or not.
    """

    shape: tuple[int, ...]
    dtype: str | None
    is_float: bool


def quantize_input(given: GraphInput, steps: tuple[Step | Pool, ...]) -> tuple[Grid, np.ndarray | None]:
    """Turn the operators between the input and the first product into thresholds.

    Returns
    -------
    grid : Grid
        Of the integers.
    thresholds : ndarray (T,) of float32 or None
        As `input_thresholds` of :class:`Network` has them; None: the inputs are the integers.

    Raises
    ------
    ModelError
        If nothing quantizes the inputs, or they do not rise with the real ones.
    """
    if given.dtype is not None and (last_quantizer(steps) is None or not given.is_float):
        return _take_integers(given.dtype, steps), None
    levels = reached_levels(steps, 1)
    grid, integers = fit_grid(levels)
    starts = _search(levels, steps)
    wanted = np.arange(grid.minimum + grid.step, grid.maximum + 1, grid.step)
    thresholds = starts[np.searchsorted(integers, wanted)]
    thresholds = thresholds[thresholds < np.inf]
    skipped = (grid.minimum - integer_range(grid.dtype)[0]) // grid.step  # integers of the type that never come
    return grid, np.concatenate([np.full(skipped, _SMALLEST, np.float32), thresholds])


def _take_integers(dtype: str, steps: tuple[Step | Pool, ...]) -> Grid:
    """The grid of inputs that are integers already, which the operators must leave in their places."""
    low, high = integer_range(dtype)
    integers = np.arange(low, high + 1, 2 if dtype == BIPOLAR else 1)
    values = run_steps(steps, integers[:, None].astype(np.float32)).astype(np.float64)[:, 0]
    scale = float((values[-1] - values[0]) / (high - low))
    offset = float(values[0] - scale * low)
    if low <= 0 <= high and dtype != BIPOLAR:
        offset = float(values[integers == 0][0])
    error = np.abs(scale * integers + offset - values).max()
    if not scale > 0 or error > min(1e-6 * np.abs(values).max(), 0.01 * scale):
        raise ModelError(
            f"its inputs are {dtype}, but the operators before it do not keep them evenly spaced and in rising order; "
            "an input of float32 can be quantized in any way that rises"
        )
    return Grid(dtype, scale, offset, low, high)


def _search(levels: np.ndarray, steps: tuple[Step | Pool, ...]) -> np.ndarray:
    """The smallest input that gives each level or a larger one, by bisection: (L,) of float32, infinite for none."""

    def reached(inputs: np.ndarray) -> np.ndarray:
        values = run_steps(steps, inputs[:, None])[:, 0]
        found = np.minimum(np.searchsorted(levels, values), len(levels) - 1)
        if (levels[found] != values).any():
            raise ModelError("what becomes of the input is not what its quantizer can give")
        return found

    ends = reached(_floats(np.array([-_LARGEST, _LARGEST])))
    if (np.diff(reached(_floats(np.linspace(-_LARGEST, _LARGEST, _SAMPLES).astype(np.int64)))) < 0).any():
        raise ModelError("its inputs do not rise with the graph's input, but they have to")
    if ends[0] == ends[1]:
        raise ModelError("its inputs do not depend on the graph's input")
    wanted = np.arange(len(levels))
    below, above = np.full(len(levels), -_LARGEST), np.full(len(levels), _LARGEST)
    while (above - below > 1).any():
        middle = (below + above) // 2
        enough = reached(_floats(middle)) >= wanted
        above, below = np.where(enough, middle, above), np.where(enough, below, middle)
    starts = _floats(above)
    starts[wanted <= ends[0]] = _SMALLEST
    starts[wanted > ends[1]] = np.inf
    return starts


def _floats(order: np.ndarray) -> np.ndarray:
    """Finite float32 by their place in rising order, 0 being that of 0.0."""
    magnitudes = np.abs(order).astype(np.int32).view(np.float32)
    return np.where(order < 0, -magnitudes, magnitudes).astype(np.float32)
