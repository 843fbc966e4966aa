"""What packers give the compiler: the steps of a layer, each with its own descriptor and memory words."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from celosia.host.pack.bits import Words

MAX_VECTORS = (1 << 16) - 1
"""Most activation vectors of a step: what its descriptor counts."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a layer's weights are.

    Parameters
    ----------
    stream : bool
        Whether they stream through the ring.
    address : int
        First weight word, when they are resident.
    ring_base, ring_words : int
        Weight words that streamed weights pass through.
    reason : str
        Why they are there.
    """

    stream: bool
    address: int
    ring_base: int
    ring_words: int
    reason: str

    @property
    def half_words(self) -> int:
        """Words of each half of the ring."""
        return self.ring_words // 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One descriptor and what belongs to it.

    Parameters
    ----------
    fields : mapping
        Fields of the descriptor, but for the addresses that the compiler chooses.
    images : mapping
        By address field: memory, words to put there or None, and addresses per word.
    weights : ndarray of uint32 or None
        Weight words, in the order in which they are streamed or lie in memory; None: a load brings them.
    passes : int
        How often streamed weights are sent.
    source_offset, destination_offset : int
        Words behind the tensors' addresses.
    detail : object
        What the cycle model needs to know of the weights, if anything.
    """

    fields: MutableMapping[str, int]
    images: Mapping[str, tuple[str, Words | None, int]]
    weights: Words | None
    passes: int = 1
    source_offset: int = 0
    destination_offset: int = 0
    detail: Any = None
