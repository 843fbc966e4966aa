"""What streams during a run: inputs into two halves, results out of two halves."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.hw.countdown import Countdown, Turns
from celosia.hw.memory import address_width, read_port, write_port
from celosia.hw.pipeline import delay
from celosia.hw.protocol import RUN_FIELDS
from celosia.hw.timing import READ_LATENCY, RESULT_QUEUE_DEPTH


class InputFiller(wiring.Component):
    """Writes streamed inputs into the halves of the input memory in turn.

    A half is filled with `words` words while it is free; `ready` says that at least one is full; `release` frees the
    one filled first. After `iterations` halves nothing more is taken. With `words` 0 inputs are in memory already:
    always ready. One word per cycle. A run is `running`; `words` and `iterations` are steady from the cycle before on.
    """

    i: stream.Interface
    running: Signal
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
                "running": In(1),
                "words": In(RUN_FIELDS["input_words"]),
                "iterations": In(RUN_FIELDS["iterations"]),
                "write": Out(write_port(width, depth)),
                "release": In(1),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        streams = Signal(reset_less=True)
        filling = Signal()  # halves are still to be filled
        halves = Countdown(len(self.iterations), "halves")
        full = Signal(range(3))
        opens = Signal()  # there is a half to be filled; a register, as it decides late and far away
        take = Signal()
        address, half_full = _halves(m, take, self.running, self.words, self.depth)
        release = self.release & streams
        m.d.comb += [
            self.i.ready.eq(opens),
            take.eq(self.i.valid & self.i.ready),
            self.write.enable.eq(take),
            self.write.address.eq(address),
            self.write.data.eq(self.i.payload),
            self.ready.eq(~streams | (full != 0)),
        ]
        with m.If(half_full):
            m.d.sync += halves.step()
            with m.If(halves.last):
                m.d.sync += filling.eq(0)
        occupied = ~release & ((full == 2) | ((full == 1) & half_full))
        m.d.sync += [
            streams.eq(self.words != 0),
            full.eq(full + half_full - release),
            opens.eq(filling & ~(half_full & halves.last) & ~occupied),
        ]
        with m.If(~self.running):
            m.d.sync += [*halves.begin(Turns.of(self.iterations)), full.eq(0)]
            m.d.sync += [filling.eq(self.words != 0), opens.eq(self.words != 0)]
        return m


class ResultSender(wiring.Component):
    """Streams the halves of the output memory in turn.

    `produced` says that a half of `words` words has been written; it is free again when its last word has been read.
    `ready` says that a half is free for the engine to write. `empty` says that nothing is left to send. With `words` 0
    results stay in memory: always ready, always empty. One word per cycle; the first is offered 4 cycles after
    `produced`. A run is `running`; `words` is steady from the cycle before on.
    """

    o: stream.Interface
    running: Signal
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
                "running": In(1),
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
        streams = Signal(reset_less=True)
        full = Signal(range(3))  # halves that hold results
        unsent = Signal(range(RESULT_QUEUE_DEPTH + 1))  # words read and not yet taken
        read = Signal()
        sent = Signal()
        address, half_read = _halves(m, read, self.running, self.words, self.depth)
        m.d.comb += [
            read.eq((full != 0) & (unsent != RESULT_QUEUE_DEPTH)),
            self.read.address.eq(address),
            queue.w_en.eq(delay(m, read, READ_LATENCY, "arrived", reset=True)),
            queue.w_data.eq(self.read.data),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.eq(queue.r_data),
            queue.r_en.eq(sent),
            sent.eq(self.o.valid & self.o.ready),
            self.ready.eq(~streams | (full != 2)),
            self.empty.eq((full == 0) & (unsent == 0)),
        ]
        m.d.sync += [
            streams.eq(self.words != 0),
            full.eq(full + (self.produced & streams) - half_read),
            unsent.eq(unsent + read - sent),
        ]
        return m


def _halves(m: Module, step: Value, running: Value, words: Value, depth: int) -> tuple[Value, Value]:
    """Walk through `words` words of the halves of a memory in turn, from the first one on in each run.

    Returns
    -------
    tuple of Value
        The address, and whether this step is a half's last one.
    """
    count = Signal(address_width(depth // 2), name="count", reset_less=True)
    odd = Signal(name="odd", reset_less=True)
    end = Signal(name="half_end")
    now = Turns.of(words[: (depth // 2).bit_length()])
    turns = now.latched(m, Const(1), "words")
    left = Countdown(len(now.count), "words")
    m.d.comb += end.eq(step & left.last)
    with m.If(step):
        m.d.sync += [count.eq(count + 1), *left.step(turns)]
    with m.If(end):
        m.d.sync += [count.eq(0), odd.eq(~odd)]
    with m.If(~running):
        m.d.sync += [count.eq(0), odd.eq(0), *left.begin(now)]
    return count | Mux(odd, depth // 2, 0), end
