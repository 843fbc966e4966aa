"""Scratchpad memory: one write port with lanes, any number of read ports, registered outputs."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


def address_width(depth: int) -> int:
    """Return the bits of an address, at least one."""
    return max(1, (depth - 1).bit_length())


def read_port(width: int, depth: int) -> wiring.Signature:
    """Port of a reader: an address out, and its word READ_LATENCY cycles later."""
    return wiring.Signature({"address": Out(address_width(depth)), "data": In(width)})


def write_port(width: int, depth: int, lanes: int = 1) -> wiring.Signature:
    """Port of a writer: an enable for each lane of width / lanes bits, an address and a word."""
    return wiring.Signature({"enable": Out(lanes), "address": Out(address_width(depth)), "data": Out(width)})


class Scratchpad(wiring.Component):
    """Block RAM with one write port and `readers` read ports, each with an output register.

    A read takes `hw.timing.READ_LATENCY` cycles, one per cycle. In the cycle after a write to the same address it
    returns the new word; in the same cycle, the old word in simulation and any word in hardware: do not use it. Each
    read port beyond the first costs a copy of the memory.

    Parameters
    ----------
    width, depth : int
        Bits of a word; words.
    lanes : int
        Separately written parts of a word.
    readers : int
        Read ports, named `read_0`, `read_1`, ….
    """

    write: Any

    def __init__(self, *, width: int, depth: int, lanes: int = 1, readers: int = 1) -> None:
        self.width, self.depth, self.lanes, self.readers = width, depth, lanes, readers
        super().__init__(
            {
                "write": In(write_port(width, depth, lanes)),
                **{f"read_{index}": In(read_port(width, depth)) for index in range(readers)},
            }
        )

    @property
    def reads(self) -> list[Any]:
        """The read ports, in order."""
        return [getattr(self, f"read_{index}") for index in range(self.readers)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Nobody reads a word in the cycle in which it is written and uses it: no logic has to see to that case.
        array: Any = Memory(shape=self.width, depth=self.depth, init=[], attrs={"no_rw_check": "1"})
        m.submodules.array = array
        write = array.write_port(granularity=self.width // self.lanes if self.lanes > 1 else None)
        m.d.comb += [
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            write.en.eq(self.write.enable),
        ]
        for index, port in enumerate(self.reads):
            read = array.read_port(domain="comb")
            # The first register is the block RAM's, which its reads need; the second its output register.
            latched = Signal(self.width, name=f"latched_{index}", reset_less=True)
            word = Signal(self.width, name=f"word_{index}", reset_less=True)
            m.d.comb += [read.addr.eq(port.address), port.data.eq(word)]
            m.d.sync += [latched.eq(read.data), word.eq(latched)]
        return m
