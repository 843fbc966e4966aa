"""Compiler: a quantized network becomes memory images and layer descriptors for one accelerator config.

What depends on the engine (how a layer is cut into tiles, how its words are packed) is the packer's; here is what does
not: how many inputs an iteration takes, where tensors lie, and which weights stay.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.ir import Network
from celosia.host.pack.image import Deferred, Image
from celosia.host.pack.step import Arrangement, Location, Operation, Place, Step
from celosia.host.plan import Buffer, Plan, plan
from celosia.host.program import LayerPlan, PlannedStep, Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words
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
    packer = find_engine(config.engine_name).packer
    arrangement: Arrangement = packer.arrange_network(config, network, options)
    operations = arrangement.operations
    places = _place_weights([each.weight_words for each in operations], config, packer)
    between, buffers = _between(arrangement)
    vectors = min(_vectors(arrangement, between.words, config, batch), arrangement.most_vectors(places))
    locations = _locations(arrangement, between, buffers, vectors)
    images = _Images(config)
    streamed: list[Words | Deferred] = []
    planned: list[list[PlannedStep]] = []
    all_steps = arrangement.steps(vectors, places, locations)
    for operation, place, steps in zip(operations, places, all_steps, strict=True):
        of_operation = []
        for step in steps:
            fields = {**step.fields, **{name: images.append(*image) for name, image in step.images.items()}}
            if place.stream and step.weights is not None:
                streamed += [step.weights] * step.passes
            else:
                images.append("weights", step.weights)
            images.append_descriptor(fields, operation.name)
            of_operation.append(PlannedStep(fields=fields, detail=step.detail))
        planned.append(of_operation)
    loads: list[PlannedStep] = []
    loaded: list[Words | Deferred] = []
    for step in arrangement.loads(places):
        fields = {**step.fields, **{name: images.append(*image) for name, image in step.images.items()}}
        images.append_descriptor(fields, "weights")
        loads.append(PlannedStep(fields=fields, detail=step.detail))
        loaded += [] if step.weights is None else [step.weights]
    return Program(
        network=network,
        config=config,
        arrangement=arrangement,
        vectors=vectors,
        layers=_layer_plans(network, config, arrangement, vectors, places, all_steps, planned),
        operation_steps=tuple(map(len, planned)),
        locations=tuple(locations),
        activation_words=between.words * vectors,
        image=images.finished(),
        streamed=streamed,
        ring_base=places[0].ring_base if places else config.weight_depth,
        loads=tuple(loads),
        loaded=loaded,
    )


def _layer_plans(
    network: Network,
    config: AcceleratorConfig,
    arrangement: Arrangement,
    vectors: int,
    places: Sequence[Place],
    all_steps: Sequence[Sequence[Step]],
    planned: Sequence[Sequence[PlannedStep]],
) -> tuple[LayerPlan, ...]:
    """Return a plan for each layer of the network, of all its operations."""
    plans = []
    word_bytes, weight_bytes = config.memory("inputs").width / 8, config.memory("weights").width / 8
    engine_layers = len(arrangement.tensors) - 1
    for index, layer in enumerate(network.layers):
        mine = [number for number, operation in enumerate(arrangement.operations) if operation.layer == index]
        operations = [arrangement.operations[number] for number in mine]
        steps = [step for number in mine for step in all_steps[number]]
        streams = [step for number in mine if places[number].stream for step in all_steps[number]]
        M, K, N = operations[-1].shape if operations else (0, 0, 0)
        read = [step.weight_read_words for step in steps]
        sent = sum(len(step.weights) * step.passes for step in streams if step.weights is not None)
        plans.append(
            LayerPlan(
                name=layer.name,
                layer=layer,
                kind=type(layer).__name__,
                on_host=index >= engine_layers,
                mode=" + ".join(dict.fromkeys(operation.mode for operation in operations)),
                shape=(vectors * M, K, N),
                arranged=arrangement.arranged(index) if index < engine_layers else None,
                steps=tuple(step for number in mine for step in planned[number]),
                weight_words=sum(operation.weight_words for operation in operations),
                macs=vectors * layer.macs,
                read_bytes=int(sum(step.read_words for step in steps) * word_bytes),
                written_bytes=int(sum(step.written_words for step in steps) * word_bytes),
                streamed_words=sent,
                weight_read_bytes=None if None in read else int(sum(filter(None, read)) * weight_bytes),
                reason=_reason(arrangement, index, operations, [places[number] for number in mine]),
            )
        )
    return tuple(plans)


def _reason(arrangement: Arrangement, layer: int, operations: Sequence[Operation], places: Sequence[Place]) -> str:
    """Say where a layer's weights are, and what else was chosen, and why."""
    if not operations:
        return arrangement.reasons.get(layer, "nothing to do")
    weighted = [place.reason for operation, place in zip(operations, places, strict=True) if operation.weight_words]
    chosen = [operation.reason for operation in operations if operation.reason]
    return "; ".join(dict.fromkeys([*weighted, *chosen])) or "no weights"


