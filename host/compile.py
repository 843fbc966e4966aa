"""Compiler: a quantized network becomes memory images and layer descriptors for one accelerator config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Dense, Network
from celosia.host.pack import systolic as pack
from celosia.host.pack.bits import Words
from celosia.host.program import LayerPlan, Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig

MIN_RING_TILES = 2  # tiles of streamed weights that the ring should hold, so that one arrives while one is loaded


class CompileError(CelosiaError):
    """The network does not fit the accelerator."""


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
        Dense layers.
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
    engine = config.engine
    if not isinstance(engine, SystolicConfig):
        raise CompileError(f"engine {config.engine_name!r} has no compiler; use a systolic config.")
    layers = [_checked(layer, engine) for layer in network.layers]
    vectors = _vectors(layers, config, batch)
    rows = [pack.block_rows(engine, vectors, weights_stream=False) for _ in layers]
    placed, ring_base = _place_weights(layers, config)
    tensors = _place_tensors(layers, config, vectors)
    plans, images, streamed = [], _Images(config), []
    for index, (layer, place) in enumerate(zip(layers, placed, strict=True)):
        K, N = layer.weights.shape
        if place.stream:
            rows[index] = pack.block_rows(engine, vectors, weights_stream=True)
        offsets = (_offset(layer.name, layer.input_dtype, engine), _offset(layer.name, layer.output_dtype, engine))
        parameters = images.append("parameters", _parameters(layer, engine, offsets[0]))
        fields = {
            **pack.tile_fields(engine, vectors, K, N, rows[index]),
            **pack.clamp_fields(
                layer.rounding,
                layer.output_zero_point + offsets[1],
                layer.minimum + offsets[1],
                layer.maximum + offsets[1],
            ),
            "source_is_activations": int(index > 0),
            "source": tensors[index],
            "destination_is_outputs": int(index == len(layers) - 1),
            "destination": tensors[index + 1],
            "weights_stream": int(place.stream),
            "weights": place.address,
            "parameters": parameters,
        }
        weights = pack.pack_weights(engine, layer.weights)
        if place.stream:
            streamed += [weights] * fields["blocks"]
        else:
            images.append("weights", weights)
        images.append("program", np.array(config.layer_fields.pack(fields), dtype=np.uint32)[:, None])
        plans.append(
            LayerPlan(
                name=layer.name, shape=(vectors, K, N), fields=fields, weight_words=len(weights), reason=place.reason
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
        input_offset=_offset(layers[0].name, layers[0].input_dtype, engine),
        output_offset=_offset(layers[-1].name, layers[-1].output_dtype, engine),
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


def _checked(layer: object, engine: SystolicConfig) -> Dense:
    """Return the layer if the engine computes it exactly."""
    name = getattr(layer, "name", "?")
    if not isinstance(layer, Dense):
        raise CompileError(f"layer {name!r} is a {type(layer).__name__}; the systolic engine takes dense layers.")
    low, high = int(layer.weights.min()), int(layer.weights.max())
    if low < engine.weight_range[0] or high > engine.weight_range[1]:
        raise CompileError(
            f"layer {name!r} has weights from {low} to {high}; weight_width={engine.weight_width} holds "
            f"{engine.weight_range[0]} to {engine.weight_range[1]}."
        )
    offset = _offset(name, layer.input_dtype, engine)
    _offset(name, layer.output_dtype, engine)
    weights = layer.weights.astype(np.int64)
    ends = [weights * (end + offset) for end in integer_range(layer.input_dtype)]
    bias = _folded_bias(layer, offset)
    least = min(int(np.minimum(*ends).sum(axis=0).min()), int(bias.min()))
    most = max(int(np.maximum(*ends).sum(axis=0).max()), int(bias.max()))
    limit = 1 << (engine.resolved_accumulator_width - 1)
    if least < -limit or most >= limit:
        raise CompileError(
            f"layer {name!r} can reach accumulators or biases from {least} to {most}; "
            f"accumulator_width={engine.resolved_accumulator_width} holds {-limit} to {limit - 1}."
        )
    return layer


def _offset(name: str, dtype: str, engine: SystolicConfig) -> int:
    """Return what turns a type's integers into the engine's: 0 where they fit, else the distance of the ranges."""
    low, high = integer_range(dtype)
    smallest, largest = engine.activation_range
    if smallest <= low and high <= largest:
        return 0
    if high - low <= largest - smallest:
        return smallest - low
    raise CompileError(
        f"layer {name!r} has {dtype} activations; activation_width={engine.activation_width} is too narrow for them."
    )


def _folded_bias(layer: Dense, offset: int) -> np.ndarray:
    """Return the bias that also takes the inputs' zero point away."""
    return layer.bias - (layer.input_zero_point + offset) * layer.weights.astype(np.int64).sum(axis=0)


