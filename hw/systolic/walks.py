"""Walks over a step's vectors: which pixel and which part of its window is next, one per cycle.

`celosia.hw.systolic.layer` says what the loops and steps mean.
"""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.countdown import Countdown, Turns
from celosia.hw.pipeline import delay, latch, struct_of
from celosia.hw.systolic.layer import SIDE_WIDTH, layer_fields

LOOPS = ("pool_cols", "pool_rows", "line")
"""Loops of the walk over pixels, from inside out."""

COORDINATE_WIDTH = SIDE_WIDTH + 1
"""Bits of a row or column, modulo: what is before the image's first is beyond its last one, too."""


def place_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a place: a memory address, and a row and a column of the image."""
    return data.StructLayout(
        {
            "address": struct_of(layer_fields(config))["source"].shape,
            "row": COORDINATE_WIDTH,
            "col": COORDINATE_WIDTH,
        }
    )


class PixelWalk(wiring.Component):
    """Goes through the pixels of blocks, each block once for each tile.

    `start` takes `layer`, which has been there since the cycle before, and `idle` till then. From the next cycle on,
    each `step` moves on: to the next pixel, with `again` to the block's first, with `onward` too to the next pixel as
    the first of the next block. `sums` says that the beat in this cycle ends in a sum; its `place` is there WALK_CYCLES
    later.
    """

    layer: data.View
    idle: Signal
    start: Signal
    step: Signal
    again: Signal
    onward: Signal
    place: Any
    sums: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "layer": In(struct_of(layer_fields(config))),
                "idle": In(1),
                "start": In(1),
                "step": In(1),
                "again": In(1),
                "onward": In(1),
                "place": Out(place_layout(config)),
                "sums": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        turns = [Turns.of(self.layer[name]).latched(m, self.idle, name) for name in LOOPS]
        cols, rows, line, block_line = loops = [
            Countdown(len(limit.count), name)
            for name, limit in zip((*LOOPS, "block_line"), (*turns, turns[2]), strict=True)
        ]
        pool_end = cols.last & rows.last
        with m.If(self.start):
            for loop, limit in zip(loops, (*turns, turns[2]), strict=True):
                m.d.sync += loop.begin(limit)
        with m.Elif(self.step):
            m.d.sync += cols.step(turns[0])
            with m.If(cols.last):
                m.d.sync += rows.step(turns[1])
            with m.If(pool_end):
                m.d.sync += line.step(turns[2])
            # Where the block began in its line, to go back to; pools are whole in a block.
            with m.If(self.onward):
                m.d.sync += block_line.go(*line.following(turns[2]))
            with m.Elif(self.again):
                m.d.sync += line.go(block_line.left, block_line.last, block_line.ahead)
        self._skip(m, pool_end & line.last)
        self._move(m, cols.last, rows.last, line.last)
        return m

    def _move(self, m: Module, row_end: Signal, rows_end: Signal, line_end: Signal) -> None:
        """Choose what is added to the place in the cycle of a step, add it in the next, give it away another later."""
        steps = ("pool_col_step", "pool_row_step", "col_step", "line_step")
        moves = ("pool_stride_rows", "pool_stride_cols", "stride_rows", "stride_cols")
        layer = latch(m, self.idle, self.layer, *steps, *moves)
        origin, first, left = (self._signal(name) for name in ("origin", "block_place", "layer_origin"))
        now, following = self._signal("now"), self._signal("following")
        m.d.sync += self.place.eq(now)
        in_row, in_pool = ~row_end, row_end & ~rows_end
        in_line, next_line = row_end & rows_end & ~line_end, row_end & rows_end & line_end
        more = self._signal("more")
        m.d.sync += [
            more.address.eq(
                Mux(
                    row_end,
                    Mux(rows_end, Mux(line_end, layer.line_step, layer.col_step), layer.pool_row_step),
                    layer.pool_col_step,
                )
            ),
            more.row.eq(_if(in_pool, layer.pool_stride_rows) | _if(next_line, layer.stride_rows)),
            more.col.eq(
                _if(in_row, layer.pool_stride_cols) | _if(in_line, layer.stride_cols) | _if(next_line, left.col)
            ),
        ]
        steps_now = delay(m, self.step | self.start, 1, "steps")
        returns = delay(m, self.start | (self.again & ~self.onward), 1, "returns")
        onward = delay(m, self.onward, 1, "onward")
        in_row, in_pool, next_line = (
            delay(m, value, 1, name)
            for name, value in (("in_row", in_row), ("in_pool", in_pool), ("next_line", next_line))
        )
        stays = in_row | in_pool
        m.d.comb += [
            following.address.eq(now.address + more.address),
            following.row.eq(Mux(stays, now.row, origin.row) + more.row),
            following.col.eq(_if(~next_line, Mux(in_row, now.col, origin.col)) + more.col),
        ]
        # A layer begins as if its first block was gone back to.
        with m.If(self.idle):
            m.d.sync += [
                first.address.eq(self.layer.source),
                first.row.eq(-self.layer.pad_top),
                first.col.eq(-self.layer.pad_left),
                left.col.eq(-self.layer.pad_left),
            ]
        with m.Elif(steps_now & onward):
            m.d.sync += first.eq(following)
        with m.If(steps_now):
            m.d.sync += now.eq(Mux(returns, first, following))
            with m.If(returns):
                m.d.sync += [origin.row.eq(first.row), origin.col.eq(first.col)]
            with m.Elif(~stays):
                m.d.sync += [origin.row.eq(following.row), origin.col.eq(following.col)]

    def _signal(self, name: str) -> Any:
        return Signal(self.place.shape(), name=name, reset_less=True)

    def _skip(self, m: Module, line_end: Value) -> None:
        """Count the beats that do not sum."""
        layer = latch(m, self.idle, self.layer, "lead", "decimation")
        left = Signal(max(len(layer.lead), len(layer.decimation)), name="skip", reset_less=True)
        left_one = Signal(name="skip_one", reset_less=True)
        flags = {}
        for name in ("lead", "decimation"):
            for value, suffix in ((0, "none"), (1, "one")):
                flags[name, value] = flag = Signal(name=f"{name}_{suffix}", reset_less=True)
                with m.If(self.idle):
                    m.d.sync += flag.eq(self.layer[name] == value)
        with m.If(self.start | self.again | (self.step & line_end)):
            m.d.sync += [left.eq(layer.lead), left_one.eq(flags["lead", 1]), self.sums.eq(flags["lead", 0])]
        with m.Elif(self.step):
            m.d.sync += [
                left.eq(Mux(self.sums, layer.decimation, left - 1)),
                left_one.eq(Mux(self.sums, flags["decimation", 1], left == 2)),
                self.sums.eq(Mux(self.sums, flags["decimation", 0], left_one)),
            ]


def _if(condition: Value, value: Value) -> Value:
    """Return the value, else 0."""
    return value & condition.replicate(len(value))


class KernelWalk(wiring.Component):
    """Goes through the K tiles of N tiles.

    `start` takes `layer`, which has been there since the cycle before, and `idle` till then. From the next cycle on,
    each `step` moves on to the next K tile, with `last` to the first one of the next N tile, with `onward` too to that
    of the next block. A beat's `place`, relative to the pixel's, is there WALK_CYCLES later.
    """

    layer: data.View
    idle: Signal
    start: Signal
    step: Signal
    last: Signal
    onward: Signal
    place: Any

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "layer": In(struct_of(layer_fields(config))),
                "idle": In(1),
                "start": In(1),
                "step": In(1),
                "last": In(1),
                "onward": In(1),
                "place": Out(place_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        loops = ("chunks", "kernel_cols")
        steps = ("n_step", "kernel_col_step", "kernel_row_step", "dilation_rows", "dilation_cols")
        layer = latch(m, self.idle, self.layer, *steps)
        turns = [Turns.of(self.layer[name]).latched(m, self.idle, name) for name in loops]
        chunk, col = (Countdown(len(limit.count), name) for name, limit in zip(loops, turns, strict=True))
        # A cycle later, as nothing else waits for it. A layer begins like a block.
        step = delay(m, self.step | self.start, 1, "step")
        last = delay(m, self.last | self.start, 1, "last")
        onward = delay(m, self.onward | self.start, 1, "onward")
        with m.If(step):
            m.d.sync += chunk.step(turns[0])
            with m.If(chunk.last):
                m.d.sync += col.step(turns[1])
            with m.If(last):
                m.d.sync += [*chunk.begin(turns[0]), *col.begin(turns[1])]

        # In the cycle after: what is added is chosen before.
        place = self.place
        more: Any = Signal(place.shape(), name="more", reset_less=True)
        base = Signal.like(place.address, name="n_address", reset_less=True)
        address = Signal.like(place.address, name="next_address")
        col_end, row_end = chunk.last, chunk.last & col.last
        address_step = Mux(col_end, Mux(col.last, layer.kernel_row_step, layer.kernel_col_step), 1)
        m.d.sync += [
            more.address.eq(Mux(last, _if(~onward, layer.n_step), address_step)),
            more.row.eq(_if(row_end, layer.dilation_rows)),
            more.col.eq(_if(col_end, layer.dilation_cols)),
        ]
        steps_now, returns = delay(m, step, 1, "steps"), delay(m, last, 1, "returns")
        from_zero, to_left = delay(m, onward, 1, "from_zero"), delay(m, row_end, 1, "to_left")
        m.d.comb += address.eq(Mux(returns, _if(~from_zero, base), place.address) + more.address)
        with m.If(steps_now):
            m.d.sync += [place.address.eq(address), place.row.eq(place.row + more.row)]
            m.d.sync += place.col.eq(_if(~to_left, place.col + more.col))
            with m.If(returns):
                m.d.sync += [base.eq(address), place.row.eq(0), place.col.eq(0)]
        return m
