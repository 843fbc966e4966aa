"""Length-limited, canonical Huffman codes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from celosia.hw.sparse.config import MAX_CODE_LENGTH

Bits = np.ndarray  # uint8, (bits,): 0 or 1 each, in the order of sending


def code_lengths(counts: np.ndarray, limit: int = MAX_CODE_LENGTH) -> np.ndarray:
    """Choose the lengths of a code that makes a text shortest, by package-merge.

    Source: Larmore and Hirschberg 1990, "A fast algorithm for optimal length-limited Huffman codes".

    Parameters
    ----------
    counts : ndarray (symbols,), any integer type
        How often each symbol occurs.
    limit : int
        Bits of the longest code allowed.

    Returns
    -------
    ndarray of uint8, (symbols,)
        Bits of each symbol's code, 0 where it never occurs; 1 if it is the only one.

    Raises
    ------
    ValueError
        A count is negative, or more symbols occur than `limit` bits can tell apart.
    """
    counts = np.asarray(counts)
    if counts.size and counts.min() < 0:
        raise ValueError(f"counts has {counts.min()}; counts are 0 or more.")
    lengths = np.zeros(len(counts), dtype=np.uint8)
    symbols = np.flatnonzero(counts)
    if len(symbols) > 1 << limit:
        raise ValueError(f"counts has {len(symbols)} symbols; codes of at most {limit} bits tell {1 << limit} apart.")
    if len(symbols) == 1:
        lengths[symbols] = 1
    if len(symbols) <= 1:
        return lengths
    symbols = symbols[np.argsort(counts[symbols], kind="stable")]
    # The weight of each package, and how often it holds each symbol, from light to heavy.
    single_weights, singles = counts[symbols].astype(np.int64), np.eye(len(symbols), dtype=np.int64)
    weights, packages = single_weights, singles
    for _ in range(limit - 1):
        pairs = len(weights) // 2 * 2
        weights = np.concatenate([single_weights, weights[:pairs:2] + weights[1:pairs:2]])
        packages = np.concatenate([singles, packages[:pairs:2] + packages[1:pairs:2]])
        order = np.argsort(weights, kind="stable")
        weights, packages = weights[order], packages[order]
    lengths[symbols] = packages[: 2 * len(symbols) - 2].sum(axis=0)
    return lengths


@dataclass(frozen=True, eq=False)
class CanonicalCode:
    """A prefix code that its lengths tell: shorter codes are smaller; of one length, those of smaller symbols are.

    Parameters
    ----------
    lengths : ndarray (symbols,) of uint8
        Bits of each symbol's code, at most MAX_CODE_LENGTH; 0: the symbol has none.

    Raises
    ------
    ValueError
        A length is too large, or no prefix code has these lengths.
    """

    lengths: np.ndarray

    def __post_init__(self) -> None:
        if self.lengths.size and self.lengths.max() > MAX_CODE_LENGTH:
            raise ValueError(f"lengths has {self.lengths.max()}; codes have at most {MAX_CODE_LENGTH} bits.")
        taken = int((self.length_counts << np.arange(MAX_CODE_LENGTH)[::-1]).sum())
        if taken > 1 << MAX_CODE_LENGTH:
            raise ValueError(f"lengths take {taken / (1 << MAX_CODE_LENGTH):.3f} of all codes; make some longer.")

    @classmethod
    def of(cls, values: np.ndarray, symbols: int) -> "CanonicalCode":
        """Return the shortest code for some values, 0 to `symbols` - 1 each."""
        return cls(code_lengths(np.bincount(values.ravel(), minlength=symbols)))

    @cached_property
    def length_counts(self) -> np.ndarray:
        """Number of codes of 1, 2, …, MAX_CODE_LENGTH bits, int64."""
        return np.bincount(self.lengths, minlength=MAX_CODE_LENGTH + 1)[1:]

    @cached_property
    def symbols(self) -> np.ndarray:
        """The symbols that have codes in the order of these, int64."""
        order = np.argsort(self.lengths, kind="stable")
        return order[self.lengths[order] > 0]

    @cached_property
    def codes(self) -> np.ndarray:
        """The code of each symbol as a number, int64, (symbols,); 0 where there is none."""
        codes = np.zeros(len(self.lengths), dtype=np.int64)
        lengths = self.lengths[self.symbols].astype(np.int64)
        # Left-aligned, a code begins where the one before it ends.
        spans = 1 << (MAX_CODE_LENGTH - lengths)
        codes[self.symbols] = (np.cumsum(spans) - spans) >> (MAX_CODE_LENGTH - lengths)
        return codes

    def encode(self, symbols: np.ndarray) -> tuple[Bits, np.ndarray]:
        """Encode a text.

        Parameters
        ----------
        symbols : ndarray (n,), any integer type

        Returns
        -------
        bits : ndarray of uint8
            All codes, most significant bits first.
        lengths : ndarray of uint8, (n,)
            Bits of each.

        Raises
        ------
        ValueError
            A symbol has no code.
        """
        lengths = self.lengths[symbols]
        if not lengths.all():
            raise ValueError(f"symbol {symbols[lengths == 0][0]} has no code; count it when the code is made.")
        return code_bits(self.codes[symbols], lengths), lengths

    def decode(self, bits: Bits, count: int) -> np.ndarray:
        """Decode a text bit by bit, as a reference: int64, (count,).

        Raises
        ------
        ValueError
            No code begins like the bits, or they end too early.
        """
        symbols, position = np.zeros(count, dtype=np.int64), 0
        for index in range(count):
            symbols[index], position = self.decode_one(bits, position)
        return symbols

    def decode_one(self, bits: Bits, position: int) -> tuple[int, int]:
        """Return the symbol whose code begins at `position`, and the position behind it.

        Raises
        ------
        ValueError
            See `decode`.
        """
        code = first = rank = 0
        for length, count in enumerate(self.length_counts.tolist(), start=1):
            if position + length > len(bits):
                raise ValueError(f"{len(bits)} bits end in the code that begins at bit {position}.")
            code, first = 2 * code + int(bits[position + length - 1]), 2 * first
            if code < first + count:
                return int(self.symbols[rank + code - first]), position + length
            first, rank = first + count, rank + count
        raise ValueError(f"no code begins like the bits at bit {position}.")


def code_bits(codes: np.ndarray, lengths: np.ndarray) -> Bits:
    """Return the bits of codes one after another, most significant bits first.

    Parameters
    ----------
    codes, lengths : ndarray (n,), any integer types
        Codes as numbers, and the bits of each.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    below = np.repeat(ends, lengths) - np.arange(1, total + 1)
    return (np.repeat(codes, lengths) >> below & 1).astype(np.uint8)
