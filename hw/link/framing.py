"""Framing: packets on a link that carries bytes, as HDLC does it; see `celosia.hw.protocol`."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.packets import link_stream
from celosia.hw.protocol import ESCAPE, ESCAPE_XOR, FLAG

LINK_BYTE = data.StructLayout({"data": 8, "torn": 1})
"""One byte as it arrived. `torn`: the link has lost something between the byte before and this one."""


class Deframer(wiring.Component):
    """Finds packets among bytes, and the words in them.

    A word is held back until the byte behind it says whether it is the packet's last. Every frame that is not empty
    ends with one beat `last`. That one is also `bad` if the frame ends with an escape (abort) or within a word, or if
    the link lost something since the flag before it. The bytes that a last word lacks are 0. A frame of nothing but
    something lost is one bad word of 0.

    Latency: a beat is offered, combinationally, with the byte that ends its word's wait. Throughput: a byte per cycle.
    Back-pressure at any time; `i` waits only with a byte that needs the held word to leave.

    Attributes
    ----------
    i : stream of `LINK_BYTE`, in
    o : stream of `BEAT`, out
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(LINK_BYTE)), "o": Out(link_stream())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = [Signal(8, name=f"word_{index}") for index in range(4)]
        count = Signal(range(5))  # bytes in the word
        full = count[2]
        escaped = Signal()
        torn = Signal()
        flag = Signal()
        escape = Signal()
        spoilt = Signal()
        emit = Signal()
        take = Signal()
        byte = self.i.payload.data
        m.d.comb += [
            flag.eq(byte == FLAG),
            escape.eq((byte == ESCAPE) & ~escaped),
            spoilt.eq(torn | self.i.payload.torn | escaped),
            self.o.payload.last.eq(flag),
            self.o.payload.bad.eq(flag & (spoilt | ~full)),
            self.o.valid.eq(self.i.valid & emit),
            self.i.ready.eq(~emit | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        for index in range(4):
            m.d.comb += self.o.payload.data[8 * index : 8 * index + 8].eq(word[index])
        with m.If(flag):
            m.d.comb += emit.eq(spoilt | (count != 0))
        with m.Else():
            m.d.comb += emit.eq(full & ~escape)
        with m.If(take):
            m.d.sync += [escaped.eq(escape), torn.eq(torn | self.i.payload.torn)]
            with m.If(flag):
                m.d.sync += [count.eq(0), torn.eq(0), *(part.eq(0) for part in word)]
            with m.Elif(~escape):
                m.d.sync += count.eq((count & 3) + 1)
                plain = Signal(8)
                m.d.comb += plain.eq(byte ^ (escaped << ESCAPE_XOR.bit_length() - 1))
                for index, part in enumerate(word):
                    with m.If(count[:2] == index):
                        m.d.sync += part.eq(plain)
                    with m.Elif(count[:2] == 0):
                        m.d.sync += part.eq(0)
        return m


class Framer(wiring.Component):
    """Turns packets into bytes, with a flag before and after each; packets that follow at once share one.

    `bad` is not looked at: an accelerator's answers are never bad.

    Latency: a beat's first byte is offered combinationally, one cycle later if a flag has to go first. Throughput: a
    byte per cycle, at least four per word. Back-pressure at any time.

    Attributes
    ----------
    i : stream of `BEAT`, in
    o : stream of 8 bits, out
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__({"i": In(link_stream()), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        index = Signal(2)  # of the byte in its word
        escaped = Signal()
        escape = Signal()
        octet = Signal(8)
        with m.Switch(index):
            for place in range(4):
                with m.Case(place):
                    m.d.comb += octet.eq(self.i.payload.data[8 * place : 8 * place + 8])
        m.d.comb += escape.eq(~escaped & ((octet == FLAG) | (octet == ESCAPE)))
        with m.FSM():
            with m.State("OPEN"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.eq(FLAG)]
                with m.If(self.i.valid & self.o.ready):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(self.i.valid)
                with m.If(escape):
                    m.d.comb += self.o.payload.eq(ESCAPE)
                with m.Else():
                    m.d.comb += self.o.payload.eq(octet ^ (escaped << ESCAPE_XOR.bit_length() - 1))
                    m.d.comb += self.i.ready.eq((index == 3) & self.o.ready)
                with m.If(self.i.valid & self.o.ready):
                    m.d.sync += [escaped.eq(escape), index.eq(index + ~escape)]
                    with m.If(~escape & (index == 3) & self.i.payload.last):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                with m.If(self.o.ready):
                    m.next = "OPEN"
                    with m.If(self.i.valid):
                        m.next = "SEND"
        return m


class ByteLink(wiring.Component):
    """Link of a stream of bytes in each direction, such as a USB or network core's.

    Latency, throughput, back-pressure: see `Deframer` and `Framer`.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    i, o : stream of 8 bits
        From and to the host.
    """

    requests: stream.Interface
    answers: stream.Interface
    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        byte = stream.Signature(8)
        super().__init__({"requests": Out(link_stream()), "answers": In(link_stream()), "i": In(byte), "o": Out(byte)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.deframer = deframer = Deframer()
        m.submodules.framer = framer = Framer()
        m.d.comb += [
            deframer.i.valid.eq(self.i.valid),
            deframer.i.payload.data.eq(self.i.payload),
            self.i.ready.eq(deframer.i.ready),
        ]
        wiring.connect(m, deframer.o, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.answers), framer.i)
        wiring.connect(m, framer.o, wiring.flipped(self.o))
        return m
