"""One processing element of the weight-stationary array."""

from amaranth.hdl import Module, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.multiplier import Multiplier
from celosia.hw.systolic.adder import add
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.unmerged import UnmergedRegister


class PE(wiring.Component):
    """Holds one weight, multiplies each activation that passes by it, and adds the product to the passing psum.

    Behind the active weight waits a shadow weight. `i_shift` passes the shadow weight on to `o_weight` and replaces it
    by `i_weight`. `i_swap` makes the shadow weight active, for the activation of the same cycle and all later ones.
    Both at once make the old shadow weight active.

    Latency: 1 cycle from `i_activation`, `i_swap` and `i_shift` to their outputs; `LATENCY` cycles from `i_activation`
    to `o_psum`; 1 cycle from `i_psum` to `o_psum`. Throughput: one activation per cycle. No back-pressure. The psum is
    as wide as its worst case, so it cannot overflow.

    Parameters
    ----------
    config : SystolicConfig
        Widths of the engine.
    row : int
        Row of the PE, 0 to rows − 1. Psums start at row 0, which has no `i_psum`, and widen from row to row.
    """

    LATENCY = Multiplier.LATENCY + 2

    i_activation: Signal
    i_swap: Signal
    i_shift: Signal
    i_weight: Signal
    i_psum: Signal
    o_activation: Signal
    o_swap: Signal
    o_shift: Signal
    o_weight: Signal
    o_psum: Signal

    def __init__(self, config: SystolicConfig, *, row: int) -> None:
        activation = Shape(config.activation_width, config.activation_signed)
        weight = signed(config.weight_width)
        self._config = config
        self._row = row
        members = {
            "i_activation": In(activation),
            "i_swap": In(1),
            "i_shift": In(1),
            "i_weight": In(weight),
            "o_activation": Out(activation),
            "o_swap": Out(1),
            "o_shift": Out(1),
            "o_weight": Out(weight),
            "o_psum": Out(signed(config.psum_width(row))),
        }
        if row > 0:
            members["i_psum"] = In(signed(config.psum_width(row - 1)))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Return the registers around one multiplier."""
        m = Module()
        config = self._config
        m.submodules.multiplier = multiplier = Multiplier(
            a_width=config.activation_width, a_signed=config.activation_signed, b_width=config.weight_width
        )
        activation = Signal(self.i_activation.shape(), reset_less=True)
        shadow = Signal(self.i_weight.shape(), reset_less=True)
        # The neighbour's shift comes a cycle after this one's, when the shadow weight has already been replaced.
        leaving = Signal(self.i_weight.shape(), reset_less=True)
        active = Signal(self.i_weight.shape(), reset_less=True)
        psum = Signal(self.o_psum.shape(), reset_less=True)
        m.submodules.swap = swap = UnmergedRegister()
        m.submodules.shift = shift = UnmergedRegister()
        m.d.comb += [
            multiplier.a.eq(activation),
            multiplier.b.eq(active),
            self.o_activation.eq(activation),
            swap.i.eq(self.i_swap),
            shift.i.eq(self.i_shift),
            self.o_swap.eq(swap.o),
            self.o_shift.eq(shift.o),
            self.o_weight.eq(leaving),
            self.o_psum.eq(psum),
        ]
        m.d.sync += activation.eq(self.i_activation)
        with m.If(self.i_shift):
            m.d.sync += [shadow.eq(self.i_weight), leaving.eq(shadow)]
        with m.If(self.i_swap):
            m.d.sync += active.eq(shadow)
        total: Value = multiplier.product
        if self._row > 0:
            total = add(m, multiplier.product, self.i_psum, self.o_psum.shape(), platform)
        m.d.sync += psum.eq(total)
        return m
