"""How the systolic engine cuts a product into tiles, and which ways of doing so take the fewest cycles.

Words used here. A tile takes `used` neighbours of a line at a time: by taps, or packed into one vector. A *run* is some
output channels that come from the same words of a pixel: all of them, unless the convolution is grouped.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.pack.systolic_layout import Layout, Pair
from celosia.host.pack.systolic_product import Product
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode

TILE_CYCLES = 4
"""Cycles of a K tile, at least: a sum must be written before it is read again."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Output channels, and words of an input pixel that they come from, both from the first to behind the last one.

    Parameters
    ----------
    channels, words : tuple of int
    k_tiles, n_tiles : int
    k_rows, k_edge : int
        Rows of weights of a K tile, and of the last one.
    """

    channels: Pair
    words: Pair
    k_tiles: int
    n_tiles: int
    k_rows: int
    k_edge: int

    @property
    def weight_words(self) -> int:
        """Weight words, one for each row of each tile."""
        return self.n_tiles * ((self.k_tiles - 1) * self.k_rows + self.k_edge)


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a product is cut.

    Parameters
    ----------
    mode : Mode
    used : int
        Neighbours of a line that a tile takes.
    pack : int
        Lanes of each of them in a vector; 0: they have vectors of their own.
    runs : tuple of Run
    cycles : int
        Cycles of the feeder, as far as the tiling decides them.
    """

    mode: Mode
    used: int
    pack: int
    runs: tuple[Run, ...]
    cycles: int

    @property
    def weight_words(self) -> int:
        """Weight words of all runs."""
        return sum(run.weight_words for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How many sums go through a tile at a time: in each block, and in the last one."""

    count: int
    rows: int
    last: int


def cut(engine: SystolicConfig, mode: Mode, sums: int, unit: int, *, stream: bool = False) -> Blocks:
    """Choose how many sums go through a tile at a time: whole lines or pools, `unit` sums each.

    The next tile takes `rows` cycles to load: a block of twice that hides it, and is short to drain when it is a
    layer's last. Tiles of other modes have few rows of weights. Half of the accumulators leaves room to drain one block
    while the next is summed; equal blocks leave no short one at the end. Streamed weights would be sent again for every
    block: there a block takes all the accumulators.
    """
    target = 2 * (engine.rows if mode is Mode.MATRIX else max(engine.resolved_taps, TILE_CYCLES))
    most = engine.accumulator_rows if stream else min(target, engine.accumulator_rows // 2)
    units = sums // unit
    at_a_time = -(-units // -(-units // max(most // unit, 1)))
    count = -(-units // at_a_time)
    return Blocks(count=count, rows=at_a_time * unit, last=(units - (count - 1) * at_a_time) * unit)


def line_beats(out_cols: int, stride: int, used: int) -> int:
    """Return the beats of a line: with neighbours, all pixels from the first to the last one that any window needs."""
    return out_cols if used == 1 else (out_cols - 1) * stride + used


def sums_together(product: Product, out_cols: int, used: int) -> int:
    """Return how many sums must be in one block: those of a line with neighbours, or of a pool."""
    kernel = product.window.kernel
    return kernel[0] * kernel[1] if product.pools else out_cols if used > 1 else 1


def tile(engine: SystolicConfig, product: Product, source: Layout) -> Tiling:
    """Return the tiling with the fewest cycles.

    Raises
    ------
    CompileError
        The engine has no way for it.
    """
    options = [_tiling(engine, product, source, *option) for option in _options(engine, product, source)]
    return min(options, key=lambda tiling: (tiling.cycles, tiling.used))


def _options(engine: SystolicConfig, product: Product, source: Layout) -> Iterator[tuple[Mode, int, int]]:
    """Yield mode, neighbours, and lanes of each of what can be chosen."""
    window, taps = product.window, engine.resolved_taps
    together = sums_together(product, window.out_size[1], 1)
    if together > engine.accumulator_rows:
        raise CompileError(
            f"layer {product.name!r} takes the largest of {together} inputs, but accumulator_rows="
            f"{engine.accumulator_rows}; set it to {1 << (together - 1).bit_length()} or higher."
        )
    mode = Mode.CHANNELS if product.channelwise and taps else Mode.MATRIX
    yield mode, 1, 0
    if product.pools or window.dilations[1] > 1 or window.out_size[1] > engine.accumulator_rows:
        return
    if mode is Mode.CHANNELS:
        yield from ((mode, used, 0) for used in range(2, min(taps, window.kernel[1]) + 1))
    elif product.groups == 1 and source.words == 1:
        lanes = 1 << (int(source.places.max())).bit_length()
        yield from ((mode, used, lanes) for used in range(2, min(engine.rows // lanes, window.kernel[1]) + 1))


def _tiling(engine: SystolicConfig, product: Product, source: Layout, mode: Mode, used: int, pack: int) -> Tiling:
    window = product.window
    kernel_tiles = 1 if product.pools else window.kernel[0] * -(-window.kernel[1] // used)
    if mode is Mode.CHANNELS:
        taps = engine.resolved_taps
        whole = Run(
            channels=(0, product.channels[1]),
            words=(0, source.words),
            k_tiles=kernel_tiles,
            n_tiles=source.words,
            k_rows=taps,
            k_edge=taps,
        )
        runs: tuple[Run, ...] = (whole,)
    else:
        needed = _needed_rows(engine, product, source, pack)
        runs = tuple(
            _run(engine, channels, words, kernel_tiles, needed) for channels, words in _runs(engine, product, source)
        )
    cycles = sum(_cycles(engine, product, mode, used, run) for run in runs)
    return Tiling(mode=mode, used=used, pack=pack, runs=runs, cycles=cycles)


def _run(engine: SystolicConfig, channels: Pair, words: Pair, kernel_tiles: int, needed: np.ndarray) -> Run:
    k_tiles = kernel_tiles * (words[1] - words[0])
    rows = needed[words[0] : words[1]]
    others = rows if kernel_tiles > 1 else rows[:-1]
    return Run(
        channels=channels,
        words=words,
        k_tiles=k_tiles,
        n_tiles=-(-(channels[1] - channels[0]) // engine.cols),
        k_rows=int(others.max()) if len(others) else engine.rows,
        k_edge=int(rows[-1]),
    )


def _runs(engine: SystolicConfig, product: Product, source: Layout) -> list[tuple[Pair, Pair]]:
    """Return output channels, whole words of them, and the words of an input pixel that they come from."""
    N = product.channels[1]
    if product.groups == 1:
        return [((0, N), (0, source.words))]
    at_a_time = math.lcm(engine.rows, engine.cols)
    depth, share = product.weights.shape[2], N // product.groups
    words = source.places // engine.rows
    runs: list[tuple[Pair, Pair]] = []
    for first in range(0, N, at_a_time):
        end = min(first + at_a_time, N)
        taken = words[first // share * depth : ((end - 1) // share + 1) * depth]
        between = int(taken.min()), int(taken.max()) + 1
        if runs and runs[-1][1] == between:
            runs[-1] = (runs[-1][0][0], end), between
        else:
            runs.append(((first, end), between))
    return runs


def _needed_rows(engine: SystolicConfig, product: Product, source: Layout, pack: int) -> np.ndarray:
    """Return the rows of weights that each word of a pixel needs: int, (words,).

    Weights of the tile before stay in further rows. They do no harm where lanes are 0, as all are that no channel has;
    but padding and packing fill all of them.
    """
    used = source.lanes >= 0
    if pack or is_padded(product) or not used.any(axis=1).all():
        return np.full(source.words, engine.rows)
    needed: np.ndarray = engine.rows - used[:, ::-1].argmax(axis=1)
    return needed


def is_padded(product: Product) -> bool:
    """Whether some window reaches out of the image."""
    window = product.window
    axes = zip(
        window.out_size, window.strides, window.kernel, window.dilations, window.padding, window.in_size, strict=True
    )
    return any(
        pad > 0 or (out - 1) * stride + (kernel - 1) * dilation - pad >= size
        for out, stride, kernel, dilation, pad, size in axes
    )


def _cycles(engine: SystolicConfig, product: Product, mode: Mode, used: int, run: Run) -> int:
    """Return the cycles of the feeder for a run, the first part of a product alone."""
    (rows, cols), stride = product.window.out_size, product.window.strides[1]
    unit = sums_together(product, cols, used)
    sums = rows * cols * (unit if product.pools else 1)
    blocks = cut(engine, mode, sums, unit)
    least = max(run.k_rows if run.k_tiles > 1 else run.k_edge, TILE_CYCLES)
    line = (cols, line_beats(cols, stride, used)) if used > 1 else (1, 1)
    block, last = (max(size // line[0] * line[1], least) for size in (blocks.rows, blocks.last))
    of_tile = (blocks.count - 1) * block + last
    return run.k_tiles * run.n_tiles * of_tile
