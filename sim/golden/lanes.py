"""Memory words as the numbers in their lanes, and back."""

import numpy as np

Words = np.ndarray
"""uint32, (entries, 32-bit words of a memory word), least significant 32 bits first."""


def lanes_of(words: Words, lanes: int, width: int, *, signed: bool) -> np.ndarray:
    """Return the numbers in memory words, int64 (entries, lanes); lane 0 is in the least significant bits.

    Parameters
    ----------
    words : ndarray of uint32
    lanes, width : int
        Numbers in a word, and their bits, 1 to 63.
    signed : bool
        Whether they are two's complement.
    """
    raw = np.ascontiguousarray(words, dtype="<u4").view(np.uint8).reshape(len(words), -1)
    bits = np.unpackbits(raw, axis=1, bitorder="little", count=lanes * width).reshape(len(words), lanes, width)
    values = np.zeros((len(words), lanes), dtype=np.int64)
    for bit in range(width):
        values |= bits[:, :, bit].astype(np.int64) << bit
    return values - ((values >> (width - 1)) << width) if signed else values


def words_of(values: np.ndarray, width: int) -> Words:
    """Return the memory words of numbers (entries, lanes), of which only the lowest `width` bits count."""
    entries, lanes = values.shape
    bits = np.zeros((entries, -(-lanes * width // 32) * 32), dtype=np.uint8)
    for bit in range(width):
        bits[:, bit : lanes * width : width] = values >> bit & 1
    return np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
