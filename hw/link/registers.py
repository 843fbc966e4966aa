"""Registers of an accelerator on a processor's bus: what links on AXI4-Lite and Wishbone share."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.bus_registers import ADDRESS_WIDTH, BUS_REGISTERS, MAGIC, REQUEST_ROOM, find_register
from celosia.hw.config import PROTOCOL_VERSION, AcceleratorConfig
from celosia.hw.link.packets import link_stream
from celosia.hw.link.queue import Queue


class BusRegisters(wiring.Component):
    """The registers of `celosia.hw.bus_registers`, with a queue for requests and a register for answers.

    A read or a write takes the cycle in which it is asked for: `read_data` and the errors are valid in it,
    combinationally. A read and a write may come in the same cycle. After RECEIVE, the next word waits two cycles later.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    read, read_address, read_data, read_error : Signal
        `read` asks for the word at a byte address.
    write, write_address, write_data, write_select, write_error : Signal
        `write` asks for a word to be written; `write_select` has a bit for each of its bytes.
    """

    requests: stream.Interface
    answers: stream.Interface
    read: Signal
    read_address: Signal
    read_data: Signal
    read_error: Signal
    write: Signal
    write_address: Signal
    write_data: Signal
    write_select: Signal
    write_error: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "requests": Out(link_stream()),
                "answers": In(link_stream()),
                "read": In(1),
                "read_address": In(ADDRESS_WIDTH),
                "read_data": Out(32),
                "read_error": Out(1),
                "write": In(1),
                "write_address": In(ADDRESS_WIDTH),
                "write_data": In(32),
                "write_select": In(4),
                "write_error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(33, REQUEST_ROOM)
        room = Signal(range(REQUEST_ROOM + 1), init=REQUEST_ROOM)
        push = Signal()
        pop = Signal()
        ending = Signal()  # the word ends its packet
        m.d.comb += [
            ending.eq(self.write_address == find_register("SEND_LAST").offset),
            self.write_error.eq(
                ~(ending | (self.write_address == find_register("SEND").offset))
                | ~self.write_select.all()
                | (room == 0)
            ),
            push.eq(self.write & ~self.write_error),
            pop.eq(queue.o.valid & self.requests.ready),
            queue.word.eq(Cat(self.write_data, ending)),
            queue.push.eq(push),
            queue.o.ready.eq(self.requests.ready),
            self.requests.valid.eq(queue.o.valid),
            self.requests.payload.data.eq(queue.o.payload),
            self.requests.payload.last.eq(queue.o.payload[32]),
        ]
        m.d.sync += room.eq(room + pop - push)
        self._answer(m, room)
        return m

    def _answer(self, m: Module, room: Signal) -> None:
        """Give what is asked for; keep a word of an answer."""
        word = Signal(32, reset_less=True)
        last = Signal(reset_less=True)
        waiting = Signal()
        m.d.comb += self.answers.ready.eq(~waiting)
        with m.If(self.answers.valid & ~waiting):
            m.d.sync += [waiting.eq(1), word.eq(self.answers.payload.data), last.eq(self.answers.payload.last)]
        config_hash = int(self.config.hash, 16)
        status = Signal(32)
        values = {
            "IDENT": MAGIC,
            "VERSION": PROTOCOL_VERSION,
            "HASH_LOW": config_hash & 0xFFFFFFFF,
            "HASH_HIGH": config_hash >> 32,
            "STATUS": status,
            "RECEIVE": word,
        }
        bits = {"WAITING": waiting, "LAST": waiting & last, "ROOM": room}
        for field in find_register("STATUS").fields:
            m.d.comb += status[field.low : field.low + field.width].eq(bits[field.name])
        with m.Switch(self.read_address):
            for register in BUS_REGISTERS:
                if register.access == "R":
                    with m.Case(register.offset):
                        m.d.comb += self.read_data.eq(values[register.name])
                        if register.name == "RECEIVE":
                            m.d.comb += self.read_error.eq(~waiting)
                            with m.If(self.read & waiting):
                                m.d.sync += waiting.eq(0)
            with m.Default():
                m.d.comb += self.read_error.eq(1)
