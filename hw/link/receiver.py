"""Receiver: takes packets off the link, checks their form, and keeps two of them until they have been executed."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.crc import Crc32
from celosia.hw.link.packets import header_layout, link_stream
from celosia.hw.link.skid import StreamRegister
from celosia.hw.protocol import REQUEST_MAGIC, REQUEST_OVERHEAD, Opcode, StatusCode

HEADER_WORDS = 3


class Receiver(wiring.Component):
    """Store-and-forward receiver with two slots.

    Every packet, malformed or not, comes out of `o` once, in order; a malformed one with the status that says why. Its
    payload comes out of `o_words`. Taking `o` frees the slot and drops what is left of the payload. A packet longer
    than the slot is dropped to its `last` and comes out with status LENGTH.

    Latency: `o` is valid three cycles after the last word. Throughput: a word per cycle, plus two cycles
    per packet. Back-pressure: `i` waits while both slots are taken; `o_words` can be stalled at any time.

    Parameters
    ----------
    config : AcceleratorConfig
        The buffer is a memory of twice its `packet_words`.

    Attributes
    ----------
    i : stream of `BEAT`, in
    o : stream of `header_layout`, out
    o_words : stream of 32 bits, out
    reset_waiting : Signal(1), out
        One of the slots holds a good RESET: operations that wait ahead of it should give up.
    """

    i: stream.Interface
    o: stream.Interface
    o_words: stream.Interface
    reset_waiting: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config, self.packet_words = config, config.packet_words
        super().__init__(
            {
                "i": In(link_stream()),
                "o": Out(stream.Signature(header_layout(config))),
                "o_words": Out(stream.Signature(32)),
                "reset_waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # What is read is never what is being written: no logic for that case.
        attributes: Any = {"no_rw_check": 1}
        buffer: Any = Memory(shape=32, depth=2 * self.packet_words, init=[], attrs=attributes)
        m.submodules.buffer = buffer
        self._full = Signal(2)
        self._urgent = Signal(2)
        self._slots = [Signal(header_layout(self.config), name=f"slot_{index}", reset_less=True) for index in range(2)]
        m.d.comb += self.reset_waiting.eq((self._full & self._urgent).any())
        self._fill(m, buffer.write_port())
        self._drain(m, buffer)
        return m

    def _fill(self, m: Module, write: Any) -> None:
        """Write packets into the slots by turns."""
        m.submodules.crc = crc = Crc32()
        longest = self.packet_words + REQUEST_OVERHEAD
        slot = Signal()
        position = Signal(range(longest + 2))  # stops one beyond the longest packet
        first = Signal(init=1)
        torn = Signal()
        closing = Signal()
        judged = Signal()  # two cycles after the last word
        take = Signal()
        opens = Signal()  # the slot is free, and was so a cycle ago
        word = self.i.payload.data
        m.d.comb += [
            self.i.ready.eq(opens),
            take.eq(self.i.valid & self.i.ready),
            crc.word.eq(word),
            crc.valid.eq(take),
            crc.restart.eq(judged),
            # The payload starts at HEADER_WORDS and wraps around within its half: no second counter.
            write.addr.eq(Cat(position[: (self.packet_words - 1).bit_length()], slot)),
            write.data.eq(word),
            write.en.eq(take & (position >= HEADER_WORDS) & (position < HEADER_WORDS + self.packet_words)),
        ]
        with m.If(take):
            m.d.sync += [first.eq(self.i.payload.last), closing.eq(self.i.payload.last)]
            m.d.sync += torn.eq((torn & ~first) | self.i.payload.bad)
            with m.If(position != longest + 1):
                m.d.sync += position.eq(position + 1)
        busy = closing | (take & self.i.payload.last) | self._full.bit_select(slot, 1)
        m.d.sync += [judged.eq(closing), opens.eq(Mux(judged, ~self._full.bit_select(~slot, 1), ~busy))]
        with m.If(closing):
            m.d.sync += closing.eq(0)
        with m.If(judged):
            m.d.sync += [slot.eq(~slot), position.eq(0)]
        unfit = Signal()  # too short or too long
        corrupt = Signal()
        m.d.sync += [unfit.eq((position < REQUEST_OVERHEAD) | (position > longest)), corrupt.eq(~crc.good)]
        for index, header in enumerate(self._slots):
            with m.If(slot == index):
                with m.If(take):
                    self._store_header(m, header, position)
                with m.If(judged):
                    self._close(m, index, header, position, torn, unfit, corrupt)

    def _store_header(self, m: Module, header: Any, position: Signal) -> None:
        """Take the fields of a packet's first three words; until it is closed, `status` holds its magic byte."""
        word = self.i.payload.data
        with m.Switch(position):
            with m.Case(0):
                m.d.sync += [
                    header.status.eq(word[0:8]),
                    header.opcode.eq(word[8:16]),
                    header.sequence.eq(word[16:24]),
                    header.target.eq(word[24:32]),
                ]
            with m.Case(1):
                m.d.sync += [
                    header.address.eq(word),
                    header.far.eq(word[len(header.address) :].any()),
                    header.origin.eq(word == 0),
                ]
            with m.Case(2):
                m.d.sync += [header.count.eq(word), header.many.eq(word[len(header.count) :].any())]

    def _close(
        self, m: Module, index: int, header: Any, position: Signal, torn: Signal, unfit: Signal, corrupt: Signal
    ) -> None:
        """Judge the packet, the most general complaint first, and hand its slot over."""
        code = Signal(8, name=f"code_{index}")
        plain = header.origin & (header.target == 0) & (header.count == 0) & ~header.many
        length = position - REQUEST_OVERHEAD
        with m.If(torn):
            m.d.comb += code.eq(StatusCode.FRAMING)
        with m.Elif(unfit):
            m.d.comb += code.eq(StatusCode.LENGTH)
        with m.Elif(corrupt):
            m.d.comb += code.eq(StatusCode.CRC)
        with m.Elif(header.status != REQUEST_MAGIC):
            m.d.comb += code.eq(StatusCode.MAGIC)
        with m.Else():
            m.d.comb += code.eq(StatusCode.OK)
        m.d.sync += [
            header.status.eq(code),
            header.words.eq(length),
            self._full[index].eq(1),
            self._urgent[index].eq(
                (code == StatusCode.OK) & (header.opcode == Opcode.RESET) & plain & (position == REQUEST_OVERHEAD)
            ),
        ]

    def _drain(self, m: Module, buffer: Any) -> None:
        """Show the older slot, with its payload read ahead through registers."""
        m.submodules.register = register = StreamRegister(32)
        wiring.connect(m, register.o, wiring.flipped(self.o_words))
        # Asynchronous with a register of our own: synthesis makes that a block RAM, and heeds `no_rw_check` only then.
        read = buffer.read_port(domain="comb")
        fetched_word = Signal(32, reset_less=True)
        slot = Signal()
        index = Signal((self.packet_words - 1).bit_length(), init=HEADER_WORDS)
        fetched = Signal.like(self.o.payload.words, name="fetched")
        header = Mux(slot, Value.cast(self._slots[1]), Value.cast(self._slots[0]))
        release = Signal()
        waiting = Signal()
        valid = Signal()  # a word is at the memory's output, in the register behind it
        word = Signal(32, reset_less=True)
        shift = Signal()
        fetch = Signal()
        m.d.comb += [
            self.o.valid.eq(self._full.bit_select(slot, 1)),
            self.o.payload.eq(header),
            release.eq(self.o.valid & self.o.ready),
            shift.eq(~valid | register.i.ready),
            fetch.eq(~waiting | shift),
            read.addr.eq(Cat(index, slot)),
            register.i.valid.eq(valid),
            register.i.payload.eq(word),
            register.flush.eq(release),
        ]
        with m.If(shift):
            m.d.sync += [valid.eq(waiting), word.eq(fetched_word)]
        with m.If(fetch):
            more = self.o.valid & (fetched != self.o.payload.words)
            m.d.sync += [waiting.eq(more), fetched_word.eq(read.data)]
            with m.If(more):
                m.d.sync += [fetched.eq(fetched + 1), index.eq(index + 1)]
        with m.If(release):
            m.d.sync += [slot.eq(~slot), index.eq(HEADER_WORDS), fetched.eq(0), waiting.eq(0), valid.eq(0)]
            m.d.sync += self._full.bit_select(slot, 1).eq(0)
