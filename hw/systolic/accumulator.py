"""Accumulators: a memory of sums below each column of the array."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.memory import Scratchpad, address_width
from celosia.hw.pipeline import delay
from celosia.hw.timing import READ_LATENCY

class Accumulator(wiring.Component):
    """Sums of one column, one row of sums per activation vector in flight.

    For each beat, the partial sum is added to the row it names, or starts it. `psum` comes READ_LATENCY cycles after its
    control, and the sum is in memory HAZARD_CYCLES after it. Two beats for the same row must be that far apart.
    One beat per cycle; no back-pressure. Sums wrap: the compiler proves from the weights that they cannot overflow.

    Parameters
    ----------
    psum_width, width : int
        Bits of a partial sum and of an accumulator, both signed.
    depth : int
        Rows, a power of two.
    """

    def __init__(self, *, psum_width: int, width: int, depth: int) -> None:
        self.psum_width, self.width, self.depth = psum_width, width, depth
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "address": In(address_width(depth)),
                "psum": In(signed(psum_width)),
                "read_address": In(address_width(depth)),
                "read_data": Out(signed(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.sums = sums = Scratchpad(width=self.width, depth=self.depth, readers=2)
        first = delay(m, self.first, READ_LATENCY, "first")
        total = Signal(signed(self.width), reset_less=True)
        m.d.sync += total.eq(self.psum + Mux(first, 0, sums.read_0.data.as_signed()))
        m.d.comb += [
            sums.read_0.address.eq(self.address),
            sums.write.enable.eq(delay(m, self.valid, READ_LATENCY + 1, "valid", reset=True)),
            sums.write.address.eq(delay(m, self.address, READ_LATENCY + 1, "address")),
            sums.write.data.eq(total),
            sums.read_1.address.eq(self.read_address),
            self.read_data.eq(sums.read_1.data),
        ]
        return m
