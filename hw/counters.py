"""Cycle counters: every cycle of a run counted once in total and once by its cause."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.core_port import COUNTER_WIDTH


class CycleCounters(wiring.Component):
    """Counts the cycles in which `running` is high, in total and by `cause`; cleared by `start`.

    The counters follow 2 cycles behind what they count and change nothing that they count.
    """

    start: Signal
    running: Signal
    cause: Signal
    total: Signal
    by_cause: data.View

    def __init__(self, causes: int) -> None:
        self.causes = causes
        super().__init__(
            {
                "start": In(1),
                "running": In(1),
                "cause": In(range(causes)),
                "total": Out(COUNTER_WIDTH),
                "by_cause": Out(data.ArrayLayout(unsigned(COUNTER_WIDTH), causes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        running = Signal()
        hits = Signal(self.causes)
        m.d.sync += running.eq(self.running)
        for index in range(self.causes):
            m.d.sync += hits[index].eq(self.running & (self.cause == index))
        with m.If(self.start):
            m.d.sync += [self.total.eq(0), self.by_cause.as_value().eq(0)]
        with m.Else():
            with m.If(running):
                m.d.sync += self.total.eq(self.total + 1)
            for index in range(self.causes):
                with m.If(hits[index]):
                    m.d.sync += self.by_cause[index].eq(self.by_cause[index] + 1)
        return m
