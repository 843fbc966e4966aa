"""Walks over a step's vectors: which pixel and which part of its window is next, one per cycle.

`celosia.hw.systolic.layer` says what the loops and steps mean.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.pipeline import latch, struct_of
from celosia.hw.systolic.layer import SIDE_WIDTH, layer_fields

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

    `start` takes `layer`; the first place is there in the next cycle. Each `step` moves on: to the next pixel, with
    `again` to the block's first, with `onward` to the next pixel as the first of the next block. `sums` says that the
    beat at this place ends in a sum.
    """

    layer: data.View
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
        limits = ("pool_cols", "pool_rows", "line")
        steps = ("pool_col_step", "pool_row_step", "col_step", "line_step")
        moves = ("pad_left", "pool_stride_rows", "pool_stride_cols", "stride_rows", "stride_cols")
        layer = latch(m, self.start, self.layer, *limits, *steps, *moves, "lead", "decimation")
        counts = [Signal.like(getattr(layer, name), name=f"count_{name}", reset_less=True) for name in limits]
        ends = [Signal(name=f"end_{name}", reset_less=True) for name in limits]
        next_counts = [Signal.like(count, name=f"next_{count.name}") for count in counts]
        next_ends = [Signal(name=f"next_{end.name}") for end in ends]
        inner: Value = Const(1, 1)
        goes: list[Value] = []
        for name, count, end, next_count, next_end in zip(limits, counts, ends, next_counts, next_ends, strict=True):
            most = getattr(layer, name)
            m.d.comb += [
                next_count.eq(Mux(inner, Mux(end, 1, count + 1), count)),
                next_end.eq(Mux(inner, Mux(end, most == 1, count + 1 == most), end)),
            ]
            goes.append(inner & ~end)
            inner = inner & end
        following, origin, next_origin = self._move(m, layer, goes)

        # Where the block began, to go back to; pools are whole in a block.
        first = Signal.like(self.place, name="block_place", reset_less=True)
        first_count = Signal.like(counts[2], name="block_count", reset_less=True)
        first_end = Signal(name="block_end", reset_less=True)
        with m.If(self.start):
            m.d.sync += [count.eq(1) for count in counts]
            m.d.sync += [end.eq(self.layer[name] == 1) for name, end in zip(limits, ends, strict=True)]
            m.d.sync += [first_count.eq(1), first_end.eq(self.layer.line == 1)]
            for place in (self.place, first, origin):
                m.d.sync += [
                    place.address.eq(self.layer.source),
                    place.row.eq(-self.layer.pad_top),
                    place.col.eq(-self.layer.pad_left),
                ]
        with m.Elif(self.step):
            m.d.sync += [count.eq(next_count) for count, next_count in zip(counts, next_counts, strict=True)]
            m.d.sync += [end.eq(next_end) for end, next_end in zip(ends, next_ends, strict=True)]
            m.d.sync += [self.place.eq(following), origin.eq(next_origin)]
            with m.If(self.onward):
                m.d.sync += [first.eq(following), first_count.eq(next_counts[2]), first_end.eq(next_ends[2])]
            with m.Elif(self.again):
                m.d.sync += [self.place.eq(first), origin.eq(first), counts[2].eq(first_count), ends[2].eq(first_end)]
        self._skip(m, layer, Cat(ends).all())
        return m

    def _move(self, m: Module, layer: Any, goes: list[Value]) -> tuple[Any, Any, Any]:
        """Return the next place, where the pool of this one began, and where that of the next one does."""
        following, next_origin = (self._signal(name) for name in ("following", "next_origin"))
        origin = self._signal("origin")
        in_row, in_pool, in_line = goes
        step = Mux(
            in_row,
            layer.pool_col_step,
            Mux(in_pool, layer.pool_row_step, Mux(in_line, layer.col_step, layer.line_step)),
        )
        m.d.comb += [
            next_origin.address.eq(0),  # nobody asks for it
            next_origin.row.eq(origin.row),
            next_origin.col.eq(origin.col),
        ]
        with m.If(in_row | in_pool):
            m.d.comb += [
                following.row.eq(Mux(in_row, self.place.row, self.place.row + layer.pool_stride_rows)),
                following.col.eq(Mux(in_row, self.place.col + layer.pool_stride_cols, origin.col)),
            ]
        with m.Else():
            m.d.comb += [
                next_origin.row.eq(Mux(in_line, origin.row, origin.row + layer.stride_rows)),
                next_origin.col.eq(Mux(in_line, origin.col + layer.stride_cols, -layer.pad_left)),
                following.row.eq(next_origin.row),
                following.col.eq(next_origin.col),
            ]
        m.d.comb += following.address.eq(self.place.address + step)
        return following, origin, next_origin

    def _signal(self, name: str) -> Any:
        return Signal(self.place.shape(), name=name, reset_less=True)

    def _skip(self, m: Module, layer: Any, line_end: Value) -> None:
        """Count the beats that do not sum."""
        most = max(len(layer.lead), len(layer.decimation))
        left = Signal(most, name="skip", reset_less=True)
        with m.If(self.start):
            m.d.sync += [left.eq(self.layer.lead), self.sums.eq(self.layer.lead == 0)]
        with m.Elif(self.step):
            with m.If(self.again | self.onward | line_end):
                m.d.sync += [left.eq(layer.lead), self.sums.eq(layer.lead == 0)]
            with m.Elif(self.sums):
                m.d.sync += [left.eq(layer.decimation), self.sums.eq(layer.decimation == 0)]
            with m.Else():
                m.d.sync += [left.eq(left - 1), self.sums.eq(left == 1)]


class KernelWalk(wiring.Component):
    """Goes through the K tiles of N tiles.

    `start` takes `layer`; the first place, relative to the pixel's, is there in the next cycle. Each `step` moves on to
    the next K tile, with `last` to the first one of the next N tile, with `onward` too to that of the next block.
    """

    layer: data.View
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
                "start": In(1),
                "step": In(1),
                "last": In(1),
                "onward": In(1),
                "place": Out(place_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        limits = ("chunks", "kernel_cols")
        steps = ("n_step", "kernel_col_step", "kernel_row_step", "dilation_rows", "dilation_cols")
        layer = latch(m, self.start, self.layer, *limits, *steps)
        chunk, col = (Signal.like(getattr(layer, name), name=f"count_{name}", reset_less=True) for name in limits)
        base = Signal.like(self.place.address, name="n_address", reset_less=True)
        next_base = Signal.like(base, name="next_n_address")
        place = self.place
        m.d.comb += next_base.eq(Mux(self.onward, 0, base + layer.n_step))
        with m.If(self.start):
            m.d.sync += [chunk.eq(1), col.eq(1), base.eq(0), place.address.eq(0), place.row.eq(0), place.col.eq(0)]
        with m.Elif(self.step):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(self.last):
                m.d.sync += [chunk.eq(1), col.eq(1), base.eq(next_base)]
                m.d.sync += [place.address.eq(next_base), place.row.eq(0), place.col.eq(0)]
            with m.Elif(chunk != layer.chunks):
                m.d.sync += place.address.eq(place.address + 1)
            with m.Elif(col != layer.kernel_cols):
                m.d.sync += [chunk.eq(1), col.eq(col + 1)]
                m.d.sync += [place.address.eq(place.address + layer.kernel_col_step)]
                m.d.sync += [place.col.eq(place.col + layer.dilation_cols)]
            with m.Else():
                m.d.sync += [chunk.eq(1), col.eq(1), place.address.eq(place.address + layer.kernel_row_step)]
                m.d.sync += [place.row.eq(place.row + layer.dilation_rows), place.col.eq(0)]
        return m
