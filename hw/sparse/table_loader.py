"""Table loader: reads the Huffman tables of a tile, and turns counts of codes into what decoders compare with."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import read_port, write_port
from celosia.hw.pipeline import delay
from celosia.hw.sparse.config import MAX_CODE_LENGTH, SparseConfig
from celosia.hw.sparse.tables import EncodedFormat
from celosia.hw.timing import READ_LATENCY


def code_layout(tables: EncodedFormat) -> data.StructLayout:
    """Return what decodes a canonical code, each for lengths of 1, 2, … bits.

    * `limits`: bits l of a code of that length or shorter, as a number, are below limit l; longer codes are not.
    * `offsets`: a code of that length, as a number, plus this gives its symbol's rank, modulo 2**rank_width.
    """
    return data.StructLayout(
        {
            "limits": data.ArrayLayout(MAX_CODE_LENGTH + 1, MAX_CODE_LENGTH),
            "offsets": data.ArrayLayout(tables.rank_width, MAX_CODE_LENGTH),
        }
    )


def codes_layout(tables: EncodedFormat) -> data.ArrayLayout:
    """Return the layout of the code for codes and the code for indices."""
    return data.ArrayLayout(code_layout(tables), 2)


class TableLoader(wiring.Component):
    """Reads tables as `celosia.hw.sparse.tables` describes them, a word per cycle.

    Latency: `done` strobes `table_cycles` - 1 after `start`. From the next cycle on `codes` and what was written to
    `symbols`, the decoders' symbol memories, are complete.
    """

    start: Signal
    base: Signal
    memory: Any
    codes: data.View
    symbols: Any
    done: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.tables = EncodedFormat(config.engine)
        memory = read_port(16, config.engine.codebook_depth)
        super().__init__(
            {
                "start": In(1),
                "base": In(memory.members["address"].shape),
                "memory": Out(memory),
                "codes": Out(codes_layout(self.tables)),
                "symbols": Out(write_port(16, self.tables.symbol_words)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.tables.table_words
        left = Signal(range(words + 1))  # words still to be read
        index = Signal(range(words), reset_less=True)  # of the word that arrives next
        is_symbols = Signal()
        arrived = delay(m, left != 0, READ_LATENCY, "arrived", reset=True)
        m.d.comb += [
            self.symbols.enable.eq(arrived & is_symbols),
            self.symbols.data.eq(self.memory.data),
            self.done.eq(arrived & (index == words - 1)),
        ]
        with m.If(left != 0):
            m.d.sync += [left.eq(left - 1), self.memory.address.eq(self.memory.address + 1)]
        with m.If(arrived):
            m.d.sync += index.eq(index + 1)
            with m.If(is_symbols):
                m.d.sync += self.symbols.address.eq(self.symbols.address + 1)
            with m.If(index == 2 * MAX_CODE_LENGTH - 1):
                m.d.sync += is_symbols.eq(1)
        self._count_codes(m, arrived, index)
        with m.If(self.start):
            m.d.sync += [
                left.eq(words),
                index.eq(0),
                is_symbols.eq(0),
                self.memory.address.eq(self.base),
                self.symbols.address.eq(0),
            ]
        return m

    def _count_codes(self, m: Module, arrived: Any, index: Signal) -> None:
        """Sum the numbers of codes, length by length."""
        first = Signal(MAX_CODE_LENGTH + 1, reset_less=True)  # first code of this length
        rank = Signal(self.tables.rank_width, reset_less=True)  # of its symbol
        end = Signal.like(first)
        count = self.memory.data[: len(first)]
        m.d.comb += end.eq(first + count)
        with m.If(arrived):
            m.d.sync += [first.eq(end << 1), rank.eq(rank + count)]
            with m.Switch(index):
                for alphabet in range(2):
                    code = self.codes[alphabet]
                    for length in range(1, MAX_CODE_LENGTH + 1):
                        with m.Case(alphabet * MAX_CODE_LENGTH + length - 1):
                            m.d.sync += [
                                code.limits[length - 1].eq(end[: length + 1]),
                                code.offsets[length - 1].eq(rank - first),
                            ]
                            if length == MAX_CODE_LENGTH:
                                m.d.sync += [first.eq(0), rank.eq(self.tables.alphabets[0])]
        with m.If(self.start):
            m.d.sync += [first.eq(0), rank.eq(0)]