class _Images:
    """Memory images that grow from address 0."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self._layout = config.layer_fields
        self._depths = {memory.name: memory.depth for memory in config.memories}
        self._parts: dict[str, list[Words | Deferred]] = {}
        self._sizes: dict[str, int] = {}
        self._known: dict[tuple[str, bytes], int] = {}

    def append(self, memory: str, words: Words | Deferred | None, per_word: int = 1) -> int:
        """Add words, if any, and return the address of the first, which counts `per_word` of each word."""
        if words is None:
            return 0
        key = (memory, words.tobytes()) if memory in SHARED and isinstance(words, np.ndarray) else None
        if key is not None and key in self._known:
            return self._known[key]
        address, depth = self._sizes.get(memory, 0), self._depths[memory]
        if address + len(words) > depth:
            raise CompileError(
                f"the network needs {per_word * (address + len(words))} or more words of the {memory} memory, "
                f"which has {per_word * depth}; set {memory.removesuffix('s')}_depth higher."
            )
        self._parts.setdefault(memory, []).append(words)
        self._sizes[memory] = address + len(words)
        if key is not None:
            self._known[key] = per_word * address
        return per_word * address

    def append_descriptor(self, fields: Mapping[str, int], name: str) -> None:
        """Add the descriptor of a step of a layer of that name."""
        try:
            words = self._layout.pack(fields)
        except ValueError as error:
            raise CompileError(f"layer {name!r} is too large for its descriptor: {error}") from None
        self.append("program", np.array(words, dtype=np.uint32)[:, None])

    def finished(self) -> Image:
        return Image(self._parts)


def _between(arrangement: Arrangement) -> tuple[Plan, list[int]]:
    """Plan the buffers that are neither inputs nor results, for one input, and return their numbers."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index, operation in enumerate(arrangement.operations):
        first.setdefault(operation.destination, index)
        for buffer in (*operation.sources, operation.destination):
            last[buffer] = index
    buffers = [buffer for buffer in first if buffer not in (arrangement.input, arrangement.output)]
    return (
        plan([Buffer(words=arrangement.buffers[each], first=first[each], last=last[each]) for each in buffers]),
        buffers,
    )


def _vectors(arrangement: Arrangement, between: int, config: AcceleratorConfig, batch: int) -> int:
    """Return how many inputs an iteration takes: equal shares of the batch, as large as the memories allow.

    `between` are the words that one input takes in the activation memory.
    """
    if batch < 1:
        raise CompileError(f"batch={batch} must be at least 1.")
    first, last = arrangement.buffers[arrangement.input], arrangement.buffers[arrangement.output]
    needed = {"input": first, "output": last, "activation": between}
    most_between = config.activation_depth // between if between else batch

    def fit(share: int) -> int:
        """Return the inputs that fit that share of the input and output memories."""
        return min(config.input_depth // share // first, config.output_depth // share // last, most_between)

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


def _locations(arrangement: Arrangement, between: Plan, buffers: Sequence[int], vectors: int) -> list[Location]:
    """Return where each buffer is when it has so many inputs."""
    locations = [Location(memory="inputs", address=0)] * len(arrangement.buffers)
    locations[arrangement.output] = Location(memory="outputs", address=0)
    for buffer, address in zip(buffers, between.addresses, strict=True):
        locations[buffer] = Location(memory="activations", address=vectors * address)
    return locations


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
