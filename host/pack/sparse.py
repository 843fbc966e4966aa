"""Packs compressed layers for the sparse engine: entries, column pointers, biases, codebooks, descriptors.

`celosia.host.pack.sparse_layers` has the words used here, and decides what is packed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.chain import Chain, OffsetStep, check_chain
from celosia.host.pack.encode import encode_tile, symbol_lengths
from celosia.host.pack.entries import Entries
from celosia.host.pack.sparse_layers import (
    ArrangedLayer,
    SparseOptions,
    Tile,
    arrange,
    check_dtype,
    engine_of,
    rounding_bias,
)
from celosia.host.pack.step import MAX_VECTORS, Place
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words, pack_lanes, unpack_lanes
from celosia.hw.sparse.config import SparseConfig

__all__ = [
    "activation_offset",
    "arrange",
    "arrange_network",
    "loads",
    "most_vectors",
    "pack_inputs",
    "ring_words",
    "steps",
    "unpack_activations",
    "unpack_outputs",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepDetail:
    """What the cycle model needs to know of a step.

    Parameters
    ----------
    entries : Entries
        Its weights.
    symbol_lengths : ndarray (decoders, n) of uint8 or None
        Bits of each symbol that the decoders take, if the weights are streamed and Huffman-coded.
    """

    entries: Entries
    symbol_lengths: np.ndarray | None = None


def arrange_network(config: AcceleratorConfig, network: Network, options: SparseOptions | None = None) -> Chain:
    """Check and arrange a network.

    Raises
    ------
    CompileError
        It is no chain, a layer is of another kind, or its integers do not fit the engine's widths.
    """
    check_chain(network)
    return Chain(config, network, arrange(config, network.layers, options))


def ring_words(config: AcceleratorConfig) -> int:
    """Return the weight words that streamed tiles should have: half the memory, in two halves that take turns."""
    return config.weight_depth // 2


def most_vectors(layer: ArrangedLayer, place: Place) -> int:
    """Return how many vectors a layer takes at a time: one, if its sums stay in the PEs from step to step."""
    cut = place.stream and any(tile.entries.depth > place.half_words for tile in layer.tiles)
    return 1 if cut else MAX_VECTORS


def steps(
    config: AcceleratorConfig, layers: Sequence[ArrangedLayer], vectors: int, places: Sequence[Place]
) -> list[list[OffsetStep]]:
    """Return the steps of each layer on some activation vectors.

    A resident layer takes a step per tile. A streamed tile that does not fit half of the ring is cut into pieces of
    whole activation words, whose sums stay in the PEs until the last one. Streamed pieces use the halves in turn: each
    is loaded while the one before is at work.
    """
    engine = engine_of(config)
    result: list[list[OffsetStep]] = []
    streamed = 0
    for layer, place in zip(layers, places, strict=True):
        address, result_of_layer = place.address, []
        for tile in layer.tiles:
            for begin, end in _pieces(config, layer, tile, place):
                if place.stream:
                    address = place.ring_base + (streamed % 2) * place.half_words
                    streamed += 1
                entries = tile.entries.between(begin * engine.pes, end * engine.pes)
                step = _step(config, layer, tile, (begin, end), vectors, entries, address, place.stream)
                result_of_layer.append(step)
                address += entries.depth
        result.append(result_of_layer)
    if streamed % 2:  # the first piece of an iteration shares its half with the last one of the iteration before
        first = next(step for each in result for step in each if step.fields["load_words"])
        first.fields["load_ahead"] = 0
    return result


def _step(
    config: AcceleratorConfig,
    layer: ArrangedLayer,
    tile: Tile,
    piece: tuple[int, int],
    vectors: int,
    entries: Entries,
    address: int,
    stream: bool,
) -> OffsetStep:
    """Return the step that does some activation words of a tile, its entries from `address` on."""
    engine, (begin, end) = engine_of(config), piece
    ends = end == layer.input_words
    if stream:
        load = _load(engine, entries, address, layer.options.encode)
    else:
        load = _Load(weights=None if layer.options.encode else pack_entries(engine, entries))
    return OffsetStep(
        fields={
            "source_pitch": layer.input_words,
            "source_words": end - begin,
            "destination_pitch": layer.output_words,
            "rows": tile.rows if ends else 0,
            "vectors": vectors,
            "group": tile.schedule.group.bit_length() - 1,
            "relative": int(layer.options.relative_width != 0),
            "keep_empty": int(layer.options.keep_empty),
            "queue_limit": layer.options.queue_limit or engine.queue_depth,
            "shift": layer.layer.shift,
            "minimum": layer.layer.minimum,
            "maximum": layer.layer.maximum,
            **load.fields,
        },
        images={
            "pointers": ("pointers", _pack_pointers(config, entries.pointers + address), 2),
            "codebook": ("codebooks", _pack_codebook(engine, layer.layer), 1),
            "parameters": ("parameters", _pack_biases(engine, layer, tile) if ends else None, 1),
            "tables": ("codebooks", load.tables, 1),
        },
        source_offset=begin,
        destination_offset=tile.first_word,
        weights=load.weights,
        detail=StepDetail(entries=entries, symbol_lengths=load.symbol_lengths),
    )


def loads(config: AcceleratorConfig, layers: Sequence[ArrangedLayer], places: Sequence[Place]) -> list[OffsetStep]:
    """Return the steps that load resident weights Huffman-coded, a tile each; none where they are written."""
    engine = engine_of(config)
    result = []
    for layer, place in zip(layers, places, strict=True):
        address = place.address
        for tile in layer.tiles:
            if layer.options.encode and not place.stream and tile.entries.depth:
                load = _load(engine, tile.entries, address, encode=True)
                nothing = dict.fromkeys(_NO_WORK, 0)
                result.append(
                    OffsetStep(
                        fields={**nothing, "vectors": 1, "queue_limit": 1, **load.fields},
                        images={"tables": ("codebooks", load.tables, 1)},
                        weights=load.weights,
                        detail=StepDetail(entries=tile.entries.between(0, 0), symbol_lengths=load.symbol_lengths),
                    )
                )
            address += tile.entries.depth
    return result


_NO_WORK = (
    *("source_pitch", "source_words", "destination_pitch", "rows", "pointers", "codebook", "parameters"),
    *("group", "relative", "keep_empty", "shift", "minimum", "maximum"),
)
"""Fields of the descriptor that a step which only loads leaves at 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Load:
    """How the weights of a step reach the device."""

    weights: Words | None
    words: int = 0
    rows: int = 0
    address: int = 0
    tables: Words | None = None
    symbol_lengths: np.ndarray | None = None

    @property
    def fields(self) -> dict[str, int]:
        encoded = self.tables is not None
        return {
            "load_words": self.words,
            "load_rows": self.rows,
            "weights": self.address,
            "load_ahead": int(self.words > 0 and not encoded),
            "encoded": int(encoded),
        }


