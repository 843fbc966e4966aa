"""Weight sharing: the non-zero weights of a layer become a few values, by k-means in one dimension.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149), section 3: per layer, centroids start at equal distances between the
smallest and the largest weight, because few but important weights are large.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

_MAX_STEPS: Final = 1000
"""Steps of Lloyd's algorithm after which the centroids are taken as they are; weights of a layer need a hundred."""


@dataclass(frozen=True, eq=False)
class Shared:
    """Weights that share values.

    Parameters
    ----------
    codes : ndarray (any shape), uint8
        0 for a weight of 0, else 1 + the index of its centroid.
    centroids : ndarray (c,), float32
        In ascending order.
    """

    codes: np.ndarray
    centroids: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The values that the codes stand for, float32."""
        return np.append(np.float32(0), self.centroids)[self.codes]


def share_weights(weights: np.ndarray, width: int) -> Shared:
    """Replace the non-zero weights of a layer by shared values.

    Parameters
    ----------
    weights : ndarray (any shape) of float32
        Zeros stay zeros, and are no part of the clustering.
    width : int
        Bits of a code, 1 to 8: at most ``2^width − 1`` values beside 0. Weights of no more distinct values stay exactly
        as they are.

    Returns
    -------
    Shared
    """
    used = weights != 0
    values = weights[used]
    centroids = kmeans(values, 2**width - 1)
    codes = np.zeros(weights.shape, dtype=np.uint8)
    codes[used] = 1 + np.searchsorted(_borders(centroids), values)
    return Shared(codes, centroids)


def kmeans(values: np.ndarray, count: int) -> np.ndarray:
    """Cluster numbers by Lloyd's algorithm. They are sorted once, then a step takes a few operations per cluster.

    A value half way between two centroids belongs to the lower one. A centroid that has lost all its values moves to
    the value that lies farthest from its own centroid.

    Parameters
    ----------
    values : ndarray (n,) of float32
        Finite, in any order.
    count : int
        Largest number of clusters, at least 1.

    Returns
    -------
    ndarray (c,) of float32
        The centroids in ascending order: the distinct values themselves if there are `count` or fewer, else `count` of
        them (fewer only where two round to the same float32).
    """
    values = np.sort(values)
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)  # of each run of equal values
    if len(starts) <= count:
        return values[starts].astype(np.float32)
    values = values.astype(np.float64)  # as the centroids: searchsorted would convert them in each step
    sums = np.concatenate(([0.0], np.cumsum(values)))
    centroids = np.linspace(float(values[0]), float(values[-1]), count)
    ends = _ends(values, centroids)
    for _ in range(_MAX_STEPS):
        centroids = _update(values, sums, ends)
        before, ends = ends, _ends(values, centroids)
        if np.array_equal(before, ends):
            break
    return np.unique(centroids.astype(np.float32))


def _borders(centroids: np.ndarray) -> np.ndarray:
    """Values half way between neighbouring centroids: float (c,) -> float64 (c − 1,)."""
    exact = centroids.astype(np.float64)
    return (exact[:-1] + exact[1:]) / 2


def _ends(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Where each cluster ends among sorted values: int (c,)."""
    return np.append(np.searchsorted(values, _borders(centroids), side="right"), len(values))


def _update(values: np.ndarray, sums: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Means of the clusters; in place of those without values, the values farthest from the means of theirs."""
    count, starts = len(ends), np.concatenate(([0], ends[:-1]))
    starts, ends = starts[ends > starts], ends[ends > starts]
    means = (sums[ends] - sums[starts]) / (ends - starts)
    farthest = np.concatenate((values[starts], values[ends - 1]))
    distances = np.abs(farthest - np.tile(means, 2))
    order = np.argsort(-distances, kind="stable")[: count - len(means)]
    return np.sort(np.concatenate((means, farthest[order])))
