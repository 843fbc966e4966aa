"""Link through a USB bridge with a parallel FIFO: FTDI's synchronous 245 mode of FT232H, FT2232H and FT600."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.framing import Deframer, Framer
from celosia.hw.link.packets import link_stream
from celosia.hw.link.skid import StreamRegister
from celosia.hw.protocol import FLAG

WIDTHS = (8, 16)
QUEUE_WORDS = 4
IN_FLIGHT = (
    3  # words that may still come when `rd_n` is about to fall: at the pins' registers, now, and in the next cycle
)


class BusMaster(wiring.Component):
    """Reads and writes the bridge's FIFOs.

    All outputs are registers; inputs go straight into one, but `txe_n`, which enables those of what is written. A
    direction is kept as long as there is something to do in it. Between two there is a cycle in which nobody drives the
    bus, and `oe_n` falls a cycle before `rd_n`.

    Throughput: a word per cycle; turning the bus around takes five cycles. Back-pressure at any time.

    Parameters
    ----------
    width : int
        Bits of the bus.

    Attributes
    ----------
    data_i, data_o, data_oe, be_i, be_o, rxf_n, txe_n, rd_n, wr_n, oe_n : Signal
        See `Fifo245Link`; `be_i` and `be_o` have a bit per byte.
    o : stream of `width` bits and a bit per byte, out
        What the host sends.
    i : stream of `width` bits and a bit per byte, in
        What the host gets.
    """

    data_i: Signal
    data_o: Signal
    data_oe: Signal
    be_i: Signal
    be_o: Signal
    rxf_n: Signal
    txe_n: Signal
    rd_n: Signal
    wr_n: Signal
    oe_n: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, width: int) -> None:
        self.width = width
        word = stream.Signature(width + width // 8)
        super().__init__(
            {
                "data_i": In(width),
                "data_o": Out(width),
                "data_oe": Out(1),
                "be_i": In(width // 8),
                "be_o": Out(width // 8),
                "rxf_n": In(1),
                "txe_n": In(1),
                "rd_n": Out(1),
                "wr_n": Out(1),
                "oe_n": Out(1),
                "i": In(word),
                "o": Out(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        readable = Signal()  # as of the cycle before, and so is `writable`
        writable = Signal()
        rd_n = Signal(init=1)
        oe_n = Signal(init=1)
        m.d.comb += [self.rd_n.eq(rd_n), self.oe_n.eq(oe_n)]
        room = Signal()
        held = Signal()  # `data_o` is to be written
        m.d.sync += [readable.eq(~self.rxf_n), writable.eq(~self.txe_n)]
        self._read(m, room)
        writing = self._write(m, held)
        with m.FSM(init="TURN_OUT"):
            with m.State("WRITE"):
                with m.If(readable & room & (~held | ~writable)):
                    m.d.sync += self.data_oe.eq(0)
                    m.next = "TURN_IN"
                with m.Else():
                    m.d.comb += writing.eq(1)
            with m.State("TURN_IN"):
                m.d.sync += oe_n.eq(0)
                m.next = "ENABLE"
            with m.State("ENABLE"):
                m.d.sync += rd_n.eq(~room)
                m.next = "READ"
            with m.State("READ"):
                with m.If(held & ~(readable & room)):
                    m.d.sync += [rd_n.eq(1), oe_n.eq(1)]
                    m.next = "TURN_OUT"
                with m.Else():
                    m.d.sync += rd_n.eq(~room)
            with m.State("TURN_OUT"):
                m.d.sync += self.data_oe.eq(1)
                m.d.comb += writing.eq(1)
                m.next = "WRITE"
        return m

    def _read(self, m: Module, room: Signal) -> None:
        """Take the word that is on the bus when both `rd_n` and `rxf_n` are low."""
        queue: Any = SyncFIFO(width=len(self.o.payload), depth=QUEUE_WORDS)
        m.submodules.queue = queue
        taken = Signal()
        word = Signal(len(self.o.payload), reset_less=True)
        m.d.sync += [taken.eq(~self.rd_n & ~self.rxf_n), word.eq(Cat(self.data_i, self.be_i))]
        m.d.comb += [
            queue.w_data.eq(word),
            queue.w_en.eq(taken),
            room.eq(queue.level <= QUEUE_WORDS - IN_FLIGHT),
            self.o.payload.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]

    def _write(self, m: Module, held: Signal) -> Signal:
        """Write a word until it is taken; return what lets us do so in the next cycle."""
        # Keeps the time that `txe_n` needs to itself.
        m.submodules.register = register = StreamRegister(len(self.i.payload))
        wiring.connect(m, wiring.flipped(self.i), register.i)
        writing = Signal()
        full = Signal()
        wr_n = Signal(init=1)
        m.d.comb += [
            self.wr_n.eq(wr_n),
            register.o.ready.eq(~held | (~wr_n & ~self.txe_n)),
            full.eq(Mux(register.o.ready, register.o.valid, 1)),
        ]
        with m.If(register.o.ready):
            m.d.sync += Cat(self.data_o, self.be_o).eq(register.o.payload)
        m.d.sync += [held.eq(full), wr_n.eq(~(full & writing))]
        return writing


class Fifo245Link(wiring.Component):
    """Link through a USB bridge; to be clocked by the bridge's clock, 60 MHz of FT232H, 66 or 100 MHz of FT600.

    The bridge sends what it has to the host when its latency timer has run out; the host should make it short.

    Throughput: a byte per cycle in either direction, not at the same time; FT600 itself would be faster.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.
    width : int
        Bits of the bus: 8 for FT232H and FT2232H, 16 for FT600.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    data_i, data_o : Signal
        The bus as it is, and what we drive.
    data_oe : Signal(1), out
        We drive the bus. Never while `oe_n` is low.
    be_i, be_o, be_oe : Signal
        With 16 bits: the bytes that count. `be_oe` is `data_oe`.
    rxf_n : Signal(1), in
        Low: there is something to read.
    txe_n : Signal(1), in
        Low: there is room to write.
    rd_n, wr_n : Signal(1), out
        Low: we read, write.
    oe_n : Signal(1), out
        Low: the bridge drives the bus.
    siwu_n : Signal(1), out
        Always high.
    """

    requests: stream.Interface
    answers: stream.Interface
    data_i: Signal
    data_o: Signal
    data_oe: Signal
    be_i: Signal
    be_o: Signal
    be_oe: Signal
    rxf_n: Signal
    txe_n: Signal
    rd_n: Signal
    wr_n: Signal
    oe_n: Signal
    siwu_n: Signal

    def __init__(self, config: AcceleratorConfig, *, width: int = 8) -> None:
        if width not in WIDTHS:
            raise ValueError(f"width={width} of a link to a FIFO must be 8, as of FT232H, or 16, as of FT600.")
        self.config, self.width = config, width
        ports = {
            "requests": Out(link_stream()),
            "answers": In(link_stream()),
            "data_i": In(width),
            "data_o": Out(width),
            "data_oe": Out(1),
            "rxf_n": In(1),
            "txe_n": In(1),
            "rd_n": Out(1),
            "wr_n": Out(1),
            "oe_n": Out(1),
            "siwu_n": Out(1),
        }
        if width > 8:
            ports |= {"be_i": In(2), "be_o": Out(2), "be_oe": Out(1)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bus = bus = BusMaster(self.width)
        m.submodules.deframer = deframer = Deframer()
        m.submodules.framer = framer = Framer()
        wiring.connect(m, deframer.o, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.answers), framer.i)
        m.d.comb += [
            bus.data_i.eq(self.data_i),
            bus.rxf_n.eq(self.rxf_n),
            bus.txe_n.eq(self.txe_n),
            self.data_o.eq(bus.data_o),
            self.data_oe.eq(bus.data_oe),
            self.rd_n.eq(bus.rd_n),
            self.wr_n.eq(bus.wr_n),
            self.oe_n.eq(bus.oe_n),
            self.siwu_n.eq(1),
        ]
        if self.width == 8:
            m.d.comb += [
                bus.be_i.eq(1),
                deframer.i.valid.eq(bus.o.valid),
                deframer.i.payload.data.eq(bus.o.payload[:8]),
                bus.o.ready.eq(deframer.i.ready),
                bus.i.valid.eq(framer.o.valid),
                bus.i.payload.eq(Cat(framer.o.payload, 1)),
                framer.o.ready.eq(bus.i.ready),
            ]
        else:
            m.d.comb += [bus.be_i.eq(self.be_i), self.be_o.eq(bus.be_o), self.be_oe.eq(bus.data_oe)]
            self._split(m, bus, deframer)
            self._pair(m, bus, framer)
        return m

    def _split(self, m: Module, bus: BusMaster, deframer: Deframer) -> None:
        """Hand over the bytes of a word that count, one by one, through a register: 100 MHz leave little time."""
        m.submodules.register = register = StreamRegister(8)
        upper = Signal()  # the lower one has gone
        second = Signal()
        ending = Signal()
        word, enable = bus.o.payload[:16], bus.o.payload[16:]
        m.d.comb += [
            second.eq(upper | ~enable[0]),
            ending.eq(second | ~enable[1]),
            register.i.valid.eq(bus.o.valid & enable.any()),
            register.i.payload.eq(Mux(second, word[8:], word[:8])),
            bus.o.ready.eq((ending & register.i.ready) | ~enable.any()),
            deframer.i.valid.eq(register.o.valid),
            deframer.i.payload.data.eq(register.o.payload),
            register.o.ready.eq(deframer.i.ready),
        ]
        with m.If(bus.o.valid & register.i.ready & enable.any()):
            m.d.sync += upper.eq(~ending)

    def _pair(self, m: Module, bus: BusMaster, framer: Framer) -> None:
        """Put two bytes into a word; a flag does not wait for a second byte, which may never come."""
        octet = Signal(8, reset_less=True)
        waiting = Signal()
        pair = Signal()
        m.d.comb += [
            pair.eq(waiting & framer.o.valid),
            bus.i.valid.eq(pair | (waiting & (octet == FLAG))),
            bus.i.payload.eq(Cat(octet, framer.o.payload, 1, pair)),
            framer.o.ready.eq(~waiting | bus.i.ready),
        ]
        with m.If(~waiting):
            m.d.sync += [octet.eq(framer.o.payload), waiting.eq(framer.o.valid)]
        with m.Elif(bus.i.valid & bus.i.ready):
            m.d.sync += waiting.eq(0)