def _parameters(layer: Dense, engine: SystolicConfig, offset: int) -> Words:
    return pack.pack_parameters(engine, _folded_bias(layer, offset), layer.multiplier, layer.shift)


def _vectors(layers: Sequence[Dense], config: AcceleratorConfig, batch: int) -> int:
    """Return how many inputs an iteration takes: equal shares of the batch, as large as the memories allow."""
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    if batch < 1:
        raise CompileError(f"batch={batch} must be at least 1.")
    sizes = [pack.vector_words(engine, layers[0].weights.shape[0])]
    sizes += [pack.vector_words(engine, layer.weights.shape[1]) for layer in layers]
    inner = [first + second for first, second in zip(sizes[1:-1], [*sizes[2:-1], 0], strict=False)] or [0]
    # The whole batch at once may fill the input and output memories; several iterations share them half and half.
    for share in (1, 2):
        limits = {
            "input": config.input_depth // share // sizes[0],
            "output": config.output_depth // share // sizes[-1],
            "activation": config.activation_depth // max(inner) if max(inner) else batch,
        }
        memory = min(limits, key=lambda name: limits[name])
        most = limits[memory]
        if share == 1 and most >= batch:
            return batch
    if most < 1:
        raise CompileError(
            f"one input of the network does not fit the {memory} memory of {getattr(config, f'{memory}_depth')} words; "
            f"set {memory}_depth higher."
        )
    return -(-batch // -(-batch // most))


def _place_tensors(layers: Sequence[Dense], config: AcceleratorConfig, vectors: int) -> list[int]:
    """Return the address of each tensor: the input, the tensors between layers, the result.

    Tensors between layers lie by turns at the bottom and at the top of their memory, so that a layer's source and
    destination never overlap.
    """
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    addresses = [0]
    for index, layer in enumerate(layers[:-1]):
        words = vectors * pack.vector_words(engine, layer.weights.shape[1])
        addresses.append(0 if index % 2 == 0 else config.activation_depth - words)
    return [*addresses, 0]


def _place_weights(layers: Sequence[Dense], config: AcceleratorConfig) -> tuple[list[_Placed], int]:
    """Keep weights resident while they fit, smallest layers first, stream the rest; also return the ring's base."""
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    sizes = [pack.weight_words(engine, *layer.weights.shape) for layer in layers]
    depth = config.weight_depth
    if sum(sizes) <= depth:
        resident = set(range(len(layers)))
        ring_base, why = depth, f"resident: all {sum(sizes)} weight rows fit into {depth}"
    else:
        budget = depth - min(MIN_RING_TILES * engine.rows, depth)
        resident, used = set(), 0
        for index in sorted(range(len(layers)), key=lambda index: sizes[index]):
            if used + sizes[index] <= budget:
                resident.add(index)
                used += sizes[index]
        ring_base, why = used, f"resident: fits beside a ring of {depth - used} rows"
    placed, address = [], 0
    for index, size in enumerate(sizes):
        if index in resident:
            placed.append(_Placed(False, address, why))
            address += size
        else:
            placed.append(_Placed(True, 0, f"streamed: {size} weight rows do not fit into {depth} with the others"))
    return placed, ring_base
