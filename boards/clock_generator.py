"""The accelerator's clock domain on a board: the family's PLL, and a reset until it runs steadily."""

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer  # type: ignore[import-untyped]

from celosia.boards.board import Board
from celosia.boards.clocks import MHZ, ClockPlan

RESET_SECONDS = 20e-6
"""How long the reset lasts after the PLL has locked: block RAMs of iCE40 read 0 for some 3 µs after configuration."""


class ClockGenerator(Elaboratable):
    """Drives the domain `sync`, which is defined around it, from a board's clock, and constrains its rate.

    The domain is in reset until `RESET_SECONDS` after the PLL's lock, and while the board's reset button is pressed.

    Parameters
    ----------
    board : Board
        Whose clock it is, and whose chip's PLL is instantiated: an ECP5's or an iCE40's.
    plan : ClockPlan
        The PLL's dividers.
    """

    def __init__(self, board: Board, plan: ClockPlan) -> None:
        self.board, self.plan = board, plan

    def elaborate(self, platform: Any) -> Module:
        """Return the PLL and the reset's timer."""
        m = Module()
        made = Signal()
        locked = Signal()
        pin = platform.request(self.board.clock, dir="-")
        if self.plan.uses_pll and self.board.clock_pad:
            m.submodules.pll = self._sb_pll40("PAD", {"io_PACKAGEPIN": pin.io}, made, locked)  # has its own buffer
        else:
            m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
            if not self.plan.uses_pll:
                m.d.comb += [made.eq(buffer.i), locked.eq(1)]
            elif self.board.device.family == "ecp5":
                m.submodules.pll = self._ehxplll(buffer.i, made, locked)
            else:
                m.submodules.pll = self._sb_pll40("CORE", {"i_REFERENCECLK": buffer.i}, made, locked)
        if self.plan.uses_pll:
            platform.add_clock_constraint(made, float(self.plan.output_hz))
        self._reset(m, platform, made, locked)
        return m

    def _reset(self, m: Module, platform: Any, made: Signal, locked: Signal) -> None:
        m.domains.steady = ClockDomain("steady", reset_less=True, local=True)
        m.d.comb += [ClockSignal("sync").eq(made), ClockSignal("steady").eq(made)]
        good = Signal()
        if platform.default_rst is None:
            m.d.comb += good.eq(locked)
        else:
            pin = platform.request(platform.default_rst, dir="-")
            m.submodules.button = button = io.Buffer(io.Direction.Input, pin)
            m.d.comb += good.eq(locked & ~button.i)
        steady = Signal()
        m.submodules.synchronizer = FFSynchronizer(good, steady, o_domain="steady")
        cycles = max(int(RESET_SECONDS * float(self.plan.output_hz)), 1)
        timer = Signal(range(cycles + 1))
        reset = Signal(init=1)
        m.d.comb += ResetSignal("sync").eq(reset)
        with m.If(~steady):
            m.d.steady += [timer.eq(0), reset.eq(1)]
        with m.Elif(timer == cycles):
            m.d.steady += reset.eq(0)
        with m.Else():
            m.d.steady += timer.eq(timer + 1)

    def _ehxplll(self, source: Any, made: Signal, locked: Signal) -> Instance:
        """The oscillator is compared through CLKOP, which is then as fast as the reference; CLKOS is the clock."""
        plan = self.plan
        compared = Signal()
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{plan.input_hz / MHZ:g}",
            a_FREQUENCY_PIN_CLKOS=f"{plan.mhz:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=plan.reference,
            p_CLKFB_DIV=1,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=plan.feedback,
            p_CLKOP_CPHASE=plan.feedback - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=plan.output,
            p_CLKOS_CPHASE=plan.output - 1,
            p_CLKOS_FPHASE=0,
            i_RST=Const(0, 1),
            i_STDBY=Const(0, 1),
            i_PHASESEL0=Const(0, 1),
            i_PHASESEL1=Const(0, 1),
            i_PHASEDIR=Const(1, 1),
            i_PHASESTEP=Const(1, 1),
            i_PHASELOADREG=Const(1, 1),
            i_PLLWAKESYNC=Const(0, 1),
            i_ENCLKOP=Const(0, 1),
            i_ENCLKOS=Const(0, 1),
            i_CLKI=source,
            i_CLKFB=compared,
            o_CLKOP=compared,
            o_CLKOS=made,
            o_LOCK=locked,
        )

    def _sb_pll40(self, kind: str, source: dict[str, Any], made: Signal, locked: Signal) -> Instance:
        plan = self.plan
        return Instance(
            f"SB_PLL40_{kind}",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(plan.reference - 1, 4),
            p_DIVF=Const(plan.feedback - 1, 7),
            p_DIVQ=Const(plan.output.bit_length() - 1, 3),
            p_FILTER_RANGE=Const(filter_range(plan), 3),
            **source,
            i_RESETB=Const(1, 1),
            i_BYPASS=Const(0, 1),
            o_PLLOUTGLOBAL=made,
            o_LOCK=locked,
        )


def filter_range(plan: ClockPlan) -> int:
    """Return FILTER_RANGE of an iCE40 PLL, which follows from what its phase detector compares.

    The limits are those of Lattice's own tools, as `icepll` of Project IceStorm has them.
    """
    compared = plan.input_hz / plan.reference / MHZ
    return 1 + sum(compared >= limit for limit in (17, 26, 44, 66, 101))
