"""Bit fields of a word: one table that the host packs by and the hardware slices by."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Field:
    """One field: its name, its width in bits, and whether it is two's complement."""

    name: str
    width: int
    signed: bool = False

    @cached_property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1


@dataclass(frozen=True)
class Fields:
    """Fields packed without gaps, first field in the least significant bits, into whole 32-bit words."""

    fields: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    @cached_property
    def width(self) -> int:
        """Bits of all fields together."""
        return sum(field.width for field in self.fields)

    @cached_property
    def _names(self) -> set[str]:
        return {field.name for field in self.fields}

    @property
    def words(self) -> int:
        """32-bit words that hold them."""
        return -(-self.width // 32)

    def pack(self, values: Mapping[str, int]) -> list[int]:
        """Pack values into 32-bit words, least significant first.

        Raises
        ------
        ValueError
            A field is missing, unknown, or out of its range.
        """
        if values.keys() != self._names:
            unknown = values.keys() ^ self._names
            raise ValueError(f"fields {sorted(unknown)} are missing or unknown; give exactly the fields of the layout.")
        packed = offset = 0
        for field in self.fields:
            value, width = int(values[field.name]), field.width
            low, high = field.range
            if not low <= value <= high:
                raise ValueError(f"{field.name}={value} must be from {low} to {high} ({width} bits).")
            packed |= (value & ((1 << width) - 1)) << offset
            offset += width
        return [(packed >> (32 * word)) & 0xFFFF_FFFF for word in range(self.words)]

    def unpack(self, words: Iterable[int]) -> dict[str, int]:
        """Return the values in 32-bit words written by `pack`."""
        packed = sum(int(word) << (32 * index) for index, word in enumerate(words))
        values, offset = {}, 0
        for field in self.fields:
            value = (packed >> offset) & ((1 << field.width) - 1)
            if field.signed and value >> (field.width - 1):
                value -= 1 << field.width
            values[field.name] = value
            offset += field.width
        return values
