"""Cycles of layers on the systolic engine; the twin of `celosia.hw.systolic.engine`.

A tile begins (is swapped in) when its rows of weights, if it has any, are loaded, the tile before has been fed, and,
for the first K tile of an N tile, the accumulators have room, for a later one, HAZARD_CYCLES have passed since the tile
before. Loading the next tile begins when a tile is swapped in.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.hw.systolic.timing import HAZARD_CYCLES, ROOM_CYCLES, TAKE_CYCLES, drain_cycles, row_ready_cycles
from celosia.sim.cycles.model import Source
from celosia.sim.cycles.systolic_drain import Accumulators, Line


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
        for tiles, count in _blocks(layer):
            walk.repeat(count, walk.follow, tiles)
        done = walk.accumulators.end + drain_cycles(self.engine)
        causes["drain"] = done + 1 - walk.feeder_free
        if walk.weighted:
            self._loader_free, self._swap = walk.loaded, walk.swap
        else:
            self._loader_free = load_start
        return done, causes


_Tiles = tuple[int, int, int]
"""N tiles of a block: the rows of each, its groups of channels, and how many such tiles follow each other."""


def _blocks(layer: Mapping[str, int]) -> list[tuple[list[_Tiles], int]]:
    """Return the blocks of a layer in order: the N tiles of one, and how many such blocks follow each other."""
    groups, edge, n_tiles = layer["n_groups"], layer["n_edge"], layer["n_tiles"]
    blocks: list[tuple[list[_Tiles], int]] = []
    for rows, count in ((layer["block_rows"], layer["blocks"] - 1), (layer["last_block_rows"], 1)):
        if edge == groups or n_tiles == 1:
            blocks.append(([(rows, edge, count * n_tiles)], 1))
        else:
            blocks.append(([(rows, groups, n_tiles - 1), (rows, edge, 1)], count))
    return blocks


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
        self.layer, self.causes = layer, causes
        self.ring: _Ring | None = None
        self.weighted = layer["mode"] != Mode.LOOKUP
        self.feeder_free = begin  # first cycle in which the next tile may be fed
        self.begun = begin  # cycle in which the last tile began
        self.swap = load  # cycle from which the next tile may be loaded
        self.loaded = load  # first cycle in which the tile loaded last is full
        self.accumulators = Accumulators(engine.accumulator_rows, begin)
        self._ready_delay = row_ready_cycles(engine, Mode(layer["mode"]), layer["lead"])
        self._line = Line(layer)

    def repeat(self, count: int, step: Callable[..., None], *arguments: Any) -> None:
        """Take equal steps, and at once those that are bound to go as the one before.

        They are where a step left all that later ones depend on as it was, but for the time; and where the drain falls
        behind, which no tile waits for as long as there is room.
        """
        accumulators = self.accumulators
        feeder: tuple[int, ...] | None = None
        drain: tuple[Any, ...] | None = None
        left = count
        while left:
            begun, end, rows, tiles = self.begun, accumulators.end, accumulators.allocated, accumulators.tiles
            causes = dict(self.causes)
            step(*arguments)
            left -= 1
            if not left or self.ring is not None:
                continue
            feeder_before, feeder = feeder, self._state()
            drain_before, drain = drain, None
            if feeder != feeder_before:
                continue
            time, drained = self.begun - begun, accumulators.end - end
            rows, tiles = accumulators.allocated - rows, accumulators.tiles - tiles
            if drained > time and accumulators.falls_behind(tiles):
                same = min(left, accumulators.free // rows)
                self._move_on(same, time, causes)
                accumulators.repeat(same, tiles, rows, drained, self.begun)
                left -= same
            elif (drain := accumulators.state(self.begun)) == drain_before:
                self._move_on(left, time, causes)
                accumulators.shift(left * rows, left * time)
                left = 0

    def _state(self) -> tuple[int, ...]:
        """Return what the next tile depends on besides room, in times since `begun`."""
        now = self.begun
        return (self.feeder_free - now, *((self.swap - now, self.loaded - now) if self.weighted else ()))

    def _move_on(self, count: int, time: int, causes: Mapping[str, int]) -> None:
        """Take so many steps, of so many cycles each, whose causes are what one has added to `causes`."""
        self.begun, self.feeder_free = self.begun + count * time, self.feeder_free + count * time
        self.swap, self.loaded = self.swap + count * time, self.loaded + count * time
        for cause, cycles in causes.items():
            self.causes[cause] += count * (self.causes[cause] - cycles)

    def follow(self, tiles: Sequence[_Tiles]) -> None:
        """Follow the N tiles of a block."""
        for rows, groups, count in tiles:
            self.repeat(count, self.visit, rows, groups)

    def visit(self, rows: int, groups: int) -> None:
        """Follow one N tile: a block of `rows` sums through each of its K tiles."""
        k_tiles, k_rows, edge = self.layer["k_tiles"], self.layer["k_rows"], self.layer["k_edge"]
        room = self.accumulators.allocate(rows)
        if k_tiles == 1 and self.accumulators.tiles:  # the tile before is taken from the room a cycle after it began
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
        drained = self._line.drain(rows, self.begun + self._ready_delay, self.accumulators.end, groups)
        self.accumulators.drain(drained, self.begun)

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


def works(program: Any, inputs: Any) -> None:
    """Say that cycles do not depend on the inputs."""
