"""Lanes of small integers to memory words and back, as numpy does it: no Python per element."""

import numpy as np

Ints = np.ndarray  # any integer type
Words = np.ndarray  # uint32, (entries, 32-bit words of one memory word)


def pack_lanes(values: Ints, width: int) -> Words:
    """Pack lanes side by side, lane 0 in the least significant bits.

    Parameters
    ----------
    values : ndarray (entries, lanes), any integer type
        Values of `width` bits, signed or not; only their low `width` bits are kept.
    width : int
        Bits of a lane, 1 to 64.

    Returns
    -------
    ndarray of uint32, (entries, ceil(lanes · width / 32))
        Memory words, least significant 32 bits first.
    """
    entries, lanes = values.shape
    words = -(-lanes * width // 32)
    whole = np.zeros((entries, words * 4), dtype=np.uint8)
    if width in (8, 16, 32, 64):
        raw = np.ascontiguousarray(values.astype(f"<i{width // 8}", casting="unsafe")).view(np.uint8)
        whole[:, : lanes * width // 8] = raw.reshape(entries, lanes * width // 8)
    else:
        raw = np.ascontiguousarray(values.astype("<i8")).view(np.uint8).reshape(entries, lanes, 8)
        bits = np.unpackbits(raw, axis=2, bitorder="little", count=width).reshape(entries, lanes * width)
        packed = np.packbits(bits, axis=1, bitorder="little")
        whole[:, : packed.shape[1]] = packed
    return whole.view("<u4").astype(np.uint32)


def unpack_lanes(words: Words, lanes: int, width: int, *, signed: bool) -> np.ndarray:
    """Return the lanes that `pack_lanes` packed: int64, (entries, lanes)."""
    entries = words.shape[0]
    raw = np.ascontiguousarray(words.astype("<u4")).view(np.uint8).reshape(entries, -1)
    if width in (8, 16):
        kind = "i" if signed else "u"
        return np.ascontiguousarray(raw[:, : lanes * width // 8]).view(f"<{kind}{width // 8}").astype(np.int64)
    bits = np.unpackbits(raw, axis=1, bitorder="little", count=lanes * width).reshape(entries, lanes, width)
    values = (bits.astype(np.int64) << np.arange(width)).sum(axis=2)
    return values - ((values >> (width - 1)) << width) if signed else values
