"""Activation feeder: sends the activation vectors of each tile through the array, back to back."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.countdown import Countdown, Turns
from celosia.hw.memory import address_width
from celosia.hw.pipeline import latch, struct_of
from celosia.hw.systolic.accumulator import accumulate_port
from celosia.hw.systolic.layer import Mode, layer_fields
from celosia.hw.systolic.timing import HAZARD_CYCLES
from celosia.hw.systolic.walks import KernelWalk, PixelWalk


class ActivationFeeder(wiring.Component):
    """Walks block, N tile, K tile and pixel, and issues one activation vector per cycle.

    A tile begins when its weights are loaded (`full`, and a cycle ahead `full_next`), if it has any. The first K tile
    of an N tile also waits for room for the whole block in the accumulators, which is seen ROOM_CYCLES after it is
    there; a later one waits until HAZARD_CYCLES after the start of the tile before, so that an accumulator is written
    before it is read again. Inside a tile there is no wait.

    Ports: `start` takes `layer`, which has been there since the cycle before, and `idle` till then; `beat` issues a
    vector, which is read from `address` PLACE_CYCLES later; `pad` comes a cycle after that and says that it is outside
    of the image; `swap` goes with a tile's first beat; `accumulate` tells the accumulators what to do with the sums,
    which not every beat has; `freed` gives one accumulator row back; `no_weights` and `no_room` say why a tile does not
    begin; `cooled` says that the accumulators will be written before a tile reads them that begins in the next cycle;
    `k_tile` counts K tiles from 0, a cycle after the beat.
    """

    layer: data.View
    idle: Signal
    start: Signal
    running: Signal
    full: Signal
    full_next: Signal
    freed: Signal
    beat: Signal
    swap: Signal
    address: Signal
    pad: Signal
    accumulate: Any
    no_room: Signal
    no_weights: Signal
    cooled: Signal
    k_tile: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.depth: int = config.engine.accumulator_rows  # type: ignore[attr-defined]
        layout = struct_of(layer_fields(config))
        super().__init__(
            {
                "layer": In(layout),
                "idle": In(1),
                "start": In(1),
                "running": Out(1),
                "full": In(1),
                "full_next": In(1),
                "freed": In(1),
                "beat": Out(1),
                "swap": Out(1),
                "address": Out(layout["source"].shape),
                "pad": Out(1),
                "accumulate": Out(accumulate_port(self.depth)),
                "no_room": Out(1),
                "no_weights": Out(1),
                "cooled": Out(1),
                "k_tile": Out(layout["k_tiles"].shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.pixels = pixels = PixelWalk(self.config)
        m.submodules.kernel = kernel = KernelWalk(self.config)
        layer = latch(m, self.idle, self.layer, "in_rows", "in_cols")
        names = ("blocks", "n_tiles", "k_tiles", "block_rows", "last_block_rows")
        turns = {name: Turns.of(self.layer[name]).latched(m, self.idle, name) for name in names}
        blocks = Countdown(len(self.layer.blocks), "blocks")
        n_tiles = Countdown(len(self.layer.n_tiles), "n_tiles")
        k_tiles = Countdown(len(self.layer.k_tiles), "k_tiles")
        rows = Countdown(len(self.layer.block_rows), "rows")  # beats that sum
        k_tile = Signal.like(self.k_tile, reset_less=True)
        # Accumulator rows of this beat and of the N tile's first; a ring, in step with the drain's from reset on.
        sum_address = Signal(address_width(self.depth))
        tile_sum_address = Signal(address_width(self.depth))
        first = Signal(reset_less=True)  # K tile of the N tile
        tile_begin = Signal()  # this beat is a tile's first
        weighted = Signal(reset_less=True)  # tiles have weights
        sums = Signal()
        tile_end = Signal()
        n_end = Signal()
        block_end = Signal()
        end = Signal()

        def rows_of(last_block: Value) -> Turns:
            return turns["block_rows"].unless(last_block, turns["last_block_rows"])

        m.d.comb += [
            self.no_weights.eq(weighted & ~self.full),
            sums.eq(self.beat & pixels.sums),
            tile_end.eq(self.beat & pixels.sums & rows.last),
            n_end.eq(self.beat & pixels.sums & rows.last & k_tiles.last),
            block_end.eq(sums & (rows.last & k_tiles.last & n_tiles.last)),
            end.eq(sums & (rows.last & k_tiles.last & n_tiles.last & blocks.last)),
            self.accumulate.valid.eq(sums),
            self.accumulate.first.eq(first),
            self.accumulate.last.eq(k_tiles.last),
            self.accumulate.address.eq(sum_address),
            *(walk.layer.eq(self.layer) for walk in (pixels, kernel)),
            *(walk.idle.eq(self.idle) for walk in (pixels, kernel)),
            *(walk.start.eq(self.start) for walk in (pixels, kernel)),
            pixels.step.eq(self.beat),
            pixels.onward.eq(block_end),
            pixels.again.eq(tile_end),
            kernel.step.eq(tile_end),
            kernel.last.eq(k_tiles.last),
            kernel.onward.eq(n_tiles.last),
        ]
        # Whether the next N tile, and the next tile, is of the last block.
        upcoming = Mux(n_tiles.last, blocks.ahead, blocks.last)
        next_is_last = Mux(k_tiles.last & n_tiles.last, blocks.ahead, blocks.last)
        next_rows = rows_of(Mux(self.start, turns["blocks"].single, next_is_last))
        ready = self._wait(m, tile_begin, first, k_tiles.last, tile_end, upcoming, turns)
        self._find(m, pixels.place, kernel.place, layer)
        m.d.sync += self.k_tile.eq(k_tile)

        with m.If(self.idle):
            m.d.sync += weighted.eq(self.layer.mode != Mode.LOOKUP)
        # Whether there is a beat, and a swap, is known a cycle ahead, as they decide on most registers.
        begins = self.start | ((tile_end | ~self.beat) & self.running & ~end & ready)
        m.d.sync += [
            tile_begin.eq(begins & (~weighted | self.full_next)),
            self.swap.eq(begins & weighted & self.full_next),
            self.beat.eq((self.beat & ~tile_end) | (begins & (~weighted | self.full_next))),
        ]

        with m.If(self.start):
            m.d.sync += [
                self.running.eq(1),
                first.eq(1),
                *blocks.begin(turns["blocks"]),
                *n_tiles.begin(turns["n_tiles"]),
                *k_tiles.begin(turns["k_tiles"]),
                *rows.begin(next_rows),
                k_tile.eq(0),
            ]
        with m.Elif(self.beat):
            with m.If(sums):
                m.d.sync += [*rows.step(), sum_address.eq(sum_address + 1)]
            with m.If(tile_end):
                m.d.sync += [
                    *rows.begin(next_rows),
                    *k_tiles.step(turns["k_tiles"]),
                    first.eq(k_tiles.last),
                    k_tile.eq(Mux(k_tiles.last, 0, k_tile + 1)),
                    sum_address.eq(tile_sum_address),
                ]
            with m.If(n_end):
                m.d.sync += [
                    *n_tiles.step(turns["n_tiles"]),
                    sum_address.eq(sum_address + 1),
                    tile_sum_address.eq(sum_address + 1),
                ]
            with m.If(block_end):
                m.d.sync += blocks.step()
            with m.If(end):
                m.d.sync += self.running.eq(0)
        return m

    def _wait(
        self, m: Module, tile_begin: Signal, first: Signal, last: Signal, tile_end: Signal, in_last: Value, turns: Any
    ) -> Value:
        """Return whether the next tile's accumulators will be free and written in the next cycle.

        `in_last` says that the next N tile is in the last block.
        """
        width = len(turns["block_rows"].count) + 1
        room = Signal(signed(width), name="room", reset_less=True)  # accumulator rows left after the next N tile
        room_first = Signal(signed(width), name="room_first", reset_less=True)  # as the layer begins, all being free
        age = Signal(range(HAZARD_CYCLES))  # cycles since the last tile began, until they are enough
        n_begins = Signal(name="n_begins")
        has_room = Signal(name="has_room")
        had_room = Signal(name="had_room", reset_less=True)
        m.d.comb += [
            n_begins.eq(tile_begin & first),
            has_room.eq(~room[-1] & ~n_begins),
            self.no_room.eq(first & ~had_room),
        ]
        taken = []  # by an N tile, negative
        for name in ("block_rows", "last_block_rows"):
            taken.append(Signal(signed(width), name=f"taken_{name}", reset_less=True))
            with m.If(self.idle):
                m.d.sync += taken[-1].eq(-self.layer[name])
        # Both blocks' rows are at hand when it is known which count; one more bit makes `freed` the carry.
        less = Mux(in_last, taken[1], taken[0]) & n_begins.replicate(width)
        m.d.sync += [
            room.eq((Cat(1, room) + Cat(self.freed, less)) >> 1),
            had_room.eq(has_room | self.start),
        ]
        rows = Mux(self.layer.blocks == 1, self.layer.last_block_rows, self.layer.block_rows)
        with m.If(self.idle):
            m.d.sync += room_first.eq(self.depth - rows)
        with m.If(self.start):
            m.d.sync += room.eq(room_first)
        with m.If(tile_begin):
            m.d.sync += [age.eq(2), self.cooled.eq(HAZARD_CYCLES == 2)]
        with m.Elif(~self.cooled):
            m.d.sync += [age.eq(age + 1), self.cooled.eq(age == HAZARD_CYCLES - 1)]
        return Mux(Mux(tile_end, last, first), has_room, self.cooled & ~tile_begin)

    def _find(self, m: Module, pixel: Any, kernel: Any, layer: Any) -> None:
        """Add the places of a beat, and say in the cycle after whether the sum is outside of the image."""
        place: Any = Signal(pixel.shape(), name="place", reset_less=True)
        m.d.sync += [
            *(place[name].eq(pixel[name] + kernel[name]) for name in ("address", "row", "col")),
            self.pad.eq((place.row >= layer.in_rows) | (place.col >= layer.in_cols)),
        ]
        m.d.comb += self.address.eq(place.address)
