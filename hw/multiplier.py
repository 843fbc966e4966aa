"""A multiplier with three registers, which is one DSP block where the family has one that must be instantiated."""

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

DSP_WIDTH = 18  # bits of the widest operand


class Multiplier(wiring.Component):
    """Product of two numbers, signed or not, of up to 18 bits each.

    A DSP block with its input, pipeline and output registers in use: on a platform whose `family` is `"ecp5"` an
    instance of MULT18X18D, on one whose `device` is an iCE40 UltraPlus, and for up to 16 bits, one of SB_MAC16. yosys
    infers these blocks, but leaves the registers of the first in the fabric, which halves the clock rate, and may lose
    the second when it packs registers into it. Elsewhere three registers around `*`, from which other tools infer their
    own block. All are cycle for cycle the same.

    Latency: 3 cycles (`LATENCY`). Throughput: one product per cycle. No enable, no back-pressure, no reset. The product
    is exact, so it cannot overflow.

    Parameters
    ----------
    a_width, b_width : int
        Bits of the operands, 1 to 18.
    a_signed, b_signed : bool
        Whether each operand is two's complement. The product is signed if either is.

    Raises
    ------
    ValueError
        A width is not between 1 and 18 bits.
    """

    LATENCY = 3

    a: Signal
    b: Signal
    product: Signal

    def __init__(self, *, a_width: int, a_signed: bool = True, b_width: int, b_signed: bool = True) -> None:
        for name, width in (("a_width", a_width), ("b_width", b_width)):
            if not 1 <= width <= DSP_WIDTH:
                raise ValueError(
                    f"{name}={width} must be between 1 and {DSP_WIDTH} bits, the operand of one DSP block."
                )
        super().__init__(
            {
                "a": In(Shape(a_width, a_signed)),
                "b": In(Shape(b_width, b_signed)),
                "product": Out(Shape(a_width + b_width, a_signed or b_signed)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the DSP block or its portable twin."""
        if getattr(platform, "family", None) == "ecp5":
            return self._mult18x18d()
        if str(getattr(platform, "device", "")).startswith("iCE40UP") and max(len(self.a), len(self.b)) <= 16:
            return self._sb_mac16()
        return self._portable()

    def _portable(self) -> Module:
        m = Module()
        a = Signal(self.a.shape(), reset_less=True)
        b = Signal(self.b.shape(), reset_less=True)
        pipeline = Signal(self.product.shape(), reset_less=True)
        output = Signal(self.product.shape(), reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), pipeline.eq(a * b), output.eq(pipeline)]
        m.d.comb += self.product.eq(output)
        return m

    def _align(self, m: Module, width: int) -> tuple[Value, Value, Signal]:
        """Return the operands at the upper ends of `width` bits, and the double-width product of these.

        There they need no sign extension, which would be wires to most of a block's pins.
        """
        spare_a, spare_b = width - len(self.a), width - len(self.b)
        product = Signal(2 * width)
        m.d.comb += self.product.eq(product >> (spare_a + spare_b))
        return Cat(Const(0, spare_a), self.a), Cat(Const(0, spare_b), self.b), product

    def _mult18x18d(self) -> Module:
        m = Module()
        a, b, product = self._align(m, 18)
        ports: dict[str, Any] = {}
        for bit in range(18):
            ports[f"i_A{bit}"] = a[bit]
            ports[f"i_B{bit}"] = b[bit]
            ports[f"i_C{bit}"] = Const(0, 1)
        for bit in range(36):
            ports[f"o_P{bit}"] = product[bit]
        for register in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT"):
            ports[f"p_REG_{register}_CLK"] = "CLK0"
            ports[f"p_REG_{register}_CE"] = "CE0"
            ports[f"p_REG_{register}_RST"] = "RST0"
        m.submodules.dsp = Instance(
            "MULT18X18D",
            **ports,
            p_GSR="DISABLED",  # the registers keep their values through a global reset, like the fabric's
            p_SOURCEB_MODE="B_SHIFT",
            i_SIGNEDA=Const(int(self.a.shape().signed), 1),
            i_SIGNEDB=Const(int(self.b.shape().signed), 1),
            i_SOURCEA=Const(0, 1),
            i_SOURCEB=Const(0, 1),
            i_CLK0=ClockSignal("sync"),
            i_CE0=Const(1, 1),
            i_RST0=Const(0, 1),
        )
        return m

    def _sb_mac16(self) -> Module:
        m = Module()
        a, b, product = self._align(m, 16)
        low = (
            *("C", "D", "AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT"),
            *("OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN"),
        )
        registers = (
            *("A_REG", "B_REG", "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG"),
            *("PIPELINE_16x16_MULT_REG1", "PIPELINE_16x16_MULT_REG2"),
        )
        m.submodules.dsp = Instance(
            "SB_MAC16",
            **{f"p_{name}": Const(1, 1) for name in registers},
            **{f"i_{name}": Const(0, 16 if name in "CD" else 1) for name in low},
            p_TOPOUTPUT_SELECT=Const(3, 2),  # the registered 16 × 16 product
            p_BOTOUTPUT_SELECT=Const(3, 2),
            p_A_SIGNED=Const(int(self.a.shape().signed), 1),
            p_B_SIGNED=Const(int(self.b.shape().signed), 1),
            i_CLK=ClockSignal("sync"),
            i_CE=Const(1, 1),
            i_A=a,
            i_B=b,
            o_O=product,
        )
        return m
