"""Packs dense layers for the systolic engine: weights in the order of use, parameters, activations, descriptors.

Notation: M activation vectors, K inputs, N outputs; tiles of `rows` × `cols`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Dense
from celosia.host.pack.bits import Words, pack_lanes, unpack_lanes
from celosia.host.pack.step import MAX_VECTORS, Place, Step
from celosia.hw.config import AcceleratorConfig
from celosia.hw.post.parameters import rounding_code
from celosia.hw.systolic.config import SystolicConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrangedLayer:
    """A dense layer and how many memory words its vectors and weights take.

    Parameters
    ----------
    layer : Dense
    input_words, output_words : int
        Words of an activation vector.
    weight_words : int
        Weight words: one for each row of each N tile, none for padding rows.
    """

    layer: Dense
    input_words: int
    output_words: int
    weight_words: int

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int, int]:
        """(K, N): inputs and outputs."""
        return self.layer.weights.shape

    @property
    def work(self) -> int:
        """Multiplications of a vector."""
        return self.layer.macs

    @property
    def windows(self) -> int:
        """Activation vectors of an input of the network: one."""
        return 1


def arrange(config: AcceleratorConfig, layers: Sequence[object], options: None = None) -> list[ArrangedLayer]:
    """Check a chain of layers.

    Raises
    ------
    CompileError
        A layer is of another kind, or its integers do not fit the engine's widths.
    """
    assert options is None, "the systolic engine leaves nothing to choose"
    engine = _engine(config)
    checked = [check_layer(engine, layer) for layer in layers]
    return [
        ArrangedLayer(
            layer=layer,
            input_words=vector_words(engine, layer.weights.shape[0]),
            output_words=vector_words(engine, layer.weights.shape[1]),
            weight_words=layer.weights.shape[0] * -(-layer.weights.shape[1] // engine.cols),
        )
        for layer in checked
    ]


def _engine(config: AcceleratorConfig) -> SystolicConfig:
    assert isinstance(config.engine, SystolicConfig)
    return config.engine


def most_vectors(layer: ArrangedLayer, place: Place) -> int:  # noqa: ARG001
    """Return how many vectors a layer takes at a time: any number."""
    return MAX_VECTORS


def steps(
    config: AcceleratorConfig, layers: Sequence[ArrangedLayer], vectors: int, places: Sequence[Place]
) -> list[list[Step]]:
    """Return the steps of each layer on some activation vectors: one."""
    return [[_step(config, layer, vectors, place)] for layer, place in zip(layers, places, strict=True)]


def loads(config: AcceleratorConfig, layers: Sequence[ArrangedLayer], places: Sequence[Place]) -> list[Step]:  # noqa: ARG001
    """Return the steps that load resident weights: none, they are written."""
    return []


def _step(config: AcceleratorConfig, layer: ArrangedLayer, vectors: int, place: Place) -> Step:
    engine = _engine(config)
    fields = layer_fields(engine, layer.layer, vectors, weights_stream=place.stream)
    return Step(
        fields={**fields, "weights": place.address},
        images={"parameters": ("parameters", pack_parameters(engine, layer.layer), 1)},
        weights=pack_weights(engine, layer.layer.weights),
        passes=fields["blocks"],
    )


def vector_words(engine: SystolicConfig, channels: int) -> int:
    """Return the memory words of one activation vector."""
    return -(-channels // engine.rows)


def ring_words(config: AcceleratorConfig) -> int:
    """Return the words that a ring for streamed weights should have: one tile arrives while one is loaded."""
    return 2 * _engine(config).rows


def pack_weights(engine: SystolicConfig, weights: np.ndarray) -> Words:
    """Pack a weight matrix in the order in which the loader reads it.

    N tile by N tile, in it K tile by K tile, in it the last row first, because the row loaded first is shifted
    farthest.

    Parameters
    ----------
    weights : ndarray (K, N), any integer type
        Values within `engine.weight_range`.

    Returns
    -------
    ndarray of uint32, (weight_words, 32-bit words of a memory word)
    """
    K, N = weights.shape
    tiles = -(-N // engine.cols)
    padded = np.zeros((K, tiles * engine.cols), dtype=weights.dtype)
    padded[:, :N] = weights
    tile_start = np.arange(K) // engine.rows * engine.rows
    tile_end = np.minimum(tile_start + engine.rows, K)
    order = tile_start + tile_end - 1 - np.arange(K)
    by_tile = padded[order].reshape(K, tiles, engine.cols).transpose(1, 0, 2)
    return pack_lanes(by_tile.reshape(tiles * K, engine.cols), engine.weight_width)


def pack_parameters(engine: SystolicConfig, layer: Dense) -> Words:
    """Pack the requantizers' parameters, a group of `post_lanes` channels to a word."""
    bias = folded_bias(engine, layer)
    return engine.parameter_layout.encode(bias=bias, multiplier=layer.multiplier, shift=layer.shift)


def pack_inputs(config: AcceleratorConfig, layer: ArrangedLayer, values: np.ndarray) -> Words:
    """Pack a layer's inputs: (M, K) integers of its input type to (M · words of a vector, …), missing lanes 0."""
    engine = _engine(config)
    M, K = values.shape
    words = layer.input_words
    padded = np.zeros((M, words * engine.rows), dtype=np.int64)
    padded[:, :K] = values + _offset(engine, layer.layer.input_dtype)
    return pack_lanes(padded.reshape(M * words, engine.rows), engine.activation_width)


