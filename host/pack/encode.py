"""Huffman-codes tiles of weights in the format of `celosia.hw.sparse.tables`."""

import zlib

import numpy as np

from celosia.host.huffman import Bits, CanonicalCode, code_bits
from celosia.hw.lanes import Words
from celosia.hw.sparse.config import MAX_CODE_LENGTH, SparseConfig
from celosia.hw.sparse.tables import EncodedFormat


def encode_tile(entries: np.ndarray, config: SparseConfig) -> tuple[Words, np.ndarray]:
    """Encode a tile of weights.

    Parameters
    ----------
    entries : ndarray (rows, pes), any integer type
        Entries as they lie in the weight memory, each of `config.entry_width` bits.
    config : SparseConfig
        Its `decoders` are not 0.

    Returns
    -------
    words : ndarray of uint32, (n, 32-bit words of a stream word)
        Words of the weight stream.
    tables : ndarray of uint16, (table_words,)
        What the codebook memory has to hold.

    Raises
    ------
    ValueError
        The config has no decoders, or the entries do not fit it.
    """
    layout = _layout(entries, config)
    codes = _codes(entries, config)
    values, lengths = _symbols(entries, config, codes)
    streams = []
    for decoder, (value, length) in enumerate(zip(values, lengths, strict=True)):
        part = entries[:, decoder * layout.slice_pes : (decoder + 1) * layout.slice_pes]
        streams.append(np.concatenate([code_bits(value, length), _crc_bits(part, config)]))
    return _cut(streams, layout), _tables(codes, layout)


def symbol_lengths(entries: np.ndarray, config: SparseConfig) -> np.ndarray:
    """Return the bits of each symbol that `encode_tile` makes of the same entries.

    Returns
    -------
    ndarray of uint8, (decoders, 2 · rows · slice_pes)
        In the order of each decoder's stream, without the CRC: what `celosia.sim.cycles.sparse_load` asks for.

    Raises
    ------
    ValueError
        See `encode_tile`.
    """
    _layout(entries, config)
    return _symbols(entries, config, _codes(entries, config))[1]


def _layout(entries: np.ndarray, config: SparseConfig) -> EncodedFormat:
    if not config.decoders:
        raise ValueError("decoders=0 decodes nothing; give the engine decoders, or load the weights as they are.")
    if entries.ndim != 2 or entries.shape[1] != config.pes:
        raise ValueError(f"entries of shape {entries.shape} must be one for each of pes={config.pes}, (rows, pes).")
    if entries.size and not 0 <= entries.min() <= entries.max() < 1 << config.entry_width:
        raise ValueError(f"entries from {entries.min()} to {entries.max()} must have {config.entry_width} bits.")
    return EncodedFormat(config)


def _codes(entries: np.ndarray, config: SparseConfig) -> tuple[CanonicalCode, CanonicalCode]:
    sizes = EncodedFormat(config).alphabets
    return (
        CanonicalCode.of(entries & (sizes[0] - 1), sizes[0]),
        CanonicalCode.of(entries >> config.code_width, sizes[1]),
    )


def _symbols(
    entries: np.ndarray, config: SparseConfig, codes: tuple[CanonicalCode, CanonicalCode]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the code of each symbol as a number, and its bits: (decoders, 2 · rows · slice_pes) both."""
    shape = len(entries), config.decoders, config.pes // config.decoders
    by_decoder = entries.reshape(shape).transpose(1, 0, 2).reshape(config.decoders, shape[0] * shape[2])
    symbols = (by_decoder & ((1 << config.code_width) - 1), by_decoder >> config.code_width)
    values, lengths = (
        np.stack([getattr(code, name)[symbol] for code, symbol in zip(codes, symbols, strict=True)], axis=2)
        for name in ("codes", "lengths")
    )
    flat = config.decoders, 2 * shape[0] * shape[2]
    return values.reshape(flat), lengths.reshape(flat)


def _crc_bits(entries: np.ndarray, config: SparseConfig) -> Bits:
    symbols = np.stack([entries & ((1 << config.code_width) - 1), entries >> config.code_width], axis=2)
    crc = zlib.crc32(symbols.astype(np.uint8).tobytes())
    return np.unpackbits(np.frombuffer(crc.to_bytes(4, "little"), dtype=np.uint8), bitorder="little")


def _cut(streams: list[Bits], layout: EncodedFormat) -> Words:
    """Pad the decoders' streams to whole units, and lay their slices side by side."""
    width = layout.chunk_width * layout.slice_chunks
    longest = max(len(stream) for stream in streams)
    # Where a unit has several chunks, a word has one of them.
    words = -(-longest // width) if layout.unit_chunks == 1 else -(-longest // layout.unit_width) * layout.unit_chunks
    link_words = -(-layout.engine.weight_word_width // 32)
    bits = np.zeros((words, link_words * 32), dtype=np.uint8)
    for decoder, stream in enumerate(streams):
        padded = np.zeros(words * width, dtype=np.uint8)
        padded[: len(stream)] = stream
        bits[:, decoder * width : (decoder + 1) * width] = padded.reshape(words, width)
    return np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def _tables(codes: tuple[CanonicalCode, CanonicalCode], layout: EncodedFormat) -> np.ndarray:
    tables = np.zeros(layout.table_words, dtype=np.uint16)
    start = 2 * MAX_CODE_LENGTH
    for index, (code, size) in enumerate(zip(codes, layout.alphabets, strict=True)):
        tables[index * MAX_CODE_LENGTH : (index + 1) * MAX_CODE_LENGTH] = code.length_counts
        ranked = np.zeros(size, dtype=np.uint16)
        ranked[: len(code.symbols)] = code.symbols
        tables[start : start + size // 2] = ranked[::2] | ranked[1::2] << 8
        start += size // 2
    return tables
