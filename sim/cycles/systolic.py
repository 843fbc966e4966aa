"""Cycles of layers on the systolic engine; the twin of `celosia.hw.systolic.engine`.

A tile begins (is swapped in) when its rows of weights, if it has any, are loaded, the tile before has been fed, and,
for the first K tile of an N tile, the accumulators have room, for a later one, HAZARD_CYCLES have passed since the tile
before. Loading the next tile begins when a tile is swapped in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.hw.systolic.timing import HAZARD_CYCLES, ROOM_CYCLES, TAKE_CYCLES, drain_cycles, row_ready_cycles
from celosia.sim.cycles.model import Source


@dataclass
class _Drained:
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


class _Line:
    """Which beats of a block sum: all of them, or some in each line."""

    def __init__(self, layer: Mapping[str, int]) -> None:
        self.even = layer["lead"] == layer["decimation"] == 0
        self._line = layer["line"]
        self._sums = np.arange(layer["lead"], layer["line"], layer["decimation"] + 1)
        self._late: dict[tuple[int, int], list[int]] = {}  # by rows and period

    def beats(self, rows: int) -> int:
        """Return the beats of a block of `rows` sums, in whole lines unless all beats sum."""
        return rows if self.even else rows // len(self._sums) * self._line

    def drain(self, rows: int, ready: int, earliest: int, period: int) -> _Drained:
        """Drain the rows of an N tile: a sum in its first beat would be `ready` then."""
        if self.even:
            return _Drained(rows, max(earliest, ready), period)
        if (rows, period) not in self._late:
            lines = np.arange(rows // len(self._sums)) * self._line
            sums = (lines[:, None] + self._sums).ravel() - period * np.arange(rows)
            self._late[rows, period] = np.maximum.accumulate(sums).tolist()
        return _Drained(rows, earliest, period, ready, self._late[rows, period])


class EngineTimes:
    """Follows the engine from layer to layer."""

    take_cycles = TAKE_CYCLES

    def __init__(self, config: AcceleratorConfig, ring_base: int, weights: Source) -> None:
        assert isinstance(config.engine, SystolicConfig)
        self.engine = config.engine
        self._ring = _Ring(config.weight_depth - ring_base, weights)
        self._loader_free = 0  # first cycle in which the loader is idle
        self._swap = 0  # cycle of the last swap, in which the shadow weights become free

    def run(
        self,
        layer: Mapping[str, int],
        offered: int,
        take: int,
        work: None = None,  # noqa: ARG002
    ) -> tuple[int, dict[str, int]]:
        """Return the cycle in which a layer is wholly written, and where its cycles went.

        Parameters
        ----------
        layer : mapping
            Fields of the descriptor, see `celosia.hw.systolic.layer`.
        offered, take : int
            First cycle in which the loader may look at the layer; cycle in which the engine takes it.
        work : None
            Nothing but the descriptor decides.
        """
        causes = dict.fromkeys(self.engine.CAUSES, 0)
        load_start = max(offered, self._loader_free) + TAKE_CYCLES + 1
        walk = _Walk(self.engine, layer, take + 1, max(load_start, self._swap), causes)
        if layer["weights_stream"] and not self._ring.always_ahead:
            walk.ring = self._ring
        for rows, groups, count in _visits(layer):
            walk.repeat(rows, groups, count)
        done = walk.drain_end + drain_cycles(self.engine)
        causes["drain"] = done + 1 - walk.feeder_free
        if walk.weighted:
            self._loader_free, self._swap = walk.loaded, walk.swap
        else:
            self._loader_free = load_start
        return done, causes


def _visits(layer: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Return the N tiles of a layer in order: rows, groups of channels, and how many such tiles follow each other."""
    groups = layer["n_groups"]
    visits: list[tuple[int, int, int]] = []
    for rows, blocks in ((layer["block_rows"], layer["blocks"] - 1), (layer["last_block_rows"], 1)):
        if layer["n_edge"] == groups or layer["n_tiles"] == 1:
            visits.append((rows, layer["n_edge"], blocks * layer["n_tiles"]))
        else:
            visits += [(rows, groups, layer["n_tiles"] - 1), (rows, layer["n_edge"], 1)] * blocks
    return [visit for visit in visits if visit[2]]


