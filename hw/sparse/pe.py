"""Processing element: works off the entries of the columns in its queue, one per cycle."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width
from celosia.hw.multiplier import Multiplier
from celosia.hw.pipeline import delay
from celosia.hw.sparse.accumulator import PRODUCT_CYCLES, Accumulators
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.lookup import span_layout
from celosia.hw.sparse.timing import ENTRY_CYCLES

assert Multiplier.LATENCY == PRODUCT_CYCLES


class SparsePE(wiring.Component):
    """Queue of columns, entry reader, codebook, multiplier and accumulators.

    A column that is pushed is taken from the queue in the next cycle at the earliest, and its entries are read from the
    cycle after that on, one per cycle; the next column follows without a gap. Each entry arrives ENTRY_CYCLES after its
    address and goes through look-up, product and sum without ever waiting.

    Ports
    -----
    push, span, value : a column broadcast; `wanted` says that it has entries here, or that empty columns count
    limit, keep_empty, relative : of the layer
    full : the queue holds `limit` columns or more
    idle : no column is queued or being read
    address, entry : of the PE's bank of the weight memory
    code_enable, code_address, code_weight : a write to the codebook
    reading, read_address, sums, clear, clear_address, saturated : see `Accumulators`
    works, passes, pads : what the entry that arrives is: one at all, an empty column, padding
    """

    push: Signal
    span: data.View
    value: Signal
    limit: Signal
    keep_empty: Signal
    relative: Signal
    full: Signal
    idle: Signal
    address: Signal
    entry: Signal
    code_enable: Signal
    code_address: Signal
    code_weight: Signal
    reading: Signal
    read_address: Signal
    sums: data.View
    clear: Signal
    clear_address: Signal
    saturated: Signal
    works: Signal
    passes: Signal
    pads: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.config, self.engine = config, config.engine
        engine = self.engine
        bank_address = address_width(engine.bank_rows)
        super().__init__(
            {
                "push": In(1),
                "span": In(span_layout(config)),
                "value": In(Shape(engine.activation_width, engine.activation_signed)),
                "limit": In(range(engine.queue_depth + 1)),
                "keep_empty": In(1),
                "relative": In(1),
                "full": Out(1),
                "idle": Out(1),
                "address": Out(address_width(config.weight_depth)),
                "entry": In(engine.entry_width),
                "code_enable": In(1),
                "code_address": In(engine.code_width),
                "code_weight": In(signed(engine.weight_width)),
                "reading": In(1),
                "read_address": In(bank_address),
                "sums": Out(data.ArrayLayout(signed(engine.accumulator_width), engine.group)),
                "clear": In(engine.group),
                "clear_address": In(bank_address),
                "saturated": Out(1),
                "works": Out(1),
                "passes": Out(1),
                "pads": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy, first, empty, value = self._fetch(m)
        arrived = delay(m, Cat(busy & ~empty, busy & empty, first), ENTRY_CYCLES, "arrived", reset=True)
        self._compute(m, arrived[0], arrived[2], delay(m, value, ENTRY_CYCLES, "arrived_value"))
        m.d.comb += [self.works.eq(arrived[0] | arrived[1]), self.passes.eq(arrived[1])]
        return m

    def _fetch(self, m: Module) -> tuple[Any, Any, Any, Any]:
        """Queue columns and read their entries; return busy, first entry, empty column, and the activation."""
        column: Any = data.StructLayout({"span": span_layout(self.config), "value": self.value.shape()})
        m.submodules.queue = queue = SyncFIFO(width=column.size, depth=self.engine.queue_depth)
        head = column(queue.r_data)
        left = Signal.like(self.span.length)
        value = Signal.like(self.value, reset_less=True)
        first = Signal(reset_less=True)
        empty = Signal(reset_less=True)
        ends = Signal(init=1)  # at most one entry is left
        pushed = Signal()
        take = Signal()
        level, limit = queue.r_level, self.limit
        m.d.comb += [
            pushed.eq(self.push & (self.span.any | self.keep_empty)),
            queue.w_en.eq(pushed),
            queue.w_data.eq(Cat(self.span, self.value)),
            queue.r_en.eq(take),
            take.eq(queue.r_rdy & ends),
            self.idle.eq(~queue.r_rdy & (left == 0)),
        ]
        # A full queue stops all PEs in the same cycle: that it is full must be in a register, whatever is pushed.
        m.d.sync += self.full.eq(
            Mux(
                pushed,
                Mux(take, level >= limit, level + 1 >= limit),
                Mux(take, level >= limit + 1, level >= limit),
            )
        )
        with m.If(take):
            m.d.sync += [
                self.address.eq(head.span.start),
                left.eq(Mux(head.span.any, head.span.length, 1)),
                ends.eq(head.span.length <= 1),
                empty.eq(~head.span.any),
                value.eq(head.value),
                first.eq(1),
            ]
        with m.Elif(left != 0):
            m.d.sync += [self.address.eq(self.address + 1), left.eq(left - 1), ends.eq(left <= 2), first.eq(0)]
        return left != 0, first, empty, value

    def _compute(self, m: Module, valid: Any, first: Any, value: Any) -> None:
        """Turn an entry into a row, a weight, a product and a sum."""
        engine = self.engine
        code, index = self.entry[: engine.code_width], self.entry[engine.code_width :]
        row = Signal(address_width(engine.accumulator_rows), reset_less=True)
        padding = self.relative & (code == 0)
        with m.If(valid):
            m.d.sync += row.eq(Mux(self.relative & ~first, row + 1, 0) + index)
        weight = Signal(signed(engine.weight_width), reset_less=True)
        m.d.sync += weight.eq(self._weight(m, code))

        m.submodules.multiplier = multiplier = Multiplier(
            a_width=engine.weight_width, b_width=engine.activation_width, b_signed=engine.activation_signed
        )
        m.submodules.accumulators = accumulators = Accumulators(
            width=engine.accumulator_width,
            product_width=engine.weight_width + engine.activation_width,
            rows=engine.accumulator_rows,
            banks=engine.group,
        )
        m.d.comb += [
            self.pads.eq(valid & padding),
            multiplier.a.eq(weight),
            multiplier.b.eq(delay(m, value, 1, "looked_up_value")),
            accumulators.valid.eq(delay(m, valid & ~padding, 1, "hit", reset=True)),
            accumulators.row.eq(row),
            accumulators.product.eq(multiplier.product),
            accumulators.reading.eq(self.reading),
            accumulators.read_address.eq(self.read_address),
            accumulators.clear.eq(self.clear),
            accumulators.clear_address.eq(self.clear_address),
            self.sums.eq(accumulators.sums),
            self.saturated.eq(accumulators.saturated),
        ]

    def _weight(self, m: Module, code: Any) -> Any:
        """Return the weight of a code."""
        if self.engine.codebook_width is None:
            return code.as_signed()
        weights: Any = Memory(shape=signed(self.engine.weight_width), depth=1 << self.engine.code_width, init=[])
        m.submodules.codebook = weights
        write, read = weights.write_port(), weights.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.code_enable),
            write.addr.eq(self.code_address),
            write.data.eq(self.code_weight),
            read.addr.eq(code),
        ]
        return read.data
