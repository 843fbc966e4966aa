"""Operators after a product, up to the next one, as integer thresholds: by executing them on every sum there can be.

S is a number of sums, N that of outputs, L of levels (values that the last quantizer can give), T of thresholds.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.qonnx_grid import Grid, fit_grid
from celosia.host.models.qonnx_product import Product
from celosia.host.models.qonnx_values import Pool, Step, last_quantizer, reached_levels, run_steps

_BLOCK: Final = 1 << 21  # elements of the table that are executed at a time: 8 MiB of float32, and what operators need
_ALL: Final = 1 << 26  # elements of the largest table that is executed completely, which takes seconds


@dataclass(frozen=True, eq=False)
class Folded:
    """Thresholds on ``sum · orientation``, which all rise.

    Parameters
    ----------
    thresholds : ndarray (N, T) of int64
    orientation : ndarray (N,) of int8
        −1 for outputs whose sums are negated.
    complement : ndarray (N,) of bool
        Outputs q that come as ``grid.minimum + grid.maximum − q``.
    grid : Grid
        What the integers stand for.
    """

    thresholds: np.ndarray
    orientation: np.ndarray
    complement: np.ndarray
    grid: Grid


@dataclass(frozen=True, eq=False)
class _Seen:
    """What became of all sums.

    Parameters
    ----------
    counts : ndarray (N, L) of int64
        How many sums give each level.
    reached : ndarray (L,) of bool
        Whether a sum gives it that the output can have.
    inner, outer : ndarray (N,) of int8
        Whether what is pooled, and what becomes of it, rise (1) or fall (−1) with the sums, or are constant (0).
    """

    counts: np.ndarray
    reached: np.ndarray
    inner: np.ndarray
    outer: np.ndarray


def fold(product: Product, steps: tuple[Step | Pool, ...]) -> Folded:
    """Turn the operators after a product into thresholds.

    Parameters
    ----------
    product : Product
    steps : tuple of Step and Pool
        The last quantizer among them decides; at most one pool.

    Raises
    ------
    ModelError
        If there is no quantizer, what it gives is not evenly spaced, or depends on a sum in a way that is not monotone.
    """
    levels = reached_levels(steps, product.outputs)
    has_pool = any(isinstance(step, Pool) for step in steps)
    sums = product.sums()
    look = _look_at_all if sums.size * product.outputs <= _ALL else _look_by_bisection
    seen = look(product, steps, levels, sums)
    orientation = seen.inner if has_pool else seen.outer
    orientation = np.where(orientation == 0, 1, orientation).astype(np.int8)
    rises = seen.outer * orientation >= 0
    grid, integers = _fit(levels, seen.reached, steps)
    return Folded(
        thresholds=_thresholds(seen.counts, sums, orientation, rises, grid, integers),
        orientation=orientation,
        complement=~rises,
        grid=grid,
    )


def _look_at_all(product: Product, steps: tuple[Step | Pool, ...], levels: np.ndarray, sums: np.ndarray) -> _Seen:
    """Execute the operators on every sum."""
    counts = np.zeros((product.outputs, len(levels)), np.int64)
    reached = np.zeros(len(levels), bool)
    inner, outer = _Direction(product.outputs), _Direction(product.outputs)
    rows = _block_rows(product, steps)
    for block in np.split(sums, range(rows, len(sums), rows)):
        values, found = _execute(steps, levels, product.real_sums(block[:, None]))
        inner.see(values)
        outer.see(found)
        places = (found + len(levels) * np.arange(product.outputs)).ravel()
        counts += np.bincount(places, minlength=counts.size).reshape(counts.shape)
        reached |= np.bincount(found[product.is_reachable(block)], minlength=len(levels)) > 0
    return _Seen(counts, reached, inner.signs("what is pooled"), outer.signs("what becomes of it"))


def _look_by_bisection(product: Product, steps: tuple[Step | Pool, ...], levels: np.ndarray, sums: np.ndarray) -> _Seen:
    """Execute the operators on the sums on both sides of each threshold, for tables that would take minutes.

    Each operator is monotone, rounding included; so nothing changes between two sums that give the same level.
    """
    last, rows = len(sums) - 1, _block_rows(product, steps)
    values, found = _execute(steps, levels, product.real_sums(sums[[0, last], None]))
    inner, outer = (np.sign(each[1] - each[0]).astype(np.int8) for each in (values, found))
    below = np.full((len(levels), product.outputs), -1)
    above = np.full_like(below, len(sums))
    for block in np.split(np.arange(len(levels)), range(rows, len(levels), rows)):
        while (above[block] - below[block] > 1).any():
            middle = np.maximum((below[block] + above[block]) // 2, 0)
            places = np.where(outer < 0, last - middle, middle)  # so that levels rise
            _, found = _execute(steps, levels, product.real_sums(sums[places]))
            enough = found >= block[:, None]
            above[block] = np.where(enough, middle, above[block])
            below[block] = np.where(enough, below[block], np.maximum(middle, below[block]))
    counts = np.diff(above, axis=0, append=len(sums)).T
    return _Seen(counts, np.asarray(counts.any(axis=0)), inner, outer)


def _block_rows(product: Product, steps: tuple[Step | Pool, ...]) -> int:
    return max(_BLOCK // (product.outputs * max(step.work for step in steps if isinstance(step, Step))), 1)


def _execute(steps: tuple[Step | Pool, ...], levels: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is pooled, if anything is, and the index of the level at the end, of real sums (S, N)."""
    pool = next((index for index, step in enumerate(steps) if isinstance(step, Pool)), 0)
    values = run_steps(steps[:pool], table)
    result = run_steps(steps[pool:], values)
    found = np.minimum(np.searchsorted(levels, result), len(levels) - 1)
    if (levels[found] != result).any():
        raise ModelError("what becomes of it is not what its last quantizer can give")
    return values, found


