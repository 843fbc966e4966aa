"""How a PE counts its bits: a tree of adders, each with a bit of its own on its carry input; pure Python.

A full adder takes three bits; a tree of adders that leaves its carry inputs at 0 takes one bit per adder less than it
could. Here every adder has one more lane on its carry input, so that 3 + 4 · (leaves − 1) lanes are counted by `leaves`
adders of three lanes and one adder less that add their results; the last lane of all goes into the accumulator's carry.
"""

from dataclasses import dataclass
from functools import cache

LEAF_LANES = 3


@dataclass(frozen=True)
class Adder:
    """One adder: numbers of the level before, or lanes, and a lane on the carry input.

    Parameters
    ----------
    sources : tuple of int
        Leaves: one or two lanes. Above: one or two numbers of the level before; one is only passed on.
    carry : int or None
        Lane on the carry input.
    most : int
        Largest result.
    """

    sources: tuple[int, ...]
    carry: int | None
    most: int

    @property
    def width(self) -> int:
        """Bits of the result."""
        return self.most.bit_length()


@dataclass(frozen=True)
class Tree:
    """Levels of adders, the leaves first, one register after each; the last level has one adder.

    Parameters
    ----------
    levels : tuple of tuple of Adder
        The adders.
    last_lane : int
        The lane that is left for the accumulator.
    """

    levels: tuple[tuple[Adder, ...], ...]
    last_lane: int

    @property
    def width(self) -> int:
        """Bits of the count without the last lane."""
        return self.levels[-1][0].width

    def delays(self) -> dict[int, int]:
        """Return the cycles by which each lane comes later than those of the leaves: its level."""
        delays = {self.last_lane: len(self.levels)}
        for number, level in enumerate(self.levels):
            for adder in level:
                lanes = adder.sources if number == 0 else ()
                delays |= dict.fromkeys([*lanes, *(() if adder.carry is None else (adder.carry,))], number)
        return delays


@cache
def count_tree(lanes: int) -> Tree:
    """Return the tree that counts some lanes, 2 or more."""
    left = list(range(lanes - 1))
    leaves = -(-len(left) // (LEAF_LANES + 1))
    if LEAF_LANES * leaves + leaves - 1 < len(left):
        leaves += 1
    level = []
    for _ in range(leaves):
        mine, left = left[:LEAF_LANES], left[LEAF_LANES:]
        level.append(Adder(tuple(mine[:2]), mine[2] if len(mine) > 2 else None, len(mine)))
    levels = [tuple(level)]
    while len(level) > 1:
        before, level = level, []
        for first in range(0, len(before), 2):
            pair = before[first : first + 2]
            carry = left.pop(0) if len(pair) == 2 and left else None
            most = sum(adder.most for adder in pair) + (carry is not None)
            level.append(Adder(tuple(range(first, first + len(pair))), carry, most))
        levels.append(tuple(level))
    assert not left, "every lane has its place"
    return Tree(tuple(levels), lanes - 1)
