"""Activation feeder: sends the activation vectors of each tile through the array, back to back."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width
from celosia.hw.pipeline import latch, struct_of
from celosia.hw.systolic.accumulator import accumulate_port
from celosia.hw.systolic.layer import Mode, layer_fields
from celosia.hw.systolic.timing import HAZARD_CYCLES
from celosia.hw.systolic.walks import KernelWalk, PixelWalk


class ActivationFeeder(wiring.Component):
    """Walks block, N tile, K tile and pixel, and issues one activation vector per cycle.

    A tile begins when its weights are loaded (`full`), if it has any. The first K tile of an N tile also waits for room
    for the whole block in the accumulators, which is seen ROOM_CYCLES after it is there; a later one waits until
    HAZARD_CYCLES after the start of the tile before, so that an accumulator is written before it is read again. Inside
    a tile there is no wait.

    Ports: `start` takes `layer` when not `running`; `beat` issues a vector, which is read from `address` a cycle later;
    `pad` comes a cycle after that and says that it is outside of the image; `swap` goes with a tile's first beat;
    `accumulate` tells the accumulators what to do with the sums, which not every beat has; `freed` gives one
    accumulator row back; `no_room`, `no_weights` and `hazard` say why a tile does not begin; `k_tile` counts K tiles
    from 0, a cycle after the beat.
    """

    layer: data.View
    start: Signal
    running: Signal
    full: Signal
    freed: Signal
    beat: Signal
    swap: Signal
    address: Signal
    pad: Signal
    accumulate: Any
    no_room: Signal
    no_weights: Signal
    hazard: Signal
    k_tile: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.depth: int = config.engine.accumulator_rows  # type: ignore[attr-defined]
        layout = struct_of(layer_fields(config))
        super().__init__(
            {
                "layer": In(layout),
                "start": In(1),
                "running": Out(1),
                "full": In(1),
                "freed": In(1),
                "beat": Out(1),
                "swap": Out(1),
                "address": Out(layout["source"].shape),
                "pad": Out(1),
                "accumulate": Out(accumulate_port(self.depth)),
                "no_room": Out(1),
                "no_weights": Out(1),
                "hazard": Out(1),
                "k_tile": Out(layout["k_tiles"].shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.pixels = pixels = PixelWalk(self.config)
        m.submodules.kernel = kernel = KernelWalk(self.config)
        limits = ("blocks", "block_rows", "last_block_rows", "k_tiles", "n_tiles")
        layer = latch(m, self.start, self.layer, *limits, "in_rows", "in_cols")
        block = Signal.like(layer.blocks, reset_less=True)
        n_tile = Signal.like(layer.n_tiles, reset_less=True)
        k_tile = Signal.like(layer.k_tiles, reset_less=True)
        row = Signal.like(layer.block_rows, reset_less=True)
        block_rows = Signal.like(layer.block_rows, reset_less=True)
        # Accumulator rows of this beat and of the N tile's first; a ring, in step with the drain's from reset on.
        sum_address = Signal(address_width(self.depth))
        tile_sum_address = Signal(address_width(self.depth))
        # What decides whether a tile begins is in registers: that decision reaches far in the same cycle.
        first = Signal(reset_less=True)  # K tile of the N tile
        tile_begin = Signal(reset_less=True)  # the next beat is a tile's first
        last_row = Signal(reset_less=True)  # the next beat that sums is a tile's last
        last = Signal(reset_less=True)  # K tile of the N tile
        weighted = Signal(reset_less=True)  # tiles have weights
        go = Signal()
        sums = Signal()
        tile_end = Signal()
        next_row = Signal.like(row)
        next_k_tile = Signal.like(k_tile)
        first_rows = Signal.like(row)  # of the layer's first block
        last_n_tile = Signal(reset_less=True)
        last_block = Signal(reset_less=True)
        next_n_tile = Signal.like(n_tile)
        next_block = Signal.like(block)
        next_rows = Signal.like(row)

        m.d.comb += [
            next_row.eq(row + 1),
            next_k_tile.eq(k_tile + 1),
            first_rows.eq(Mux(self.layer.blocks == 1, self.layer.last_block_rows, self.layer.block_rows)),
            next_n_tile.eq(n_tile + 1),
            next_block.eq(block + 1),
            next_rows.eq(Mux(next_block == layer.blocks, layer.last_block_rows, layer.block_rows)),
            self.no_weights.eq(weighted & ~self.full),
            go.eq(~tile_begin | ~(self.no_weights | self.no_room | self.hazard)),
            self.beat.eq(self.running & go),
            self.swap.eq(self.beat & tile_begin & weighted),
            sums.eq(self.beat & pixels.sums),
            tile_end.eq(sums & last_row),
            self.accumulate.valid.eq(sums),
            self.accumulate.first.eq(first),
            self.accumulate.last.eq(last),
            self.accumulate.address.eq(sum_address),
            *(walk.layer.eq(self.layer) for walk in (pixels, kernel)),
            *(walk.start.eq(self.start) for walk in (pixels, kernel)),
            pixels.step.eq(self.beat),
            pixels.onward.eq(tile_end & last & last_n_tile),
            pixels.again.eq(tile_end & ~(last & last_n_tile)),
            kernel.step.eq(tile_end),
            kernel.last.eq(last),
            kernel.onward.eq(last_n_tile),
        ]
        # Rows of the N tile that begins next: this one, if it waits to begin.
        upcoming = Mux((tile_begin & first) | ~last_n_tile, block_rows, next_rows)
        self._wait(m, self.beat & tile_begin, first, block_rows, upcoming)
        self._find(m, pixels.place, kernel.place, layer)
        m.d.sync += self.k_tile.eq(k_tile - 1)

        with m.If(self.start):
            m.d.sync += [
                self.running.eq(1),
                first.eq(1),
                tile_begin.eq(1),
                weighted.eq(self.layer.mode != Mode.LOOKUP),
                block.eq(1),
                n_tile.eq(1),
                k_tile.eq(1),
                row.eq(1),
                block_rows.eq(first_rows),
                last_row.eq(first_rows == 1),
                last.eq(self.layer.k_tiles == 1),
                last_n_tile.eq(self.layer.n_tiles == 1),
                last_block.eq(self.layer.blocks == 1),
            ]
        with m.Elif(self.beat):
            m.d.sync += tile_begin.eq(0)
            with m.If(sums):
                m.d.sync += [row.eq(next_row), last_row.eq(next_row == block_rows), sum_address.eq(sum_address + 1)]
            with m.If(tile_end):
                m.d.sync += [
                    row.eq(1),
                    tile_begin.eq(1),
                    last_row.eq(block_rows == 1),
                    first.eq(0),
                    k_tile.eq(next_k_tile),
                    last.eq(next_k_tile == layer.k_tiles),
                    sum_address.eq(tile_sum_address),
                ]
                with m.If(last):
                    m.d.sync += [
                        k_tile.eq(1),
                        first.eq(1),
                        last.eq(layer.k_tiles == 1),
                        n_tile.eq(next_n_tile),
                        last_n_tile.eq(next_n_tile == layer.n_tiles),
                        sum_address.eq(sum_address + 1),
                        tile_sum_address.eq(sum_address + 1),
                    ]
                    with m.If(last_n_tile):
                        m.d.sync += [
                            n_tile.eq(1),
                            last_n_tile.eq(layer.n_tiles == 1),
                            block.eq(next_block),
                            last_block.eq(next_block == layer.blocks),
                            block_rows.eq(next_rows),
                            last_row.eq(next_rows == 1),
                        ]
                        with m.If(last_block):
                            m.d.sync += self.running.eq(0)
        return m

    def _wait(self, m: Module, tile_begins: Any, first: Signal, block_rows: Signal, upcoming: Any) -> None:
        """Say whether the next tile's accumulators are free, and written."""
        free_rows = Signal.like(block_rows, name="free_rows", init=self.depth, reset_less=False)
        room = Signal(signed(len(free_rows) + 1))  # accumulator rows left after the next block, if any
        has_room = Signal(init=1)
        age = Signal(range(HAZARD_CYCLES))  # cycles since the last tile began, until they are enough
        cooled = Signal(init=1)  # HAZARD_CYCLES have passed
        m.d.comb += [
            room.eq(free_rows - upcoming),
            self.no_room.eq(first & ~has_room),
            self.hazard.eq(~first & ~cooled),
        ]
        with m.If(tile_begins):
            m.d.sync += [age.eq(1), cooled.eq(0)]
        with m.Elif(~cooled):
            m.d.sync += [age.eq(age + 1), cooled.eq(age == HAZARD_CYCLES - 1)]
        # A layer begins with all rows free. An N tile that just began is not yet taken from them.
        m.d.sync += has_room.eq(self.start | ((room >= 0) & ~(tile_begins & first)))
        # Both sums are ready when it is known which one counts.
        left = free_rows - block_rows
        m.d.sync += free_rows.eq(Mux(tile_begins & first, left + self.freed, free_rows + self.freed))

    def _find(self, m: Module, pixel: Any, kernel: Any, layer: Any) -> None:
        """Add the places of a beat, and say in the cycle after whether the sum is outside of the image."""
        place: Any = Signal(pixel.shape(), name="place", reset_less=True)
        m.d.sync += [
            *(place[name].eq(pixel[name] + kernel[name]) for name in ("address", "row", "col")),
            self.pad.eq((place.row >= layer.in_rows) | (place.col >= layer.in_cols)),
        ]
        m.d.comb += self.address.eq(place.address)
