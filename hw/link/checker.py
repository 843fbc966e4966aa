"""Checker: decides whether a well-formed packet may be executed, before anything is changed."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig, MemorySpec
from celosia.hw.link.packets import header_layout, most_lanes
from celosia.hw.protocol import RUN_WORDS, STREAM, Opcode, StatusCode, Target

WRITABLE_STREAMS = (Target.WEIGHT_STREAM, Target.INPUT_STREAM)


def times(value: Value, constant: int) -> Value:
    """Return `value` × `constant` as shifts and additions: a product would take a multiplier away from the engine."""
    total = None
    for bit in range(constant.bit_length()):
        if constant >> bit & 1:
            total = value << bit if total is None else total + (value << bit)
    assert total is not None
    return total


class Checker(wiring.Component):
    """Three registers deep: `status` is right LATENCY cycles after `header` became stable. No back-pressure.

    Attributes
    ----------
    header : header_layout, in
    busy : Signal(1), in
        A run is in progress.
    failure : Signal(8), in
        StatusCode: why the core dropped the last run by itself, OK if it did not.
    lanes : Signal, out
        Link words of a memory word of the target.
    status : Signal(8), out
        StatusCode: OK, or the first thing wrong.
    """

    LATENCY = 3

    header: data.View
    busy: Signal
    failure: Signal
    lanes: Signal
    status: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "header": In(header_layout(config)),
                "busy": In(1),
                "failure": In(8),
                "lanes": Out(range(most_lanes(config) + 1)),
                "status": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        header = self.header
        known = Signal()  # the target exists, in this direction
        size = Signal(len(header.count) + len(self.lanes))  # link words of `count` memory words
        depth = Signal(len(header.address) + 1)
        end = Signal(len(header.address) + 2)
        m.d.sync += [known.eq(0), end.eq(header.address + header.count)]
        m.d.sync += [self.lanes.eq(0), size.eq(0), depth.eq(0)]  # else they would have enables, known late
        with m.Switch(header.target):
            for memory in self.config.memories:
                with m.Case(memory.id):
                    m.d.sync += known.eq(1)
                    self._look_up(m, memory, size, depth)
                if memory.id | STREAM in tuple(Target):
                    writable = (memory.id | STREAM) in WRITABLE_STREAMS
                    with m.Case(memory.id | STREAM):
                        m.d.sync += known.eq(header.opcode == (Opcode.WRITE if writable else Opcode.READ))
                        self._look_up(m, memory, size, depth)
        self._judge(m, known, size, depth, end)
        return m

    def _look_up(self, m: Module, memory: MemorySpec, size: Signal, depth: Signal) -> None:
        m.d.sync += [
            self.lanes.eq(memory.link_words),
            size.eq(times(self.header.count, memory.link_words)),
            depth.eq(memory.depth),
        ]

    def _judge(self, m: Module, known: Signal, size: Signal, depth: Signal, end: Signal) -> None:
        header = self.header
        is_stream = Signal()
        stranger = Signal()
        wrong_size = Signal()  # of a transfer
        outside = Signal()
        reserved = Signal()
        no_payload = Signal()  # neither count nor payload
        m.d.sync += [
            is_stream.eq(header.target[4]),
            stranger.eq(~known),
            wrong_size.eq(
                header.many
                | (header.count == 0)
                | Mux(
                    header.opcode == Opcode.WRITE,
                    size != header.words,
                    (header.words != 0) | (size > self.config.packet_words),
                )
            ),
            outside.eq(Mux(header.target[4], ~header.origin, header.far | (end > depth))),
            reserved.eq(~header.origin | Mux(header.opcode == Opcode.STATUS, header.target > 1, header.target != 0)),
            no_payload.eq(~header.many & (header.count == 0) & (header.words == 0)),
        ]
        run_size = ~header.many & (header.count == RUN_WORDS) & (header.words == RUN_WORDS)
        idle = Mux(self.failure == StatusCode.OK, StatusCode.IDLE, self.failure)
        transfer = [
            (stranger, StatusCode.TARGET),
            (wrong_size, StatusCode.LENGTH),
            (outside, StatusCode.ADDRESS),
            (~is_stream & self.busy, StatusCode.BUSY),
            (is_stream & ~self.busy, idle),
        ]
        run = [(reserved, StatusCode.RESERVED), (~run_size, StatusCode.LENGTH), (self.busy, StatusCode.BUSY)]
        plain = [(reserved, StatusCode.RESERVED), (~no_payload, StatusCode.LENGTH)]
        with m.If(header.status != StatusCode.OK):
            m.d.sync += self.status.eq(header.status)
        with m.Else(), m.Switch(header.opcode):
            with m.Case(Opcode.WRITE, Opcode.READ):
                m.d.sync += self.status.eq(_first(transfer))
            with m.Case(Opcode.RUN):
                m.d.sync += self.status.eq(_first(run))
            with m.Case(Opcode.IDENTIFY, Opcode.STATUS, Opcode.RESET):
                m.d.sync += self.status.eq(_first(plain))
            with m.Default():
                m.d.sync += self.status.eq(StatusCode.OPCODE)


def _first(complaints: Sequence[tuple[Any, Any]]) -> Any:
    """Return the code of the first condition that holds, else OK."""
    status: Any = StatusCode.OK
    for condition, code in reversed(complaints):
        status = Mux(condition, code, status)
    return status
