"""What packers give the compiler: operations on buffers, and the steps of each with their descriptors and memory words.

A packer is a module with `ring_words(config)`, `activation_offset(config, dtype)`, and
`arrange_network(config, network, options)`, which returns an :class:`Arrangement`.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from celosia.host.pack.image import Deferred
from celosia.hw.lanes import Words

MAX_VECTORS = (1 << 16) - 1
"""Most activation vectors of a step: what its descriptor counts."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an operation's weights are.

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


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a buffer is: one of the memories ``inputs``, ``activations`` and ``outputs``, and its first word there."""

    memory: str
    address: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One descriptor and what belongs to it.

    Parameters
    ----------
    fields : mapping
        Fields of the descriptor, but for those that `images` names.
    images : mapping
        By address field: memory, words to put there or None, and addresses per word.
    weights : ndarray of uint32, Deferred, or None
        Weight words, in the order in which they are streamed or lie in memory; None: a load brings them, or none are
        needed.
    passes : int
        How often streamed weights are sent.
    detail : object
        What the cycle model needs to know of the weights, if anything.
    read_words, written_words : int
        Words of activations that are read and written.
    weight_read_words : int or None
        Words of weights that are read; None if that depends on the inputs.
    """

    fields: MutableMapping[str, int]
    images: Mapping[str, tuple[str, Words | Deferred | None, int]]
    weights: Words | Deferred | None
    passes: int = 1
    detail: Any = None
    read_words: int = 0
    written_words: int = 0
    weight_read_words: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """Something that the engine does for a layer: it reads buffers and writes one.

    Parameters
    ----------
    layer : int
        Index in the network.
    name : str
        Name of the layer.
    mode : str
        How the engine does it.
    shape : tuple of int
        (M, K, N): activation vectors of an input of the network, inputs of each, outputs.
    sources : tuple of int
    destination : int
    weight_words : int
    reason : str
        What was chosen, and why; empty if there is nothing to say.
    """

    layer: int
    name: str
    mode: str
    shape: tuple[int, int, int]
    sources: tuple[int, ...]
    destination: int
    weight_words: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor of the network on the device: its buffer, and the operation after which it is there; −1: before all."""

    buffer: int
    after: int


class Arrangement(Protocol):
    """A network as a packer arranged it."""

    @property
    def operations(self) -> Sequence[Operation]:
        """What the engine does, in order."""
        ...

    @property
    def buffers(self) -> Sequence[int]:
        """Words that each buffer takes for one input of the network."""
        ...

    @property
    def input(self) -> int:
        """Buffer of the network's inputs."""
        ...

    @property
    def output(self) -> int:
        """Buffer of the engine's results."""
        ...

    @property
    def tensors(self) -> Sequence[StoredTensor]:
        """The network's tensors: its input, and what each layer makes, up to the engine's result."""
        ...

    @property
    def reasons(self) -> Mapping[int, str]:
        """By layer without operations: why it has none."""
        ...

    def arranged(self, layer: int) -> Any:
        """Return a layer as arranged, where golden and cycle model depend on that; else None."""
        ...

    def most_vectors(self, places: Sequence[Place]) -> int:
        """Return how many inputs of the network an iteration takes at most."""
        ...

    def steps(self, vectors: int, places: Sequence[Place], locations: Sequence[Location]) -> list[list[Step]]:
        """Return the steps of each operation, for so many inputs of the network."""
        ...

    def loads(self, places: Sequence[Place]) -> list[Step]:
        """Return the steps that load resident weights; none where they are written."""
        ...

    def pack_inputs(self, values: np.ndarray) -> Words:
        """Turn inputs (n, elements) into the words of the input's buffer."""
        ...

    def unpack(self, tensor: int, words: Words) -> np.ndarray:
        """Return a tensor of the network from the words of its buffer: int64, (vectors, elements)."""
        ...
