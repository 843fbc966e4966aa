"""Gather register: link words become memory words, for the memories and for the streams of a run."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import widest_word
from celosia.hw.link.packets import COUNT_WIDTH, most_lanes


class Gather(wiring.Component):
    """Collects the link words of one memory word after the other, and hands them to where they belong.

    Latency: one cycle after a memory word's last link word. Throughput: a link word per cycle. Back-pressure: a memory
    takes a word at once; a stream may stall.

    Attributes
    ----------
    start : Signal(1), in
        Take `count` memory words of `lanes` link words each; to the stream of weights or inputs if `to_weights` or
        `to_inputs`, else to a memory.
    stop : Signal(1), in
        Give up; the word that is offered to a stream is withdrawn.
    busy : Signal(1), out
        From the cycle after `start` until the last word has been handed over or given up.
    complete : Signal(1), out
        All words of the last start have been handed over.
    i : stream of 32 bits, in
    word : Signal, out
        The memory word. Bits beyond the width of the target's memory are left from earlier words.
    write : Signal(1), out
        `word` is to be written to the memory in this cycle.
    o_weights, o_inputs : stream, out
    """

    start: Signal
    stop: Signal
    to_weights: Signal
    to_inputs: Signal
    lanes: Signal
    count: Signal
    busy: Signal
    complete: Signal
    i: stream.Interface
    word: Signal
    write: Signal
    o_weights: stream.Interface
    o_inputs: stream.Interface

    def __init__(self, config: AcceleratorConfig) -> None:
        self._lanes = most_lanes(config)
        width = widest_word(config)
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "to_weights": In(1),
                "to_inputs": In(1),
                "lanes": In(range(self._lanes + 1)),
                "count": In(COUNT_WIDTH),
                "busy": Out(1),
                "complete": Out(1),
                "i": In(stream.Signature(32)),
                "word": Out(width),
                "write": Out(1),
                "o_weights": Out(stream.Signature(config.memory("weights").width)),
                "o_inputs": Out(stream.Signature(config.memory("inputs").width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = Signal(len(self.word), reset_less=True)
        full = Signal()
        lane = Signal(range(self._lanes))
        last_lane = Signal(range(self._lanes))
        remaining = Signal(COUNT_WIDTH)
        is_last = Signal()  # remaining is 1
        take = Signal()
        handed = Signal()
        m.d.comb += [
            self.word.eq(word),
            self.o_weights.payload.eq(word),
            self.o_inputs.payload.eq(word),
            self.complete.eq(remaining == 0),
            # The last word has to leave before the words behind it are no longer ours.
            self.i.ready.eq(self.busy & (~full | (handed & ~is_last))),
            take.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += is_last.eq(Mux(handed, remaining == 2, remaining == 1))
        with m.If(self.to_weights):
            m.d.comb += [self.o_weights.valid.eq(full), handed.eq(full & self.o_weights.ready)]
        with m.Elif(self.to_inputs):
            m.d.comb += [self.o_inputs.valid.eq(full), handed.eq(full & self.o_inputs.ready)]
        with m.Else():
            m.d.comb += [self.write.eq(full), handed.eq(full)]
        with m.If(handed):
            m.d.sync += [full.eq(0), remaining.eq(remaining - 1)]
            with m.If(is_last):
                m.d.sync += self.busy.eq(0)
        with m.If(take):
            m.d.sync += lane.eq(lane + 1)
            with m.If(lane == last_lane):
                m.d.sync += [lane.eq(0), full.eq(1)]
        # What comes is kept whether it is taken or not: only that the lane moves on makes it count. While a word waits
        # to be handed over, the lane is the first.
        for index in range(self._lanes):
            with m.If((lane == index) & (~full | handed if index == 0 else 1)):
                m.d.sync += word[32 * index : 32 * index + 32].eq(self.i.payload)
        with m.If(self.stop):
            m.d.sync += [self.busy.eq(0), full.eq(0)]
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), lane.eq(0), last_lane.eq(self.lanes - 1), remaining.eq(self.count)]
        return m
