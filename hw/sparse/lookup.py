"""Look-up: from the number of a column to each PE's entries of it, ahead of the broadcast."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import read_port
from celosia.hw.pipeline import delay
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.layer import pointer_number_width
from celosia.hw.sparse.timing import COLUMNS_AHEAD
from celosia.hw.timing import READ_LATENCY


def span_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a PE's entries of a column: the first one's address, how many there are, and if any."""
    assert isinstance(config.engine, SparseConfig)
    return data.StructLayout(
        {"start": config.weight_depth.bit_length(), "length": config.engine.accumulator_rows.bit_length(), "any": 1}
    )


class ColumnLookup(wiring.Component):
    """Reads both ends of a column for all PEs at once, and keeps some columns ready for the broadcast.

    Pointer c of every PE is in word c // 2, the even ones in the lower half; the halves are read separately, so that
    the pointers c and c + 1 come together.

    Latency: LOOKUP_CYCLES − 3 from `valid` to `head_valid`. Throughput: a column per cycle. No back-pressure: whoever
    sends columns counts COLUMNS_AHEAD of them, and each `pop` gives room for one.
    """

    valid: Signal
    barrier: Signal
    number: Signal
    value: Signal
    pointers: Any
    pop: Signal
    head_valid: Signal
    head_barrier: Signal
    head_value: Signal
    head_spans: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.config, self.engine = config, config.engine
        memory = config.memory("pointers")
        activation = Shape(self.engine.activation_width, self.engine.activation_signed)
        super().__init__(
            {
                "valid": In(1),
                "barrier": In(1),
                "number": In(pointer_number_width(self.engine)),
                "value": In(activation),
                "pointers": Out(read_port(memory.width, memory.depth, memory.banks)),
                "pop": In(1),
                "head_valid": Out(1),
                "head_barrier": Out(1),
                "head_value": Out(activation),
                "head_spans": Out(data.ArrayLayout(span_layout(config), self.engine.pes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spans: Any = Signal(self.head_spans.shape(), reset_less=True)
        m.submodules.queue = queue = SyncFIFO(width=spans.shape().size + len(self.value) + 1, depth=COLUMNS_AHEAD)
        even, odd = (
            self.pointers.data[: len(self.pointers.data) // 2],
            self.pointers.data[len(self.pointers.data) // 2 :],
        )
        m.d.comb += [
            self.pointers.address[0].eq((self.number + 1) >> 1),
            self.pointers.address[1].eq(self.number >> 1),
        ]
        is_odd = delay(m, self.number[0], READ_LATENCY, "is_odd")
        width = self.config.weight_depth.bit_length()
        for pe in range(self.engine.pes):
            low, high = even.word_select(pe, width), odd.word_select(pe, width)
            m.d.sync += [
                spans[pe].start.eq(Mux(is_odd, high, low)),
                spans[pe].length.eq(Mux(is_odd, low, high) - Mux(is_odd, high, low)),
            ]
        told = delay(m, Cat(self.value, self.barrier), READ_LATENCY + 1, "told")
        offered: Any = Signal(spans.shape())
        m.d.comb += [
            offered.eq(spans),
            *(offered[pe].any.eq(spans[pe].length != 0) for pe in range(self.engine.pes)),
            queue.w_en.eq(delay(m, self.valid, READ_LATENCY + 1, "valid", reset=True)),
            queue.w_data.eq(Cat(offered, told)),
            queue.r_en.eq(queue.r_rdy & (~self.head_valid | self.pop)),
        ]
        # The head is in registers: it goes to all PEs and back in one cycle.
        with m.If(queue.r_en):
            m.d.sync += [
                self.head_valid.eq(1),
                Cat(self.head_spans, self.head_value, self.head_barrier).eq(queue.r_data),
            ]
        with m.Elif(self.pop):
            m.d.sync += self.head_valid.eq(0)
        return m
