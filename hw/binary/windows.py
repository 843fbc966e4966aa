"""Finds the windows that a layer's sums look at, one after the other, ahead of their beats."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.idle import follow, members
from celosia.hw.binary.layer import layer_fields
from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width
from celosia.hw.pipeline import delay, struct_of
from celosia.hw.unmerged import unmerged

LOOPS = (
    ("pool_cols", "pool_col_step"),
    ("pool_rows", "pool_row_step"),
    ("folds", "fold_step"),
    ("out_cols", "col_step"),
    ("out_rows", "row_step"),
    ("vectors", "vector_step"),
)
"""Loops over the passes of a layer, the innermost first, and the steps of the address when they go on."""


def coordinate_width(config: AcceleratorConfig) -> int:
    """Return the bits of a row or column, modulo: what is before the image's first is beyond its last one, too."""
    engine: Any = config.engine
    return engine.side_width + 1


def window_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return what is known of a pass before its first beat."""
    fields = struct_of(layer_fields(config))
    return data.StructLayout(
        {
            "address": fields["source"].shape,  # of the activations
            "row": coordinate_width(config),  # of the first beat
            "col": coordinate_width(config),
            "weights": address_width(config.weight_depth),
            "pool_first": 1,  # the first pass of a pooling window
            "pool_last": 1,
            "fold_last": 1,  # the last channels of a pixel
            "last": 1,  # the layer's last pass
        }
    )


class WindowWalk(wiring.Component):
    """Goes through the passes of a layer, as `celosia.hw.binary.layer` orders them.

    `layer` is taken in every idle cycle, before which `idles` is high; `start` comes in the last one, and `running` is
    low up to it.
    The first `window` is there FILL_CYCLES later, each other one WINDOW_CYCLES after the `take` of the one before.
    `single`, from 2 cycles after `start` on: the layer has one pass.
    """

    layer: data.View
    idles: Signal
    start: Signal
    running: Signal
    take: Signal
    single: Signal
    window: Any

    def __init__(self, config: AcceleratorConfig) -> None:
        layout = struct_of(layer_fields(config))
        super().__init__(
            {
                "layer": In(layout),
                "idles": In(1),
                "start": In(1),
                "running": In(1),
                "take": In(1),
                "single": Out(1),
                "window": Out(window_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        limits, steps = ([loop[index] for loop in LOOPS] for index in (0, 1))
        origin = ("source", "window_offset", "weights", "fold_words")
        strides = ("stride_rows", "stride_cols", "window_rows", "window_cols")
        values = members(self.layer, *steps, *origin, *strides)
        values |= {"top": -self.layer.pad_top, "left": -self.layer.pad_left}
        # Passes left behind this one and the next one: negative in the last one.
        values |= {name: Value.cast(self.layer[name] - 2) for name in limits}
        layer = follow(m, self.idles, values)
        stepping, choosing, begin = (Signal(name=name) for name in ("stepping", "choosing", "begin"))
        moving = [Signal(name=f"moving_{name}") for name in ("all", "rows", "folds", "pixels")]
        started = delay(m, self.start, 1, "started", reset=True)
        step = Signal.like(layer.source, name="step", reset_less=True)
        m.d.sync += [
            stepping.eq(self.start | self.take),
            choosing.eq(stepping & ~started),
            begin.eq(started),
        ]
        goes, went = self._count(m, layer, stepping)
        # Registers of its own for each use: these are far from each other.
        chosen, turned = (unmerged(m, goes, f"went_{use}") for use in ("step", "pixel"))
        # What moves: all, all but columns, what changes from fold to fold, what changes from pixel to pixel.
        for outside, moves in enumerate(moving):
            m.d.sync += moves.eq(started | (choosing & ~Cat(went[:outside]).any()))
        choices = (getattr(layer, name) & goes.replicate(len(step)) for name, goes in zip(steps, chosen, strict=True))
        m.d.sync += step.eq(reduce(or_, choices))
        moved = delay(m, went, 1, "moved")
        went_to, turns = (dict(zip(limits, bits, strict=True)) for bits in (moved, turned))
        self._move(m, layer, begin, moving, step, went_to, turns)
        return m

    def _count(self, m: Module, layer: Any, stepping: Signal) -> tuple[Signal, Signal]:
        """Count passes, and return for each loop whether it goes on, in the next cycle and in this one."""
        limits = [limit for limit, _ in LOOPS]
        goes, went = (Signal(len(limits), name=name) for name in ("goes", "went"))
        m.d.sync += went.eq(goes)
        inner = [Signal(name=f"inner_{name}", reset_less=True) for name in limits]  # those inside it end; a cycle late
        firsts = [Signal(name=f"first_{name}", reset_less=True) for name in limits[:2]]
        single = Signal(reset_less=True)
        pool_first, pool_last, fold_last, last = (
            Signal(name=name, reset_less=True) for name in ("pool_first", "pool_last", "fold_last", "last")
        )
        ends: list[Value] = []
        for index, name in enumerate(limits):
            limit = getattr(layer, name)
            count = Signal.like(limit, name=f"count_{name}", reset_less=True)
            end = count[-1]
            # Before the first pass is the end of one.
            with m.If(~self.running | (stepping & inner[index])):
                m.d.sync += count.eq(Mux(self.running, Mux(end, limit, count - 1), -1))
            with m.If(~self.running):
                m.d.sync += inner[index].eq(1)
            with m.Else():
                m.d.sync += inner[index].eq(Cat(Const(1, 1), *ends).all())
            m.d.comb += goes[index].eq(self.running & Mux(stepping, inner[index] & ~end, went[index]))
            if index < len(firsts):
                with m.If(stepping & inner[index]):
                    m.d.sync += firsts[index].eq(end)
            ends.append(end)
        m.d.sync += [
            pool_first.eq(firsts[0] & firsts[1]),
            pool_last.eq(Cat(ends[:2]).all()),
            fold_last.eq(ends[2]),
            last.eq(Cat(ends).all()),
            single.eq(Cat(getattr(layer, name)[-1] for name in limits).all()),
        ]
        m.d.comb += [
            self.single.eq(single),
            self.window.pool_first.eq(pool_first),
            self.window.pool_last.eq(pool_last),
            self.window.fold_last.eq(fold_last),
            self.window.last.eq(last),
        ]
        return goes, went

    def _move(
        self,
        m: Module,
        layer: Any,
        begin: Signal,
        moving: list[Signal],
        step: Signal,
        went: dict[str, Value],
        turns: dict[str, Value],
    ) -> None:
        """Move the window to where the loop that goes on has it; with none, to where the layer begins.

        `turns` says which loop goes on, a cycle before `went` does.
        """
        address, origin = (Signal.like(layer.source, name=name, reset_less=True) for name in ("address", "origin"))
        row, col, out_row, out_col, pixel_row, pixel_col = (
            Signal(len(self.window.row), name=name, reset_less=True)
            for name in ("row", "col", "out_row", "out_col", "pixel_row", "pixel_col")
        )
        weights = Signal.like(layer.weights, name="weights", reset_less=True)
        m.d.comb += [
            self.window.address.eq(address),
            self.window.row.eq(row),
            self.window.col.eq(col),
            self.window.weights.eq(weights),
        ]
        # Where each could go, a cycle ahead or more.
        next_row, next_col, next_out_row, next_out_col, next_weights = (
            self._sum(m, f"next_{value.name}", value, getattr(layer, name))
            for value, name in (
                (row, "stride_rows"),
                (col, "stride_cols"),
                (out_row, "window_rows"),
                (out_col, "window_cols"),
                (weights, "fold_words"),
            )
        )
        m.d.sync += [
            origin.eq(layer.source - layer.window_offset),
            pixel_col.eq(Mux(turns["out_cols"], next_out_col, layer.left)),
            pixel_row.eq(Mux(turns["out_cols"], out_row, Mux(turns["out_rows"], next_out_row, layer.top))),
        ]
        with m.If(moving[0]):
            m.d.sync += address.eq(Mux(begin, origin, address + step))
            m.d.sync += col.eq(
                Mux(went["pool_cols"], next_col, Mux(went["pool_rows"] | went["folds"], out_col, pixel_col))
            )
        with m.If(moving[1]):
            m.d.sync += row.eq(Mux(went["pool_rows"], next_row, Mux(went["folds"], out_row, pixel_row)))
        with m.If(moving[2]):
            m.d.sync += weights.eq(Mux(went["folds"], next_weights, layer.weights))
        with m.If(moving[3]):
            m.d.sync += [out_row.eq(pixel_row), out_col.eq(pixel_col)]

    def _sum(self, m: Module, name: str, value: Signal, step: Signal) -> Signal:
        """Return the sum of two values, a cycle later."""
        total = Signal.like(value, name=name, reset_less=True)
        m.d.sync += total.eq(value + step)
        return total
