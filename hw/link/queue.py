"""A queue in a memory, for words whose room was reserved before they came."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.block_shapes import SMALL


class Queue(wiring.Component):
    """First in, first out. Whoever pushes knows that there is room; nothing here says so.

    Latency: two cycles; three with more than SMALL words, which take a block RAM with a slow output. Throughput: a word
    per cycle.

    Parameters
    ----------
    width : int
        Bits of a word.
    room : int
        Words that fit.

    Attributes
    ----------
    push, word : Signal, in
        A word to keep.
    o : stream of `width` bits, out
    """

    push: Signal
    word: Signal
    o: stream.Interface

    def __init__(self, width: int, room: int) -> None:
        self.room = room
        super().__init__({"push": In(1), "word": In(width), "o": Out(stream.Signature(width))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # A word is read in a later cycle than the one it is written in: no logic for what is read while written. The
        # read port is asynchronous with a register of our own: synthesis can make that a block RAM, and heeds
        # `no_rw_check` only then.
        attributes: Any = {"no_rw_check": 1}
        if self.room <= SMALL and getattr(platform, "family", None) == "ecp5":
            attributes["ram_style"] = "distributed"  # a word is there sooner than from a block RAM
        words: Any = Memory(shape=len(self.word), depth=self.room, init=[], attrs=attributes)
        m.submodules.words = words
        write, read = words.write_port(), words.read_port(domain="comb")
        stored = Signal(range(self.room + 1))  # in the memory
        fetch = Signal()
        m.d.comb += [write.en.eq(self.push), write.data.eq(self.word)]
        m.d.sync += stored.eq(stored + self.push - fetch)
        for port, strobe in ((write, self.push), (read, fetch)):
            with m.If(strobe):
                m.d.sync += port.addr.eq(Mux(port.addr == self.room - 1, 0, port.addr + 1))
        stages = range(1 if self.room <= SMALL else 2)
        valids = [Signal(name=f"valid_{stage}") for stage in stages]
        registers = [Signal(len(self.word), name=f"word_{stage}", reset_less=True) for stage in stages]
        m.d.comb += [self.o.valid.eq(valids[-1]), self.o.payload.eq(registers[-1])]
        moves: Any = self.o.ready
        for stage in reversed(stages):
            moves = ~valids[stage] | moves  # what is here is taken, and what comes next takes its place
            comes, word = (valids[stage - 1], registers[stage - 1]) if stage else (stored != 0, read.data)
            with m.If(moves):
                m.d.sync += [valids[stage].eq(comes), registers[stage].eq(word)]
        m.d.comb += fetch.eq(moves & (stored != 0))
        return m
