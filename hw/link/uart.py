"""UART: eight data bits, no parity, one stop bit, at any rate up to a quarter of the clock's."""

from fractions import Fraction
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer  # type: ignore  # the stubs leave out amaranth.lib.cdc
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.framing import LINK_BYTE, Deframer, Framer
from celosia.hw.link.packets import link_stream

LEAST_RATIO, MOST_RATIO = 4, 1 << 20  # clock cycles per bit
RATE_ERROR = Fraction(1, 500)
QUEUE_BYTES = 32  # received bytes that wait, with flow control; when half of them do, the host is stopped


class BaudRate:
    """Phase accumulator: in every cycle `step` is added to `width` bits, and a bit of the line ends with each carry.

    Bits are a whole number of cycles, and the sum of any number of them is off by less than a cycle. `width` is the
    least with which the rate itself is off by no more than `RATE_ERROR`, 0.2 %.

    Parameters
    ----------
    clock_hz, baud : float
        Cycles and bits per second.

    Raises
    ------
    ValueError
        A rate is not positive, or there are fewer than 4 or more than 2**20 cycles per bit.
    """

    def __init__(self, clock_hz: float, baud: float) -> None:
        for name, rate in (("clock_hz", clock_hz), ("baud", baud)):
            if not 0 < rate < float("inf"):
                raise ValueError(f"{name}={rate} of a UART must be above 0.")
        self.cycles = Fraction(clock_hz) / Fraction(baud)
        if not LEAST_RATIO <= self.cycles <= MOST_RATIO:
            lowest, highest = clock_hz / MOST_RATIO, clock_hz / LEAST_RATIO
            raise ValueError(
                f"baud={baud:g} of a UART at clock_hz={clock_hz:g} is {float(self.cycles):.6g} cycles per bit; it must "
                f"be {LEAST_RATIO} to {MOST_RATIO}, so baud from {lowest:g} to {highest:g}."
            )
        self.width = LEAST_RATIO.bit_length() - 1
        while abs(self.error) > RATE_ERROR:
            self.width += 1

    @property
    def step(self) -> int:
        """What is added in every cycle."""
        return round((1 << self.width) / self.cycles)

    @property
    def error(self) -> Fraction:
        """How much faster than asked for the line is, as a share."""
        return self.step * self.cycles / (1 << self.width) - 1


class UartReceiver(wiring.Component):
    """Receiver.

    A start bit must stay low up to its middle, in every cycle, or it was a glitch. A byte whose stop bit is 0, and one
    that arrives while the one before has not been taken, is dropped, and the byte after it says so: `torn`. Until the
    line has been high, as after a break or when the device starts, nothing is received.

    The other end's rate may be off by 2.5 % from 4 cycles per bit, by 3.5 % from 8: measured, without an error in 40
    times six bytes back to back at random phases, 2.8 % at 4, 3.2 % at 4.76, 3.8 % at 8.33 and 4.6 % at 16.67 and more.
    `o` has to be taken within ten bits.

    Latency: a byte is offered half a bit before its stop bit ends, plus three cycles. Throughput: bytes may follow each
    other without a pause. Back-pressure: none, see above.

    Parameters
    ----------
    clock_hz, baud : float
        See `BaudRate`.

    Attributes
    ----------
    rx : Signal(1), in
        The line, high when idle. It passes through two flip-flops.
    o : stream of `LINK_BYTE`, out
    """

    rx: Signal
    o: stream.Interface

    def __init__(self, clock_hz: float, baud: float) -> None:
        self.rate = BaudRate(clock_hz, baud)
        super().__init__({"rx": In(1), "o": Out(stream.Signature(LINK_BYTE))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal()
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=0)
        middle = 1 << self.rate.width - 1
        phase = Signal(self.rate.width, init=middle)
        total = Signal(self.rate.width + 1)
        # The start bit comes out at the lower end when the eight behind it are in; without one, all are 1.
        bits = Signal(9, init=0x1FF)
        idle = Signal()
        silent = Signal(init=1)  # the line has to become high first
        lost = Signal()
        sample = Signal()
        m.d.comb += [
            idle.eq(bits.all()),
            total.eq(phase + self.rate.step),
            sample.eq(total[-1]),
        ]
        with m.If(line):
            m.d.sync += silent.eq(0)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        m.d.sync += phase.eq(total)
        with m.If(idle & (line | silent)):
            m.d.sync += phase.eq(middle)
        with m.Elif(sample & bits[0]):
            m.d.sync += bits.eq(Cat(bits[1:], line))
        with m.Elif(sample):
            m.d.sync += [bits.eq(0x1FF), silent.eq(~line), phase.eq(middle)]
            with m.If(line & (~self.o.valid | self.o.ready)):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(bits[1:]),
                    self.o.payload.torn.eq(lost),
                    lost.eq(0),
                ]
            with m.Else():
                m.d.sync += lost.eq(1)
        return m


