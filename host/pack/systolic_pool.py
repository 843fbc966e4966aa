"""Pooling as products: weights of 1 for each channel, and the largest result, or the sum divided by multiplying."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.integers import integer_range
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.pack.systolic_layout import Layout, Pair
from celosia.host.pack.systolic_product import (
    IDENTITY,
    Product,
    Window,
    clamped,
    of_ones,
    offsets_of,
    whole,
    window_of,
)
from celosia.hw.systolic.config import SystolicConfig


def max_pool(engine: SystolicConfig, layer: MaxPool2d, source: Layout) -> Product:
    """Return the product whose largest results, of each window, are those of a layer."""
    window, (offset, _) = window_of(layer, source), offsets_of(engine, layer)
    return of_ones(
        layer,
        window,
        bias=0,
        parts=(whole(window.out_size, source.shape[-1], *IDENTITY),),
        rounding="up",
        zero_point=0,
        pad_value=engine.activation_range[0],
        pools=True,
        **clamped(layer, offset),
    )


def average_pool(engine: SystolicConfig, layer: AveragePool2d, source: Layout) -> Product:
    """Return the product that sums, and divides by multiplying.

    What pads is as 0, so that all windows have as many inputs; where padding clips them, they divide by fewer.
    """
    window, (offset, _) = window_of(layer, source), offsets_of(engine, layer)
    whole_image = window.kernel == window.in_size and window.padding == (0, 0) and window.out_size == (1, 1)
    if whole_image and source.is_even:
        # All pixels in one line: as many as possible are neighbours.
        one_line = (1, window.kernel[0] * window.kernel[1])
        window = Window(kernel=one_line, in_size=one_line, out_size=(1, 1))
    kernel = window.kernel
    counts = [_inside(window, axis) for axis in (0, 1)]
    runs = [_runs(each) for each in counts]
    parts = []
    # The largest run of rows, in all columns, is written first, and what differs over it: few steps, of whole lines.
    for rows in runs[0]:
        for cols in runs[1]:
            count = int(counts[0][rows[0]] * counts[1][cols[0]])
            part = whole(window.out_size, source.shape[-1], *reciprocal(engine, layer, count))
            if rows is not runs[0][0]:
                part = replace(part, rows=rows)
            if cols is not runs[1][0]:
                part = replace(part, cols=cols)
            parts.append(part)
    return of_ones(
        layer,
        window,
        kernel=kernel,
        bias=-offset * kernel[0] * kernel[1],
        parts=tuple(parts),
        rounding="away",
        zero_point=offset,
        pad_value=offset,
        **clamped(layer, offset),
    )


def _inside(window: Window, axis: int) -> np.ndarray:
    """Return how many rows or columns of each window are inside of the image."""
    first = np.arange(window.out_size[axis]) * window.strides[axis] - window.padding[axis]
    inside: np.ndarray = np.minimum(first + window.kernel[axis], window.in_size[axis]) - np.maximum(first, 0)
    return inside


def _runs(counts: np.ndarray) -> list[Pair]:
    """Return the runs of equal numbers, from the first to behind the last one of each, the longest first."""
    starts = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    return sorted(pairwise(starts), key=lambda run: run[0] - run[1])


def reciprocal(engine: SystolicConfig, layer: Any, count: int) -> Pair:
    """Return the multiplier and shift that divide every sum of so many inputs, half away from zero.

    A multiplier m = (2^k + e) / count, 0 ≤ e < count, gives sum / count · (1 + e / 2^k). Ties go away from zero, as
    they must, for the product is not nearer to zero than they are; and what is below one is so by 1 / (2 · count) or
    more, which |sum| · e / (count · 2^k) does not reach if 2 · |sum| · e < 2^k.

    Raises
    ------
    CompileError
        Some sum would be divided wrongly.
    """
    low, high = integer_range(layer.input_dtype)
    power = 30 + (count - 1).bit_length()
    multiplier = -(-(1 << power) // count)
    excess = multiplier * count - (1 << power)
    if 2 * max(-low, high) * count * excess >= 1 << power:
        raise CompileError(
            f"layer {layer.name!r} takes averages of {count} inputs of type {layer.input_dtype}, which a multiplier of "
            f"31 bits does not divide exactly on a {engine.rows} × {engine.cols} array; make its windows smaller."
        )
    return multiplier, 31 - power