def unpack_outputs(config: AcceleratorConfig, layer: ArrangedLayer, words: Words) -> np.ndarray:
    """Return a layer's outputs, integers of its output type: int64, (M, N)."""
    engine = _engine(config)
    lanes = unpack_lanes(words, engine.rows, engine.activation_width, signed=engine.activation_signed)
    vectors = lanes.reshape(-1, layer.output_words * engine.rows)
    return vectors[:, : layer.shape[1]] - _offset(engine, layer.layer.output_dtype)


def layer_fields(engine: SystolicConfig, layer: Dense, M: int, *, weights_stream: bool) -> dict[str, int]:
    """Return the descriptor fields of a layer on M activation vectors, all but the addresses.

    See `celosia.hw.systolic.layer` for their meaning.
    """
    K, N = layer.weights.shape
    rows = block_rows(engine, M, weights_stream=weights_stream)
    blocks, k_tiles, n_tiles = -(-M // rows), -(-K // engine.rows), -(-N // engine.cols)
    offset = _offset(engine, layer.output_dtype)
    return {
        "blocks": blocks,
        "block_rows": rows,
        "last_block_rows": M - (blocks - 1) * rows,
        "k_tiles": k_tiles,
        "k_edge": K - (k_tiles - 1) * engine.rows,
        "n_tiles": n_tiles,
        "n_edge": -(-(N - (n_tiles - 1) * engine.cols) // engine.resolved_post_lanes),
        "source_pitch": k_tiles,
        "destination_pitch": vector_words(engine, N),
        "weights_stream": int(weights_stream),
        "rounding": rounding_code(layer.rounding),
        "zero_point": layer.output_zero_point + offset,
        "minimum": layer.minimum + offset,
        "maximum": layer.maximum + offset,
    }


def block_rows(engine: SystolicConfig, M: int, *, weights_stream: bool) -> int:
    """Choose how many activation vectors go through a tile at a time.

    The next tile takes `rows` cycles to load: a block of twice that hides it, and is short to drain when it is a
    layer's last. Half of the accumulators leaves room to drain one block while the next is summed; equal blocks leave
    no short one at the end. Streamed weights would be sent again for every block: there a block takes all the
    accumulators.
    """
    most = engine.accumulator_rows if weights_stream else min(2 * engine.rows, engine.accumulator_rows // 2)
    return -(-M // -(-M // most))


def activation_offset(config: AcceleratorConfig, dtype: str) -> int:
    """Return what turns a type's integers into the engine's: 0 where they fit, else the distance of the ranges.

    Raises
    ------
    CompileError
        The type is wider than the engine's activations.
    """
    return _offset(_engine(config), dtype)


def _offset(engine: SystolicConfig, dtype: str) -> int:
    low, high = integer_range(dtype)
    smallest, largest = engine.activation_range
    if smallest <= low and high <= largest:
        return 0
    if high - low <= largest - smallest:
        return smallest - low
    raise CompileError(
        f"activation_width={engine.activation_width} is too narrow for {dtype} activations; make it wider."
    )


def folded_bias(engine: SystolicConfig, layer: Dense) -> np.ndarray:
    """Return the bias that also takes away the zero point of the inputs: int64, (N,)."""
    zero_point = layer.input_zero_point + _offset(engine, layer.input_dtype)
    return layer.bias - zero_point * layer.weights.astype(np.int64).sum(axis=0)


def check_layer(engine: SystolicConfig, layer: object) -> Dense:
    """Return the layer if the engine computes it exactly.

    Raises
    ------
    CompileError
        It is of another kind, or its integers do not fit the engine's widths.
    """
    name = getattr(layer, "name", "?")
    if not isinstance(layer, Dense):
        raise CompileError(f"layer {name!r} is a {type(layer).__name__}; the systolic engine takes dense layers.")
    low, high = int(layer.weights.min()), int(layer.weights.max())
    if low < engine.weight_range[0] or high > engine.weight_range[1]:
        raise CompileError(
            f"layer {name!r} has weights from {low} to {high}; weight_width={engine.weight_width} holds "
            f"{engine.weight_range[0]} to {engine.weight_range[1]}."
        )
    try:
        offset = _offset(engine, layer.input_dtype)
        _offset(engine, layer.output_dtype)
    except CompileError as error:
        raise CompileError(f"layer {name!r}: {error}") from None
    ends = [layer.weights.astype(np.int64) * (end + offset) for end in integer_range(layer.input_dtype)]
    bias = folded_bias(engine, layer)
    least = min(int(np.minimum(*ends).sum(axis=0).min()), int(bias.min()))
    most = max(int(np.maximum(*ends).sum(axis=0).max()), int(bias.max()))
    limit = 1 << (engine.resolved_accumulator_width - 1)
    if least < -limit or most >= limit:
        raise CompileError(
            f"layer {name!r} can reach accumulators or biases from {least} to {most}; "
            f"accumulator_width={engine.resolved_accumulator_width} holds {-limit} to {limit - 1}."
        )
    return layer
