"""Huffman codes: as short as can be, within the limit; and encoded tiles, decoded bit by bit."""

import itertools
import time
import zlib

import numpy as np
import pytest

from celosia.host.huffman import CanonicalCode, code_bits, code_lengths
from celosia.host.pack.encode import encode_tile, symbol_lengths
from celosia.hw.sparse.config import MAX_CODE_LENGTH, SparseConfig
from celosia.hw.sparse.tables import EncodedFormat

SEED = 4200


def kraft(lengths: np.ndarray) -> float:
    return float((0.5 ** lengths[lengths > 0].astype(float)).sum())


def cheapest(counts: list[int], limit: int) -> int:
    """Return the bits of the shortest text, by trying all lengths that a prefix code can have."""
    return min(
        sum(count * length for count, length in zip(counts, lengths, strict=True))
        for lengths in itertools.product(range(1, limit + 1), repeat=len(counts))
        if sum(2 ** (limit - length) for length in lengths) <= 2**limit
    )


def random_counts(rng: np.random.Generator, symbols: int) -> np.ndarray:
    """Counts of all sorts: nearly equal, as steep as powers of two, many zeros."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(1, 100, symbols)
    if kind == 1:
        return np.exp2(rng.uniform(0, 40, symbols)).astype(np.int64)
    if kind == 2:
        return rng.integers(0, 2, symbols) * rng.integers(1, 1000, symbols)
    return rng.permutation(2 ** np.minimum(np.arange(symbols), 50))


@pytest.mark.parametrize("seed", range(SEED, SEED + 60))
def test_no_code_is_shorter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = int(rng.integers(2, 6))
    limit = int(rng.integers(symbols.bit_length() if symbols & (symbols - 1) else symbols.bit_length() - 1, 6))
    counts = np.maximum(random_counts(rng, symbols), 1)
    lengths = code_lengths(counts, limit)
    assert lengths.min() >= 1, f"{seed=}"
    assert lengths.max() <= limit, f"{seed=}"
    assert kraft(lengths) == 1, f"{seed=}"
    assert int((counts * lengths).sum()) == cheapest(counts.tolist(), limit), f"{seed=} {counts=} {limit=} {lengths=}"


def test_fibonacci_reaches_the_limit() -> None:
    """Counts whose unlimited code has 15 bits; the last limit that changes nothing is that."""
    fibonacci = [1, 1]
    while len(fibonacci) < 16:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    counts = np.array(fibonacci)
    bits = {limit: int((counts * code_lengths(counts, limit)).sum()) for limit in (4, 9, 10, 14, 15, 20)}
    assert code_lengths(counts, 20).tolist() == [15, 15, *range(14, 0, -1)]
    assert code_lengths(counts, 4).tolist() == [4] * 16
    assert code_lengths(counts).max() == MAX_CODE_LENGTH
    assert bits[4] > bits[9] > bits[10] > bits[14] > bits[15] == bits[20]


@pytest.mark.parametrize(
    ("counts", "lengths"),
    [([], []), ([0, 0], [0, 0]), ([0, 7, 0], [0, 1, 0]), ([5, 0, 5], [1, 0, 1]), ([1] * 4, [2] * 4)],
)
def test_few_symbols(counts: list[int], lengths: list[int]) -> None:
    found = code_lengths(np.array(counts, dtype=np.int64))
    assert found.dtype == np.uint8
    assert found.tolist() == lengths


def test_refusals() -> None:
    with pytest.raises(ValueError, match="counts has 9 symbols; codes of at most 3 bits tell 8 apart"):
        code_lengths(np.ones(9, dtype=np.int64), limit=3)
    with pytest.raises(ValueError, match="counts has -1"):
        code_lengths(np.array([3, -1]))
    with pytest.raises(ValueError, match="codes have at most 10 bits"):
        CanonicalCode(np.array([1, 11], dtype=np.uint8))
    with pytest.raises(ValueError, match=r"lengths take 1.500 of all codes"):
        CanonicalCode(np.array([1, 1, 1], dtype=np.uint8))
    code = CanonicalCode(np.array([1, 0, 2], dtype=np.uint8))
    with pytest.raises(ValueError, match="symbol 1 has no code"):
        code.encode(np.array([0, 1]))
    with pytest.raises(ValueError, match="no code begins like the bits at bit 1"):
        code.decode(np.array([0, 1, 1] + [1] * 10, dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="2 bits end in the code that begins at bit 1"):
        code.decode(np.array([0, 1], dtype=np.uint8), 2)


def test_canonical_order() -> None:
    """The example of RFC 1951, section 3.2.2: lengths of the symbols A to H, and their codes."""
    code = CanonicalCode(np.array([3, 3, 3, 3, 3, 2, 4, 4], dtype=np.uint8))
    assert code.codes.tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]
    assert code.symbols.tolist() == [5, 0, 1, 2, 3, 4, 6, 7]
    assert code.length_counts.tolist() == [0, 1, 5, 2, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(SEED, SEED + 30))
def test_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.choice([2, 3, 16, 256]))
    counts = random_counts(rng, size)
    counts[0] += not counts.any()
    lengths = code_lengths(counts)
    code = CanonicalCode(lengths)
    text = rng.choice(np.flatnonzero(counts), 300)
    bits, spent = code.encode(text)
    assert (spent == lengths[text]).all()
    assert len(bits) == spent.sum()
    assert kraft(lengths) == (1 if np.count_nonzero(counts) > 1 else 0.5), f"{seed=}"
    np.testing.assert_array_equal(code.decode(bits, len(text)), text, err_msg=f"{seed=}")


def test_no_python_per_symbol() -> None:
    text = np.minimum(np.random.default_rng(SEED).geometric(0.2, 1_500_000) - 1, 255)
    code = CanonicalCode.of(text, 256)
    start = time.process_time()  # others may be busy on the same cores
    bits, lengths = code.encode(text)
    assert time.process_time() - start < 1
    assert len(bits) == int(lengths.sum())


def test_no_codes_no_bits() -> None:
    assert len(code_bits(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8))) == 0


def decode_tile(words: np.ndarray, tables: np.ndarray, rows: int, config: SparseConfig) -> np.ndarray:
    """Decode a tile as the format's description says, and check its CRCs."""
    layout = EncodedFormat(config)
    codes, at = [], 2 * MAX_CODE_LENGTH
    for alphabet, size in enumerate(layout.alphabets):
        counts = tables[alphabet * MAX_CODE_LENGTH :][:MAX_CODE_LENGTH]
        symbols = tables[at : at + size // 2].astype("<u2").view(np.uint8)
        at += size // 2
        lengths = np.zeros(size, dtype=np.uint8)
        lengths[symbols[: counts.sum()]] = np.repeat(np.arange(1, MAX_CODE_LENGTH + 1), counts)
        codes.append(CanonicalCode(lengths))
    assert at == len(tables) == layout.table_words
    entries = np.zeros((rows, config.pes), dtype=np.int64)
    bits = np.unpackbits(np.ascontiguousarray(words.astype("<u4")).view(np.uint8), axis=1, bitorder="little")
    width = layout.chunk_width * layout.slice_chunks
    for decoder in range(config.decoders):
        stream, position = bits[:, decoder * width : (decoder + 1) * width].reshape(-1), 0
        checked = bytearray()
        for row, pe in itertools.product(range(rows), range(layout.slice_pes)):
            code, position = codes[0].decode_one(stream, position)
            index, position = codes[1].decode_one(stream, position)
            entries[row, decoder * layout.slice_pes + pe] = code | index << config.code_width
            checked += bytes([code, index])
        crc = np.packbits(stream[position : position + 32], bitorder="little").tobytes()
        assert crc == zlib.crc32(checked).to_bytes(4, "little")
        assert not stream[position + 32 :].any()
    return entries


@pytest.mark.parametrize("rows", [0, 1, 30])
@pytest.mark.parametrize(
    "config",
    [
        SparseConfig(pes=1, codebook_width=2, index_width=2, decoders=1),
        SparseConfig(pes=5, decoders=1),
        SparseConfig(pes=12, codebook_width=8, index_width=8, decoders=4),
        SparseConfig(pes=10, codebook_width=None, weight_width=7, index_width=5, decoders=2),
    ],
    ids=lambda config: f"{config.pes} PEs",
)
def test_tiles(config: SparseConfig, rows: int) -> None:
    rng = np.random.default_rng(rows)
    entries = np.minimum(rng.geometric(0.01, (rows, config.pes)) - 1, (1 << config.entry_width) - 1)
    words, tables = encode_tile(entries, config)
    assert (words.dtype, tables.dtype) == (np.uint32, np.uint16)
    assert words.shape[1] == -(-config.weight_word_width // 32)
    np.testing.assert_array_equal(decode_tile(words, tables, rows, config), entries)
    layout, lengths = EncodedFormat(config), symbol_lengths(entries, config)
    assert lengths.shape == (config.decoders, 2 * rows * layout.slice_pes)
    bits = int(lengths.sum(axis=1).max()) + 32
    assert len(words) * layout.chunk_width * layout.slice_chunks - bits < max(
        layout.unit_width, layout.chunk_width * layout.slice_chunks
    )


def test_tile_refusals() -> None:
    config = SparseConfig(pes=4, decoders=1)
    with pytest.raises(ValueError, match="decoders=0 decodes nothing"):
        encode_tile(np.zeros((1, 4), dtype=np.int64), SparseConfig(pes=4))
    with pytest.raises(ValueError, match=r"shape \(1, 3\) must be one for each of pes=4"):
        encode_tile(np.zeros((1, 3), dtype=np.int64), config)
    with pytest.raises(ValueError, match="from 0 to 1024 must have 10 bits"):
        encode_tile(np.array([[0, 1, 2, 1024]]), config)
