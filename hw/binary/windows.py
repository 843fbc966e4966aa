"""Finds the windows that a layer's sums look at, one after the other, ahead of their beats."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.layer import SIDE_WIDTH, layer_fields
from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width
from celosia.hw.pipeline import latch, struct_of

COORDINATE_WIDTH = SIDE_WIDTH + 1
"""Bits of a row or column, modulo: what is before the image's first is beyond its last one, too."""

LOOPS = (
    ("pool_cols", "pool_col_step"),
    ("pool_rows", "pool_row_step"),
    ("folds", "fold_step"),
    ("out_cols", "col_step"),
    ("out_rows", "row_step"),
    ("vectors", "vector_step"),
)
"""Loops over the passes of a layer, the innermost first, and the steps of the address when they go on."""


def window_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return what is known of a pass before its first beat."""
    fields = struct_of(layer_fields(config))
    return data.StructLayout(
        {
            "address": fields["source"].shape,  # of the activations
            "row": COORDINATE_WIDTH,  # of the first beat
            "col": COORDINATE_WIDTH,
            "weights": address_width(config.weight_depth),
            "pool_first": 1,  # the first pass of a pooling window
            "pool_last": 1,
            "fold_last": 1,  # the last channels of a pixel
            "last": 1,  # the layer's last pass
        }
    )


class WindowWalk(wiring.Component):
    """Goes through the passes of a layer, as `celosia.hw.binary.layer` orders them.

    `start` takes `layer`. The first `window` is `valid` 2 cycles later, each other one WINDOW_CYCLES after the `take`
    of the one before.
    """

    layer: data.View
    start: Signal
    take: Signal
    valid: Signal
    window: Any

    def __init__(self, config: AcceleratorConfig) -> None:
        layout = struct_of(layer_fields(config))
        super().__init__(
            {
                "layer": In(layout),
                "start": In(1),
                "take": In(1),
                "valid": Out(1),
                "window": Out(window_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        limits, steps = ([loop[index] for loop in LOOPS] for index in (0, 1))
        origin = ("source", "window_offset", "pad_top", "pad_left", "weights", "fold_words")
        strides = ("stride_rows", "stride_cols", "window_rows", "window_cols")
        layer = latch(m, self.start, self.layer, *limits, *steps, *origin, *strides)
        begin, stepping, adding = (Signal(name=name) for name in ("begin", "stepping", "adding"))
        counts = [Signal.like(getattr(layer, name), name=f"count_{name}", reset_less=True) for name in limits]
        # A cycle behind the counts: these stay for longer.
        ends = [Signal(name=f"end_{name}", reset_less=True) for name in limits]
        pool_first = Signal(reset_less=True)
        step = Signal.like(layer.source, name="step", reset_less=True)
        went = [Signal(name=f"went_{name}", reset_less=True) for name in limits]  # the loop that goes on

        m.d.sync += [begin.eq(self.start), stepping.eq(self.take), adding.eq(0)]
        with m.If(begin | adding):
            m.d.sync += self.valid.eq(1)
        with m.Elif(self.take | self.start):
            m.d.sync += self.valid.eq(0)

        for count, end, name in zip(counts, ends, limits, strict=True):
            m.d.sync += end.eq(Mux(begin, 1, count) == getattr(layer, name))
        m.d.sync += pool_first.eq(begin | ((counts[0] == 1) & (counts[1] == 1)))
        with m.If(begin):
            m.d.sync += [count.eq(1) for count in counts]
        with m.Elif(stepping):
            inner: Any = Const(1, 1)  # all loops inside begin again
            for index, (count, end) in enumerate(zip(counts, ends, strict=True)):
                m.d.sync += went[index].eq(inner & ~end)
                with m.If(inner):
                    m.d.sync += count.eq(Mux(end, 1, count + 1))
                with m.If(inner & ~end):
                    m.d.sync += [step.eq(getattr(layer, steps[index])), adding.eq(1)]
                inner = inner & end
        self._move(m, layer, begin, adding, step, dict(zip(limits, went, strict=True)))

        pool = ends[0] & ends[1]
        m.d.comb += [
            self.window.pool_first.eq(pool_first),
            self.window.pool_last.eq(pool),
            self.window.fold_last.eq(ends[2]),
            self.window.last.eq(pool & ends[2] & ends[3] & ends[4] & ends[5]),
        ]
        return m

    def _move(
        self, m: Module, layer: Any, begin: Signal, adding: Signal, step: Signal, went: dict[str, Signal]
    ) -> None:
        """Move the window to where the loop that goes on has it."""
        address = Signal.like(layer.source, name="address", reset_less=True)
        row, col, out_row, out_col = (
            Signal(COORDINATE_WIDTH, name=name, reset_less=True) for name in ("row", "col", "out_row", "out_col")
        )
        weights = Signal.like(layer.weights, name="weights", reset_less=True)
        m.d.comb += [
            self.window.address.eq(address),
            self.window.row.eq(row),
            self.window.col.eq(col),
            self.window.weights.eq(weights),
        ]
        top, left = -layer.pad_top, -layer.pad_left
        with m.If(begin):
            m.d.sync += [address.eq(layer.source - layer.window_offset), weights.eq(layer.weights)]
            m.d.sync += [row.eq(top), out_row.eq(top), col.eq(left), out_col.eq(left)]
        with m.Elif(adding):
            m.d.sync += address.eq(address + step)
            with m.If(went["pool_cols"]):
                m.d.sync += col.eq(col + layer.stride_cols)
            with m.Elif(went["pool_rows"]):
                m.d.sync += [col.eq(out_col), row.eq(row + layer.stride_rows)]
            with m.Elif(went["folds"]):
                m.d.sync += [col.eq(out_col), row.eq(out_row), weights.eq(weights + layer.fold_words)]
            with m.Else():
                next_col = Mux(went["out_cols"], out_col + layer.window_cols, left)
                next_row = Mux(went["out_cols"], out_row, Mux(went["out_rows"], out_row + layer.window_rows, top))
                m.d.sync += [weights.eq(layer.weights), col.eq(next_col), out_col.eq(next_col)]
                m.d.sync += [row.eq(next_row), out_row.eq(next_row)]
