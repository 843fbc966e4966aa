"""Scanner: finds the activations that are not zero, and sends one per cycle."""

from collections.abc import Callable, Iterable
from operator import add, or_
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import read_port
from celosia.hw.pipeline import delay, latch, struct_of
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.layer import layer_fields, pointer_number_width
from celosia.hw.sparse.timing import WORDS_AHEAD
from celosia.hw.timing import READ_LATENCY


class Scanner(wiring.Component):
    """Leading-non-zero detection over the words of one activation vector after the other.

    Words are read ahead; those of zeros are dropped before they reach the detector, so that it finds an activation in
    every cycle unless more than a few such words follow each other. Each vector ends with a barrier. A step without
    source words gives nothing but a barrier.

    Throughput: one activation per cycle while `allow`. What is found in a cycle with `found` leaves LATENCY cycles
    later; nothing holds it up on its way.

    Ports: `start` takes `layer`; `number` is the pointer number of the column, `value` its activation.
    """

    LATENCY = 3

    layer: data.View
    start: Signal
    source: Any
    allow: Signal
    found: Signal
    valid: Signal
    barrier: Signal
    number: Signal
    value: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.config, self.engine = config, config.engine
        self.fields = layer_fields(config)
        activation = Shape(self.engine.activation_width, self.engine.activation_signed)
        super().__init__(
            {
                "layer": In(struct_of(self.fields)),
                "start": In(1),
                "source": Out(read_port(self.engine.activation_word_width, tensor_depth(config))),
                "allow": In(1),
                "found": Out(1),
                "valid": Out(1),
                "barrier": Out(1),
                "number": Out(pointer_number_width(self.engine)),
                "value": Out(activation),
            }
        )

    @property
    def _found_word(self) -> data.StructLayout:
        """A word on its way to the detector: its lanes, which and how many are not zero, lane 0's pointer number."""
        lanes = self.engine.pes
        return data.StructLayout(
            {
                "lanes": self.engine.activation_word_width,
                "mask": lanes,
                "count": lanes.bit_length(),
                "number": len(self.number),
                "last": 1,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self._found_word.size, depth=WORDS_AHEAD)
        take = Signal()
        arrived = self._read(m, take)
        m.d.comb += [
            queue.w_data.eq(arrived),
            queue.r_en.eq(take),
        ]
        self._detect(m, queue, take)
        return m

    def _read(self, m: Module, take: Signal) -> Any:
        """Read words as long as there is room for them, and return what arrives in the queue's cycle."""
        layer = latch(m, self.start, self.layer, "source_words", "source_pitch", "pointers")
        words = Signal.like(layer.source_words, reset_less=False)  # left of this vector
        vectors = Signal.like(self.layer.vectors)  # left, this one included
        vector_address = Signal.like(self.source.address, reset_less=True)
        number = Signal.like(self.number, reset_less=True)
        room = Signal(range(WORDS_AHEAD + 1), init=WORDS_AHEAD)
        read = Signal()
        last = Signal()
        dropped = Signal()
        m.d.comb += [read.eq((words != 0) & (room != 0)), last.eq(words == 1)]
        with m.If(read):
            m.d.sync += [
                self.source.address.eq(self.source.address + 1),
                number.eq(number + self.engine.pes),
                words.eq(words - 1),
            ]
            with m.If(last):
                m.d.sync += [
                    vectors.eq(vectors - 1),
                    words.eq(Mux(vectors == 1, 0, layer.source_words)),
                    self.source.address.eq(vector_address + layer.source_pitch),
                    vector_address.eq(vector_address + layer.source_pitch),
                    number.eq(layer.pointers),
                ]
        with m.If(self.start):
            m.d.sync += [
                words.eq(self.layer.source_words),
                vectors.eq(self.layer.vectors),
                self.source.address.eq(self.layer.source),
                vector_address.eq(self.layer.source),
                number.eq(self.layer.pointers),
            ]

        arrived: Any = Signal(self._found_word)
        late = READ_LATENCY + 2  # read, find what is not zero, count it
        width, lanes = self.engine.activation_width, range(self.engine.pes)
        mask = Signal(self.engine.pes, reset_less=True)
        count = Signal(self.engine.pes.bit_length(), reset_less=True)
        m.d.sync += [
            mask.eq(Cat(self.source.data.word_select(lane, width).any() for lane in lanes)),
            count.eq(_tree(add, (mask[lane] for lane in lanes))),
        ]
        m.d.comb += [
            arrived.lanes.eq(delay(m, self.source.data, 2, "lanes")),
            arrived.mask.eq(delay(m, mask, 1, "mask")),
            arrived.count.eq(count),
            Cat(arrived.number, arrived.last).eq(delay(m, Cat(number, last), late, "told")),
        ]
        valid = delay(m, read, late, "arrived", reset=True)
        queue = m.submodules.queue
        m.d.comb += [
            queue.w_en.eq(valid & ((count != 0) | arrived.last)),
            dropped.eq(valid & ~queue.w_en),
        ]
        m.d.sync += room.eq(room - read + dropped + take)
        return arrived

    def _detect(self, m: Module, queue: SyncFIFO, take: Signal) -> None:
        """Send the lowest lane that is not zero, then forget it; at last the barrier."""
        word: Any = Signal(self._found_word, reset_less=True)
        here = Signal()
        done = Signal()
        none = Signal(reset_less=True)
        one = Signal(reset_less=True)  # left of the word: in registers, to be known soon
        lowest = Signal(self.engine.pes)
        offered = self._found_word(queue.r_data)
        m.d.comb += [
            lowest.eq(word.mask & -word.mask),
            self.found.eq(here & self.allow),
            done.eq(self.found & (none | (one & ~word.last))),
            take.eq(queue.r_rdy & (~here | done)),
        ]
        with m.If(self.found):
            m.d.sync += [
                word.mask.eq(word.mask & (word.mask - 1)),
                word.count.eq(word.count - 1),
                none.eq(word.count == 1),
                one.eq(word.count == 2),
            ]
        with m.If(take):
            m.d.sync += [here.eq(1), word.eq(offered), none.eq(offered.count == 0), one.eq(offered.count == 1)]
        with m.Elif(self.start & (self.layer.source_words == 0)):
            m.d.sync += [here.eq(1), word.mask.eq(0), word.last.eq(1), none.eq(1), one.eq(0)]
        with m.Elif(done):
            m.d.sync += here.eq(0)

        chosen = delay(m, lowest, 1, "chosen")
        lanes = delay(m, word.lanes, 1, "word_lanes")
        width = self.engine.activation_width
        value = Signal(width, reset_less=True)
        lane = Signal(range(self.engine.pes), reset_less=True)
        picks = range(self.engine.pes)
        m.d.sync += [
            value.eq(_tree(or_, (lanes.word_select(pick, width) & chosen[pick].replicate(width) for pick in picks))),
            lane.eq(Cat(Cat(chosen[pick] for pick in picks if pick >> bit & 1).any() for bit in range(len(lane)))),
            self.number.eq(delay(m, word.number, 2, "word_number") + lane),
            self.value.eq(value),
            self.barrier.eq(delay(m, none, 2, "is_barrier")),
            self.valid.eq(delay(m, self.found, 2, "found", reset=True)),
        ]


def _tree(operation: Callable[[Any, Any], Any], values: Iterable[Any]) -> Any:
    """Return the values put together by an operation, two and two, in as few levels as can be."""
    level = list(values)
    while len(level) > 1:
        pairs = [operation(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]
