"""Scratchpad memory: one write port with lanes, any number of read ports, registered outputs."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.block_ram import add_block_ram, suits


def address_width(depth: int) -> int:
    """Return the bits of an address, at least one."""
    return max(1, (depth - 1).bit_length())


def read_port(width: int, depth: int, banks: int = 1) -> wiring.Signature:
    """Port of a reader: an address out, for each bank if there are several, and a word READ_LATENCY cycles later."""
    return wiring.Signature({"address": Out(_addresses(depth, banks)), "data": In(width)})


def write_port(width: int, depth: int, lanes: int = 1, banks: int = 1) -> wiring.Signature:
    """Port of a writer: an enable for each lane or bank, an address, for each bank if there are several, and a word."""
    return wiring.Signature(
        {"enable": Out(lanes * banks), "address": Out(_addresses(depth, banks)), "data": Out(width)}
    )


def _addresses(depth: int, banks: int) -> Any:
    return data.ArrayLayout(address_width(depth), banks) if banks > 1 else address_width(depth)


def addresses_of(port: Any) -> list[Any]:
    """Return the address of a port, or those of its banks."""
    address = port.address
    return [address[bank] for bank in range(address.shape().length)] if isinstance(address, data.View) else [address]


class Scratchpad(wiring.Component):
    """Block RAM with one write port and `readers` read ports, each with an output register.

    A read takes `hw.timing.READ_LATENCY` cycles, one per cycle. In the cycle after a write to the same address it
    returns the new word; in the same cycle, the old word in simulation and any word in hardware: do not use it. Each
    read port beyond the first costs a copy of the memory. On a platform whose `family` is `"ecp5"` the output register
    is the block RAM's own; on others it is for the tools to find.

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
        if not suits(self.depth, platform):
            self._infer(m)
            return m
        given = {"lanes": self.lanes, "write": self.write, "depth": self.depth}
        for index, port in enumerate(self.reads):
            m.d.comb += port.data.eq(add_block_ram(m, f"block_{index}", read_address=port.address, **given))
        return m

    def _infer(self, m: Module) -> None:
        """Make a memory that tools find a place for."""
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


class BankedScratchpad(wiring.Component):
    """Scratchpads side by side, equal parts of a word, each read and written at an address of its own.

    Reads and writes are those of a `Scratchpad`; bank 0 has the least significant bits.

    Parameters
    ----------
    width, depth : int
        Bits of a word, a multiple of `banks`; words.
    banks : int
        Parts of a word, 2 or more.
    """

    write: Any
    read_0: Any

    def __init__(self, *, width: int, depth: int, banks: int) -> None:
        self.width, self.depth, self.banks = width, depth, banks
        super().__init__(
            {
                "write": In(write_port(width, depth, banks=banks)),
                "read_0": In(read_port(width, depth, banks)),
            }
        )

    @property
    def reads(self) -> list[Any]:
        """The read port."""
        return [self.read_0]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        part = self.width // self.banks
        for index in range(self.banks):
            bank = Scratchpad(width=part, depth=self.depth)
            m.submodules[f"bank_{index}"] = bank
            m.d.comb += [
                bank.write.enable.eq(self.write.enable[index]),
                bank.write.address.eq(self.write.address[index]),
                bank.write.data.eq(self.write.data.word_select(index, part)),
                bank.reads[0].address.eq(self.read_0.address[index]),
                self.read_0.data.word_select(index, part).eq(bank.reads[0].data),
            ]
        return m