def _load(engine: SparseConfig, entries: Entries, address: int, encode: bool) -> _Load:
    """Return a load of streamed weights."""
    if not encode or not entries.depth:
        words = pack_entries(engine, entries)
        return _Load(weights=words, words=len(words), rows=len(words), address=address)
    whole = entry_values(engine, entries)
    words, tables = encode_tile(whole, engine)
    return _Load(
        weights=words,
        words=len(words),
        rows=entries.depth,
        address=address,
        tables=tables.astype(np.uint32)[:, None],
        symbol_lengths=symbol_lengths(whole, engine),
    )


def entry_values(engine: SparseConfig, entries: Entries) -> np.ndarray:
    """Return the entries as whole numbers, code in the least significant bits: int64 (depth, PEs)."""
    return (entries.codes & ((1 << engine.code_width) - 1)) | entries.indices << engine.code_width


def pack_entries(engine: SparseConfig, entries: Entries) -> Words:
    """Pack an entry of every PE into each word, its code in the least significant bits."""
    return pack_lanes(entry_values(engine, entries), engine.entry_width)


def _pieces(config: AcceleratorConfig, layer: ArrangedLayer, tile: Tile, place: Place) -> list[tuple[int, int]]:
    """Cut a streamed tile into ranges of activation words whose entries fit half of the ring."""
    if not place.stream:
        return [(0, layer.input_words)]
    starts = tile.entries.pointers[:: engine_of(config).pes]  # (words + 1, PEs)
    pieces, begin = [], 0
    while begin < layer.input_words:
        sizes = (starts[begin + 1 :] - starts[begin]).max(axis=1)
        count = int(np.searchsorted(sizes, place.half_words, side="right"))
        if count == 0:
            raise CompileError(
                f"layer {layer.name!r} has {int(sizes[0])} entries of one activation word in a PE, but half of the "
                f"ring for streamed weights holds {place.half_words}; set weight_depth higher."
            )
        pieces.append((begin, begin + count))
        begin += count
    return pieces


