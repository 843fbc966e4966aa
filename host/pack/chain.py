"""Arrangements of chains, for engines whose layers each take what the layer before gives, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.ir import Network
from celosia.host.pack.step import Location, Operation, Place, Step, StoredTensor
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words
from celosia.hw.registry import find_engine


@dataclass(frozen=True, kw_only=True, eq=False)
class OffsetStep(Step):
    """A step that begins behind the first words of its tensors.

    Parameters
    ----------
    source_offset, destination_offset : int
        Words behind the tensors' addresses.
    """

    source_offset: int = 0
    destination_offset: int = 0


class Chain:
    """A chain as an :class:`celosia.host.pack.step.Arrangement`.

    Parameters
    ----------
    config : AcceleratorConfig
        Its engine's packer has `steps(config, layers, vectors, places)` and `loads(config, layers, places)`, which
        return steps of each layer and of all of them, without addresses; `most_vectors(layer, place)`,
        `pack_inputs(config, layer, values)`, and `unpack_outputs(config, layer, words)`.
    network : Network
    layers : sequence of object
        Its layers as arranged.

    """

    def __init__(self, config: AcceleratorConfig, network: Network, layers: Sequence[Any]) -> None:
        self._packer = find_engine(config.engine_name).packer
        self._config, self._layers = config, layers
        self.buffers = [layers[0].input_words, *(layer.output_words for layer in layers)]
        self.input, self.output = 0, len(layers)
        self.tensors = [StoredTensor(buffer=index, after=index - 1) for index in range(len(layers) + 1)]
        self.reasons: Mapping[int, str] = {}
        self.operations = [
            Operation(
                layer=index,
                name=layer.name,
                mode=type(network.layers[index]).__name__,
                shape=(layer.windows, *layer.shape),
                sources=(index,),
                destination=index + 1,
                weight_words=layer.weight_words,
            )
            for index, layer in enumerate(layers)
        ]

    def arranged(self, layer: int) -> Any:
        """Return a layer as its packer arranged it."""
        return self._layers[layer]

    def most_vectors(self, places: Sequence[Place]) -> int:
        """Return how many inputs every layer takes at a time."""
        pairs = zip(self._layers, places, strict=True)
        return min(int(self._packer.most_vectors(layer, place)) for layer, place in pairs)

    def steps(self, vectors: int, places: Sequence[Place], locations: Sequence[Location]) -> list[list[Step]]:
        """Return the steps of each layer."""
        steps = self._packer.steps(self._config, self._layers, vectors, places)
        return [
            [self._placed(step, locations[index], locations[index + 1], vectors, index) for step in of_layer]
            for index, of_layer in enumerate(steps)
        ]

    def _placed(self, step: OffsetStep, source: Location, destination: Location, vectors: int, index: int) -> Step:
        addresses = {
            "source_is_activations": int(source.memory == "activations"),
            "source": source.address + step.source_offset,
            "destination_is_outputs": int(destination.memory == "outputs"),
            "destination": destination.address + step.destination_offset,
        }
        return replace(
            step,
            fields={**step.fields, **addresses},
            read_words=vectors * self.buffers[index],
            written_words=vectors * self.buffers[index + 1],
        )

    def loads(self, places: Sequence[Place]) -> list[Step]:
        """Return the steps that load resident weights."""
        nowhere = dict.fromkeys(("source_is_activations", "source", "destination_is_outputs", "destination"), 0)
        steps = self._packer.loads(self._config, self._layers, places)
        return [replace(step, fields={**step.fields, **nowhere}) for step in steps]

    def pack_inputs(self, values: np.ndarray) -> Words:
        """Turn inputs (n, elements) into words."""
        words: Words = self._packer.pack_inputs(self._config, self._layers[0], values)
        return words

    def unpack(self, tensor: int, words: Words) -> np.ndarray:
        """Return what a layer made, from its words: int64, (vectors, elements).

        Raises
        ------
        CompileError
            It is the network's input, which the packers of chains do not read back.
        """
        if tensor == 0:
            raise CompileError("the network's input is not read back from this engine; ask for another tensor.")
        values: np.ndarray = self._packer.unpack_outputs(self._config, self._layers[tensor - 1], words)
        return values


def check_chain(network: Network) -> None:
    """Refuse a network whose layers do not each take what the layer before gives, and nothing else.

    Raises
    ------
    CompileError
        It is one; the sentence names the first such layer, and what it takes.
    """
    for index, (layer, taken) in enumerate(zip(network.layers, network.all_sources, strict=True)):
        if taken != (index,):
            givers = [f"the output of layer {network.layers[i - 1].name!r}" if i else "the input" for i in taken]
            raise CompileError(
                f"layer {layer.name!r} ({type(layer).__name__}) takes {' and '.join(givers)}; this engine takes only "
                "chains, where each layer takes the output of the one before it alone."
            )
