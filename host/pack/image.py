"""Memory words that are packed when somebody asks for them: how many there are is known before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from celosia.hw.lanes import Words


class Deferred:
    """Words that take a while to pack, and that nobody needs who only wants to know where things go.

    Parameters
    ----------
    count : int
        How many there are.
    pack : callable
        Packs them.
    """

    def __init__(self, count: int, pack: Callable[[], Words]) -> None:
        self._count, self._pack = count, pack

    def __len__(self) -> int:
        return self._count

    @cached_property
    def words(self) -> Words:
        """The words: uint32, (count, 32-bit words of a memory word)."""
        words = self._pack()
        assert len(words) == self._count, f"{len(words)} words were packed, not {self._count}"
        return words


def together(parts: Sequence[Words | Deferred]) -> Words | None:
    """Return parts as one array; None if there are none."""
    if not parts:
        return None
    return np.concatenate([part.words if isinstance(part, Deferred) else part for part in parts])


class Image(Mapping[str, Words]):
    """Words of each memory from address 0 on, as parts that are packed when a memory is asked for.

    Parameters
    ----------
    parts : mapping
        Name of a memory → what lies in it, one after the other.
    """

    def __init__(self, parts: Mapping[str, Sequence[Words | Deferred]]) -> None:
        self._parts = parts
        self._packed: dict[str, Words] = {}

    def __getitem__(self, memory: str) -> Words:
        if memory not in self._packed:
            words = together(self._parts[memory])
            assert words is not None
            self._packed[memory] = words
        return self._packed[memory]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def count(self, memory: str) -> int:
        """Return how many words a memory has, without packing them; 0 if there is nothing for it."""
        return sum(map(len, self._parts.get(memory, ())))
