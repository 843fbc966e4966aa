"""Command processor: executes the packets of the link on a core, one after the other, and answers each."""

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import HOST_READ_LATENCY, core_port
from celosia.hw.link.checker import Checker
from celosia.hw.link.gather import Gather
from celosia.hw.link.packets import header_layout, link_stream
from celosia.hw.link.receiver import Receiver
from celosia.hw.link.report import Identity, Report
from celosia.hw.link.run import RunLoader
from celosia.hw.link.scatter import Scatter
from celosia.hw.link.sender import Sender
from celosia.hw.protocol import ANSWER_MAGIC, WAIT, Opcode, StatusCode, Target

assert Identity.LATENCY == Report.LATENCY == HOST_READ_LATENCY

FACTS = data.StructLayout(
    {**{verb.name.lower(): 1 for verb in Opcode}, "to_weights": 1, "to_inputs": 1, "from_results": 1, "wait": 1}
)
"""What a header says, decoded."""


class CommandProcessor(wiring.Component):
    """Receiver, checker, the parts that execute a packet, and sender; see `celosia.hw.protocol` for the packets.

    Every packet gets exactly one answer. A packet is checked before it changes anything. Operations on the streams of a
    run wait for the core; they end with an error when the run ends, or when a RESET waits behind them.

    Throughput: a link word per cycle in both directions; about a dozen cycles per packet, which overlap the reception
    of the next one. Back-pressure on both sides of the link at any time.

    Attributes
    ----------
    i : stream of `BEAT`, in
    o : stream of `BEAT`, out
    core : core_port, out
        To the core.
    error : Signal(8)
        No port. StatusCode of the first error since the last reset.
    """

    i: stream.Interface
    o: stream.Interface
    core: Any

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.error = Signal(8)
        super().__init__({"i": In(link_stream()), "o": Out(link_stream()), "core": Out(core_port(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        room = self.config.answer_words
        m.submodules.receiver = self._receiver = Receiver(self.config)
        m.submodules.packet_checker = self._checker = Checker(self.config)
        m.submodules.gather = self._gather = Gather(self.config)
        m.submodules.run = self._run = RunLoader(self.config)
        m.submodules.identity = self._identity = Identity(self.config)
        m.submodules.report = self._report = Report(self.config)
        m.submodules.scatter = self._scatter = Scatter(self.config, room)
        m.submodules.sender = self._sender = Sender(room)

        self._header: Any = Signal(header_layout(self.config), reset_less=True)  # of the packet that is being executed
        self._facts: Any = Signal(FACTS, reset_less=True)  # about it, a cycle later
        read = (self.core.host_address, self._identity.address, self._report.address)
        self._address = Signal(max(len(address) for address in read))
        self._failure = Signal(8)  # why the core dropped the last run by itself, OK if it did not
        self._status = Signal(8)
        self._answer = Signal(2)  # the FSM sends the head, the trailer of an answer
        self._forget = Signal()
        self._fresh = Signal(init=1)  # no RESET since the device started

        self._connect_core(m)
        self._connect_payload(m)
        self._connect_answer(m)
        self._sequence(m)
        self._remember_errors(m)
        return m

    def _connect_core(self, m: Module) -> None:
        core, gather, scatter = self.core, self._gather, self._scatter
        wiring.connect(m, gather.o_weights, wiring.flipped(core.i_weights))
        wiring.connect(m, gather.o_inputs, wiring.flipped(core.i_inputs))
        wiring.connect(m, wiring.flipped(core.o_results), scatter.i_results)
        m.d.comb += [
            core.host_memory.eq(self._header.target),
            core.host_address.eq(self._address),
            core.host_write_enable.eq(gather.write),
            core.host_write_data.eq(gather.word),
            core.run.eq(self._run.run),
            self._report.busy.eq(core.busy),
            self._report.error.eq(self.error),
            self._report.saturated.eq(core.saturated),
            self._report.fresh.eq(self._fresh),
            self._report.failure.eq(self._failure),
            self._report.total_cycles.eq(core.total_cycles),
            self._report.cause_cycles.eq(core.cause_cycles),
        ]
        with m.If(gather.write | scatter.read):
            m.d.sync += self._address.eq(self._address + 1)

    def _connect_payload(self, m: Module) -> None:
        """The payload goes to the run's registers while they load, else to the gather register."""
        words, run, gather = self._receiver.o_words, self._run, self._gather
        m.d.comb += [
            run.i.valid.eq(words.valid & run.busy),
            run.i.payload.eq(words.payload),
            gather.i.valid.eq(words.valid & gather.busy),
            gather.i.payload.eq(words.payload),
            words.ready.eq(run.i.ready | gather.i.ready),
            gather.to_weights.eq(self._facts.to_weights),
            gather.to_inputs.eq(self._facts.to_inputs),
            gather.lanes.eq(self._checker.lanes),
            gather.count.eq(self._header.count),
        ]

    def _connect_answer(self, m: Module) -> None:
        """An answer is its head, the scattered words, its trailer."""
        header, scatter, sender = self._header, self._scatter, self._sender
        pushed = Signal(16)  # payload words
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.i), self._receiver.i)
        m.d.comb += [
            self._identity.address.eq(self._address),
            self._report.address.eq(self._address),
            scatter.from_results.eq(self._facts.from_results),
            scatter.room.eq(sender.room),
            scatter.lanes.eq(self._checker.lanes),
            scatter.count.eq(header.count),
            scatter.read_data.eq(self.core.host_read_data),
            sender.push.eq(scatter.push | self._answer.any()),
            sender.reserve.eq(Mux(self._answer.any(), 1, scatter.reserve)),
            sender.last.eq(self._answer[1]),
            sender.word.eq(scatter.word),
        ]
        for is_source, source in ((self._facts.identify, self._identity), (self._facts.status, self._report)):
            with m.If(is_source):
                m.d.comb += [
                    scatter.read_data[:32].eq(source.data),
                    scatter.lanes.eq(1),
                    scatter.count.eq(source.words),
                ]
        with m.If(self._answer[0]):
            m.d.comb += sender.word.eq(Cat(C(ANSWER_MAGIC, 8), header.opcode, header.sequence))
            m.d.sync += pushed.eq(0)
        with m.Elif(self._answer[1]):
            m.d.comb += sender.word.eq(Cat(self._status, C(0, 8), pushed))
        with m.Elif(scatter.push):
            m.d.sync += pushed.eq(pushed + 1)

    def _sequence(self, m: Module) -> None:
        receiver, checker, gather, scatter = self._receiver, self._checker, self._gather, self._scatter
        header, core = self._header, self.core
        wait = Signal(range(checker.LATENCY))
        good = Signal()
        given_up = Signal(8)  # why a stream operation ended early
        m.d.comb += [
            checker.header.eq(header),
            checker.busy.eq(core.busy),
            checker.failure.eq(self._failure),
            given_up.eq(
                Mux(
                    receiver.reset_waiting,
                    StatusCode.ABORTED,
                    Mux(self._failure == StatusCode.OK, StatusCode.IDLE, self._failure),
                )
            ),
        ]
        over = ~core.busy | receiver.reset_waiting
        m.d.sync += [
            self._facts.to_weights.eq((header.opcode == Opcode.WRITE) & (header.target == Target.WEIGHT_STREAM)),
            self._facts.to_inputs.eq((header.opcode == Opcode.WRITE) & (header.target == Target.INPUT_STREAM)),
            self._facts.from_results.eq((header.opcode == Opcode.READ) & (header.target == Target.RESULT_STREAM)),
            *(self._facts[verb.name.lower()].eq(header.opcode == verb) for verb in Opcode),
            self._facts.wait.eq((header.target & WAIT) != 0),
        ]
        m.d.sync += [core.run_start.eq(0), core.run_abort.eq(0)]
        with m.FSM(name="command"):
            with m.State("RECEIVE"):
                m.d.sync += [header.eq(receiver.o.payload), self._address.eq(receiver.o.payload.address)]
                with m.If(receiver.o.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == checker.LATENCY - 1):
                    m.d.sync += wait.eq(0)
                    m.next = "OPEN"
            with m.State("OPEN"), m.If(self._sender.space):
                m.d.comb += self._answer[0].eq(1)
                m.d.sync += [self._status.eq(checker.status), good.eq(checker.status == StatusCode.OK)]
                m.next = "DISPATCH"
            with m.State("DISPATCH"):
                m.next = "CLOSE"
                with m.If(good):
                    self._dispatch(m)
            with m.State("WRITE"):
                m.d.comb += gather.stop.eq((self._facts.to_weights | self._facts.to_inputs) & over)
                with m.If(~gather.busy):
                    m.d.sync += self._status.eq(Mux(gather.complete, StatusCode.OK, given_up))
                    m.next = "CLOSE"
            with m.State("READ"):
                m.d.comb += scatter.stop.eq(scatter.from_results & over)
                with m.If(~scatter.busy):
                    m.d.sync += self._status.eq(Mux(scatter.complete, StatusCode.OK, given_up))
                    m.next = "CLOSE"
            with m.State("LOAD"), m.If(~self._run.busy & core.ready):
                m.d.sync += [
                    self._status.eq(self._run.status),
                    core.run_start.eq(self._run.status == StatusCode.OK),
                ]
                m.next = "CLOSE"
            with m.State("AWAIT"), m.If(~core.busy | ~self._facts.wait | receiver.reset_waiting):
                m.d.comb += scatter.start.eq(1)
                m.next = "READ"
            with m.State("ABORT"):  # `run_abort` reaches the core
                m.next = "RESET"
            with m.State("RESET"), m.If(~core.busy):
                m.d.comb += self._forget.eq(1)
                m.next = "CLOSE"
            with m.State("CLOSE"), m.If(self._sender.space):
                m.d.comb += [self._answer[1].eq(1), receiver.o.ready.eq(1)]
                m.next = "RECEIVE"

    def _dispatch(self, m: Module) -> None:
        """Start what a good packet asks for."""
        facts = self._facts
        with m.If(facts.write):
            m.d.comb += self._gather.start.eq(1)
            m.next = "WRITE"
        with m.If(facts.read | facts.identify):
            m.d.comb += self._scatter.start.eq(1)
            m.next = "READ"
        with m.If(facts.run):
            m.d.comb += self._run.start.eq(1)
            m.next = "LOAD"
        with m.If(facts.status):
            m.next = "AWAIT"
        with m.If(facts.reset):
            m.d.sync += self.core.run_abort.eq(1)
            m.next = "ABORT"

    def _remember_errors(self, m: Module) -> None:
        """Keep the first error until a reset, whether a packet's or a run's."""
        failure = Mux(self.core.corrupt, StatusCode.CORRUPT, StatusCode.WATCHDOG)
        with m.If(self._forget):
            m.d.sync += [self.error.eq(StatusCode.OK), self._failure.eq(StatusCode.OK), self._fresh.eq(0)]
        with m.Else():
            with m.If(self.core.run_start):
                m.d.sync += self._failure.eq(StatusCode.OK)
            with m.Elif(self.core.fault):
                m.d.sync += self._failure.eq(failure)
            with m.If(self.error == StatusCode.OK):
                with m.If(self.core.fault):
                    m.d.sync += self.error.eq(failure)
                with m.Elif(self._answer[1]):
                    m.d.sync += self.error.eq(self._status)
