"""Sender: a short queue of answer words, and the CRC behind them."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.link.crc import Crc32
from celosia.hw.link.packets import link_stream
from celosia.hw.link.queue import Queue


class Sender(wiring.Component):
    """Queue that turns words into packets on the link.

    Whoever pushes must have reserved the room before: `reserve` words in a cycle in which `room` is at least as many.
    So data of fixed latency never has to wait. The word pushed with `last` ends the packet; the CRC follows by itself.

    Latency: that of the queue and a cycle. Throughput: a word per cycle, plus one cycle per packet for the CRC.

    Parameters
    ----------
    room : int
        Words that fit, 4 or more.

    Attributes
    ----------
    reserve : Signal, in
        Words to reserve in this cycle.
    room : Signal, out
        Words not yet reserved.
    space : Signal(1), out
        There was room for two words in the cycle before.
    push, word, last : Signal, in
        A word that was reserved in this cycle or earlier.
    o : stream of `BEAT`, out
    """

    reserve: Signal
    room: Signal
    space: Signal
    push: Signal
    word: Signal
    last: Signal
    o: stream.Interface

    def __init__(self, room: int) -> None:
        self.words = room
        super().__init__(
            {
                "reserve": In(range(room + 1)),
                "room": Out(range(room + 1)),
                "space": Out(1),
                "push": In(1),
                "word": In(32),
                "last": In(1),
                "o": Out(link_stream()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(33, self.words)
        m.submodules.crc = crc = Crc32()
        room = Signal(range(self.words + 1), init=self.words)
        ending = Signal()  # the CRC is what goes out next
        sent = Signal()
        pop = Signal()
        push = Signal()
        word = Signal(33, reset_less=True)
        m.d.sync += [push.eq(self.push), word.eq(Cat(self.word, self.last))]
        m.d.comb += [
            self.room.eq(room),
            queue.word.eq(word),
            queue.push.eq(push),
            sent.eq(self.o.valid & self.o.ready),
            pop.eq(sent & ~ending),
            queue.o.ready.eq(pop),
            crc.word.eq(queue.o.payload[:32]),
            crc.valid.eq(pop),
            crc.restart.eq(sent & ending),
        ]
        with m.If(ending):
            m.d.comb += [self.o.valid.eq(1), self.o.payload.data.eq(crc.crc), self.o.payload.last.eq(1)]
        with m.Else():
            m.d.comb += [self.o.valid.eq(queue.o.valid), self.o.payload.data.eq(queue.o.payload[:32])]
        with m.If(sent):
            m.d.sync += ending.eq(~ending & queue.o.payload[32])
        m.d.sync += [room.eq(room - self.reserve + pop), self.space.eq(room > 1)]
        return m
