"""Sends a layer's beats: which activations and weights meet in the array, cycle by cycle."""

from functools import reduce
from operator import or_
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.idle import follow, members
from celosia.hw.binary.layer import layer_fields
from celosia.hw.binary.lut import lut
from celosia.hw.binary.timing import FILL_CYCLES, LEAST_DRAIN_CYCLES, WINDOW_CYCLES
from celosia.hw.binary.windows import WindowWalk
from celosia.hw.config import AcceleratorConfig
from celosia.hw.pipeline import struct_of
from celosia.hw.unmerged import unmerged

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

WEIGHTS_CYCLES = 1
"""From a beat to the address of its weights."""

PAD_CYCLES = 2
"""From a beat to the cycle in which it is known whether it is outside of the image."""

HOLD_CYCLES = 4
"""Cycles of a hold that its counter does not count."""

assert LEAST_DRAIN_CYCLES >= HOLD_CYCLES


class Feeder(wiring.Component):
    """Goes through the beats of a layer, pass by pass, one per cycle.

    `layer` is taken in every idle cycle, before which `idles` is high; `start` comes in the last one. `running` from
    the next cycle on, up to and including that of the last beat; `active` from the first cycle on in which there could
    be a beat. The first one comes LOADED_CYCLES after the last cycle in which it is `blocked`, or later. The last beat
    of a pass waits, `held`, until the drain of the pass before is far enough to be over when this pass's sums come.

    A `beat` has its activations at `address`. With it come `first` and `last` of a pass, `pixel_end` on a pixel's last
    word, `double` on the first beat of a further bit plane, `inverted` of its bit plane, and what is known of the pass.
    `weights`, WEIGHTS_CYCLES later, is the address of its weights. `pad` comes PAD_CYCLES later: it was outside of the
    image.

    Loops are ahead: while a beat is sent, or held, `step` knows how to get to the next one, `turn` which loop goes on
    then, and counters are a beat behind that; all wait for `advance`. So no cycle has to find out more than one of
    these.
    """

    layer: data.View
    idles: Signal
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
                "idles": In(1),
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
        limits = [limit for limit, _ in LOOPS]
        steps = [step for _, step in LOOPS if step]
        values = members(self.layer, *steps, "in_rows", "in_cols", "inverted")
        # Beats left behind this one and the next one: negative in the last one.
        values |= {name: Value.cast(self.layer[name] - 2) for name in limits}
        drains = ("drain_cycles", "drain_cycles_edge")
        values |= {name: Value.cast(self.layer[name] - HOLD_CYCLES) for name in drains}
        layer = follow(m, self.idles, values)
        advances = Signal()  # in the next cycle
        copies = [unmerged(m, advances, f"advance_{part}") for part in ("loops", "step", "beat", "place")]

        runs = Signal()  # in the next cycle
        stopped = unmerged(m, ~runs, "stopped")
        turn = self._count(m, layer, copies[0], stopped, platform)
        step = self._step(m, layer, copies[1], turn)
        begins = copies[2] & self.last  # the next cycle has a pass's first beat
        m.d.comb += [
            windows.layer.eq(self.layer),
            windows.idles.eq(self.idles),
            windows.start.eq(self.start),
            windows.running.eq(self.running),
            windows.take.eq(begins),
        ]
        with m.If(copies[2]):
            m.d.sync += [self.first.eq(self.last), self.pixel_end.eq(turn.pixel_end), self.double.eq(step.plane)]
        with m.If(begins):
            m.d.sync += [getattr(self, name).eq(windows.window[name]) for name in PASS_FLAGS[:-1]]
            m.d.sync += self.layer_last.eq(windows.window.last)
        self._sequence(m, layer, runs, advances, copies[2], turn, windows, platform)
        self._address(m, layer, windows.window, copies[2], step)
        self._place(m, layer, windows.window, copies[3], step)
        return m

    def _count(self, m: Module, layer: Any, advance: Value, stopped: Value, platform: object) -> SimpleNamespace:
        """Count beats, and return what comes after the next one: the loop that goes on, or the next pass."""
        ends: list[Value] = []
        goes: list[Signal] = []
        pixel_end, begins = (Signal(name=name, reset_less=True) for name in ("turn_pixel_end", "turn_begins"))
        for limit, _ in LOOPS:
            most = getattr(layer, limit)
            count = Signal.like(most, name=f"count_{limit}", reset_less=True)
            goes_on = Signal(name=f"goes_{limit}", reset_less=True)
            end = count[-1]
            inner = Cat(Const(1, 1), *ends).all()
            # Before the layer's first pass is the end of one.
            moves = lut(m, f"moves_{limit}", lambda s, a, i: s | (a & i), stopped, advance, inner, platform=platform)
            with m.If(moves):
                m.d.sync += count.eq(Mux(stopped, -1, Mux(end, most, count - 1)))
            with m.If(advance):
                m.d.sync += goes_on.eq(inner & ~end)
            ends.append(end)
            goes.append(goes_on)
        with m.If(~self.running):
            m.d.sync += begins.eq(0)
        with m.Elif(advance):
            m.d.sync += begins.eq(Cat(ends).all())
        with m.If(advance):
            m.d.sync += pixel_end.eq(ends[0])
        return SimpleNamespace(goes=goes, begins=begins, pixel_end=pixel_end)

    def _step(self, m: Module, layer: Any, advance: Value, turn: SimpleNamespace) -> SimpleNamespace:
        """Return what is different in the next beat."""
        address = Signal.like(layer.kernel_col_step, name="step", reset_less=True)
        plane, next_row, same_row, next_col, same_col = (
            Signal(name=f"step_{name}", reset_less=True)
            for name in ("plane", "next_row", "same_row", "next_col", "same_col")
        )
        choices = [Const(1), *(getattr(layer, str(name)) for _, name in LOOPS[1:])]
        chosen = (choice & goes.replicate(len(choice)) for choice, goes in zip(choices, turn.goes, strict=True))
        with m.If(advance):
            m.d.sync += [address.eq(reduce(or_, chosen)), plane.eq(turn.goes[4])]
            m.d.sync += [next_col.eq(turn.goes[1]), same_col.eq(turn.goes[0])]
            m.d.sync += [next_row.eq(turn.goes[2]), same_row.eq(turn.goes[0] | turn.goes[1])]
        return SimpleNamespace(
            address=address, plane=plane, next_row=next_row, same_row=same_row, next_col=next_col, same_col=same_col
        )

    def _sequence(
        self,
        m: Module,
        layer: Any,
        runs: Signal,
        advances: Signal,
        advance: Value,
        turn: SimpleNamespace,
        windows: WindowWalk,
        platform: object,
    ) -> None:
        """Decide what the next cycle does."""
        opened = Signal()  # weights are there
        free = Signal()  # the next cycle may have a pass's last beat: the drain of the one before is over in time
        final = Signal(reset_less=True)  # the layer's last beat
        is_there, is_open, is_last, may_go = (
            Signal(name=name) for name in ("is_there", "is_open", "is_last", "may_go")
        )
        primes = Signal()
        beats = Signal()
        prime = [
            Signal(name=f"prime_{cycle}") for cycle in range(1, FILL_CYCLES + WINDOW_CYCLES - 1)
        ]  # cycles after `start`
        m.d.sync += [later.eq(earlier) for earlier, later in zip([self.start, *prime], prime, strict=False)]
        m.d.comb += [
            is_there.eq(prime[FILL_CYCLES - 1] | (self.active & ~(self.beat & final))),
            is_open.eq(opened | ~self.blocked),
            is_last.eq(Mux(advance, turn.begins, self.last)),
            may_go.eq(Mux(advance, ~turn.begins, ~self.last) | free),
            beats.eq(is_there & is_open & may_go),
            primes.eq(Cat(self.start, *prime[: FILL_CYCLES - 1]).any()),
            advances.eq(
                lut(
                    m,
                    "advance",
                    lambda there, opens, goes, primes: (there & opens & goes) | primes,
                    *(is_there, is_open, may_go, primes),
                    platform=platform,
                )
            ),
            runs.eq(self.start | (self.running & ~(self.beat & final))),
            self.held.eq(self.active & opened & ~self.beat),
        ]
        m.d.sync += [self.beat.eq(beats), self.active.eq(is_there), opened.eq(is_open & self.running & ~prime[0])]
        with m.If(advance):
            m.d.sync += final.eq(turn.begins & Mux(self.last, windows.window.last, self.layer_last))
        m.d.sync += self.running.eq(runs)
        # The second window is there when the first pass ends.
        free_anyway = prime[FILL_CYCLES + WINDOW_CYCLES - 3] | (prime[1] & windows.single)
        over = self._held_long_enough(m, layer)
        with m.If(~self.running):
            m.d.sync += [free.eq(0), self.last.eq(0)]
        with m.Else():
            m.d.sync += free.eq((free & ~(is_last & is_there & is_open)) | over | free_anyway)
            m.d.sync += self.last.eq(is_last)

    def _held_long_enough(self, m: Module, layer: Any) -> Value:
        """Return whether the cycle after the next one may end a pass, as far as the one before is concerned."""
        pass_hold, hold = (
            Signal.like(layer.drain_cycles, name=name, reset_less=True) for name in ("pass_hold", "hold")
        )
        holds = Signal()
        over = holds & hold[-1]
        m.d.sync += [
            pass_hold.eq(Mux(self.fold_last, layer.drain_cycles_edge, layer.drain_cycles)),
            hold.eq(Mux(self.beat & self.last, pass_hold, hold - 1)),
            holds.eq(self.running & ((self.beat & self.last) | (holds & ~over))),
        ]
        return over

    def _address(self, m: Module, layer: Any, window: Any, advance: Value, step: SimpleNamespace) -> None:
        """Move addresses to the next beat's, and choose whether it is inverted."""
        first_weights, offset = (
            Signal.like(window.weights, name=name, reset_less=True) for name in ("first_weights", "weights_offset")
        )
        inverted = Signal.like(layer.inverted, name="inverted_planes", reset_less=True)
        m.d.comb += self.inverted.eq(inverted[0])
        m.d.sync += self.weights.eq(first_weights + offset)
        with m.If(advance):
            m.d.sync += self.address.eq(Mux(self.last, window.address, self.address + step.address))
            m.d.sync += offset.eq(Mux(self.last | step.plane, 0, offset + 1))
            with m.If(self.last):
                m.d.sync += [first_weights.eq(window.weights), inverted.eq(layer.inverted)]
            with m.Elif(step.plane):
                m.d.sync += inverted.eq(inverted >> 1)

    def _place(self, m: Module, layer: Any, window: Any, advance: Value, step: SimpleNamespace) -> None:
        """Find out whether a beat is outside of the image."""
        outside = []
        for name in ("row", "col"):
            first, offset, place = (
                Signal.like(window[name], name=f"{prefix}{name}", reset_less=True)
                for prefix in ("first_", "offset_", "")
            )
            with m.If(advance & self.last):
                m.d.sync += first.eq(window[name])
            with m.If(advance & ~getattr(step, f"same_{name}")):
                m.d.sync += offset.eq(Mux(getattr(step, f"next_{name}"), offset + 1, 0))
            m.d.sync += place.eq(first + offset)
            outside.append(place >= getattr(layer, f"in_{name}s"))
        m.d.sync += self.pad.eq(outside[0] | outside[1])
