"""A one-bit register that synthesis leaves where it is."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class UnmergedRegister(wiring.Component):
    """One bit, one cycle later, that is not merged with another register of the same value.

    Control that travels through an array from PE to PE has the same value in many places at once. yosys finds that out
    and keeps one of these registers, which then drives the whole chip; the attribute `keep` on a signal does not stop
    it, but it does not merge instances of a family's own flip-flop. So on a platform whose `family` is `"ecp5"` or
    `"iCE40"` this is such an instance; elsewhere it is a register with the attribute `keep`, which other tools respect.

    Latency: 1 cycle. No reset: what is on its way through an array stays ahead of what follows.
    """

    i: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(1), "o": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Return the family's flip-flop or its portable twin."""
        m = Module()
        family = getattr(platform, "family", None)
        if family == "ecp5":
            m.submodules.ff = Instance(
                "TRELLIS_FF",
                a_keep=1,
                p_GSR="DISABLED",
                p_CEMUX="1",
                p_CLKMUX="CLK",
                p_LSRMUX="LSR",
                p_REGSET="RESET",
                i_CLK=ClockSignal("sync"),
                i_LSR=Const(0, 1),
                i_DI=self.i,
                o_Q=self.o,
            )
        elif family == "iCE40":
            m.submodules.ff = Instance("SB_DFF", a_keep=1, i_C=ClockSignal("sync"), i_D=self.i, o_Q=self.o)
        else:
            register = Signal(reset_less=True, attrs={"keep": 1})
            m.d.sync += register.eq(self.i)
            m.d.comb += self.o.eq(register)
        return m


def unmerged(m: Module, value: Value, name: str) -> Value:
    """Return `value`, each bit a cycle later, through registers `NAME_0`, `NAME_1`, … that are not merged."""
    bits = []
    for index, bit in enumerate(value):
        m.submodules[f"{name}_{index}"] = register = UnmergedRegister()
        m.d.comb += register.i.eq(bit)
        bits.append(register.o)
    return Cat(bits)
