"""Keeps the largest results of a pooling window."""

from typing import Any

from amaranth.hdl import Module, Mux, Shape
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class PoolStore(wiring.Component):
    """Maximum of what came for a group of lanes since the `first` of a window, this one included.

    `o` follows `i` at once; with `store` it is kept for the group's next `i`, from the next cycle on. No back-pressure.

    Parameters
    ----------
    shape : Shape
        Of a result.
    lanes, groups : int
        Results that come at a time; groups of them.
    """

    i: data.View
    group: Any
    first: Any
    store: Any
    o: data.View

    def __init__(self, shape: Shape, *, lanes: int, groups: int) -> None:
        self.lanes, self.groups = data.ArrayLayout(shape, lanes), groups
        super().__init__(
            {
                "i": In(self.lanes),
                "group": In(range(groups)),
                "first": In(1),
                "store": In(1),
                "o": Out(self.lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept: Any = Memory(shape=self.lanes, depth=max(self.groups, 2), init=[])
        m.submodules.kept = kept
        read, write = kept.read_port(domain="comb"), kept.write_port()
        m.d.comb += [
            read.addr.eq(self.group),
            write.addr.eq(self.group),
            write.data.eq(self.o),
            write.en.eq(self.store),
        ]
        for lane in range(self.lanes.length):
            most = read.data[lane]
            m.d.comb += self.o[lane].eq(Mux(self.first | (self.i[lane] > most), self.i[lane], most))
        return m
