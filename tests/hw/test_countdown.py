import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from celosia.hw.countdown import Countdown, Turns


class Loop(wiring.Component):
    """A loop of `count` turns, begun by `start`; each `step` goes on."""

    count: Signal
    start: Signal
    step: Signal
    left: Signal
    last: Signal
    ahead: Signal

    def __init__(self, width, wraps):
        self.wraps = wraps
        ports = {"count": In(width), "start": In(1), "step": In(1)}
        super().__init__({**ports, "left": Out(width), "last": Out(1), "ahead": Out(1)})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        turns = Turns.of(self.count).latched(m, self.start, "turns")
        loop = Countdown(len(self.count), "loop")
        begin = Signal()
        m.d.sync += begin.eq(self.start)
        with m.If(begin):
            m.d.sync += loop.begin(turns)
        with m.Elif(self.step):
            m.d.sync += loop.step(turns) if self.wraps else loop.step()
        m.d.comb += [self.left.eq(loop.left), self.last.eq(loop.last), self.ahead.eq(loop.ahead)]
        return m


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("wraps", [True, False])
def test_last_turn_and_the_one_before(count, wraps):
    dut = Loop(3, wraps)

    async def bench(ctx):
        ctx.set(dut.count, count)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick()
        ctx.set(dut.step, 1)
        for turn in range(3 * count if wraps else count):
            left = count - turn % count
            following = left - 1 or count
            assert ctx.get(dut.left) == left
            assert ctx.get(dut.last) == (left == 1)
            if wraps or left > 1:
                assert ctx.get(dut.ahead) == (following == 1)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_choice_of_turns():
    dut = wiring.Component({"one": In(4), "other": In(4), "choice": In(1), "count": Out(4), "flags": Out(2)})
    m = Module()
    chosen = Turns.of(dut.one).unless(dut.choice, Turns.of(dut.other))
    m.d.comb += [dut.count.eq(chosen.count), dut.flags[0].eq(chosen.single), dut.flags[1].eq(chosen.short)]

    async def bench(ctx):
        for one, other, choice in ((1, 2, 0), (1, 2, 1), (3, 1, 0), (3, 1, 1)):
            for port, value in ((dut.one, one), (dut.other, other), (dut.choice, choice)):
                ctx.set(port, value)
            count = other if choice else one
            assert ctx.get(dut.count) == count
            assert ctx.get(dut.flags) == (count == 1) + 2 * (count <= 2)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
