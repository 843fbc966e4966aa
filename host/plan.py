"""Memory planning: which words of the activation memory each buffer takes, while it is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Words, and the first and last operation that they are needed for."""

    words: int
    first: int
    last: int

    def meets(self, other: "Buffer") -> bool:
        """Whether both are needed at a time: an operation's sources and destination are."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An address for each buffer, and the words that all of them take."""

    addresses: tuple[int, ...]
    words: int


def plan(buffers: Sequence[Buffer]) -> Plan:
    """Find addresses at which no buffer overlaps with one that is needed at the same time, in few words.

    Buffers are placed one after the other, in the smallest gap that holds them; largest first, or in the order in which
    they are needed, whichever takes fewer words. Where only neighbours of a chain are needed at a time, they lie by
    turns at the bottom and at the top of what the largest two take.
    """
    by_size = sorted(range(len(buffers)), key=lambda index: (-buffers[index].words, buffers[index].first))
    by_time = sorted(range(len(buffers)), key=lambda index: (buffers[index].first, -buffers[index].words))
    plans = [_in_gaps(buffers, by_size), _in_gaps(buffers, by_time)]
    turns = _by_turns(buffers, by_time)
    return min([*plans, *([turns] if turns else [])], key=lambda each: each.words)


def _in_gaps(buffers: Sequence[Buffer], order: Sequence[int]) -> Plan:
    addresses: dict[int, int] = {}
    for index in order:
        buffer = buffers[index]
        taken = sorted(
            (addresses[other], addresses[other] + buffers[other].words)
            for other in addresses
            if buffers[other].meets(buffer)
        )
        best, smallest, end = None, 0, 0
        for begin, behind in taken:
            gap = begin - end
            if gap >= buffer.words and (best is None or gap < smallest):
                best, smallest = end, gap
            end = max(end, behind)
        addresses[index] = end if best is None else best
    return _plan(buffers, [addresses[index] for index in range(len(buffers))])


def _by_turns(buffers: Sequence[Buffer], order: Sequence[int]) -> Plan | None:
    """Return the plan with buffers at the bottom and at the top by turns, or None if some of them would overlap."""
    sizes = [buffers[index].words for index in order]
    words = max([*sizes, *(first + second for first, second in pairwise(sizes))], default=0)
    addresses = [0] * len(buffers)
    for turn, index in enumerate(order):
        addresses[index] = 0 if turn % 2 == 0 else words - buffers[index].words
    spans = [(address, address + buffer.words) for address, buffer in zip(addresses, buffers, strict=True)]
    for (first, of_first), (second, of_second) in combinations(zip(buffers, spans, strict=True), 2):
        if first.meets(second) and of_first[0] < of_second[1] and of_second[0] < of_first[1]:
            return None
    return _plan(buffers, addresses)


def _plan(buffers: Sequence[Buffer], addresses: Sequence[int]) -> Plan:
    ends = (address + buffer.words for address, buffer in zip(addresses, buffers, strict=True))
    return Plan(addresses=tuple(addresses), words=max(ends, default=0))
