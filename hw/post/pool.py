"""Keeps the largest results of a pooling window."""

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class PoolStore(wiring.Component):
    """Maximum of what came for a group of lanes since the `first` of a window, this one included; `before` without it.

    `o` follows `i` at once, and is kept for the group's next `i`. The maximum so far is read a cycle ahead, for
    `next_group`, which is what `group` is in the next cycle. One group per cycle; no back-pressure.

    Parameters
    ----------
    shape : Shape
        Of a result.
    lanes, groups : int
        Results that come at a time; groups of them.
    """

    i: data.View
    next_group: Any
    group: Any
    first: Any
    before: data.View
    o: data.View

    def __init__(self, shape: Shape, *, lanes: int, groups: int) -> None:
        self.lanes, self.groups = data.ArrayLayout(shape, lanes), groups
        super().__init__(
            {
                "i": In(self.lanes),
                "next_group": In(range(groups)),
                "group": In(range(groups)),
                "first": In(1),
                "before": Out(self.lanes),
                "o": Out(self.lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept: Any = Memory(shape=self.lanes, depth=max(self.groups, 2), init=[])
        m.submodules.kept = kept
        read, write = kept.read_port(domain="comb"), kept.write_port()
        before = Signal(self.lanes, name="kept_before", reset_less=True)
        m.d.comb += [
            read.addr.eq(self.next_group),
            write.addr.eq(self.group),
            write.data.eq(self.o),
            write.en.eq(1),
            self.before.eq(before),
        ]
        m.d.sync += before.eq(Mux(self.next_group == self.group, self.o, read.data))
        for lane in range(self.lanes.length):
            # The sign of a difference: a comparison's carry would have to leave its chain through two more cells.
            excess = Signal(signed(len(self.i[lane]) + 1), name=f"excess_{lane}")
            m.d.comb += [
                excess.eq(before[lane] - self.i[lane]),
                self.o[lane].eq(Mux(self.first | excess[-1], self.i[lane], before[lane])),
            ]
        return m
