"""What the FPGA family's cells do, for Amaranth's simulator, which knows none of them."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Cat, Elaboratable, Fragment, Module, Signal

import celosia.hw.binary.chain
import celosia.hw.binary.lut
import celosia.hw.unmerged
from celosia.boards.devices import DEVICES
from celosia.boards.platform import OutOfContextPlatform


class Cell(Elaboratable):
    """A carry cell, lookup table or flip-flop of ECP5, given as an instance is (FPGA-TN-02198)."""

    def __init__(self, kind: str, **arguments: Any) -> None:
        self.kind, self.arguments = kind, arguments

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        if self.kind == "TRELLIS_FF":
            register = Signal(reset_less=True)
            m.d.sync += register.eq(self.arguments["i_DI"])
            m.d.comb += self.arguments["o_Q"].eq(register)
            return m
        if self.kind == "LUT4":
            number = Signal(4)
            m.d.comb += number.eq(Cat(self.arguments[f"i_{pin}"] for pin in "ABCD"))
            m.d.comb += self.arguments["o_Z"].eq(self.arguments["p_INIT"] >> number)
            return m
        assert self.kind == "CCU2C"
        carry = self.arguments["i_CIN"]
        for half in range(2):
            assert self.arguments[f"p_INJECT1_{half}"] == "NO"
            table = self.arguments[f"p_INIT{half}"]
            a, b, c, d = (self.arguments[f"i_{pin}{half}"] for pin in "ABCD")
            number = Signal(4, name=f"number_{half}")
            m.d.comb += number.eq(a | b << 1 | c << 2 | d << 3)
            generated = (table >> (number & 3)) & 1
            propagated = Signal(name=f"propagated_{half}")
            m.d.comb += propagated.eq(table >> number)
            total = self.arguments.get(f"o_S{half}")
            if total is not None:
                m.d.comb += total.eq(propagated ^ carry)
            carry = (propagated & carry) | (~propagated & generated)
        m.d.comb += self.arguments["o_COUT"].eq(carry)
        return m


@pytest.fixture
def on_ecp5(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Fragment]:
    """Return what elaborates a component as for an ECP5, with cells that can be simulated."""
    monkeypatch.setattr(celosia.hw.binary.chain, "Instance", Cell)
    monkeypatch.setattr(celosia.hw.binary.lut, "Instance", Cell)
    monkeypatch.setattr(celosia.hw.unmerged, "Instance", Cell)
    platform = OutOfContextPlatform(DEVICES["ecp5-85f"])

    def elaborate(component: Any) -> Fragment:
        return Fragment.get(component, platform)

    return elaborate
