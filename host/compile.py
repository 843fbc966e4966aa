"""Compiler: a quantized network becomes memory images and layer descriptors for one accelerator config.

What depends on the engine (how a layer is cut into tiles, how its words are packed) is the packer's; here is what does
not: how many inputs an iteration takes, where tensors lie, and which weights stay.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.ir import Network
from celosia.host.pack.bits import Words
from celosia.host.pack.step import Place
from celosia.host.program import LayerPlan, PlannedStep, Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import find_engine

SHARED = ("codebooks",)
"""Memories in which equal words of two steps lie once."""


def compile_network(network: Network, config: AcceleratorConfig, *, batch: int = 1, options: Any = None) -> Program:
    """Compile a network.

    Parameters
    ----------
    network : Network
        Layers that the engine has.
    config : AcceleratorConfig
        The accelerator.
    batch : int
        Inputs that will be run; an iteration takes as many of them as the memories hold.
    options : object or None
        Choices of the engine's packer, such as `celosia.host.pack.sparse_layers.SparseOptions`; None: it chooses.

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
    _check_chain(network)
    packer = find_engine(config.engine_name).packer
    layers = packer.arrange(config, network.layers, options)
    words = [layers[0].input_words, *(layer.output_words for layer in layers)]
    places = _place_weights([layer.weight_words for layer in layers], config, packer)
    most = [packer.most_vectors(layer, place) for layer, place in zip(layers, places, strict=True)]
    vectors = min(_vectors(words, config, batch), *most)
    tensors = _place_tensors(words, config, vectors)
    plans, images, streamed = [], _Images(config), []
    all_steps = packer.steps(config, layers, vectors, places)
    for index, (layer, place, steps) in enumerate(zip(layers, places, all_steps, strict=True)):
        planned = []
        for step in steps:
            fields = {
                **step.fields,
                "source_is_activations": int(index > 0),
                "source": tensors[index] + step.source_offset,
                "destination_is_outputs": int(index == len(layers) - 1),
                "destination": tensors[index + 1] + step.destination_offset,
                **{name: images.append(*image) for name, image in step.images.items()},
            }
            if place.stream:
                streamed += [step.weights] * step.passes
            else:
                images.append("weights", step.weights)
            images.append_descriptor(fields)
            planned.append(PlannedStep(fields=fields, detail=step.detail))
        plans.append(
            LayerPlan(
                name=layer.name,
                shape=(vectors * layer.windows, *layer.shape),
                arranged=layer,
                steps=tuple(planned),
                weight_words=layer.weight_words,
                reason=place.reason,
            )
        )
    loads, loaded = [], []
    for step in packer.loads(config, layers, places):
        fields = {
            **step.fields,
            **dict.fromkeys(("source_is_activations", "source", "destination_is_outputs", "destination"), 0),
            **{name: images.append(*image) for name, image in step.images.items()},
        }
        images.append_descriptor(fields)
        loads.append(PlannedStep(fields=fields, detail=step.detail))
        loaded.append(step.weights)
    return Program(
        network=network,
        config=config,
        vectors=vectors,
        layers=tuple(plans),
        image=images.finished(),
        weight_stream=np.concatenate(streamed) if streamed else None,
        ring_base=places[0].ring_base,
        loads=tuple(loads),
        load_stream=np.concatenate(loaded) if loaded else None,
    )


def _check_chain(network: Network) -> None:
    """Refuse a network whose layers do not each take what the layer before gives, and nothing else."""
    for index, (layer, taken) in enumerate(zip(network.layers, network.all_sources, strict=True)):
        if taken != (index,):
            givers = [f"the output of layer {network.layers[i - 1].name!r}" if i else "the input" for i in taken]
            raise CompileError(
                f"layer {layer.name!r} ({type(layer).__name__}) takes {' and '.join(givers)}; only chains are "
                "compiled, where each layer takes the output of the one before it alone."
            )


