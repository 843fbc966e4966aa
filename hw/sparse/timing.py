"""Latencies of the sparse engine, in cycles: hardware and cycle model share them."""

from celosia.hw.sparse.config import SparseConfig
from celosia.hw.timing import READ_LATENCY

WORDS_AHEAD = 8
"""Activation words read ahead of the scan: they cover `WORD_CYCLES` at one word per cycle."""

WORD_CYCLES = READ_LATENCY + 3
"""From the read of an activation word to the first cycle in which the scan may take it: read, look, count, queue."""

COLUMNS_AHEAD = 16
"""Columns looked up ahead of the broadcast: they cover `LOOKUP_CYCLES` at one column per cycle."""

LOOKUP_CYCLES = READ_LATENCY + 6
"""From a column's detection to the first cycle in which it may be broadcast: select, add, read, subtract, queue."""

ENTRY_CYCLES = READ_LATENCY
"""From the cycle in which a PE reads an entry to the one in which it multiplies it; causes of cycles are told then."""

FLUSH_CYCLES = ENTRY_CYCLES + 5
"""From the cycle in which every PE is idle to the first read of finished sums: look-up, product, sum, write."""

CODES_AHEAD = 4
"""Cycles from the first one in which a column may be broadcast, as the codebook reader says a cycle before, to the last
one in which the codebook may be written: its first weight is looked up behind that."""


def merge_cycles(config: SparseConfig) -> int:
    """From the read of sums to the write of activations: read, merge a level per cycle, add, shift, compare, choose."""
    return READ_LATENCY + config.group.bit_length() + 4


def codebook_cycles(engine: SparseConfig) -> int:
    """From the start of reading a codebook to the first broadcast: the last weights are then still on their way."""
    return (1 << engine.code_width) + READ_LATENCY - CODES_AHEAD
