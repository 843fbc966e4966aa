"""Symbol window: finds where the symbols of a Huffman-coded stream begin and end, one per cycle."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.sparse.config import MAX_CODE_LENGTH
from celosia.hw.sparse.tables import CRC_BYTES, LOOKAHEAD, PRIMING_SYMBOLS, EncodedFormat

COARSE = 3  # the first stage shifts by multiples of 2**COARSE bits, the second one by the rest


class Kind(enum.Enum, shape=2):
    """What a symbol is."""

    NONE = 0
    CODE = 1
    INDEX = 2
    BYTE = 3


class SymbolWindow(wiring.Component):
    """Takes the symbols of `rows` · `slice_pes` entries and of a CRC from a stream of chunks.

    The length of a symbol decides where the next one begins. That loop is one cycle long: a shift by up to
    MAX_CODE_LENGTH bits, and a comparison with the limits of the next symbol's code, which tells whether that symbol is
    longer than 1, 2, … bits. Bits reach the loop through two stages, each of which makes the shift of its cycle, too.

    Throughput: a symbol per cycle, whatever its length, if a chunk is offered whenever one is wanted and a unit is one
    chunk; where it is several, chunks may be too small for that. Latency: a symbol's step is PRIMING_SYMBOLS + 1 cycles
    or more behind the one that takes its unit's last chunk. Back-pressure: on chunks at any time, on symbols none.

    After a reset it waits for `start`; after the last symbol, or a stream that ended too early, it drops what comes.

    Attributes
    ----------
    start : Signal(1), in
        Takes `rows`; once after a reset.
    last : Signal(1), in
        All chunks have been taken, no other will come.
    limits : arrays of numbers, in
        Those of both codes, see `celosia.hw.sparse.table_loader.code_layout`.
    valid, kind, bits, length : out
        A symbol: the bits from its first on, least significant first, and its length in bits less one.
    final : Signal(1), out
        This symbol is the last one.
    underrun : Signal(1), out
        The stream ended before the symbol of the cycle before, or with it, and that was not the last one.
    """

    start: Signal
    rows: Signal
    i: stream.Interface
    last: Signal
    limits: data.View
    valid: Signal
    kind: Any
    bits: Signal
    length: Signal
    final: Signal
    underrun: Signal

    def __init__(self, tables: EncodedFormat, rows_width: int) -> None:
        self.tables = tables
        limits = data.ArrayLayout(MAX_CODE_LENGTH + 1, MAX_CODE_LENGTH)
        super().__init__(
            {
                "start": In(1),
                "rows": In(rows_width),
                "i": In(stream.Signature(tables.chunk_width)),
                "last": In(1),
                "limits": In(data.ArrayLayout(limits, 2)),
                "valid": Out(1),
                "kind": Out(Kind),
                "bits": Out(MAX_CODE_LENGTH),
                "length": Out(range(MAX_CODE_LENGTH)),
                "final": Out(1),
                "underrun": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        unit = self.tables.unit_width
        running = Signal()
        step = Signal()
        advance = Signal()
        offset = Signal(range(unit), init=unit - PRIMING_SYMBOLS)  # of the symbol at the front, in unit 0
        end = Signal(range(unit + (1 << len(self.length))))
        units, there = self._take_chunks(m, running, advance, offset)
        next_kind = self._count(m, step)

        near = Signal(LOOKAHEAD - MAX_CODE_LENGTH, reset_less=True)  # from `fine` bits before the front on
        fine = Signal(COARSE, reset_less=True)
        head = Signal(2 * MAX_CODE_LENGTH - 1, reset_less=True)  # from the front on
        following = Signal(MAX_CODE_LENGTH - 1)  # from the next symbol on
        longer = Signal(MAX_CODE_LENGTH - 1)  # whether the symbol at the front is longer than 1, 2, … bits
        m.d.comb += [
            step.eq(running & there),
            self.length.eq(_count_ones(longer)),
            end.eq(offset + self.length + 1),
            advance.eq(step & (end >= unit)),
            following.eq(_skip(head, self.length, len(following))),
            self.valid.eq(step & (self.kind != Kind.NONE)),
            self.bits.eq(head),
        ]
        with m.If(step):
            m.d.sync += [
                offset.eq(Mux(end >= unit, end - unit, end)),
                near.eq(_skip(Cat(units) >> Cat(Const(0, COARSE), offset[COARSE:]), self.length, len(near))),
                fine.eq(offset[:COARSE]),
                head.eq(_skip(near >> fine, self.length, len(head))),
                longer.eq(Cat(self._reaches(m, next_kind, following, bits) for bits in range(1, MAX_CODE_LENGTH))),
            ]
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.Elif((step & self.final) | self.underrun):
            m.d.sync += running.eq(0)
        return m

    def _take_chunks(self, m: Module, running: Signal, advance: Signal, offset: Signal) -> tuple[list[Signal], Value]:
        """Keep three units, unit 0 with the front in it; return them, and whether they hold what a step looks at."""
        tables = self.tables
        units = [Signal(tables.unit_width, name=f"unit_{index}", reset_less=True) for index in range(3)]
        has_1 = Signal()
        has_2 = Signal()
        chunks = Signal(range(tables.unit_chunks))  # of unit 2
        take = Signal()
        move = Signal()
        whole = Signal()
        m.d.comb += [
            self.i.ready.eq(~(has_1 & has_2) | ~running),
            take.eq(self.i.valid & self.i.ready),
            move.eq(advance | ~has_1),
            whole.eq(take & (chunks == tables.unit_chunks - 1)),
        ]
        m.d.sync += [
            has_1.eq(Mux(move, has_2, has_1)),
            has_2.eq(whole | (has_2 & ~move)),
            self.underrun.eq(advance & ~has_1 & ~self.final),
        ]
        with m.If(take):
            m.d.sync += [
                chunks.eq(Mux(whole, 0, chunks + 1)),
                units[2].eq(Cat(units[2], self.i.payload)[tables.chunk_width :]),
            ]
        with m.If(move):
            m.d.sync += units[1].eq(units[2])
        with m.If(advance):
            m.d.sync += units[0].eq(units[1])
        # Behind the last chunk a step meets old bits; a symbol that reaches into them is followed by an underrun.
        return units, Mux(has_1, has_2 | (offset < tables.far_offset) | self.last, self.last & ~has_2)

    def _count(self, m: Module, step: Signal) -> Any:
        """Follow the order of symbols; return the kind of the symbol behind the front."""
        next_kind = Signal(Kind)
        count = Signal(range(CRC_BYTES), init=PRIMING_SYMBOLS - 2)
        row = Signal.like(self.rows, reset_less=True)
        pe = Signal(range(self.tables.slice_pes))
        with m.If(step):
            m.d.sync += [self.kind.eq(next_kind), count.eq(count - 1)]
            with m.Switch(next_kind):
                with m.Case(Kind.NONE), m.If(count == 0):
                    m.d.sync += [next_kind.eq(Mux(row == 0, Kind.BYTE, Kind.CODE)), count.eq(CRC_BYTES - 1)]
                with m.Case(Kind.CODE):
                    m.d.sync += next_kind.eq(Kind.INDEX)
                with m.Case(Kind.INDEX):
                    m.d.sync += [next_kind.eq(Kind.CODE), pe.eq(pe + 1), count.eq(CRC_BYTES - 1)]
                    with m.If(pe == self.tables.slice_pes - 1):
                        m.d.sync += [pe.eq(0), row.eq(row - 1)]
                        with m.If(row == 1):
                            m.d.sync += next_kind.eq(Kind.BYTE)
                with m.Case(Kind.BYTE):
                    m.d.sync += self.final.eq(count == 0)
        with m.If(self.start):
            m.d.sync += row.eq(self.rows)
        return next_kind

    def _reaches(self, m: Module, kind: Any, following: Value, bits: int) -> Value:
        """Return whether the symbol of some kind that begins with `following` is longer than `bits`."""
        limit = Signal(bits + 1, name=f"limit_{bits}", init=(1 << (bits + 1)) - 1)
        with m.Switch(kind):
            with m.Case(Kind.CODE):
                m.d.comb += limit.eq(self.limits[0][bits - 1])
            with m.Case(Kind.INDEX):
                m.d.comb += limit.eq(self.limits[1][bits - 1])
            if bits < 8:
                with m.Case(Kind.BYTE):
                    m.d.comb += limit.eq(0)
        return Cat(reversed(following[:bits])) >= limit


def _skip(bits: Value, length: Value, width: int) -> Value:
    """Return `width` of the bits behind a symbol of `length` + 1 bits."""
    bits = bits[1:]
    # The largest shift comes first, as the most significant bits of the length are those that are known first.
    for amount in (1 << bit for bit in reversed(range(len(length)))):
        bits = Mux(length[amount.bit_length() - 1], bits[amount:], bits)[: width + amount - 1]
    return bits


def _count_ones(thermometer: Value) -> Value:
    """Return the number of ones that come before the first zero, least significant bit first."""

    def at(index: int) -> Value:
        return thermometer[index - 1] if index <= len(thermometer) else Const(0)

    bits = []
    for weight in (1 << bit for bit in range(len(thermometer).bit_length())):
        odd = range(weight, len(thermometer) + 1, 2 * weight)
        bits.append(Cat(at(start) & ~at(start + weight) for start in odd).any())
    return Cat(bits)
