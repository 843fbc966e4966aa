"""Keeps the largest results of a pooling window, at the pace of the binary engine's drain."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.pipeline import delay

POOL_CYCLES = 2
"""From results to the maxima with them."""


class PoolStore(wiring.Component):
    """Maximum of what came for a group of lanes since the `first` of a window, this one included.

    `group` comes a cycle before `i` and `first`; `o`, and in `flipped` the same with its bits XORed with `flip`,
    POOL_CYCLES after them. With `store`, which comes with `i`, it is kept for the group's next `i`, 4 cycles later or
    more.
    Throughput one per cycle; no back-pressure.

    Parameters
    ----------
    width : int
        Bits of a result, unsigned.
    lanes, groups : int
        Results that come at a time; groups of them.
    """

    i: data.View
    group: Signal
    first: Signal
    store: Signal
    flip: Signal
    o: data.View
    flipped: data.View

    def __init__(self, width: int, *, lanes: int, groups: int) -> None:
        self.lanes, self.groups = data.ArrayLayout(width, lanes), groups
        super().__init__(
            {
                "i": In(self.lanes),
                "group": In(range(groups)),
                "first": In(1),
                "store": In(1),
                "flip": In(width),
                "o": Out(self.lanes),
                "flipped": Out(self.lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept: Any = Memory(shape=self.lanes, depth=max(self.groups, 2), init=[])
        m.submodules.kept = kept
        read, write = kept.read_port(domain="comb"), kept.write_port()
        most: Any = Signal(self.lanes, reset_less=True)
        m.d.sync += most.eq(read.data)
        m.d.comb += [
            read.addr.eq(self.group),
            write.addr.eq(delay(m, self.group, POOL_CYCLES + 1, "group")),
            write.data.eq(self.o),
            write.en.eq(delay(m, self.store, POOL_CYCLES, "store", reset=True)),
        ]
        for lane in range(self.lanes.length):
            exceeds = Signal(name=f"exceeds_{lane}", reset_less=True)
            m.d.sync += exceeds.eq(_exceeds(self.i[lane], most[lane]) | self.first)
            new, old = delay(m, self.i[lane], 1, f"new_{lane}"), delay(m, most[lane], 1, f"most_{lane}")
            chosen = Mux(exceeds, new, old)
            m.d.sync += [self.o[lane].eq(chosen), self.flipped[lane].eq(chosen ^ self.flip)]
        return m


def _exceeds(a: Value, b: Value) -> Value:
    """Return whether a is greater: two bits at a time, which takes fewer levels of logic than a carry."""
    exceeds: Value = Const(0, 1)
    for low in range(0, len(a), 2):
        more = [bit & ~other for bit, other in zip(a[low : low + 2], b[low : low + 2], strict=True)]
        same = [bit == other for bit, other in zip(a[low : low + 2], b[low : low + 2], strict=True)]
        greater = more[0] if len(more) == 1 else more[1] | (same[1] & more[0])
        exceeds = greater | (Cat(same).all() & exceeds)
    return exceeds
