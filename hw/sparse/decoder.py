"""Huffman decoder: a stream of chunks to entries of weights."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.memory import Scratchpad, write_port
from celosia.hw.pipeline import delay, select
from celosia.hw.sparse.byte_crc import ByteCrc
from celosia.hw.sparse.config import MAX_CODE_LENGTH
from celosia.hw.sparse.table_loader import codes_layout
from celosia.hw.sparse.tables import EncodedFormat
from celosia.hw.sparse.window import Kind, SymbolWindow
from celosia.hw.timing import READ_LATENCY


class HuffmanDecoder(wiring.Component):
    """Decodes `rows` · `slice_pes` entries and checks the CRC behind them.

    A window cuts the stream into symbols; behind it, a symbol's rank is computed and looked up. Throughput: a symbol
    per cycle, so an entry every two, see `SymbolWindow`. Latency: ENTRY_LATENCY cycles from the step that takes an
    index to its entry; `done`, or `corrupt` for a wrong CRC, rises DONE_LATENCY cycles after the step that takes the
    last byte of the CRC. No back-pressure on entries. Once `done` or `corrupt` is high it stays so. A `start` needs a
    reset before.

    Attributes
    ----------
    start : Signal(1), in
        Takes `rows`, the number of memory words to decode this decoder's part of.
    i : stream of chunks, in
    last : Signal(1), in
        All chunks have been taken, no other will come.
    codes, symbols : in
        Tables, see `celosia.hw.sparse.table_loader`; steady from the first chunk on.
    valid : Signal(1), out
        An `entry` is there, never more of them than asked for.
    done : Signal(1), out
        All entries are out, and right.
    corrupt : Signal(1), out
        No code begins like some bits, the CRC is wrong, or the stream ended too early.
    """

    LOOK_UP_CYCLES = READ_LATENCY + 1
    ENTRY_LATENCY = LOOK_UP_CYCLES + 2
    DONE_LATENCY = LOOK_UP_CYCLES + 3

    start: Signal
    rows: Signal
    i: stream.Interface
    last: Signal
    codes: data.View
    symbols: Any
    valid: Signal
    entry: Signal
    done: Signal
    corrupt: Signal

    def __init__(self, tables: EncodedFormat, rows_width: int) -> None:
        self.tables, self.rows_width = tables, rows_width
        super().__init__(
            {
                "start": In(1),
                "rows": In(rows_width),
                "i": In(stream.Signature(tables.chunk_width)),
                "last": In(1),
                "codes": In(codes_layout(tables)),
                "symbols": In(write_port(16, tables.symbol_words)),
                "valid": Out(1),
                "entry": Out(tables.engine.entry_width),
                "done": Out(1),
                "corrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.window = window = SymbolWindow(self.tables, self.rows_width)
        m.d.comb += [
            window.start.eq(self.start),
            window.rows.eq(self.rows),
            window.last.eq(self.last),
            *(window.limits[alphabet].eq(self.codes[alphabet].limits) for alphabet in range(2)),
            window.i.payload.eq(self.i.payload),
            window.i.valid.eq(self.i.valid),
            self.i.ready.eq(window.i.ready),
        ]
        kind = Signal(Kind)
        bits = delay(m, window.bits, 1, "bits")
        length = delay(m, window.length, 1, "length")
        m.d.sync += kind.eq(Mux(window.valid, window.kind, Kind.NONE))
        symbol = self._look_up(m, kind, bits, length)
        self._check(m, window, kind, bits, symbol)
        return m

    def _look_up(self, m: Module, kind: Any, bits: Signal, length: Signal) -> Value:
        """Return the symbol of a code, or a byte, LOOK_UP_CYCLES later."""
        m.submodules.symbols = memory = Scratchpad(width=16, depth=self.tables.symbol_words)
        number = Signal(self.tables.rank_width, reset_less=True)
        offset = Signal(self.tables.rank_width, reset_less=True)
        rank = Signal(self.tables.rank_width)
        behind = Signal(range(MAX_CODE_LENGTH))  # bits that belong to the next symbol
        lengths = range(MAX_CODE_LENGTH)
        offsets = [select(length, (self.codes[which].offsets[each] for each in lengths)) for which in range(2)]
        m.d.comb += behind.eq(MAX_CODE_LENGTH - 1 - length)
        m.d.sync += [
            number.eq(Cat(reversed(bits)) >> behind),
            offset.eq(Mux(kind == Kind.INDEX, offsets[1], offsets[0])),
        ]
        m.d.comb += [
            rank.eq(number + offset),
            memory.reads[0].address.eq(rank[1:]),
            memory.write.enable.eq(self.symbols.enable),
            memory.write.address.eq(self.symbols.address),
            memory.write.data.eq(self.symbols.data),
        ]
        second = delay(m, rank[0], READ_LATENCY, "second")
        byte = delay(m, bits[:8], self.LOOK_UP_CYCLES, "byte")
        is_byte = delay(m, kind == Kind.BYTE, self.LOOK_UP_CYCLES, "is_byte")
        return Mux(is_byte, byte, memory.reads[0].data.word_select(second, 8))

    def _check(self, m: Module, window: SymbolWindow, kind: Any, bits: Signal, symbol: Value) -> None:
        """Put entries together, compare the CRC, and find what else is wrong."""
        m.submodules.crc = crc = ByteCrc()
        arrived = delay(m, kind, self.LOOK_UP_CYCLES, "kind", reset=True)
        final = delay(m, window.valid & window.final, self.LOOK_UP_CYCLES + 2, "final", reset=True)
        code_width = self.tables.engine.code_width
        m.d.comb += [crc.valid.eq(arrived != Kind.NONE), crc.byte.eq(symbol)]
        m.d.sync += self.valid.eq(arrived == Kind.INDEX)
        with m.If(arrived == Kind.CODE):
            m.d.sync += self.entry[:code_width].eq(symbol)
        with m.If(arrived == Kind.INDEX):
            m.d.sync += self.entry[code_width:].eq(symbol)
        with m.If(final & crc.good & ~self.corrupt):
            m.d.sync += self.done.eq(1)

        # Where all codes of the greatest length are below these bits, no code begins like them.
        number, longest = Cat(reversed(bits)), MAX_CODE_LENGTH - 1
        unknown = ((kind == Kind.CODE) & (number >= self.codes[0].limits[longest])) | (
            (kind == Kind.INDEX) & (number >= self.codes[1].limits[longest])
        )
        with m.If(window.underrun | unknown | (final & ~crc.good)):
            m.d.sync += self.corrupt.eq(1)
