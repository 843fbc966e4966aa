"""Cycles of loads of streamed weights that are written to memory as they are."""

from typing import NamedTuple

from celosia.sim.cycles.model import Source


class Load(NamedTuple):
    """What a load takes."""

    idle: int
    """First cycle in which the loader is idle again; from the cycle after `start` on it was busy."""
    starved: int
    """Cycles in which it wanted a word and none was there."""


def load_raw(words: int, start: int, source: Source) -> Load:
    """Return what a load takes that writes the stream as it is.

    Parameters
    ----------
    words : int
        Stream words.
    start : int
        Cycle of `start`.
    source : Source
        The weight stream.
    """
    if not words:
        return Load(start + 1, 0)
    if source.always_open:
        first = source.accept(start + 1)
        return Load((source.accept(first + words - 1) if words > 1 else first) + 1, first - start - 1)
    ready, starved = start + 1, 0
    for _ in range(words):
        accepted = source.accept(ready)
        starved += accepted - ready
        ready = accepted + 1
    return Load(ready, starved)
