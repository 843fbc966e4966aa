import pytest
from amaranth.hdl import Fragment, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from celosia.hw.binary.lut import INPUTS, lut

FUNCTIONS = {
    1: lambda a: ~a,
    2: lambda a, b: a & ~b,
    3: lambda a, b, c: a | (b & c),
    4: lambda a, b, c, d: (a & b & ~c) | d,
}


class OneFunction(wiring.Component):
    bits: Signal
    result: Signal

    def __init__(self, count):
        self.count = count
        super().__init__({"bits": In(INPUTS), "result": Out(1)})

    def elaborate(self, platform):
        m = Module()
        bits = self.bits[: self.count]
        m.d.comb += self.result.eq(lut(m, "function", FUNCTIONS[self.count], *bits, platform=platform))
        return m


@pytest.mark.parametrize("family", ["any", "ecp5"])
@pytest.mark.parametrize("count", FUNCTIONS)
def test_every_input(on_ecp5, count, family):
    dut = OneFunction(count)
    seen = []

    async def testbench(ctx):
        for bits in range(1 << INPUTS):
            ctx.set(dut.bits, bits)
            seen.append(ctx.get(dut.result))

    simulator = Simulator(on_ecp5(dut) if family == "ecp5" else Fragment.get(dut, None))
    simulator.add_testbench(testbench)
    simulator.run()
    given = ([bits >> index & 1 for index in range(count)] for bits in range(1 << INPUTS))
    assert seen == [FUNCTIONS[count](*bits) & 1 for bits in given]
