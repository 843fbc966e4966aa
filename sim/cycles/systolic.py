"""Cycles of layers on the systolic engine; the twin of `celosia.hw.systolic.engine`.

A tile begins (is swapped in) when its rows of weights are loaded, the tile before has been fed, and, for the first K
tile of an N tile, the accumulators have room, for a later one, HAZARD_CYCLES have passed since the tile before. Loading
the next tile begins when a tile is swapped in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.timing import HAZARD_CYCLES, drain_cycles, row_ready_cycles
from celosia.sim.cycles.model import Source


@dataclass
class _Drained:
    """Rows of one N tile on their way out: `rows` of them, one every `period` cycles from `begin` on."""

    rows: int
    begin: int
    period: int


class EngineTimes:
    """Follows the engine from layer to layer."""

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
        load_start = max(offered, self._loader_free) + 1
        walk = _Walk(self.engine, layer, take + 1, max(load_start, self._swap), causes)
        if layer["weights_stream"] and not self._ring.always_ahead:
            walk.ring = self._ring
        for rows, groups, count in _visits(self.engine, layer):
            walk.repeat(rows, groups, count)
        done = walk.drain_end + drain_cycles(self.engine)
        causes["drain"] = done + 1 - walk.feeder_free
        self._loader_free, self._swap = walk.loaded, walk.swap
        return done, causes


def _visits(engine: SystolicConfig, layer: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Return the N tiles of a layer in order: rows, groups of channels, and how many such tiles follow each other."""
    groups = engine.cols // engine.resolved_post_lanes
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
    """One layer, N tile by N tile."""

    def __init__(
        self, engine: SystolicConfig, layer: Mapping[str, int], begin: int, load: int, causes: dict[str, int]
    ) -> None:
        self.engine, self.layer, self.causes = engine, layer, causes
        self.ring: _Ring | None = None
        self.begin = begin  # first cycle of the feeder and the drain
        self.feeder_free = begin  # first cycle in which the next tile may be fed
        self.swap = load  # cycle from which the next tile may be loaded
        self.loaded = load  # first cycle in which the tile loaded last is full
        self.drain_end = begin  # first cycle in which the next row may be drained
        self._ready_delay = row_ready_cycles(engine)
        self._allocated = 0
        self._drains: list[_Drained] = []
        self._drained_before = 0  # rows of drains no longer in the list

    def repeat(self, rows: int, groups: int, count: int) -> None:
        """Follow some equal N tiles, the first of them one by one.

        A tile depends on the one before, and on those whose rows are still in the accumulators. When in as many tiles
        in a row everything has moved on by the same time, it will in the others, too.
        """
        looks_back = -(-self.engine.accumulator_rows // rows) + 1
        settled, step, before, causes = 0, -1, self._state(), dict(self.causes)
        while count and (settled <= looks_back or self.ring is not None):
            causes = dict(self.causes)
            self.visit(rows, groups)
            count -= 1
            now = self._state()
            steps = {b - a for a, b in zip(before, now, strict=True)}
            settled = settled + 1 if steps == {step} else 0
            step, before = max(steps), now
        if not count:
            return
        self.feeder_free, self.swap, self.loaded, self.drain_end, begin = (time + count * step for time in before)
        for cause, cycles in self.causes.items():
            self.causes[cause] += count * (cycles - causes[cause])
        self._allocated += count * rows
        self._drains = [_Drained(rows, begin - back * step, groups) for back in reversed(range(looks_back))]
        self._drained_before = self._allocated - looks_back * rows

    def _state(self) -> tuple[int, ...]:
        begin = self._drains[-1].begin if self._drains else 0
        return self.feeder_free, self.swap, self.loaded, self.drain_end, begin

    def visit(self, rows: int, groups: int) -> None:
        """Follow one N tile: `rows` activation vectors through each of its K tiles."""
        k_tiles, edge = self.layer["k_tiles"], self.layer["k_edge"]
        self._allocated += rows
        self._tile(rows, edge if k_tiles == 1 else self.engine.rows, self._room(), "output_wait")
        if self.ring is None:
            if k_tiles > 2:
                self._full_tiles(rows, k_tiles - 2)
        else:
            for _ in range(k_tiles - 2):
                self._tile(rows, self.engine.rows, self.swap + HAZARD_CYCLES, "hazard")
        if k_tiles > 1:
            self._tile(rows, edge, self.swap + HAZARD_CYCLES, "hazard")
        begin = max(self.drain_end, self.swap + self._ready_delay)
        self._drains.append(_Drained(rows, begin, groups))
        self.drain_end = begin + rows * groups

    def _tile(self, rows: int, weight_rows: int, earliest: int, otherwise: str) -> None:
        """Load and feed a tile that may not begin before `earliest`, for the cause `otherwise`."""
        free, load = self.feeder_free, self.swap
        if self.ring is None:
            full = load + weight_rows
            loading = max(full - free, 0)
            self.causes["weights_load"] += loading
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
        self.causes["compute"] += rows
        self.swap, self.feeder_free, self.loaded = begin, begin + rows, full

    def _full_tiles(self, rows: int, count: int) -> None:
        """Follow several full, resident K tiles at once: each takes the same time."""
        loaded = max(rows, self.engine.rows)
        period = max(loaded, HAZARD_CYCLES)
        self.causes["compute"] += count * rows
        self.causes["weights_load"] += count * (loaded - rows)
        self.causes["hazard"] += count * (period - loaded)
        self.loaded = self.swap + (count - 1) * period + self.engine.rows
        self.swap += count * period
        self.feeder_free = self.swap + rows

    def _room(self) -> int:
        """Return the first cycle in which the accumulators have room for all rows allocated so far."""
        missing = self._allocated - self.engine.accumulator_rows - self._drained_before
        if missing <= 0:
            return 0
        while missing > self._drains[0].rows:
            missing -= self._drains[0].rows
            self._drained_before += self._drains[0].rows
            del self._drains[0]
        return self._drains[0].begin + missing * self._drains[0].period


def works(program: Any, inputs: Any) -> None:
    """Say that cycles do not depend on the inputs."""