class _Images:
    """Memory images that grow from address 0."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self._parts: dict[str, list[Words]] = {}
        self._known: dict[tuple[str, bytes], int] = {}

    def append(self, memory: str, words: Words | None, per_word: int = 1) -> int:
        """Add words, if any, and return the address of the first, which counts `per_word` of each word."""
        if words is None:
            return 0
        key = memory, words.tobytes()
        if memory in SHARED and key in self._known:
            return self._known[key]
        parts = self._parts.setdefault(memory, [])
        address, depth = sum(map(len, parts)), self._config.memory(memory).depth
        if address + len(words) > depth:
            raise CompileError(
                f"the network needs {per_word * (address + len(words))} or more words of the {memory} memory, "
                f"which has {per_word * depth}; set {memory.removesuffix('s')}_depth higher."
            )
        parts.append(words)
        self._known[key] = per_word * address
        return per_word * address

    def append_descriptor(self, fields: Mapping[str, int]) -> None:
        """Add the descriptor of a step."""
        self.append("program", np.array(self._config.layer_fields.pack(fields), dtype=np.uint32)[:, None])

    def finished(self) -> Mapping[str, Words]:
        return {memory: np.concatenate(parts) for memory, parts in self._parts.items()}


def _vectors(words: Sequence[int], config: AcceleratorConfig, batch: int) -> int:
    """Return how many inputs an iteration takes: equal shares of the batch, as large as the memories allow.

    `words` are the memory words of one vector of each tensor: the input, the tensors between layers, the result.
    """
    if batch < 1:
        raise CompileError(f"batch={batch} must be at least 1.")
    both = activation_words(words)
    needed = {"input": words[0], "output": words[-1], "activation": both}
    between = config.activation_depth // both if both else batch

    def fit(share: int) -> int:
        """Return the inputs that fit that share of the input and output memories."""
        depths = config.input_depth // share // words[0], config.output_depth // share // words[-1]
        return min(*depths, between)

    if fit(1) >= batch:
        return batch
    if not fit(1):
        short = {name: size for name, size in needed.items() if size > getattr(config, f"{name}_depth")}
        depths = " and ".join(f"the {name} memory of {getattr(config, f'{name}_depth')} words" for name in short)
        remedy = ", ".join(f"{name}_depth={1 << (size - 1).bit_length()}" for name, size in short.items())
        raise CompileError(f"one input of the network does not fit {depths}; set {remedy} or higher.")
    # Several iterations share the memories half and half, or else take turns.
    most = fit(2) or fit(1)
    return -(-batch // -(-batch // most))


def activation_words(words: Sequence[int]) -> int:
    """Return the words that the activation memory needs: a layer's source and destination are there together.

    `words` are the memory words of the input, the tensors between layers, the result.
    """
    inner = words[1:-1]
    return max((first + second for first, second in zip(inner, [*inner[1:], 0], strict=False)), default=0)


def _place_tensors(words: Sequence[int], config: AcceleratorConfig, vectors: int) -> list[int]:
    """Return the address of each tensor: the input, the tensors between layers, the result.

    Tensors between layers lie by turns at the bottom and at the top of their memory, so that a layer's source and
    destination never overlap.
    """
    between = [
        0 if index % 2 == 0 else config.activation_depth - vectors * size for index, size in enumerate(words[1:-1])
    ]
    return [0, *between, 0]


def _place_weights(sizes: Sequence[int], config: AcceleratorConfig, packer: Any) -> list[Place]:
    """Keep weights resident while they fit, smallest layers first; stream the rest through a ring behind them."""
    depth = config.weight_depth
    resident, ring_base, why = set(range(len(sizes))), depth, f"resident: all {sum(sizes)} weight rows fit into {depth}"
    if sum(sizes) > depth:
        budget = depth - min(packer.ring_words(config), depth)
        resident, ring_base = set(), 0
        for index in sorted(range(len(sizes)), key=lambda index: sizes[index]):
            if ring_base + sizes[index] <= budget:
                resident.add(index)
                ring_base += sizes[index]
        why = f"resident: fits beside a ring of {depth - ring_base} rows"
    places, address = [], 0
    for index, size in enumerate(sizes):
        stays = index in resident
        places.append(
            Place(
                stream=not stays,
                address=address if stays else 0,
                ring_base=ring_base,
                ring_words=depth - ring_base,
                reason=why if stays else f"streamed: {size} weight rows do not fit into {depth} with the others",
            )
        )
        address += size if stays else 0
    return places
