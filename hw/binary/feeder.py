"""Sends a layer's beats: which activations and weights meet in the array, cycle by cycle."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.layer import layer_fields
from celosia.hw.binary.windows import WindowWalk
from celosia.hw.config import AcceleratorConfig
from celosia.hw.pipeline import latch, struct_of

LOOPS = (
    ("chunks", None),
    ("kernel_cols", "kernel_col_step"),
    ("kernel_rows", "kernel_row_step"),
    ("weight_planes", "weight_plane_step"),
    ("planes", "plane_step"),
)
"""Loops over the beats of a pass, the innermost first, and the steps of the address when they go on; 1 is None."""

PASS_FLAGS = ("pool_first", "pool_last", "fold_last", "layer_last")
"""What the drain has to know of a pass: whether it is the first or last of a pooling window, and what else it ends."""


class Feeder(wiring.Component):
    """Goes through the beats of a layer, pass by pass, one per cycle.

    `start` takes `layer`; `running` from the next cycle on, up to and including that of the last beat; `active` from
    the first cycle on in which there could be a beat. Nothing is sent while `blocked`. The last beat of a pass waits,
    `held`, until the window of the next one is known, and until the drain of the pass before is far enough to be over
    when this pass's sums come.

    A `beat` has its activations at `address`. With it come `first` and `last` of a pass, `pixel_end` on a pixel's last
    word, `double` on the first beat of a further bit plane, `inverted` of its bit plane, and what is known of the pass.
    `weights` is the address of its weights. `pad` comes a cycle later: the beat was outside of the image.
    """

    layer: data.View
    start: Signal
    blocked: Signal
    running: Signal
    active: Signal
    beat: Signal
    held: Signal
    address: Signal
    weights: Signal
    first: Signal
    last: Signal
    pixel_end: Signal
    double: Signal
    inverted: Signal
    pad: Signal
    pool_first: Signal
    pool_last: Signal
    fold_last: Signal
    layer_last: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, BinaryConfig)
        self.config = config
        layout = struct_of(layer_fields(config))
        flags = ("running", "active", "beat", "held", "first", "last", "pixel_end", "double", "inverted", "pad")
        super().__init__(
            {
                "layer": In(layout),
                "start": In(1),
                "blocked": In(1),
                "address": Out(layout["source"].shape),
                "weights": Out(layout["weights"].shape),
                **{name: Out(1) for name in (*flags, *PASS_FLAGS)},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.windows = windows = WindowWalk(self.config)
        window = windows.window
        limits = [limit for limit, _ in LOOPS]
        steps = [step for _, step in LOOPS if step]
        others = ("in_rows", "in_cols", "inverted", "drain_cycles", "drain_cycles_edge")
        layer = latch(m, self.start, self.layer, *limits, *steps, *others)
        free = Signal()  # the drain of the pass before will be over in time
        hold = Signal.like(layer.drain_cycles, name="hold", reset_less=True)
        loads = Signal()  # a pass begins in the next cycle

        m.d.comb += [
            windows.layer.eq(self.layer),
            windows.start.eq(self.start),
            windows.take.eq(loads),
            self.held.eq(self.active & ~self.blocked & self.last & ~(free & (windows.valid | self.layer_last))),
            self.beat.eq(self.active & ~self.blocked & ~self.held),
            loads.eq(windows.valid & (~self.active | (self.beat & self.last))),
        ]
        with m.If(self.start):
            m.d.sync += self.running.eq(1)
        with m.Elif(self.beat & self.last & self.layer_last):
            m.d.sync += self.running.eq(0)
        with m.If(loads):
            m.d.sync += self.active.eq(1)
        with m.Elif(self.beat & self.last):
            m.d.sync += self.active.eq(0)
        with m.If(self.start):
            m.d.sync += free.eq(1)
        with m.Elif(self.beat & self.last):
            m.d.sync += [free.eq(0), hold.eq(Mux(self.fold_last, layer.drain_cycles_edge, layer.drain_cycles) - 1)]
        with m.Elif(~free):
            m.d.sync += [free.eq(hold == 1), hold.eq(hold - 1)]
        with m.If(loads):
            m.d.sync += [
                self.pool_first.eq(window.pool_first),
                self.pool_last.eq(window.pool_last),
                self.fold_last.eq(window.fold_last),
                self.layer_last.eq(window.last),
            ]
        goes = self._count(m, layer, loads)
        self._move(m, layer, window, loads, goes)
        return m

    def _count(self, m: Module, layer: Any, loads: Signal) -> list[Value]:
        """Count beats, and return for each loop whether it goes on with the next beat."""
        goes: list[Value] = []
        ends: list[Signal] = []
        next_ends: list[Signal] = []
        singles: list[Signal] = []
        for limit, _ in LOOPS:
            most = getattr(layer, limit)
            count = Signal.like(most, name=f"count_{limit}", reset_less=True)
            single, end, next_end = (
                Signal(name=f"{name}_{limit}", reset_less=True) for name in ("single", "end", "next_end")
            )
            inner = Cat(ends).all() if ends else Const(1, 1)
            m.d.sync += single.eq(most == 1)
            m.d.comb += next_end.eq(Mux(inner, Mux(end, single, count + 1 == most), end))
            with m.If(loads):
                m.d.sync += [count.eq(1), end.eq(single)]
            with m.Elif(self.beat):
                m.d.sync += end.eq(next_end)
                with m.If(inner):
                    m.d.sync += count.eq(Mux(end, 1, count + 1))
            goes.append(inner & ~end)
            ends.append(end)
            next_ends.append(next_end)
            singles.append(single)
        m.d.comb += self.pixel_end.eq(ends[0])
        with m.If(loads):
            m.d.sync += self.last.eq(Cat(singles).all())
        with m.Elif(self.beat):
            m.d.sync += self.last.eq(Cat(next_ends).all())
        with m.If(loads):
            m.d.sync += [self.first.eq(1), self.double.eq(0)]
        with m.Elif(self.beat):
            m.d.sync += [self.first.eq(0), self.double.eq(goes[-1])]
        return goes

    def _move(self, m: Module, layer: Any, window: Any, loads: Signal, goes: list[Value]) -> None:
        """Move addresses and the place in the image to the next beat's."""
        row, col, first_row, first_col = (
            Signal.like(window.row, name=name, reset_less=True) for name in ("row", "col", "first_row", "first_col")
        )
        first_weights = Signal.like(window.weights, name="first_weights", reset_less=True)
        inverted = Signal.like(layer.inverted, name="inverted_planes", reset_less=True)
        m.d.comb += self.inverted.eq(inverted[0])
        m.d.sync += self.pad.eq((row >= layer.in_rows) | (col >= layer.in_cols))
        with m.If(loads):
            m.d.sync += [
                self.address.eq(window.address),
                self.weights.eq(window.weights),
                first_weights.eq(window.weights),
                row.eq(window.row),
                first_row.eq(window.row),
                col.eq(window.col),
                first_col.eq(window.col),
                inverted.eq(layer.inverted),
            ]
        with m.Elif(self.beat):
            step: Any = 1
            for (_, name), goes_on in zip(LOOPS[1:], goes[1:], strict=True):
                step = Mux(goes_on, getattr(layer, str(name)), step)
            m.d.sync += [
                self.address.eq(self.address + step),
                self.weights.eq(Mux(goes[-1], first_weights, self.weights + 1)),
            ]
            with m.If(goes[1]):
                m.d.sync += col.eq(col + 1)
            with m.Elif(~goes[0]):
                m.d.sync += [col.eq(first_col), row.eq(Mux(goes[2], row + 1, first_row))]
            with m.If(goes[-1]):
                m.d.sync += inverted.eq(inverted >> 1)
