"""Entries of a pruned layer, a code and a relative index each, counted by value: what Huffman coding needs to know.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149), section 2. The index is the number of zeros before the entry; a
padding entry (code 0, the largest index i) stands for i + 1 zeros where there are more. K is the number of inputs of a
layer, N the number of its outputs.
"""

from dataclasses import dataclass

import numpy as np

from celosia.host.models.checks import layer_label
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryStream:
    """Entries of a layer as a packer made them, of all PEs.

    Parameters
    ----------
    codes, indices : ndarray (entries,) of any integer type
        Padding included, in any order; not negative (a weight without a codebook in two's complement).
    pointers : int
        Pointers to them, of all PEs.
    """

    codes: np.ndarray
    indices: np.ndarray
    pointers: int


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryCounts:
    """How often each code and each index occurs in the entries of a layer.

    Parameters
    ----------
    codes : ndarray (2^code width,) of int64
    indices : ndarray (2^index width,) of int64
    pointers : int
        Pointers to the entries.
    """

    codes: np.ndarray
    indices: np.ndarray
    pointers: int

    @property
    def entries(self) -> int:
        """Number of entries, padding included."""
        return int(self.codes.sum())


def code_width(layer: CompressedDense) -> int:
    """Return the bits of a code of the layer, or of its weights where it has no codebook."""
    return layer.weight_width if layer.codebook is None else (len(layer.codebook) - 1).bit_length()


def count_entries(layer: CompressedDense, index_width: int, *, per_input: bool) -> EntryCounts:
    """Count the entries that a layer has when it is held by one PE.

    Parameters
    ----------
    layer : CompressedDense
    index_width : int
        Bits of an index.
    per_input : bool
        Count zeros anew for each input k, along n; zeros after its last entry are not stored, so that it needs a
        pointer, K + 1 in all. Otherwise they are counted through the whole matrix in C order, without pointers.

    Returns
    -------
    EntryCounts
    """
    K, N = layer.codes.shape
    used = np.flatnonzero(layer.codes)
    zeros = np.diff(used, prepend=-1) - 1
    if per_input:
        first = np.diff(used // N, prepend=-1) > 0
        zeros[first] = used[first] % N
    width = code_width(layer)
    codes = np.bincount(layer.codes.ravel()[used].astype(np.int64) & ((1 << width) - 1), minlength=1 << width)
    indices = np.bincount(zeros & ((1 << index_width) - 1), minlength=1 << index_width)
    padding = (zeros >> index_width).sum()
    codes[0] += padding
    indices[-1] += padding
    return EntryCounts(codes=codes, indices=indices, pointers=K + 1 if per_input else 0)


def count_given(layer: CompressedDense, index_width: int, entries: EntryStream) -> EntryCounts:
    """Count the entries that a packer made of a layer.

    Raises
    ------
    ModelError
        If there are not as many codes as indices, or one of them does not fit its width.
    """
    where = layer_label(layer.name)
    if entries.codes.size != entries.indices.size:
        raise ModelError(
            f"{where}: {entries.codes.size} codes are given with {entries.indices.size} indices, but an entry has both."
        )
    counts = []
    for name, values, width in (("code", entries.codes, code_width(layer)), ("index", entries.indices, index_width)):
        wrong = values[(values < 0) | (values >= 1 << width)]
        if wrong.size:
            raise ModelError(
                f"{where}: an entry's {name} is {wrong[0]}, but {width} bits hold 0 to {(1 << width) - 1}."
            )
        counts.append(np.bincount(values.astype(np.int64), minlength=1 << width))
    return EntryCounts(codes=counts[0], indices=counts[1], pointers=entries.pointers)
