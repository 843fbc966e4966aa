"""A compiled network: what is written into the memories, and how a run is started."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.host.models.ir import Network
from celosia.host.pack.bits import Words
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import RunParameters
from celosia.hw.registry import find_engine


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedStep:
    """One descriptor of a layer.

    Parameters
    ----------
    fields : mapping
        All its fields.
    detail : object
        What the cycle model needs to know of the step's weights, if anything.
    """

    fields: Mapping[str, int]
    detail: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerPlan:
    """One layer as compiled.

    Parameters
    ----------
    name : str
        Name of the layer.
    shape : tuple of int
        (M, K, N): activation vectors per iteration, inputs of each, outputs.
    arranged : object
        The layer as the engine's packer arranged it: what the golden model computes.
    steps : sequence of PlannedStep
        What the device does for it.
    weight_words : int
        Weight memory words of the layer.
    reason : str
        Where the weights are, and why.
    """

    name: str
    shape: tuple[int, int, int]
    arranged: Any
    steps: Sequence[PlannedStep]
    weight_words: int
    reason: str

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one iteration."""
        M, K, N = self.shape
        return M * K * N


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network compiled for one accelerator config.

    Parameters
    ----------
    network : Network
        What was compiled.
    config : AcceleratorConfig
        What it was compiled for; no other device runs it.
    vectors : int
        Inputs of the network that one iteration takes.
    layers : sequence of LayerPlan
        The layers in order.
    image : mapping
        By memory name, the words from address 0 on: uint32, (entries, 32-bit words of a memory word).
    weight_stream : ndarray of uint32 or None
        Weight words that each iteration takes from the stream, in order.
    ring_base : int
        First weight address of the ring for streamed weights.
    loads : sequence of PlannedStep
        What the device does once, before the first iteration, to have weights that are not in `image`.
    load_stream : ndarray of uint32 or None
        Weight words that it takes from the stream for that, in order.
    """

    network: Network
    config: AcceleratorConfig
    vectors: int
    layers: Sequence[LayerPlan]
    image: Mapping[str, Words]
    weight_stream: Words | None
    ring_base: int
    loads: Sequence[PlannedStep]
    load_stream: Words | None

    @property
    def steps(self) -> list[PlannedStep]:
        """What the device does in an iteration, in order."""
        return [step for layer in self.layers for step in layer.steps]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one iteration."""
        return sum(layer.macs for layer in self.layers)

    @property
    def input_words(self) -> int:
        """Memory words of one iteration's inputs."""
        return self.vectors * self.layers[0].arranged.input_words

    @property
    def output_words(self) -> int:
        """Memory words of one iteration's results."""
        return self.vectors * self.layers[-1].arranged.output_words

    @property
    def can_stream(self) -> bool:
        """Whether half of the memories of inputs and outputs holds an iteration's."""
        halves = self.config.input_depth // 2, self.config.output_depth // 2
        return self.input_words <= halves[0] and self.output_words <= halves[1]

    def run_parameters(self, iterations: int, *, stream: bool) -> RunParameters:
        """Return the numbers that start a run.

        Parameters
        ----------
        iterations : int
            Batches of `vectors` inputs.
        stream : bool
            Whether inputs and results stream; else they are in their memories before and after, for one iteration.
        """
        return RunParameters(
            program=0,
            layers=len(self.steps),
            iterations=iterations,
            input_words=self.input_words if stream else 0,
            output_words=self.output_words if stream else 0,
            ring_base=self.ring_base,
            config_hash=self.config.hash,
        )

    def load_parameters(self) -> RunParameters:
        """Return the numbers that start the run of `loads`, which must be before any other."""
        return RunParameters(
            program=len(self.steps) * self.config.layer_fields.words,
            layers=len(self.loads),
            ring_base=self.ring_base,
            config_hash=self.config.hash,
        )

    def pack_inputs(self, values: np.ndarray) -> Words:
        """Turn inputs into memory words.

        Parameters
        ----------
        values : ndarray (n, …), integers of the network's input type
            Inputs; missing ones of the last iteration are filled with zeros.

        Returns
        -------
        ndarray of uint32, (iterations · input_words, 32-bit words of a memory word)
        """
        flat = np.asarray(values).reshape(len(values), -1).astype(np.int64)
        iterations = -(-len(flat) // self.vectors)
        padded = np.zeros((iterations * self.vectors, flat.shape[1]), dtype=np.int64)
        padded[: len(flat)] = flat
        return find_engine(self.config.engine_name).packer.pack_inputs(self.config, self.layers[0].arranged, padded)

    def unpack_outputs(self, words: Words, count: int) -> np.ndarray:
        """Turn result words back into the network's integers: int64, (count, *output_shape)."""
        packer = find_engine(self.config.engine_name).packer
        last = self.layers[-1].arranged
        flat: np.ndarray = packer.unpack_outputs(self.config, last, words)[:count]
        return flat.reshape(count, *self.network.output_shape)
