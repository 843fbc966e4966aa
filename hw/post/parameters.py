"""What the requantizer is told: per-channel parameter words, and the codes of shifts and rounding modes.

Pure Python and numpy: the host packs by this file, and the hardware slices by it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celosia.hw.fields import Field, Fields

IntArray = NDArray[np.int64]

MULTIPLIER_WIDTH = 31  # bits, unsigned: a fraction of 2**31
SHIFT_MIN, SHIFT_MAX = -31, 7  # TFLite's convention: positive is left, negative is right
SHIFT_WIDTH = 6  # bits of a shift code
ROUNDING_WIDTH = 2  # bits of a rounding code

ROUNDINGS = ("double", "away", "even", "up")
"""Rounding modes in the order of their codes; `celosia.sim.golden.requantize` defines them."""


def rounding_code(rounding: str) -> int:
    """Return the code of a rounding mode.

    Raises
    ------
    ValueError
        There is no such mode.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding={rounding!r} must be one of: {', '.join(ROUNDINGS)}.")
    return ROUNDINGS.index(rounding)


def shift_code(shift: ArrayLike) -> IntArray:
    """Return the codes of shifts of -31 to 7 bits.

    Bit 5 says that the shift is to the left or none; the low five bits are then 7 - shift, else -1 - shift. The
    hardware shifts right by 8 unless bit 5 is set, and by the low five bits. The 8 are those that the first of two
    roundings drops, which so is told from the second by bit 5 alone.

    Parameters
    ----------
    shift : array_like of int, any shape
        TFLite's shifts: positive is left, negative is right.

    Returns
    -------
    ndarray of int64, same shape
        6-bit codes.

    Raises
    ------
    ValueError
        A shift is not between -31 and 7.
    """
    shifts = np.asarray(shift, dtype=np.int64)
    _check_range("shift", shifts, SHIFT_MIN, SHIFT_MAX)
    return np.where(shifts >= 0, 32 + SHIFT_MAX - shifts, -1 - shifts)


def _check_range(name: str, values: IntArray, low: int, high: int) -> None:
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise ValueError(f"{name}={wrong.flat[0]} must be from {low} to {high}.")


@dataclass(frozen=True, kw_only=True)
class ParameterLayout:
    """Layout of a word of the parameter memory: the fields of `lanes` channels, channel after channel.

    A channel has, from its least significant bit: `bias` (signed), `multiplier` (unsigned), `shift` (a code, see
    `shift_code`), `enable` (0 makes the channel's output 0).

    Parameters
    ----------
    accumulator_width : int
        Bits of an accumulator and of a bias, 2 to 48.
    lanes : int
        Channels in one word.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    accumulator_width: int
    lanes: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.accumulator_width <= 48:
            raise ValueError(f"accumulator_width={self.accumulator_width} must be from 2 to 48 bits.")
        if self.lanes < 1:
            raise ValueError(f"lanes={self.lanes} must be at least 1.")

    @property
    def channel(self) -> Fields:
        """Fields of one channel."""
        return Fields(
            (
                Field("bias", self.accumulator_width, signed=True),
                Field("multiplier", MULTIPLIER_WIDTH),
                Field("shift", SHIFT_WIDTH),
                Field("enable", 1),
            )
        )

    @property
    def channel_width(self) -> int:
        """Bits of one channel; channel c of a word starts at bit c × channel_width."""
        return self.channel.width

    @property
    def word_width(self) -> int:
        """Bits of one word: every lane's channel, padded with zeros to a multiple of 32."""
        return -(-self.lanes * self.channel_width // 32) * 32

    def encode(
        self, *, bias: ArrayLike, multiplier: ArrayLike, shift: ArrayLike, enable: ArrayLike = 1
    ) -> NDArray[np.uint32]:
        """Pack the parameters of N channels.

        Parameters
        ----------
        bias, multiplier, shift : array_like of int, (N,) or a scalar for all
            TFLite's per-channel parameters, shifts as numbers from -31 to 7.
        enable : array_like of bool or int, (N,) or a scalar for all
            0 for channels whose output is 0.

        Returns
        -------
        ndarray of uint32, (ceil(N / lanes), word_width / 32)
            Memory words, each as 32-bit words, least significant first. Lanes beyond N are disabled.

        Raises
        ------
        ValueError
            A value is out of its range, or the shapes differ.
        """
        given = (bias, multiplier, shift, enable)
        columns = np.broadcast_arrays(*(np.asarray(value, dtype=np.int64) for value in given))
        if columns[0].ndim != 1:
            raise ValueError(f"bias, multiplier and shift of shape {columns[0].shape} must be one per channel, (N,).")
        count = columns[0].size
        values: dict[str, Any] = dict(zip(("bias", "multiplier"), columns[:2], strict=True))
        values |= {"shift": shift_code(columns[2]), "enable": columns[3]}
        words = -(-count // self.lanes)
        bits = np.zeros((words * self.lanes, self.channel_width), dtype=np.uint8)
        offset = 0
        for field in self.channel:
            _check_range(field.name, values[field.name], *field.range)
            bits[:count, offset : offset + field.width] = (values[field.name][:, None] >> np.arange(field.width)) & 1
            offset += field.width
        padded = np.zeros((words, self.word_width), dtype=np.uint8)
        padded[:, : self.lanes * self.channel_width] = bits.reshape(words, -1)
        return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)
