"""Cycles of loads of streamed weights; the twin of `celosia.hw.sparse.loader`.

An encoded load is followed chunk by chunk, for all decoders at once: between two chunks a decoder takes a symbol per
cycle, unless it waits for a unit of bits.
"""

import numpy as np

from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.tables import CRC_BYTES, DONE_CYCLES, PRIMING_SYMBOLS, EncodedFormat
from celosia.sim.cycles.load import Load
from celosia.sim.cycles.model import Source

NEVER = np.int64(1) << 60


def load_encoded(engine: SparseConfig, lengths: np.ndarray, words: int, start: int, source: Source) -> Load:
    """Return what a load takes that decodes the stream, which must be right.

    Parameters
    ----------
    engine : SparseConfig
        The engine, with decoders.
    lengths : ndarray (decoders, symbols), any integer type
        Bits of the symbols of each decoder, without the CRC, as `celosia.host.pack.encode.symbol_lengths` returns them.
    words, start, source
        See `load_raw`; `words` may be more than the symbols need.
    """
    if not words:
        return Load(start + 1, 0)
    tables = EncodedFormat(engine)
    decoders = _Decoders(tables, lengths, start)
    ready, starved, accepted = start + tables.table_cycles, 0, 0
    for _ in range(words):
        accepted = source.accept(ready)
        starved += accepted - ready
        for _ in range(tables.slice_chunks):
            decoders.take_chunk(accepted + 1)
        ready = max(accepted + 1, int(decoders.taken.max()))
    decoders.end()
    return Load(max(int(decoders.final.max()) + DONE_CYCLES, accepted + 2), starved)


class _Decoders:
    """When each decoder takes its chunks and symbols; every array is (decoders,), times in cycles.

    Unit 0 is what the priming symbols lie in, unit 1 the first one of the stream. A symbol needs the unit behind its
    own, and from `far_offset` on the one behind that, too.
    """

    def __init__(self, tables: EncodedFormat, lengths: np.ndarray, start: int) -> None:
        self.tables = tables
        self.taken = np.full(len(lengths), start)  # when the last chunk was taken
        self.final = np.full(len(lengths), NEVER)  # when the last symbol is taken
        self._chunks = 0  # taken so far
        self._units = 0
        self._moved = np.full(len(lengths), -1)  # when the unit taken last came to stand behind the front's
        self._entered = np.full(len(lengths), -1)  # when the front came to the unit before that
        self._count(lengths)

    def _count(self, lengths: np.ndarray) -> None:
        """Count the symbols of each unit, those before and those from `far_offset` on: (decoders, units) both."""
        unit = self.tables.unit_width
        priming, crc = (
            np.full((len(lengths), symbols), bits) for symbols, bits in ((PRIMING_SYMBOLS, 1), (CRC_BYTES, 8))
        )
        bits = np.concatenate([priming, lengths, crc], axis=1, dtype=np.int64)
        begins = np.cumsum(bits, axis=1) - bits + unit - PRIMING_SYMBOLS
        self._last_unit = begins[:, -1] // unit
        borders = np.arange(self._last_unit.max() + 2) * unit
        first = np.stack([np.searchsorted(row, borders) for row in begins])
        far = np.stack([np.searchsorted(row, borders[:-1] + self.tables.far_offset) for row in begins])
        self._near = np.minimum(far, first[:, 1:]) - first[:, :-1]
        self._far = np.diff(first) - self._near

    def take_chunk(self, offered: int) -> None:
        """Have every decoder take its next chunk, which is there from cycle `offered` on."""
        chunk = self._chunks % self.tables.unit_chunks
        room = self.taken + 1
        if self._units and not chunk:
            # A unit makes room in the cycle in which it moves, but not if it could not move any earlier.
            moves = self._moved + (self._moved == self._entered)
            room = np.maximum(room, np.minimum(moves, self.final + 1))
        self.taken = np.maximum(room, offered)
        self._chunks += 1
        if chunk == self.tables.unit_chunks - 1:
            self._take_unit()

    def end(self) -> None:
        """Take the symbols that lie in the last two units: nothing comes behind these."""
        self._take_unit()
        self._take_unit()

    def _take_unit(self) -> None:
        """Take the symbols that have waited for the unit whose last chunk is `taken`."""
        self._units += 1
        entered, unit = self._entered, self._units - 2
        if unit >= self._near.shape[1]:
            entered = np.full_like(entered, NEVER)
        elif unit >= 0:
            near, far = self._near[:, unit], self._far[:, unit]
            begin = np.maximum(entered, self._moved) + 1
            last = np.where(far > 0, np.maximum(begin + near, self.taken + 1) + far, begin + near) - 1
            self.final = np.where(unit == self._last_unit, last, self.final)
            entered = np.where(unit < self._last_unit, last, NEVER)
        self._moved = np.maximum(self.taken + 1, entered)
        self._entered = entered
