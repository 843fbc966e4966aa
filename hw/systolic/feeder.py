"""Activation feeder: sends the activation vectors of each tile through the array, back to back."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width
from celosia.hw.pipeline import latch, struct_of
from celosia.hw.systolic.accumulator import accumulate_port
from celosia.hw.systolic.layer import layer_fields
from celosia.hw.systolic.timing import HAZARD_CYCLES


class ActivationFeeder(wiring.Component):
    """Walks block, N tile, K tile and row, and issues one activation vector per cycle.

    A tile begins when its weights are loaded (`full`); the first K tile of an N tile also waits for room for the whole
    block in the accumulators, a later one until HAZARD_CYCLES after the start of the tile before, so that an
    accumulator is written before it is read again. Inside a tile there is no wait.

    Ports: `start` takes `layer` when not `running`; `beat` issues a vector that is read from `address`; `swap` goes
    with a tile's first beat; `accumulate` tells the accumulators what to do with the sums; `freed` gives one
    accumulator row back; `no_room` and `hazard` say why a loaded tile does not begin.
    """

    layer: data.View
    start: Signal
    running: Signal
    full: Signal
    freed: Signal
    beat: Signal
    swap: Signal
    address: Signal
    accumulate: Any
    no_room: Signal
    hazard: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.fields = layer_fields(config)
        self.depth: int = config.engine.accumulator_rows  # type: ignore[attr-defined]
        layout = struct_of(self.fields)
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
                "accumulate": Out(accumulate_port(self.depth)),
                "no_room": Out(1),
                "hazard": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layer = latch(
            m, self.start, self.layer, "blocks", "block_rows", "last_block_rows", "k_tiles", "n_tiles", "source_pitch"
        )
        block = Signal.like(layer.blocks, reset_less=True)
        n_tile = Signal.like(layer.n_tiles, reset_less=True)
        k_tile = Signal.like(layer.k_tiles, reset_less=True)
        row = Signal.like(layer.block_rows, reset_less=True)
        block_rows = Signal.like(layer.block_rows, reset_less=True)
        free_rows = Signal.like(layer.block_rows, init=self.depth)
        tile_address = Signal.like(self.address, reset_less=True)  # of the first row
        block_address = Signal.like(self.address, reset_less=True)  # of the first row and K tile
        # Accumulator rows of this beat and of the N tile's first; a ring, in step with the drain's from reset on.
        sum_address = Signal(address_width(self.depth))
        tile_sum_address = Signal(address_width(self.depth))
        age = Signal(range(HAZARD_CYCLES))  # cycles since the last tile began, until they are enough
        # What decides whether a tile begins is in registers: that decision reaches far in the same cycle.
        first = Signal(reset_less=True)  # K tile of the N tile
        tile_begin = Signal(reset_less=True)  # the next beat is a tile's first
        cooled = Signal(init=1)  # HAZARD_CYCLES have passed
        tile_end = Signal(reset_less=True)  # the next beat is a tile's last
        last = Signal(reset_less=True)  # K tile of the N tile
        go = Signal()
        next_row, next_k_tile = Signal.like(row), Signal.like(k_tile)
        first_rows = Signal.like(row)  # of the layer's first block
        last_n_tile = Signal(reset_less=True)
        last_block = Signal(reset_less=True)
        next_n_tile, next_block, next_rows = Signal.like(n_tile), Signal.like(block), Signal.like(row)
        following = Signal.like(self.address)  # the next block's first row, behind what the block's last beat read
        room = Signal(signed(len(free_rows) + 1))  # accumulator rows left after the next block, if any

        m.d.comb += [
            next_row.eq(row + 1),
            next_k_tile.eq(k_tile + 1),
            first_rows.eq(Mux(self.layer.blocks == 1, self.layer.last_block_rows, self.layer.block_rows)),
            next_n_tile.eq(n_tile + 1),
            next_block.eq(block + 1),
            next_rows.eq(Mux(next_block == layer.blocks, layer.last_block_rows, layer.block_rows)),
            following.eq(self.address - layer.k_tiles + layer.source_pitch + 1),
            room.eq(free_rows - block_rows),
            self.no_room.eq(first & (room < 0)),
            self.hazard.eq(~first & ~cooled),
            go.eq(~tile_begin | (self.full & ~self.no_room & ~self.hazard)),
            self.beat.eq(self.running & go),
            self.swap.eq(self.beat & tile_begin),
            self.accumulate.valid.eq(self.beat),
            self.accumulate.first.eq(first),
            self.accumulate.last.eq(last),
            self.accumulate.address.eq(sum_address),
        ]
        with m.If(self.swap):
            m.d.sync += [age.eq(1), cooled.eq(0)]
        with m.Elif(~cooled):
            m.d.sync += [age.eq(age + 1), cooled.eq(age == HAZARD_CYCLES - 1)]
        # Both sums are ready when it is known which one counts.
        m.d.sync += free_rows.eq(Mux(self.swap & first, room + self.freed, free_rows + self.freed))

        with m.If(self.start):
            m.d.sync += [
                self.running.eq(1),
                first.eq(1),
                tile_begin.eq(1),
                block.eq(1),
                n_tile.eq(1),
                k_tile.eq(1),
                row.eq(1),
                block_rows.eq(first_rows),
                tile_end.eq(first_rows == 1),
                last.eq(self.layer.k_tiles == 1),
                last_n_tile.eq(self.layer.n_tiles == 1),
                last_block.eq(self.layer.blocks == 1),
                self.address.eq(self.layer.source),
                tile_address.eq(self.layer.source),
                block_address.eq(self.layer.source),
            ]
        with m.Elif(self.beat):
            m.d.sync += [
                row.eq(next_row),
                tile_begin.eq(0),
                tile_end.eq(next_row == block_rows),
                self.address.eq(self.address + layer.source_pitch),
                sum_address.eq(sum_address + 1),
            ]
            with m.If(tile_end):
                m.d.sync += [
                    row.eq(1),
                    tile_begin.eq(1),
                    tile_end.eq(block_rows == 1),
                    first.eq(0),
                    k_tile.eq(next_k_tile),
                    last.eq(next_k_tile == layer.k_tiles),
                    self.address.eq(tile_address + 1),
                    tile_address.eq(tile_address + 1),
                    sum_address.eq(tile_sum_address),
                ]
                with m.If(last):
                    m.d.sync += [
                        k_tile.eq(1),
                        first.eq(1),
                        last.eq(layer.k_tiles == 1),
                        n_tile.eq(next_n_tile),
                        last_n_tile.eq(next_n_tile == layer.n_tiles),
                        self.address.eq(block_address),
                        tile_address.eq(block_address),
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
                            tile_end.eq(next_rows == 1),
                            self.address.eq(following),
                            tile_address.eq(following),
                            block_address.eq(following),
                        ]
                        with m.If(last_block):
                            m.d.sync += self.running.eq(0)
        return m