def _pack_pointers(config: AcceleratorConfig, pointers: np.ndarray) -> Words:
    """Pack the pointers (n, PEs) of an even number of columns, two to a word."""
    pairs = -(-len(pointers) // 2)
    padded = np.zeros((2 * pairs, pointers.shape[1]), dtype=np.int64)
    padded[: len(pointers)] = pointers
    return pack_lanes(padded.reshape(pairs, -1), config.weight_depth.bit_length())


def unpack_pointers(config: AcceleratorConfig, words: Words) -> np.ndarray:
    """Return the pointers that `steps` packed: int64 (2 · words, PEs)."""
    pes = engine_of(config).pes
    lanes = unpack_lanes(words, 2 * pes, config.weight_depth.bit_length(), signed=False)
    return lanes.reshape(-1, pes)


def _pack_codebook(engine: SparseConfig, layer: CompressedDense) -> Words | None:
    if engine.codebook_width is None:
        return None
    assert layer.codebook is not None
    weights = np.zeros(1 << engine.codebook_width, dtype=np.int64)
    weights[: len(layer.codebook)] = layer.codebook
    return (weights & 0xFFFF).astype(np.uint32)[:, None]


def _pack_biases(engine: SparseConfig, layer: ArrangedLayer, tile: Tile) -> Words:
    """Pack the biases of a tile, with the half that rounds results, in the order in which rows are drained."""
    biases = np.zeros(tile.rows * engine.pes, dtype=np.int64)
    biases[tile.positions - tile.first_word * engine.pes] = rounding_bias(layer.layer)[tile.outputs]
    return pack_lanes(biases.reshape(tile.rows, engine.pes), engine.bias_width)


def pack_inputs(config: AcceleratorConfig, layer: ArrangedLayer, values: np.ndarray) -> Words:
    """Pack a layer's inputs: (M, K) integers to (M · words of a vector, …), missing lanes 0."""
    engine = engine_of(config)
    M, K = values.shape
    words = layer.input_words
    padded = np.zeros((M, words * engine.pes), dtype=values.dtype)
    padded[:, :K] = values
    return pack_lanes(padded.reshape(M * words, engine.pes), engine.activation_width)


def unpack_outputs(config: AcceleratorConfig, layer: ArrangedLayer, words: Words) -> np.ndarray:
    """Return a layer's outputs: int64, (M, N)."""
    return unpack_activations(config, words, layer.output_words)[:, layer.output_positions]


def unpack_activations(config: AcceleratorConfig, words: Words, vector_words: int) -> np.ndarray:
    """Return activation vectors by position: int64, (M, vector_words · PEs)."""
    engine = engine_of(config)
    lanes = unpack_lanes(words, engine.pes, engine.activation_width, signed=engine.activation_signed)
    return lanes.reshape(-1, vector_words * engine.pes)


def activation_offset(config: AcceleratorConfig, dtype: str) -> int:
    """Return what turns a type's integers into the engine's: always 0, as zeros must stay zeros.

    Raises
    ------
    CompileError
        The type does not fit the engine's activations.
    """
    check_dtype(engine_of(config), dtype)
    return 0
