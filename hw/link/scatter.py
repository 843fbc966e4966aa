"""Scatter register: memory words become link words, at the pace the sender has room for."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import HOST_READ_LATENCY, widest_word
from celosia.hw.link.packets import COUNT_WIDTH, most_lanes


class Scatter(wiring.Component):
    """Reads memory words, or takes them from the results, and pushes their link words to the sender.

    A word is asked for only when the sender has room for it and for all that is on its way, so data of fixed latency is
    never lost. Throughput: a link word per cycle. Latency: HOST_READ_LATENCY + 3 cycles from `start` to the first push.

    Parameters
    ----------
    config : AcceleratorConfig
    room : int
        Words the sender's queue holds.

    Attributes
    ----------
    start : Signal(1), in
        Read `count` memory words of `lanes` link words each; from the result stream if `from_results`.
    stop : Signal(1), in
        Ask for no more words; those on their way are still pushed.
    busy : Signal(1), out
        From the cycle after `start` until the last push.
    complete : Signal(1), out
        All words of the last start have been asked for.
    read : Signal(1), out
        Asks for the word that has to be on `read_data` HOST_READ_LATENCY cycles later; the address is someone else's.
    i_results : stream, in
    room, reserve, push, word : Signal
        To the sender. What is asked for is reserved one cycle later.
    """

    start: Signal
    stop: Signal
    from_results: Signal
    lanes: Signal
    count: Signal
    busy: Signal
    complete: Signal
    read: Signal
    read_data: Signal
    i_results: stream.Interface
    room: Signal
    reserve: Signal
    push: Signal
    word: Signal

    def __init__(self, config: AcceleratorConfig, room: int) -> None:
        self._lanes = most_lanes(config)
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "from_results": In(1),
                "lanes": In(range(self._lanes + 1)),
                "count": In(COUNT_WIDTH),
                "busy": Out(1),
                "complete": Out(1),
                "read": Out(1),
                "read_data": In(widest_word(config)),
                "i_results": In(stream.Signature(config.memory("outputs").width)),
                "room": In(range(room + 1)),
                "reserve": Out(range(room + 1)),
                "push": Out(1),
                "word": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        armed = Signal()
        asking = Signal()
        lanes, last_lane = Signal.like(self.lanes), Signal.like(self.lanes)
        enough = Signal(range(3 * self._lanes + 1))
        roomy = Signal()  # as of the cycle before, which does not know of the words asked for since: up to two more
        remaining = Signal(COUNT_WIDTH)
        is_last = Signal()  # remaining is 1
        pause = Signal(range(self._lanes + 1))  # cycles until the next word may be asked for
        may_ask = Signal()
        ask = Signal()
        coming = Signal(HOST_READ_LATENCY)  # what was asked for, by the cycles since
        load = Signal()
        left = Signal(range(self._lanes + 1))  # link words in the register
        result = Signal(len(self.i_results.payload), reset_less=True)
        word = Signal(len(self.read_data), reset_less=True)
        m.d.comb += [
            may_ask.eq(asking & (pause == 0) & roomy),
            self.i_results.ready.eq(may_ask & self.from_results),
            ask.eq(may_ask & (~self.from_results | self.i_results.valid)),
            self.read.eq(ask & ~self.from_results),
            self.push.eq(left != 0),
            self.word.eq(word[:32]),
            self.complete.eq(remaining == 0),
            self.busy.eq(armed | asking | coming.any() | (left != 0)),
        ]
        m.d.sync += [
            coming.eq(Cat(ask, coming)),
            load.eq(Mux(self.from_results, ask, coming[-2])),
            result.eq(self.i_results.payload),
            roomy.eq(self.room >= enough),
            self.reserve.eq(Mux(ask, lanes, 0)),
            is_last.eq(Mux(ask, remaining == 2, remaining == 1)),
            armed.eq(self.start),
        ]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(ask):
            m.d.sync += [remaining.eq(remaining - 1), pause.eq(last_lane)]
        with m.If(left != 0):
            m.d.sync += [left.eq(left - 1), word.eq(word >> 32)]
        with m.If(load):
            m.d.sync += [left.eq(lanes), word.eq(Mux(self.from_results, result, self.read_data))]
        with m.If(armed):
            m.d.sync += asking.eq(1)
        with m.Elif(self.stop | (ask & is_last)):
            m.d.sync += asking.eq(0)
        with m.If(self.start):
            m.d.sync += [
                remaining.eq(self.count),
                lanes.eq(self.lanes),
                last_lane.eq(self.lanes - 1),
                enough.eq(self.lanes + (self.lanes << 1)),
            ]
        return m
