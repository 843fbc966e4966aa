"""Format of encoded weights, Huffman tables and bit streams: the host writes by it, hardware and models read by it.

**Tables.** An encoded tile has two canonical Huffman codes, one for the entries' codes and one for their indices. They
lie in the codebook memory, in 16-bit words:

====================================  ======================================================================
words                                 content
====================================  ======================================================================
MAX_CODE_LENGTH                       number of codes of 1, 2, … bits in the code for codes
MAX_CODE_LENGTH                       the same of the code for indices
2**code_width / 2                     symbols of the code for codes by rank, two to a word, the first one low
2**index_width / 2                    the same of the code for indices
====================================  ======================================================================

The rank of a symbol counts the codes that are shorter, or as long and smaller; symbols of one length are in ascending
order. The first code of a length is twice what follows the last code of the length before; unused words are 0.

**Streams.** Decoder d serves the `slice_pes` PEs from d · `slice_pes` on. Its bits are, for each address and each of
its PEs, the Huffman codes of the entry's code and of its index, most significant bits first; then the CRC-32 of the
entries, a byte of code and a byte of index each, least significant bit first; then zeros, until all decoders have as
many whole units. Bits fill chunks from the least significant bit on. A stream word has, from its least significant bit
on, `slice_chunks` chunks for decoder 0, as many for decoder 1, and so on.
"""

from dataclasses import dataclass

from celosia.hw.sparse.config import MAX_CODE_LENGTH, SparseConfig
from celosia.hw.timing import READ_LATENCY

WORDS_WIDTH = 24
"""Bits of a number of stream words."""

CRC_BYTES = 4
"""A decoder takes its CRC as symbols of 8 bits."""

PRIMING_SYMBOLS = 3
"""Symbols of one bit that a decoder takes before the first of its stream, to fill its pipeline."""

LOOKAHEAD = 8 - 1 + 4 * MAX_CODE_LENGTH - 1
"""Bits that a decoder looks at from the multiple of 8 bits at or before the symbol that it takes: four symbols, but for
the last bit, which tells no lengths apart."""

DONE_CYCLES = READ_LATENCY + 5
"""From the step that takes the last byte of the last CRC to the first cycle in which the loader is idle."""


@dataclass(frozen=True)
class EncodedFormat:
    """Numbers of the format that follow from a config with decoders."""

    engine: SparseConfig

    @property
    def slice_pes(self) -> int:
        """PEs that a decoder serves."""
        return self.engine.pes // self.engine.decoders

    @property
    def chunk_width(self) -> int:
        """Bits that a decoder takes at a time."""
        return min(32, self.engine.weight_word_width // self.engine.decoders)

    @property
    def slice_chunks(self) -> int:
        """Chunks of a stream word for each decoder."""
        return self.engine.weight_word_width // (self.engine.decoders * self.chunk_width)

    @property
    def unit_chunks(self) -> int:
        """Chunks that a decoder puts together, enough for three symbols; a stream has whole units."""
        return -(-(3 * MAX_CODE_LENGTH - 1) // self.chunk_width)

    @property
    def unit_width(self) -> int:
        """Bits of a unit."""
        return self.unit_chunks * self.chunk_width

    @property
    def far_offset(self) -> int:
        """Symbols from this bit of a unit on also need the unit after the next one."""
        return -(-(2 * self.unit_width + 1 - LOOKAHEAD) // 8) * 8

    @property
    def alphabets(self) -> tuple[int, int]:
        """Symbols of the two codes: codes and indices."""
        return 1 << self.engine.code_width, 1 << self.engine.index_width

    @property
    def symbol_words(self) -> int:
        """Words of both lists of symbols."""
        return self.engine.symbol_words

    @property
    def rank_width(self) -> int:
        """Bits of a rank, where those of indices follow those of codes."""
        return (sum(self.alphabets) - 1).bit_length()

    @property
    def table_words(self) -> int:
        """Words of a tile's tables."""
        return 2 * MAX_CODE_LENGTH + self.symbol_words

    @property
    def table_cycles(self) -> int:
        """From the start of an encoded load to the first cycle in which a word is accepted."""
        return self.table_words + READ_LATENCY + 1