class _Ring:
    """Streamed weights: when each row of them may be loaded."""

    def __init__(self, size: int, source: Source) -> None:
        self._size, self._source = size, source
        self._issued: list[int] = []

    @property
    def always_ahead(self) -> bool:
        """Whether no row is ever waited for: words come from cycle 1 on, one per cycle, as fast as rows are issued."""
        return self._size > 1 and self._source.always_open

    def issue(self, earliest: int) -> int:
        """Return the cycle in which the next row is issued, at `earliest` or later."""
        index = len(self._issued)
        room = self._issued[index - self._size] + 1 if index >= self._size else 1
        issued = max(earliest, self._source.accept(room) + 1)
        self._issued.append(issued)
        return issued


class _Walk:
    """One step, N tile by N tile."""

    def __init__(
        self, engine: SystolicConfig, layer: Mapping[str, int], begin: int, load: int, causes: dict[str, int]
    ) -> None:
        self.engine, self.layer, self.causes = engine, layer, causes
        self.ring: _Ring | None = None
        self.weighted = layer["mode"] != Mode.LOOKUP
        self.begin = begin  # first cycle of the feeder and the drain
        self.feeder_free = begin  # first cycle in which the next tile may be fed
        self.begun = begin  # cycle in which the last tile began
        self.swap = load  # cycle from which the next tile may be loaded
        self.loaded = load  # first cycle in which the tile loaded last is full
        self.drain_end = begin  # first cycle in which the next row may be drained
        self._ready_delay = row_ready_cycles(engine, Mode(layer["mode"]), layer["lead"])
        self._line = _Line(layer)
        self._allocated = 0
        self._drains: list[_Drained] = []
        self._drained_before = 0  # rows of drains no longer in the list

    def repeat(self, rows: int, groups: int, count: int) -> None:
        """Follow some equal N tiles."""
        if self.ring is None and self._line.even:
            self._follow_even(rows, groups, count)
        else:
            for _ in range(count):
                self.visit(rows, groups)

    def _follow_even(self, rows: int, groups: int, count: int) -> None:
        """Follow equal N tiles of resident weights, as `visit` would one by one, until the rest goes on as before.

        A tile depends on the one before, and on those whose rows are still in the accumulators. When everything has
        moved on by the same time, and those have begun to drain that time apart, it will be so in the others, too.
        """
        looks_back = -(-self.engine.accumulator_rows // rows) + 1
        k_tiles, k_edge = self.layer["k_tiles"], self.layer["k_edge"]
        beats = self._feed(rows, count * k_tiles)
        edge = k_edge if self.weighted else 0
        first = edge if k_tiles == 1 else self.layer["k_rows"] if self.weighted else 0
        period = max(beats, first, HAZARD_CYCLES)  # of K tiles between the first and the last
        middle = max(k_tiles - 2, 0)
        draining = rows * groups
        free, begun, swap, loaded, drain_end = self._times()
        drained = self._drains[-1].begin if self._drains else -1
        load = room_wait = hazard = even = moved = 0
        left = count
        while left:
            before, waits = (free, begun, swap, loaded, drain_end, drained), (load, room_wait, hazard)
            self._allocated += rows
            room = self._room()
            if k_tiles == 1 and self._allocated > rows:  # the tile before is taken from the room a cycle after it began
                room = max(room, begun + 1 + ROOM_CYCLES)
            full = max(swap + first, free) if self.weighted else free
            load += full - free
            begun = max(full, room)
            room_wait += begun - full
            free = begun + beats
            if self.weighted:
                swap, loaded = begun, swap + first
            if middle:
                load += middle * (max(beats, first) - beats)
                hazard += middle * (period - max(beats, first))
                if self.weighted:
                    loaded = swap + (middle - 1) * period + first
                    swap += middle * period
                begun += middle * period
                free = begun + beats
            if k_tiles > 1:
                full = max(swap + edge, free) if self.weighted else free
                load += full - free
                begun = max(full, begun + HAZARD_CYCLES)
                hazard += begun - full
                free = begun + beats
                if self.weighted:
                    swap, loaded = begun, swap + edge
            drained = max(drain_end, begun + self._ready_delay)
            drain_end = drained + draining
            self._drains.append(_Drained(rows, drained, groups))
            left -= 1
            even = even + 1 if drained - before[5] == moved else 1
            moved = drained - before[5]
            same = free - before[0] == begun - before[1] == drain_end - before[4] == moved
            if self.weighted:
                same = same and swap - before[2] == loaded - before[3] == moved
            if same and even > looks_back and left:
                load, room_wait, hazard = (
                    now + left * (now - then) for now, then in zip((load, room_wait, hazard), waits, strict=True)
                )
                free, begun, drain_end, drained = (time + left * moved for time in (free, begun, drain_end, drained))
                if self.weighted:
                    swap, loaded = swap + left * moved, loaded + left * moved
                self._allocated += left * rows
                self._drains = [_Drained(rows, drained - back * moved, groups) for back in reversed(range(looks_back))]
                self._drained_before = self._allocated - looks_back * rows
                left = 0
        self.feeder_free, self.begun, self.swap, self.loaded, self.drain_end = free, begun, swap, loaded, drain_end
        self.causes["weights_load"] += load
        self.causes["output_wait"] += room_wait
        self.causes["hazard"] += hazard

    def _times(self) -> tuple[int, int, int, int, int]:
        return self.feeder_free, self.begun, self.swap, self.loaded, self.drain_end

    def visit(self, rows: int, groups: int) -> None:
        """Follow one N tile: a block of `rows` sums through each of its K tiles."""
        k_tiles, k_rows, edge = self.layer["k_tiles"], self.layer["k_rows"], self.layer["k_edge"]
        self._allocated += rows
        room = self._room()
        if k_tiles == 1 and self._allocated > rows:  # the tile before is taken from the room a cycle after it began
            room = max(room, self.begun + 1 + ROOM_CYCLES)
        self._tile(rows, edge if k_tiles == 1 else k_rows, room, "output_wait")
        if self.ring is None:
            if k_tiles > 2:
                self._middle_tiles(rows, k_tiles - 2)
        else:
            for _ in range(k_tiles - 2):
                self._tile(rows, k_rows, self.begun + HAZARD_CYCLES, "hazard")
        if k_tiles > 1:
            self._tile(rows, edge, self.begun + HAZARD_CYCLES, "hazard")
        drained = self._line.drain(rows, self.begun + self._ready_delay, self.drain_end, groups)
        self._drains.append(drained)
        self.drain_end = drained.freed(rows)

    def _tile(self, rows: int, weight_rows: int, earliest: int, otherwise: str) -> None:
        """Load and feed a tile that may not begin before `earliest`, for the cause `otherwise`."""
        free, load = self.feeder_free, self.swap
        full = free
        if not self.weighted:
            pass
        elif self.ring is None:
            full = load + weight_rows
            self.causes["weights_load"] += max(full - free, 0)
        else:
            issued, loading = load - 1, 0
            for _ in range(weight_rows):
                issued = self.ring.issue(issued + 1)
                loading += issued >= free
            full = issued + 1
            self.causes["weights_load"] += loading
            self.causes["weights_wait"] += max(full - free, 0) - loading
        begin = max(free, full, earliest)
        self.causes[otherwise] += begin - max(free, full)
        beats = self._feed(rows, 1)
        self.begun, self.feeder_free = begin, begin + beats
        if self.weighted:
            self.swap, self.loaded = begin, full

    def _feed(self, rows: int, tiles: int) -> int:
        """Account for the beats of some tiles, and return those of one."""
        beats = self._line.beats(rows)
        self.causes["compute"] += tiles * rows
        self.causes["window"] += tiles * (beats - rows)
        return beats

    def _middle_tiles(self, rows: int, count: int) -> None:
        """Load, if there are weights, and feed several equal K tiles at once: each takes the same time."""
        beats, weight_rows = self._feed(rows, count), self.layer["k_rows"] if self.weighted else 0
        loaded = max(beats, weight_rows)
        period = max(loaded, HAZARD_CYCLES)
        self.causes["weights_load"] += count * (loaded - beats)
        self.causes["hazard"] += count * (period - loaded)
        if self.weighted:
            self.loaded = self.swap + (count - 1) * period + weight_rows
            self.swap += count * period
        self.begun += count * period
        self.feeder_free = self.begun + beats

    def _room(self) -> int:
        """Return the first cycle in which there is seen to be room for all rows allocated so far."""
        missing = self._allocated - self.engine.accumulator_rows - self._drained_before
        if missing <= 0:
            return 0
        while missing > self._drains[0].rows:
            missing -= self._drains[0].rows
            self._drained_before += self._drains[0].rows
            del self._drains[0]
        return self._drains[0].freed(missing) + ROOM_CYCLES


def works(program: Any, inputs: Any) -> None:
    """Say that cycles do not depend on the inputs."""
