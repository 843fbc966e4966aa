"""What streams during a run: inputs into two halves, results out of two halves."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.hw.memory import address_width, read_port, write_port
from celosia.hw.pipeline import delay
from celosia.hw.protocol import RUN_FIELDS
from celosia.hw.timing import READ_LATENCY, RESULT_QUEUE_DEPTH


class InputFiller(wiring.Component):
    """Writes streamed inputs into the halves of the input memory in turn.

    A half is filled with `words` words while it is free; `ready` says that at least one is full; `release` frees the
    one filled first. After `iterations` halves nothing more is taken. With `words` 0 inputs are in memory already:
    always ready. One word per cycle.
    """

    i: stream.Interface
    start: Signal
    words: Signal
    iterations: Signal
    write: Any
    release: Signal
    ready: Signal

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "start": In(1),
                "words": In(RUN_FIELDS["input_words"]),
                "iterations": In(RUN_FIELDS["iterations"]),
                "write": Out(write_port(width, depth)),
                "release": In(1),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal.like(self.iterations)  # halves still to be filled
        count = Signal(address_width(self.depth // 2), reset_less=True)
        odd = Signal(reset_less=True)
        full = Signal(range(3))
        take = Signal()
        half_full = Signal()
        m.d.comb += [
            self.i.ready.eq((left != 0) & (full != 2)),
            take.eq(self.i.valid & self.i.ready),
            half_full.eq(take & (count + 1 == self.words)),
            self.write.enable.eq(take),
            self.write.address.eq(count | Mux(odd, self.depth // 2, 0)),
            self.write.data.eq(self.i.payload),
            self.ready.eq((self.words == 0) | (full != 0)),
        ]
        with m.If(take):
            m.d.sync += count.eq(count + 1)
        with m.If(half_full):
            m.d.sync += [count.eq(0), odd.eq(~odd), left.eq(left - 1)]
        m.d.sync += full.eq(full + half_full - (self.release & (self.words != 0)))
        with m.If(self.start):
            m.d.sync += [left.eq(Mux(self.words == 0, 0, self.iterations)), count.eq(0), odd.eq(0), full.eq(0)]
        return m


class ResultSender(wiring.Component):
    """Streams the halves of the output memory in turn.

    `produced` says that a half of `words` words has been written; it is free again when its last word has been read.
    `ready` says that a half is free for the engine to write. `empty` says that nothing is left to send. With `words` 0
    results stay in memory: always ready, always empty. One word per cycle; the first is offered 4 cycles after
    `produced`.
    """

    o: stream.Interface
    start: Signal
    words: Signal
    read: Any
    produced: Signal
    ready: Signal
    empty: Signal

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__(
            {
                "o": Out(stream.Signature(width)),
                "start": In(1),
                "words": In(RUN_FIELDS["output_words"]),
                "read": Out(read_port(width, depth)),
                "produced": In(1),
                "ready": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self.width, depth=RESULT_QUEUE_DEPTH)
        count = Signal(address_width(self.depth // 2), reset_less=True)
        odd = Signal(reset_less=True)
        full = Signal(range(3))  # halves that hold results
        unsent = Signal(range(RESULT_QUEUE_DEPTH + 1))  # words read and not yet taken
        read = Signal()
        half_read = Signal()
        sent = Signal()
        m.d.comb += [
            read.eq((full != 0) & (unsent != RESULT_QUEUE_DEPTH)),
            half_read.eq(read & (count + 1 == self.words)),
            self.read.address.eq(count | Mux(odd, self.depth // 2, 0)),
            queue.w_en.eq(delay(m, read, READ_LATENCY, "arrived", reset=True)),
            queue.w_data.eq(self.read.data),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.eq(queue.r_data),
            queue.r_en.eq(self.o.ready),
            sent.eq(self.o.valid & self.o.ready),
            self.ready.eq((self.words == 0) | (full != 2)),
            self.empty.eq((full == 0) & (unsent == 0)),
        ]
        with m.If(read):
            m.d.sync += count.eq(count + 1)
        with m.If(half_read):
            m.d.sync += [count.eq(0), odd.eq(~odd)]
        m.d.sync += [
            full.eq(full + (self.produced & (self.words != 0)) - half_read),
            unsent.eq(unsent + read - sent),
        ]
        with m.If(self.start):
            m.d.sync += [count.eq(0), odd.eq(0)]
        return m
