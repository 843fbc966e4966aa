"""How a tensor lies in words of the systolic engine: pixels side by side, the channels of each in the lanes of words.

A tensor's last axis are its channels, the axes before it its pixels: (H, W, C) is an image, (A, C) a line of pixels,
(N,) one pixel. An image may lie *exchanged*, column by column. What lies in which lane is known element by element, so
that a tensor may be looked at in another shape without being moved.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

Pair = tuple[int, int]


class ViewError(ValueError):
    """A tensor does not lie so that it can be looked at in another shape."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where the elements of a tensor are, from its first word on.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor in the network.
    exchanged : bool
        Whether its rows of pixels are columns of the network's image.
    pitches : tuple of int
        Words from a pixel to that below it and to that to its right, as they lie.
    lanes : ndarray of int64, (words, lanes)
        Channel in each lane of the words of a pixel, −1 for none.
    cell : tuple of int
        Pixels (rows, columns) that are together in a pixel of memory, a *cell*, whose channels are those of its pixels
        one after the other.
    margin : tuple of int
        Rows and columns of padding before the image in the first cells.
    """

    shape: tuple[int, ...]
    exchanged: bool
    pitches: Pair
    lanes: np.ndarray
    cell: Pair = (1, 1)
    margin: Pair = (0, 0)

    @cached_property
    def image(self) -> Pair:
        """Rows and columns of the image as it lies, in pixels of the network."""
        rows, cols = pixels(self.shape)
        return (cols, rows) if self.exchanged else (rows, cols)

    @cached_property
    def grid(self) -> Pair:
        """Rows and columns of cells."""
        sizes = zip(self.image, self.margin, self.cell, strict=True)
        rows, cols = (-(-(size + margin) // cell) for size, margin, cell in sizes)
        return rows, cols

    @property
    def words(self) -> int:
        """Words of a pixel, or of a cell."""
        return len(self.lanes)

    @property
    def span(self) -> int:
        """Words from the first to behind the last one."""
        (rows, cols), (row_pitch, col_pitch) = self.grid, self.pitches
        return (rows - 1) * row_pitch + (cols - 1) * col_pitch + self.words

    @property
    def channels(self) -> int:
        """Channels of a pixel, or of a cell."""
        return self.shape[-1] * self.cell[0] * self.cell[1]

    @property
    def is_even(self) -> bool:
        """Whether all pixels are one pitch apart, row after row."""
        return self.grid[0] == 1 or self.pitches[0] == self.grid[1] * self.pitches[1]

    @cached_property
    def places(self) -> np.ndarray:
        """Lane of each channel, counted from lane 0 of the pixel's first word: int64, (channels,)."""
        flat = self.lanes.ravel()
        used = np.flatnonzero(flat >= 0)
        places = np.empty(len(used), dtype=np.int64)
        places[flat[used]] = used
        return places

    @cached_property
    def positions(self) -> np.ndarray:
        """Lane of each element in the network's order, counted from lane 0 of the first word: int64, (elements,)."""
        image, lanes, depth = self.image, self.lanes.shape[1], self.shape[-1]
        cells, inside = [], []
        for size, margin, cell, pitch in zip(image, self.margin, self.cell, self.pitches, strict=True):
            number, rest = np.divmod(np.arange(size) + margin, cell)
            cells.append(number * pitch * lanes)
            inside.append(rest)
        first = (inside[0][:, None] * self.cell[1] + inside[1]) * depth
        places = self.places[first[..., None] + np.arange(depth)]
        positions = (cells[0][:, None] + cells[1])[..., None] + places
        return (positions.swapaxes(0, 1) if self.exchanged else positions).reshape(-1)

    @cached_property
    def padding(self) -> np.ndarray:
        """Lanes of cells that no pixel of the image fills, counted as `positions`: int64."""
        if self.cell == (1, 1):
            return np.empty(0, dtype=np.int64)
        (rows, cols), (row_pitch, col_pitch), lanes = self.grid, self.pitches, self.lanes.shape[1]
        firsts = (np.arange(rows)[:, None] * row_pitch + np.arange(cols) * col_pitch) * lanes
        return np.setdiff1d(firsts[..., None] + self.places, self.positions)

    def spread(self, col_pitch: int) -> "Layout":
        """Return the same with pixels another number of words apart, row after row."""
        return replace(self, pitches=(self.grid[1] * col_pitch, col_pitch))


def pixels(shape: tuple[int, ...]) -> Pair:
    """Return the rows and columns of pixels of a tensor."""
    return (math.prod(shape[:-2]), int(shape[-2])) if len(shape) > 1 else (1, 1)


def in_order(channels: int, lanes: int) -> np.ndarray:
    """Return the lanes of so many channels one after the other: int64, (words, lanes)."""
    words = -(-channels // lanes)
    numbers = np.arange(words * lanes)
    return np.where(numbers < channels, numbers, -1).reshape(words, lanes)


def plain(shape: tuple[int, ...], lanes: np.ndarray, *, exchanged: bool) -> Layout:
    """Return the layout of a tensor that has its words for itself."""
    exchanged = exchanged and len(shape) > 2
    size = pixels(shape)
    return Layout(
        shape=shape,
        exchanged=exchanged,
        pitches=((size[0] if exchanged else size[1]) * len(lanes), len(lanes)),
        lanes=lanes,
    )


def celled(shape: tuple[int, ...], cell: Pair, margin: Pair, lanes: int, *, exchanged: bool) -> Layout:
    """Return the layout of an image whose cells have their words for themselves."""
    numbers = in_order(shape[-1] * cell[0] * cell[1], lanes)
    layout = Layout(
        shape=shape,
        exchanged=exchanged and len(shape) > 2,
        pitches=(1, 1),
        lanes=numbers,
        cell=cell,
        margin=margin,
    )
    return layout.spread(len(numbers))


def stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Return the lanes of pixels whose words are those of some others, one after the other."""
    first, result = 0, []
    for part in parts:
        result.append(np.where(part >= 0, part + first, -1))
        first += int(part.max()) + 1
    return np.concatenate(result)


def viewed(layout: Layout, shape: tuple[int, ...], *, exchanged: bool) -> Layout:
    """Return how a tensor lies when it is looked at in another shape.

    Raises
    ------
    ViewError
        Its elements do not lie in such pixels.
    """
    if layout.shape == shape:
        return layout
    exchanged, lanes = exchanged and len(shape) > 2, layout.lanes.shape[1]
    positions = layout.positions.reshape(*pixels(shape), -1)
    if exchanged:
        positions = positions.swapaxes(0, 1)
    rows, cols, channels = positions.shape
    words = int(positions[0, 0].max()) // lanes + 1
    col_step = int(positions[0, 1, 0] - positions[0, 0, 0]) if cols > 1 else words * lanes
    row_step = int(positions[1, 0, 0] - positions[0, 0, 0]) if rows > 1 else cols * col_step
    regular = positions[0, 0] + (np.arange(rows)[:, None] * row_step + np.arange(cols) * col_step)[..., None]
    if col_step % lanes or row_step % lanes or not np.array_equal(positions, regular):
        raise ViewError
    numbers = np.full(words * lanes, -1, dtype=np.int64)
    numbers[positions[0, 0]] = np.arange(channels)
    return Layout(
        shape=shape,
        exchanged=exchanged,
        pitches=(row_step // lanes, col_step // lanes),
        lanes=numbers.reshape(words, lanes),
    )
