"""Compiler: a quantized network becomes memory images and layer descriptors for one accelerator config.

What depends on the engine (how a layer is cut into tiles, how its words are packed) is the packer's; here is what does
not: how many inputs an iteration takes, where tensors lie, and which weights stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.ir import Network
from celosia.host.pack.bits import Words
from celosia.host.program import LayerPlan, Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import find_engine


@dataclass(frozen=True)
class _Placed:
    """Where a layer's weights are."""

    stream: bool
    address: int
    reason: str


def compile_network(network: Network, config: AcceleratorConfig, *, batch: int = 1) -> Program:
    """Compile a network.

    Parameters
    ----------
    network : Network
        Layers that the engine has.
    config : AcceleratorConfig
        The accelerator.
    batch : int
        Inputs that will be run; an iteration takes as many of them as the memories hold.

    Returns
    -------
    Program
        Its `layers` say what was chosen and why.

    Raises
    ------
    CompileError
        A layer is of an unsupported kind, its integers do not fit the config's widths, or a memory is too small; one
        sentence with the layer, the reason and what would be right.
    """
    engine, packer = config.engine, find_engine(config.engine_name).packer
    layers = [packer.check_layer(engine, layer) for layer in network.layers]
    channels = [layers[0].weights.shape[0], *(layer.weights.shape[1] for layer in layers)]
    words = [packer.vector_words(engine, count) for count in channels]
    vectors = _vectors(words, config, batch)
    placed, ring_base = _place_weights([packer.weight_words(engine, layer) for layer in layers], config, packer)
    tensors = _place_tensors(words, config, vectors)
    plans, images, streamed = [], _Images(config), []
    for index, (layer, place) in enumerate(zip(layers, placed, strict=True)):
        fields = {
            **packer.layer_fields(engine, layer, vectors, weights_stream=place.stream),
            "source_is_activations": int(index > 0),
            "source": tensors[index],
            "destination_is_outputs": int(index == len(layers) - 1),
            "destination": tensors[index + 1],
            "weights": place.address,
            "parameters": images.append("parameters", packer.pack_parameters(engine, layer)),
        }
        weights = packer.pack_weights(engine, layer.weights)
        if place.stream:
            streamed += [weights] * packer.weight_passes(fields)
        else:
            images.append("weights", weights)
        images.append("program", np.array(config.layer_fields.pack(fields), dtype=np.uint32)[:, None])
        plans.append(
            LayerPlan(
                name=layer.name,
                shape=(vectors, *layer.weights.shape),
                fields=fields,
                weight_words=len(weights),
                reason=place.reason,
            )
        )
    return Program(
        network=network,
        config=config,
        vectors=vectors,
        layers=tuple(plans),
        image=images.finished(),
        weight_stream=np.concatenate(streamed) if streamed else None,
        ring_base=ring_base,
        input_offset=packer.activation_offset(engine, layers[0].input_dtype),
        output_offset=packer.activation_offset(engine, layers[-1].output_dtype),
    )


class _Images:
    """Memory images that grow from address 0."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self._parts: dict[str, list[Words]] = {}

    def append(self, memory: str, words: Words) -> int:
        """Add words and return the address of the first."""
        parts = self._parts.setdefault(memory, [])
        address, depth = sum(map(len, parts)), self._config.memory(memory).depth
        if address + len(words) > depth:
            raise CompileError(
                f"the network needs {address + len(words)} or more words of the {memory} memory, which has {depth}; "
                f"set {memory.removesuffix('s')}_depth higher."
            )
        parts.append(words)
        return address

    def finished(self) -> Mapping[str, Words]:
        return {memory: np.concatenate(parts) for memory, parts in self._parts.items()}


def _vectors(words: Sequence[int], config: AcceleratorConfig, batch: int) -> int:
    """Return how many inputs an iteration takes: equal shares of the batch, as large as the memories allow.

    `words` are the memory words of one vector of each tensor: the input, the tensors between layers, the result.
    """
    if batch < 1:
        raise CompileError(f"batch={batch} must be at least 1.")
    inner = words[1:-1]
    both = max((first + second for first, second in zip(inner, [*inner[1:], 0], strict=False)), default=0)
    # The whole batch at once may fill the input and output memories; several iterations share them half and half.
    for share in (1, 2):
        limits = {
            "input": config.input_depth // share // words[0],
            "output": config.output_depth // share // words[-1],
            "activation": config.activation_depth // both if both else batch,
        }
        memory = min(limits, key=lambda name: limits[name])
        if share == 1 and limits[memory] >= batch:
            return batch
    if limits[memory] < 1:
        depth = getattr(config, f"{memory}_depth")
        raise CompileError(
            f"one input of the network does not fit the {memory} memory of {depth} words; set {memory}_depth higher."
        )
    return -(-batch // -(-batch // limits[memory]))


def _place_tensors(words: Sequence[int], config: AcceleratorConfig, vectors: int) -> list[int]:
    """Return the address of each tensor: the input, the tensors between layers, the result.

    Tensors between layers lie by turns at the bottom and at the top of their memory, so that a layer's source and
    destination never overlap.
    """
    between = [
        0 if index % 2 == 0 else config.activation_depth - vectors * size for index, size in enumerate(words[1:-1])
    ]
    return [0, *between, 0]


def _place_weights(sizes: Sequence[int], config: AcceleratorConfig, packer: Any) -> tuple[list[_Placed], int]:
    """Keep weights resident while they fit, smallest layers first, stream the rest; also return the ring's base."""
    depth = config.weight_depth
    resident, ring_base, why = set(range(len(sizes))), depth, f"resident: all {sum(sizes)} weight rows fit into {depth}"
    if sum(sizes) > depth:
        budget = depth - min(packer.ring_words(config.engine), depth)
        resident, ring_base = set(), 0
        for index in sorted(range(len(sizes)), key=lambda index: sizes[index]):
            if ring_base + sizes[index] <= budget:
                resident.add(index)
                ring_base += sizes[index]
        why = f"resident: fits beside a ring of {depth - ring_base} rows"
    placed, address = [], 0
    for index, size in enumerate(sizes):
        if index in resident:
            placed.append(_Placed(False, address, why))
            address += size
        else:
            placed.append(_Placed(True, 0, f"streamed: {size} weight rows do not fit into {depth} with the others"))
    return placed, ring_base
