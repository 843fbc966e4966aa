"""Ring: streamed weights pass through a part of the weight memory."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.memory import address_width, write_port
from celosia.hw.pipeline import delay
from celosia.hw.protocol import RUN_FIELDS


class WeightRing(wiring.Component):
    """Turns the weight memory from `base` up into a ring that streamed weights pass through.

    A word is `available` in the cycle after it was accepted, and written then; `take`, in the cycle before the one in
    which `read_address` is read, frees its place and moves `read_address` on. With `base` at the memory's depth there
    is no ring. While nothing is `running` it is emptied; `base` is then that of the next run from the last cycle on.
    """

    i: stream.Interface
    running: Signal
    base: Signal
    write: Any
    available: Signal
    read_address: Signal
    take: Signal

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "running": In(1),
                "base": In(RUN_FIELDS["ring_base"]),
                "write": Out(write_port(width, depth)),
                "available": Out(1),
                "read_address": Out(address_width(depth)),
                "take": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waiting = Signal(range(self.depth + 1))
        room = Signal(range(self.depth + 1))
        write_address = Signal(address_width(self.depth), reset_less=True)
        has_room = Signal()
        accept = Signal()
        m.d.comb += [
            self.i.ready.eq(self.running & has_room),
            accept.eq(self.i.valid & self.i.ready),
            self.write.enable.eq(delay(m, accept, 1, "accepted", reset=True)),
            self.write.address.eq(delay(m, write_address, 1, "accepted_address")),
            self.write.data.eq(delay(m, self.i.payload, 1, "accepted_word")),
        ]
        m.d.sync += [
            waiting.eq(waiting + _change(accept, self.take, waiting)),
            self.available.eq(accept | waiting[1:].any() | (waiting[0] & ~self.take)),
            room.eq(room + _change(self.take, accept, room)),
            has_room.eq(self.take | room[1:].any() | (room[0] & ~accept)),
        ]
        for moves, address in ((accept, write_address), (self.take, self.read_address)):
            with m.If(moves):
                m.d.sync += address.eq(Mux(address == self.depth - 1, self.base, address + 1))
        with m.If(~self.running):
            m.d.sync += [
                waiting.eq(0),
                self.available.eq(0),
                room.eq(self.depth - self.base),
                has_room.eq(self.base != self.depth),
                write_address.eq(self.base),
                self.read_address.eq(self.base),
            ]
        return m


def _change(more: Value, less: Value, count: Signal) -> Value:
    """Return 1, 0 or −1, modulo the count's size: both signals in one adder."""
    return Cat(more ^ less, (less & ~more).replicate(len(count) - 1))
