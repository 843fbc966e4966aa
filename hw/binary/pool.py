"""Keeps the largest results of a pooling window, for each channel of a fold."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.config import BinaryConfig


class PoolStore(wiring.Component):
    """Maximum of what came for a group of lanes since the `first` of a window, this one included.

    `group` comes a cycle before `i`, which `o` follows at once; with `store` it is kept for the next pass, whose
    `group` may come two cycles later. No back-pressure.
    """

    i: data.View
    group: Signal
    first: Signal
    store: Signal
    o: data.View

    def __init__(self, config: BinaryConfig) -> None:
        self.config = config
        lanes = data.ArrayLayout(config.output_width, config.resolved_post_lanes)
        super().__init__(
            {
                "i": In(lanes),
                "group": In(range(config.groups)),
                "first": In(1),
                "store": In(1),
                "o": Out(lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        width = config.output_width * config.resolved_post_lanes
        kept: Any = Memory(shape=width, depth=max(config.groups, 2), init=[])
        m.submodules.kept = kept
        read, write = kept.read_port(domain="comb"), kept.write_port()
        most_before = Signal(width, reset_less=True)
        group = Signal.like(self.group, name="group_of_i", reset_less=True)
        m.d.sync += [most_before.eq(read.data), group.eq(self.group)]
        m.d.comb += [
            read.addr.eq(self.group),
            write.addr.eq(group),
            write.data.eq(self.o),
            write.en.eq(self.store),
        ]
        for lane in range(config.resolved_post_lanes):
            most = most_before.word_select(lane, config.output_width)
            m.d.comb += self.o[lane].eq(Mux(self.first | (self.i[lane] > most), self.i[lane], most))
        return m
