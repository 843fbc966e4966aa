"""Entries: the non-zero weights of each PE, column after column, with indices that say which row (EIE's CSC variant).

Source: Han et al., ISCA 2016, arXiv 1602.01528, section III. A relative index counts the zeros between an entry and the
one before it in its column and PE; a run of more zeros than an index counts takes padding entries, of code 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Entries:
    """Entries of every PE.

    Parameters
    ----------
    codes, indices : ndarray (depth, PEs) of int64
        Code and index of each entry, in the order of use; 0 behind a PE's last entry.
    relative_width : int
        Bits of relative indices; 0: indices are rows.
    pointers : ndarray (columns + 1, PEs) of int64
        Number of a PE's entries before each column, and of all of them.
    """

    codes: np.ndarray
    indices: np.ndarray
    pointers: np.ndarray
    relative_width: int

    @property
    def pads(self) -> np.ndarray:
        """Which entries are padding: bool (depth, PEs)."""
        inside = np.arange(self.depth)[:, None] < self.pointers[-1]
        return inside & (self.codes == 0) if self.relative_width else np.zeros(self.codes.shape, dtype=bool)

    @cached_property
    def rows(self) -> np.ndarray:
        """Row of each entry within its PE: int64 (depth, PEs)."""
        if not self.relative_width:
            return self.indices
        steps = np.cumsum(self.indices + 1, axis=0)
        lengths = np.diff(self.pointers, axis=0)
        rows = np.zeros_like(self.indices)
        for pe in range(self.pointers.shape[1]):
            count = self.pointers[-1, pe]
            before = np.concatenate([[0], steps[:, pe]])[self.pointers[:-1, pe]]
            rows[:count, pe] = steps[:count, pe] - np.repeat(before, lengths[:, pe]) - 1
        return rows

    @property
    def depth(self) -> int:
        """Entries of the PE that has most."""
        return len(self.codes)

    @property
    def count(self) -> int:
        """Entries of all PEs, padding included."""
        return int(self.pointers[-1].sum())

    def between(self, first: int, last: int) -> "Entries":
        """Return the entries of the columns from `first` up to but not including `last`."""
        begin, end = self.pointers[first], self.pointers[last]
        sizes = end - begin
        depth, pes = int(sizes.max()), len(sizes)
        place = np.arange(depth)[:, None]
        inside = place < sizes
        picked = np.minimum(begin + place, max(self.depth - 1, 0)), np.arange(pes)
        return Entries(
            codes=np.where(inside, self.codes[picked], 0),
            indices=np.where(inside, self.indices[picked], 0),
            pointers=self.pointers[first : last + 1] - begin,
            relative_width=self.relative_width,
        )


def make_entries(
    columns: np.ndarray,
    slots: np.ndarray,
    owners: np.ndarray,
    codes: np.ndarray,
    *,
    column_count: int,
    pes: int,
    relative_width: int,
) -> Entries:
    """Put non-zero weights into the order of use.

    Parameters
    ----------
    columns, slots, owners, codes : ndarray (nnz,) of integers
        Column, row within the PE, PE, and code of each weight, in any order.
    column_count : int
        Columns.
    pes : int
        PEs.
    relative_width : int
        Bits of relative indices; 0: indices are rows.
    """
    order = np.lexsort((slots, columns, owners))
    given = (columns, slots, owners, codes)
    columns, slots, owners, codes = (np.asarray(values, dtype=np.int64)[order] for values in given)
    if relative_width:
        same = (columns[1:] == columns[:-1]) & (owners[1:] == owners[:-1])
        before = np.full(len(slots), -1, dtype=np.int64)
        before[1:][same] = slots[:-1][same]
        indices = slots - before - 1
        pads = indices >> relative_width
        indices &= (1 << relative_width) - 1
    else:
        indices, pads = slots, np.zeros(len(slots), dtype=np.int64)
    ends = np.cumsum(pads + 1)  # one behind each weight, among the weights and the padding before them
    total = int(ends[-1]) if len(ends) else 0
    sizes = np.bincount(owners, weights=pads + 1, minlength=pes).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    counts = np.bincount(owners * column_count + columns, weights=pads + 1, minlength=pes * column_count)
    pointers = np.zeros((column_count + 1, pes), dtype=np.int64)
    pointers[1:] = np.cumsum(counts.reshape(pes, column_count).T.astype(np.int64), axis=0)

    flat_codes, flat_indices = np.zeros(total, dtype=np.int64), np.full(total, (1 << relative_width) - 1)
    flat_codes[ends - 1], flat_indices[ends - 1] = codes, indices
    depth = int(sizes.max(initial=0))
    all_owners = np.repeat(np.arange(pes), sizes)
    places = np.arange(total) - starts[all_owners]
    by_pe = np.zeros((2, depth, pes), dtype=np.int64)
    by_pe[0, places, all_owners] = flat_codes
    by_pe[1, places, all_owners] = flat_indices
    return Entries(codes=by_pe[0], indices=by_pe[1], pointers=pointers, relative_width=relative_width)
