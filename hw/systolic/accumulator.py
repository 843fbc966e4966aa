"""Accumulators: a memory of sums below each column of the array."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.memory import Scratchpad, address_width
from celosia.hw.pipeline import delay
from celosia.hw.systolic.adder import add
from celosia.hw.timing import READ_LATENCY


def accumulate_port(depth: int) -> wiring.Signature:
    """What an accumulator is told with each beat: its row, and whether the beat starts or ends a sum."""
    return wiring.Signature({"valid": Out(1), "first": Out(1), "last": Out(1), "address": Out(address_width(depth))})


class Accumulator(wiring.Component):
    """Sums of one column, one row of sums per activation vector in flight.

    For each beat, `i` says which row the partial sum is added to, or starts; `psum` comes READ_LATENCY cycles later.
    With `lookup`, which holds for a layer, `entry` is added instead of the psum, and comes when that would.
    The sum is in memory HAZARD_CYCLES after `i`: two beats for the same row must be that far apart. What came in `i`
    goes on to the next column in `o`, one cycle later, like the psums. One beat per cycle; no back-pressure. Sums wrap:
    the compiler proves from the weights that they cannot overflow.

    Parameters
    ----------
    psum_width, entry_width, width : int
        Bits of a partial sum, of an entry of a lookup table (0: there are none), and of an accumulator, all signed.
    depth : int
        Rows, a power of two.
    """

    i: Any
    o: Any
    psum: Signal
    entry: Signal
    lookup: Signal
    read_address: Signal
    read_data: Signal

    def __init__(self, *, psum_width: int, entry_width: int, width: int, depth: int) -> None:
        self.psum_width, self.entry_width, self.width, self.depth = psum_width, entry_width, width, depth
        lookup = {"entry": In(signed(entry_width)), "lookup": In(1)} if entry_width else {}
        super().__init__(
            {
                "i": In(accumulate_port(depth)),
                "o": Out(accumulate_port(depth)),
                "psum": In(signed(psum_width)),
                **lookup,
                "read_address": In(address_width(depth)),
                "read_data": Out(signed(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sums = sums = Scratchpad(width=self.width, depth=self.depth, readers=2)
        first = Signal(reset_less=True)
        address = Signal.like(self.o.address, reset_less=True)
        total = Signal(signed(self.width), reset_less=True)
        goes_on = ~delay(m, first, READ_LATENCY - 1, "first")
        summand: Value = Mux(self.lookup, self.entry, self.psum) if self.entry_width else self.psum
        m.d.sync += [
            self.o.valid.eq(self.i.valid),
            address.eq(self.i.address),
            first.eq(self.i.first),
            self.o.last.eq(self.i.last),
            total.eq(add(m, summand, sums.reads[0].data.as_signed(), total.shape(), platform, keep=goes_on)),
        ]
        m.d.comb += [
            self.o.address.eq(address),
            self.o.first.eq(first),
            sums.reads[0].address.eq(self.i.address),
            sums.write.enable.eq(delay(m, self.o.valid, READ_LATENCY, "valid", reset=True)),
            sums.write.address.eq(delay(m, address, READ_LATENCY, "address")),
            sums.write.data.eq(total),
            sums.reads[1].address.eq(self.read_address),
            self.read_data.eq(sums.reads[1].data),
        ]
        return m
