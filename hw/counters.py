"""Cycle counters: every cycle of a run counted once in total and once by its cause."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.pipeline import delay


class CycleCounters(wiring.Component):
    """Counts the cycles in which `running` is high, in total and by `cause`; cleared by `start`.

    The counters follow LATENCY cycles behind what they count and change nothing that they count.
    """

    LATENCY = 3

    start: Signal
    running: Signal
    cause: Signal
    total: Signal
    by_cause: data.View

    def __init__(self, causes: int, width: int) -> None:
        self.causes = causes
        super().__init__(
            {
                "start": In(1),
                "running": In(1),
                "cause": In(range(causes)),
                "total": Out(width),
                "by_cause": Out(data.ArrayLayout(unsigned(width), causes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # In steps: the cause is what an engine decides last in a cycle.
        running = delay(m, self.running, self.LATENCY - 1, "running", reset=True)
        was_running = delay(m, self.running, 1, "was_running", reset=True)
        cause = delay(m, self.cause, 1, "cause")
        hits = Signal(self.causes)
        for index in range(self.causes):
            m.d.sync += hits[index].eq(was_running & (cause == index))
        # In good time: the first cycle of a run comes after `start`.
        with m.If(delay(m, self.start, 1, "started", reset=True)):
            m.d.sync += [self.total.eq(0), self.by_cause.as_value().eq(0)]
        with m.Else():
            with m.If(running):
                m.d.sync += self.total.eq(self.total + 1)
            for index in range(self.causes):
                with m.If(hits[index]):
                    m.d.sync += self.by_cause[index].eq(self.by_cause[index] + 1)
        return m
