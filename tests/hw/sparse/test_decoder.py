"""One Huffman decoder under Verilator, with codes of all lengths: entries, cycles, and streams that are not right."""

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.host.huffman import CanonicalCode, code_lengths
from celosia.hw.sparse.config import MAX_CODE_LENGTH, SparseConfig
from celosia.hw.sparse.decoder import HuffmanDecoder
from celosia.hw.sparse.table_loader import code_layout, codes_layout
from celosia.hw.sparse.tables import CRC_BYTES, PRIMING_SYMBOLS, EncodedFormat
from celosia.sim.rtl import Model, Simulator, build

ROWS_WIDTH = 10
CONFIGS = {
    "4-bit chunks": SparseConfig(pes=1, codebook_width=2, index_width=2, decoders=1),
    "29-bit chunks": SparseConfig(pes=1, codebook_width=None, weight_width=8, index_width=8, decoders=1),
    "32-bit chunks": SparseConfig(pes=12, codebook_width=8, index_width=8, decoders=4),
    "32-bit chunks, 1 PE": SparseConfig(pes=2, codebook_width=None, weight_width=8, index_width=8, decoders=1),
}
WIDE = [name for name, engine in CONFIGS.items() if EncodedFormat(engine).unit_chunks == 1]


class Bench(wiring.Component):
    """A decoder whose entries are a stream; after `chunks` chunks there are no more."""

    def __init__(self, engine: SparseConfig) -> None:
        self.tables = EncodedFormat(engine)
        self.decoder = HuffmanDecoder(self.tables, ROWS_WIDTH)
        super().__init__(
            {
                **{name: self.decoder.signature.members[name] for name in ("start", "rows", "codes", "symbols", "i")},
                "chunks": In(16),
                "o": Out(stream.Signature(engine.entry_width)),
                "done": Out(1),
                "corrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.decoder = decoder = self.decoder
        taken = Signal(16)
        m.d.comb += [
            decoder.start.eq(self.start),
            decoder.rows.eq(self.rows),
            decoder.codes.eq(self.codes),
            decoder.symbols.enable.eq(self.symbols.enable),
            decoder.symbols.address.eq(self.symbols.address),
            decoder.symbols.data.eq(self.symbols.data),
            decoder.i.payload.eq(self.i.payload),
            decoder.i.valid.eq(self.i.valid),
            self.i.ready.eq(decoder.i.ready),
            decoder.last.eq(taken == self.chunks),
            self.o.payload.eq(decoder.entry),
            self.o.valid.eq(decoder.valid),
            self.done.eq(decoder.done),
            self.corrupt.eq(decoder.corrupt),
        ]
        m.d.sync += taken.eq(taken + (self.i.valid & self.i.ready))
        return m


@cache
def model(name: str) -> Model:
    return build(Bench(CONFIGS[name]), name="decoder_bench")


@dataclass
class Case:
    """Entries (rows, slice_pes), the two codes, and the chunks of their stream."""

    entries: np.ndarray
    codes: tuple[CanonicalCode, CanonicalCode]
    chunks: np.ndarray
    bits: int


def draw_code(rng: np.random.Generator, size: int, kind: int) -> CanonicalCode:
    """Kind 0: many lengths; 1: the longest codes; 2: not all bits begin a code; 3: one code; 4: of one bit."""
    if kind >= 3:
        only = np.arange(size) == rng.integers(size)
        length = 1 if kind == 4 else rng.choice([1, 4, MAX_CODE_LENGTH])
        return CanonicalCode((only * length).astype(np.uint8))
    if kind == 1:
        return CanonicalCode(np.full(size, MAX_CODE_LENGTH, dtype=np.uint8))
    lengths = code_lengths(rng.permutation(np.exp2(rng.uniform(0, 12, size)).astype(np.int64)))
    if kind == 2:
        longer = rng.random(size) < 0.3
        lengths = np.minimum(lengths + longer, MAX_CODE_LENGTH).astype(np.uint8)
    return CanonicalCode(lengths)


def draw_case(engine: SparseConfig, rng: np.random.Generator, rows: int, kinds: tuple[int, int]) -> Case:
    layout = EncodedFormat(engine)
    codes = [draw_code(rng, size, kind) for size, kind in zip(layout.alphabets, kinds, strict=True)]
    symbols = [rng.choice(code.symbols, (rows, layout.slice_pes)) for code in codes]
    bits = [code.encode(symbol.ravel())[0] for code, symbol in zip(codes, symbols, strict=True)]
    lengths = np.stack([code.lengths[symbol.ravel()] for code, symbol in zip(codes, symbols, strict=True)], axis=1)
    # Symbol by symbol from the bits of both codes: a stable order by the number of the symbol.
    order = [np.repeat(2 * np.arange(rows * layout.slice_pes) + which, lengths[:, which]) for which in range(2)]
    stream_bits = np.concatenate(bits)[np.argsort(np.concatenate(order), kind="stable")]
    crc = zlib.crc32(np.stack(symbols, axis=2).astype(np.uint8).tobytes()).to_bytes(4, "little")
    stream_bits = np.append(stream_bits, np.unpackbits(np.frombuffer(crc, np.uint8), bitorder="little"))
    padded = np.zeros(-(-len(stream_bits) // layout.unit_width) * layout.unit_width, dtype=np.uint32)
    padded[: len(stream_bits)] = stream_bits
    chunks = (padded.reshape(-1, layout.chunk_width) << np.arange(layout.chunk_width, dtype=np.uint32)).sum(
        axis=1, dtype=np.uint32
    )
    entries = symbols[0] | symbols[1] << engine.code_width
    return Case(entries, (codes[0], codes[1]), chunks, len(stream_bits))


def put_tables(sim: Simulator, engine: SparseConfig, codes: tuple[CanonicalCode, CanonicalCode]) -> None:
    """What the table loader gives a decoder, from the definition of a canonical code."""
    layout = EncodedFormat(engine)
    value, base, ranked = 0, 0, []
    for alphabet, (code, size) in enumerate(zip(codes, layout.alphabets, strict=True)):
        first = rank = 0
        fields: dict[str, list[int]] = {"limits": [], "offsets": []}
        for count in code.length_counts.tolist():
            fields["limits"].append(first + count)
            fields["offsets"].append((base + rank - first) % (1 << layout.rank_width))
            first, rank = 2 * (first + count), rank + count
        constant = code_layout(layout).const(fields).as_value().value
        value |= constant << codes_layout(layout)[alphabet].offset
        base += size
        ranked += [*code.symbols.tolist(), *[0] * (size - len(code.symbols))]
    sim.set("codes", value)
    sim.set("symbols__enable", 1)
    for address in range(layout.symbol_words):
        sim.set("symbols__address", address)
        sim.set("symbols__data", ranked[2 * address] | ranked[2 * address + 1] << 8)
        sim.run(1)
    sim.set("symbols__enable", 0)


def decode(name: str, case: Case, chunks: np.ndarray, stall: float = 0.0, seed: int = 0) -> tuple[list[int], bool, int]:
    """Return the entries, whether the decoder says that they are right, and the cycles after `start`."""
    with model(name).start() as sim:
        put_tables(sim, CONFIGS[name], case.codes)
        sim.set("rows", len(case.entries))
        sim.set("chunks", len(chunks))
        sim.set("start", 1)
        sim.run(1)
        begin = sim.cycle
        sim.set("start", 0)
        sim.set("rows", 0)
        sim.stall("i", stall, seed)
        sim.send("i", chunks)
        limit = 100 + 2 * case.entries.size + int(4 * len(chunks) / (1 - stall))
        while not (sim.get("done") or sim.get("corrupt")):
            assert sim.cycle - begin < limit, f"{name}, {seed=}: the decoder hangs"
            sim.run(1)
        good, cycles = sim.get("done"), sim.cycle - begin
        sim.run(50)
        assert sim.get("done") == good
        assert sim.get("corrupt") != good
        return sim.receive("o")[:, 0].tolist(), bool(good), cycles


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(8))
def test_entries(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for rows in (0, 1, 2, int(rng.integers(3, 60))):
        case = draw_case(CONFIGS[name], rng, rows, (int(rng.integers(4)), int(rng.integers(4))))
        entries, good, _ = decode(name, case, case.chunks, float(rng.choice([0, 0.3, 0.9])), seed)
        assert good, f"{name}, {seed=}, {rows=}"
        assert entries == case.entries.ravel().tolist(), f"{name}, {seed=}, {rows=}"


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("kind", range(4))
def test_a_symbol_per_cycle(name: str, kind: int) -> None:
    """Whatever the lengths of the codes, 10 bits each included: a cycle per symbol, and always the same besides."""
    case = draw_case(CONFIGS[name], np.random.default_rng(kind), 300, (kind, kind))
    entries, good, cycles = decode(name, case, case.chunks)
    assert good
    assert entries == case.entries.ravel().tolist()
    # Two units are taken; in the next cycle the first step is made.
    steps = PRIMING_SYMBOLS + 2 * case.entries.size + CRC_BYTES
    assert cycles == 2 + steps - 1 + HuffmanDecoder.DONE_LATENCY


@pytest.mark.parametrize("name", WIDE)
def test_early_end(name: str) -> None:
    """A stream that ends too early, and bits that no code begins like, are found out long before the CRC."""
    case = draw_case(CONFIGS[name], np.random.default_rng(5), 300, (4, 4))
    damaged = [case.chunks[:3]]
    for flipped in (1, 2):  # a code and an index: the smallest bits that no code begins like
        damaged.append(case.chunks.copy())
        damaged[-1][2] ^= flipped
    for chunks in damaged:
        _, good, cycles = decode(name, case, chunks)
        assert not good
        assert cycles < 32 * 3 + 20


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(6))
def test_damage(name: str, seed: int) -> None:
    """Flipped bits, too few chunks, lost chunks: found out, or of no consequence; never more entries than asked for."""
    rng = np.random.default_rng(seed)
    engine, found = CONFIGS[name], 0
    for number in range(12):
        case = draw_case(engine, rng, int(rng.integers(1, 20)), (int(rng.integers(4)), int(rng.integers(4))))
        chunks = case.chunks.copy()
        if number % 3 == 0:
            chunks[rng.integers(len(chunks))] ^= np.uint32(1 << rng.integers(EncodedFormat(engine).chunk_width))
        elif number % 3 == 1:
            chunks = chunks[: rng.integers(len(chunks))]
        else:
            chunks = np.delete(chunks, rng.integers(len(chunks)))
        entries, good, _ = decode(name, case, chunks, float(rng.choice([0, 0.5])), seed)
        expected = case.entries.ravel().tolist()
        assert len(entries) <= len(expected), f"{name}, {seed=}, {number=}"
        assert not good or entries == expected, f"{name}, {seed=}, {number=}"
        found += not good
    assert found >= 8, f"{name}, {seed=}"