class UartTransmitter(wiring.Component):
    """Transmitter.

    Latency: the start bit begins in the cycle after a byte has been taken. Throughput: ten bits per byte, without a
    pause between them. Back-pressure: `i` waits until the line is free.

    Parameters
    ----------
    clock_hz, baud : float
        See `BaudRate`.

    Attributes
    ----------
    tx : Signal(1), out
        The line, high when idle; straight from a flip-flop.
    i : stream of 8 bits, in
    """

    tx: Signal
    i: stream.Interface

    def __init__(self, clock_hz: float, baud: float) -> None:
        self.rate = BaudRate(clock_hz, baud)
        super().__init__({"tx": Out(1), "i": In(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        phase = Signal(self.rate.width)
        total = Signal(self.rate.width + 1)
        bit_end = Signal()
        bits = Signal(10, init=1)  # what is left to send; the stop bit is the highest one
        busy = Signal()
        ending = Signal(init=1)  # only the stop bit is left
        m.d.comb += [
            self.tx.eq(bits[0]),
            total.eq(phase + self.rate.step),
            self.i.ready.eq(ending & (~busy | bit_end)),
        ]
        # The phase is a cycle ahead, so that the end of a bit is in a register.
        with m.If(busy):
            m.d.sync += [phase.eq(total), bit_end.eq(total[-1])]
        with m.Else():
            m.d.sync += [phase.eq(self.rate.step), bit_end.eq(0)]
        with m.If(self.i.ready):
            m.d.sync += busy.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [bits.eq(Cat(0, self.i.payload, 1)), ending.eq(0)]
        with m.Elif(bit_end & ~ending):
            m.d.sync += [bits.eq(bits[1:]), ending.eq(bits[2:] == 0)]
        return m


class UartLink(wiring.Component):
    """Link through a serial port.

    Without flow control nothing is lost as long as the host has no more than `celosia.hw.protocol.OUTSTANDING` requests
    unanswered, as the protocol asks of it.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.
    clock_hz, baud : float
        See `BaudRate`.
    flow_control : bool
        Have wires `rts_n` and `cts_n`. A host that is stopped may still send 16 bytes.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    rx : Signal(1), in
    tx : Signal(1), out
    rts_n : Signal(1), out
        Low: the host may send.
    cts_n : Signal(1), in
        Low: the host takes bytes; no byte is begun while it is high. It passes through two flip-flops.
    """

    requests: stream.Interface
    answers: stream.Interface
    rx: Signal
    tx: Signal
    rts_n: Signal
    cts_n: Signal

    def __init__(self, config: AcceleratorConfig, *, clock_hz: float, baud: float, flow_control: bool = False) -> None:
        self.config, self.flow_control = config, flow_control
        self._receiver = UartReceiver(clock_hz, baud)
        self._transmitter = UartTransmitter(clock_hz, baud)
        ports = {"requests": Out(link_stream()), "answers": In(link_stream()), "rx": In(1), "tx": Out(1)}
        if flow_control:
            ports |= {"rts_n": Out(1), "cts_n": In(1)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.deframer = deframer = Deframer()
        m.submodules.framer = framer = Framer()
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        wiring.connect(m, deframer.o, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.answers), framer.i)
        if self.flow_control:
            self._control(m, deframer, framer)
        else:
            wiring.connect(m, receiver.o, deframer.i)
            wiring.connect(m, framer.o, transmitter.i)
        return m

    def _control(self, m: Module, deframer: Deframer, framer: Framer) -> None:
        """Queue what comes in, and send only while the host lets us."""
        queue: Any = SyncFIFOBuffered(width=9, depth=QUEUE_BYTES)
        m.submodules.queue = queue
        hold = Signal()
        m.submodules.hold = FFSynchronizer(self.cts_n, hold, init=1)
        receiver, transmitter = self._receiver, self._transmitter
        m.d.comb += [
            queue.w_data.eq(receiver.o.payload),
            queue.w_en.eq(receiver.o.valid),
            receiver.o.ready.eq(queue.w_rdy),
            deframer.i.valid.eq(queue.r_rdy),
            deframer.i.payload.eq(queue.r_data),
            queue.r_en.eq(deframer.i.ready),
            transmitter.i.payload.eq(framer.o.payload),
            transmitter.i.valid.eq(framer.o.valid & ~hold),
            framer.o.ready.eq(transmitter.i.ready & ~hold),
        ]
        m.d.sync += self.rts_n.eq(queue.level >= QUEUE_BYTES // 2)
