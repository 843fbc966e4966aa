"""Compressed layers, bit-exactly: what the sparse engine computes, with its saturating accumulators."""

from typing import Any

import numpy as np

from celosia.sim.golden.systolic import accumulate


def run_layer(arranged: Any, x: np.ndarray, engine: Any) -> np.ndarray:
    """Return the outputs of a compressed layer: (M, K) integers to int64, (M, N).

    `arranged` has the members of `celosia.host.pack.sparse_layers.ArrangedLayer`; the docstring of its layer has the
    arithmetic. Where no sum can leave the accumulators of `engine`, a `SparseConfig`, this is a matrix product; else
    sums saturate one product at a time.
    """
    accumulator_width = engine.accumulator_width
    layer = arranged.layer
    x = x.reshape(len(x), -1).astype(np.int64)
    if largest_sum(layer.weights, x) < 1 << (accumulator_width - 1):
        sums = accumulate(x, layer.weights, 0)
    else:
        sums, _ = saturating_sums(arranged, x, accumulator_width)
    return _finish(layer, sums)


def exact_outputs(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a compressed layer whose accumulators hold any sum: (M, K) integers to int64, (M, N)."""
    return _finish(layer, accumulate(x, layer.weights, 0))


def _finish(layer: Any, sums: np.ndarray) -> np.ndarray:
    """Add the bias, round half up, clamp."""
    rounded = (sums + layer.bias + (1 << layer.shift >> 1)) >> layer.shift
    return np.clip(rounded, layer.minimum, layer.maximum)


def largest_sum(weights: np.ndarray, x: np.ndarray) -> int:
    """Return a bound that no sum of some of the products of a vector and a row exceeds."""
    return int(np.abs(weights.astype(np.int64)).sum(axis=0).max()) * int(np.abs(x).max(initial=0))


def saturating_sums(arranged: Any, x: np.ndarray, accumulator_width: int) -> tuple[np.ndarray, bool]:
    """Return the merged sums of every output, and whether any accumulator saturated.

    Each PE adds its products column by column, in the order of positions; a sum that leaves the range of
    `accumulator_width` bits stays at its end. What PEs that share a row have summed is merged without loss.

    Parameters
    ----------
    arranged : celosia.host.pack.sparse_layers.ArrangedLayer
    x : ndarray (M, K) of int64
    accumulator_width : int
        Bits.

    Returns
    -------
    sums : ndarray of int64, (M, N)
    saturated : bool
    """
    limit = 1 << (accumulator_width - 1)
    layer = arranged.layer
    order = np.argsort(arranged.input_positions)
    saturated = False
    sums = np.zeros((len(x), layer.weights.shape[1]), dtype=np.int64)
    for tile in arranged.tiles:
        plan, entries = tile.schedule, tile.entries
        slots = np.zeros((len(x), plan.pes, plan.rows), dtype=np.int64)
        table = layer.codebook if layer.codebook is not None else None
        for source, column in zip(order, arranged.input_positions[order], strict=True):
            begin, end = entries.pointers[column], entries.pointers[column + 1]
            for step in range(int((end - begin).max())):
                pes = np.flatnonzero(begin + step < end)
                places = begin[pes] + step
                codes, rows = entries.codes[places, pes], entries.rows[places, pes]
                weights = codes if table is None else table[codes]
                total = slots[:, pes, rows] + x[:, source, None] * weights
                clipped = np.clip(total, -limit, limit - 1)
                saturated |= bool((clipped != total).any())
                slots[:, pes, rows] = clipped
        merged = slots.reshape(len(x), plan.pes // plan.group, plan.group, plan.rows).sum(axis=2)
        sums[:, tile.outputs] = merged[:, plan.row_group, plan.row_slot]
    return sums, saturated


def useful_macs(arranged: Any, x: np.ndarray) -> int:
    """Return the multiplications of (M, K) inputs by weights that have no zero on either side."""
    active = np.count_nonzero(x.reshape(len(x), -1), axis=0)
    return int(active @ np.count_nonzero(arranged.layer.codes, axis=1))
