"""Rows of N tiles in the accumulators, and when they leave; the twin of the drain of `celosia.hw.systolic.engine`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.systolic.timing import ROOM_CYCLES


@dataclass
class Drained:
    """Rows of one N tile on their way out: `rows` of them, `period` cycles each, one after the other from `begin` on.

    If `late` is given, row i and those after it begin as if the first row had waited for `ready` + late[i].
    """

    rows: int
    begin: int
    period: int
    ready: int = 0
    late: Sequence[int] = ()

    def freed(self, count: int) -> int:
        """Return the first cycle in which so many of the rows are free."""
        begin = max(self.begin, self.ready + self.late[count - 1]) if self.late else self.begin
        return begin + count * self.period

    def after(self, time: int) -> "Drained":
        """Return the same so many cycles later."""
        return Drained(self.rows, self.begin + time, self.period, self.ready + time, self.late)


class Line:
    """Which beats of a block sum: all of them, or some in each line."""

    def __init__(self, layer: Mapping[str, int]) -> None:
        self._even = layer["lead"] == layer["decimation"] == 0
        self._line = layer["line"]
        self._sums = np.arange(layer["lead"], layer["line"], layer["decimation"] + 1)
        self._late: dict[tuple[int, int], list[int]] = {}  # by rows and period

    def beats(self, rows: int) -> int:
        """Return the beats of a block of `rows` sums, in whole lines unless all beats sum."""
        return rows if self._even else rows // len(self._sums) * self._line

    def drain(self, rows: int, ready: int, earliest: int, period: int) -> Drained:
        """Drain the rows of an N tile: a sum in its first beat would be `ready` then."""
        if self._even:
            return Drained(rows, max(earliest, ready), period)
        if (rows, period) not in self._late:
            lines = np.arange(rows // len(self._sums)) * self._line
            sums = (lines[:, None] + self._sums).ravel() - period * np.arange(rows)
            self._late[rows, period] = np.maximum.accumulate(sums).tolist()
        late = self._late[rows, period]
        return Drained(rows, earliest, period, ready, late if earliest < ready + late[-1] else ())


class Accumulators:
    """Rows that are in the accumulators, or soon will be.

    Parameters
    ----------
    size : int
        How many rows there are.
    begin : int
        First cycle in which one may be drained.
    """

    def __init__(self, size: int, begin: int) -> None:
        self.end = begin  # first cycle in which the next row may be drained
        self.allocated = 0  # rows, ever
        self.tiles = 0  # drained, ever
        self._size = size
        self._drains: list[Drained] = []  # of the last tiles
        self._gone = 0  # rows of the tiles before those
        self._backlog = 0  # tiles, the last ones, that waited for no room, and for nothing else but to be drained

    @property
    def free(self) -> int:
        """Rows for which there is certainly room."""
        return self._size - (self.allocated - self._gone)

    def allocate(self, rows: int) -> int:
        """Allocate the rows of the next tile, and return the first cycle in which there is seen to be room for them."""
        self.allocated += rows
        missing = -self.free
        if missing <= 0:
            return 0
        while missing > self._drains[0].rows:
            missing -= self._drains[0].rows
            self._gone += self._drains.pop(0).rows
        self._backlog = -1
        return self._drains[0].freed(missing) + ROOM_CYCLES

    def drain(self, drained: Drained, now: int) -> None:
        """Drain the rows of a tile that began at `now`."""
        self._backlog = self._backlog + 1 if drained.begin == self.end and not drained.late else 0
        self._drains.append(drained)
        self.end = drained.freed(drained.rows)
        self.tiles += 1
        self._forget(now)

    def _forget(self, now: int) -> None:
        """Drop the rows that are free by now: no tile waits for them any more."""
        while self._drains and self._drains[0].freed(self._drains[0].rows) + ROOM_CYCLES <= now:
            self._gone += self._drains.pop(0).rows

    def state(self, now: int) -> tuple[Any, ...]:
        """Return what times from now on depend on, as times from now on."""
        drains = [(each.rows, each.begin - now, each.period, each.late and each.ready - now) for each in self._drains]
        return self.end - now, self.free, drains

    def falls_behind(self, tiles: int) -> bool:
        """Whether nothing waits for the last tiles, nor do they for anything else but to be drained."""
        return self._backlog >= tiles <= len(self._drains)

    def repeat(self, count: int, tiles: int, rows: int, time: int, now: int) -> None:
        """Drain the last tiles, of so many rows and so long together, `count` times more until `now`."""
        last = self._drains[-tiles:]
        self._drains += [each.after(times * time) for times in range(1, count + 1) for each in last]
        self.end += count * time
        self.allocated += count * rows
        self.tiles += count * tiles
        self._backlog += count * tiles
        self._forget(now)

    def shift(self, rows: int, time: int) -> None:
        """Move on to the same state, so many rows and cycles later."""
        self._drains = [each.after(time) for each in self._drains]
        self.end += time
        self.allocated += rows
        self._gone += rows
        self._backlog = 0