class _Direction:
    """Whether a function of the sums rises or falls, for each output, seen block by block."""

    def __init__(self, outputs: int) -> None:
        self._last: np.ndarray | None = None
        self._rising = np.zeros(outputs, bool)
        self._falling = np.zeros(outputs, bool)

    def see(self, values: np.ndarray) -> None:
        """Take the next block (S, N), of rising sums."""
        joined = values if self._last is None else np.concatenate([self._last, values])
        self._rising |= (joined[1:] > joined[:-1]).any(axis=0)
        self._falling |= (joined[1:] < joined[:-1]).any(axis=0)
        self._last = values[-1:].copy()

    def signs(self, what: str) -> np.ndarray:
        """(N,) of int8: −1 where it falls, 1 where it rises, 0 where it is constant."""
        both = self._rising & self._falling
        if both.any():
            raise ModelError(f"{what} neither only rises nor only falls with the sums of output {np.argmax(both)}")
        return self._rising.astype(np.int8) - self._falling.astype(np.int8)


def _fit(levels: np.ndarray, reached: np.ndarray, steps: tuple[Step | Pool, ...]) -> tuple[Grid, np.ndarray]:
    """The grid, and the integer (L,) of each level."""
    quantizer = last_quantizer(steps)
    assert quantizer is not None
    kept = np.ones(len(levels), bool)
    if len(levels) == 3 and not reached[1] and steps[quantizer].label.startswith("Sign "):
        kept[1] = False  # no sum is 0, so the signs are −1 and +1
    grid, integers = fit_grid(levels[kept])
    return grid, np.interp(np.arange(len(levels)), np.flatnonzero(kept), integers).astype(np.int64)


def _thresholds(
    counts: np.ndarray, sums: np.ndarray, orientation: np.ndarray, rises: np.ndarray, grid: Grid, integers: np.ndarray
) -> np.ndarray:
    """(N, T): the smallest oriented sums that give at least each integer above the grid's minimum.

    How many sums give each level is enough to know, because they are in order.
    """
    wanted = np.arange(grid.minimum + grid.step, grid.maximum + 1, grid.step)
    thresholds = np.empty((len(counts), len(wanted)), np.int64)
    for way in (True, False):
        levels = integers if way else grid.minimum + grid.maximum - integers[::-1]
        mine = counts if way else counts[:, ::-1]
        below = np.concatenate([np.zeros((len(counts), 1), np.int64), mine.cumsum(axis=1)], axis=1)
        first = below[:, np.searchsorted(levels, wanted)]
        for sign in (1, -1):
            oriented = np.sort(sign * sums)
            oriented = np.append(oriented, oriented[-1] + 1)  # a threshold that none reaches
            outputs = (rises == way) & (orientation == sign)
            thresholds[outputs] = oriented[first[outputs]]
    return thresholds
