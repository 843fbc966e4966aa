"""Packs compressed layers for the sparse engine: entries, column pointers, biases, codebooks, descriptors.

Words used here: an output is a *row* of the weight matrix and belongs to a *group* of PEs, where it has a *slot*; an
input is a *column*. A tensor's *position* is its lane in the words of a vector: position p is lane p mod PEs of word
p // PEs. The order of positions is the order in which the layer before writes its rows, so that any assignment of rows
to PEs costs nothing: the next layer's columns are stored in that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.integers import integer_range
from celosia.host.pack.bits import Words, pack_lanes, unpack_lanes
from celosia.host.pack.encode import encode_tile, symbol_lengths
from celosia.host.pack.entries import Entries, make_entries
from celosia.host.pack.schedule import Schedule, schedule
from celosia.host.pack.step import MAX_VECTORS, Place, Step
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig


@dataclass(frozen=True, kw_only=True)
class SparseOptions:
    """What is chosen for layers on the sparse engine; what is left None is chosen by the packer.

    Parameters
    ----------
    group : int or None
        PEs that share rows: a power of two up to the config's.
    relative_width : int or None
        Bits of relative indices; 0: absolute ones.
    balance : bool
        Whether rows are given to PEs by load; else row i to PE i mod PEs.
    queue_limit : int or None
        Columns that may wait in front of a PE.
    keep_empty : bool
        Whether columns without entries are queued, too, and cost a cycle.
    encode : bool
        Whether weights reach the device Huffman-coded; it decodes them.
    """

    group: int | None = None
    relative_width: int | None = None
    balance: bool = True
    queue_limit: int | None = None
    keep_empty: bool = False
    encode: bool = False


EIE = SparseOptions(group=1, relative_width=4, balance=False, queue_limit=7, keep_empty=True)
"""The machine of Han et al., ISCA 2016, as its authors simulate it: a ring of 8 columns, which holds 7."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """Some outputs of a layer that are computed at a time.

    Parameters
    ----------
    outputs : ndarray (n,) of int64
        The channels.
    schedule : Schedule
        Group and slot of each of them.
    entries : Entries
        The weights of each PE.
    first_word : int
        Word of the layer's output vector that the tile's first rows go to.
    """

    outputs: np.ndarray
    schedule: Schedule
    entries: Entries
    first_word: int

    @property
    def rows(self) -> int:
        """Words of results."""
        return -(-self.schedule.rows // self.schedule.group)

    @property
    def positions(self) -> np.ndarray:
        """Position of each output in the layer's output vector: int64 (n,)."""
        group, slots = self.schedule.group, self.schedule.row_slot.astype(np.int64)
        words = self.first_word + slots // group
        return words * self.schedule.pes + self.schedule.row_group * group + slots % group


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrangedLayer:
    """A layer with its rows given to PEs.

    Parameters
    ----------
    layer : CompressedDense
        What was arranged.
    input_positions, output_positions : ndarray (K,), (N,) of int64
        Position of each input and output in its vector.
    input_words, output_words : int
        Memory words of a vector.
    tiles : tuple of Tile
        Outputs that fit the accumulators at a time.
    options : SparseOptions
        With nothing left open but the group, which each tile's schedule has.
    """

    layer: CompressedDense
    input_positions: np.ndarray
    output_positions: np.ndarray
    input_words: int
    output_words: int
    tiles: tuple[Tile, ...]
    options: SparseOptions

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int, int]:
        """(K, N): inputs and outputs."""
        return self.layer.codes.shape

    @property
    def work(self) -> int:
        """Multiplications that a vector without zeros needs."""
        return self.layer.nonzeros

    @property
    def weight_words(self) -> int:
        """Weight memory words, when they are resident."""
        return sum(tile.entries.depth for tile in self.tiles)


def arrange(
    config: AcceleratorConfig, layers: Sequence[object], options: SparseOptions | None = None
) -> list[ArrangedLayer]:
    """Give the rows of a chain of layers to PEs.

    Raises
    ------
    CompileError
        A layer is of another kind, or its integers do not fit the engine's widths.
    """
    engine = _engine(config)
    arranged: list[ArrangedLayer] = []
    for layer in layers:
        checked = check_layer(engine, layer)
        before = arranged[-1] if arranged else None
        positions = before.output_positions if before else np.arange(checked.codes.shape[0])
        words = before.output_words if before else -(-checked.codes.shape[0] // engine.pes)
        arranged.append(_arrange_layer(engine, checked, positions, words, options or SparseOptions()))
    return arranged


def _engine(config: AcceleratorConfig) -> SparseConfig:
    assert isinstance(config.engine, SparseConfig)
    return config.engine


def _arrange_layer(
    engine: SparseConfig, layer: CompressedDense, positions: np.ndarray, words: int, options: SparseOptions
) -> ArrangedLayer:
    N = layer.codes.shape[1]
    options = _decide(engine, layer, options)
    order = np.argsort(positions, kind="stable")
    inputs, outputs = np.nonzero(layer.codes[order])  # by position, then by output
    columns = positions[order][inputs]
    codes = layer.codes[order[inputs], outputs]
    group = options.group or _group(engine, N)
    count = -(-N * group // (engine.pes * engine.accumulator_rows))
    tiles: list[Tile] = []
    first_word = 0
    for members in np.array_split(np.arange(N), count):
        chosen = (outputs >= members[0]) & (outputs <= members[-1])
        rows, tile_columns = outputs[chosen] - members[0], columns[chosen]
        plan = schedule(
            rows,
            tile_columns,
            (words * engine.pes, len(members)),
            pes=engine.pes,
            group=group,
            balance=options.balance,
        )
        entries = make_entries(
            tile_columns,
            plan.row_slot[rows],
            plan.entry_pe,
            codes[chosen],
            column_count=words * engine.pes,
            pes=engine.pes,
            relative_width=options.relative_width or 0,
        )
        tile = Tile(outputs=members, schedule=plan, entries=entries, first_word=first_word)
        first_word += tile.rows
        tiles.append(tile)
    return ArrangedLayer(
        layer=layer,
        input_positions=positions,
        output_positions=np.concatenate([tile.positions for tile in tiles]),
        input_words=words,
        output_words=first_word,
        tiles=tuple(tiles),
        options=options,
    )


def _group(engine: SparseConfig, outputs: int) -> int:
    """Return how many PEs share rows: as many as accumulators and absolute indices allow, which evens out loads.

    Merging costs no time, however many share. Relative indices of PEs that share rows would take much padding.
    """
    most = min(engine.accumulator_rows, 1 << engine.index_width)
    group = engine.group
    while group > 1 and -(-outputs * group // engine.pes) > most:
        group //= 2
    return group


def _decide(engine: SparseConfig, layer: CompressedDense, options: SparseOptions) -> SparseOptions:
    """Return the options with what was left open chosen, once they have been checked."""
    N = layer.codes.shape[1]
    group = options.group
    if group is not None and (group > engine.group or group & (group - 1) or group < 1):
        raise CompileError(f"group={group} must be a power of two up to the config's group={engine.group}.")
    limit = engine.queue_depth if options.queue_limit is None else options.queue_limit
    if not 1 <= limit <= engine.queue_depth:
        raise CompileError(f"queue_limit={limit} must be from 1 to the config's queue_depth={engine.queue_depth}.")
    rows = min(-(-N * (group or _group(engine, N)) // engine.pes), engine.accumulator_rows)
    if options.encode and not engine.decoders:
        raise CompileError("encode=True needs an engine with decoders; set decoders to 1 or more.")
    relative = options.relative_width
    if relative is None:
        relative = 0 if rows <= 1 << engine.index_width else engine.index_width
    if relative and not 2 <= relative <= engine.index_width:
        raise CompileError(
            f"relative_width={relative} must be from 2 to the config's index_width={engine.index_width}."
        )
    if not relative and rows > 1 << engine.index_width:
        raise CompileError(
            f"layer {layer.name!r} gives a PE {rows} rows, but absolute indices of index_width={engine.index_width} "
            f"tell {1 << engine.index_width} apart; choose relative indices, or make it wider."
        )
    return SparseOptions(
        group=group,
        relative_width=relative,
        balance=options.balance,
        queue_limit=limit,
        keep_empty=options.keep_empty,
        encode=options.encode,
    )


def ring_words(config: AcceleratorConfig) -> int:
    """Return the weight words that streamed tiles should have: half the memory, in two halves that take turns."""
    return config.weight_depth // 2


def most_vectors(layer: ArrangedLayer, place: Place) -> int:
    """Return how many vectors a layer takes at a time: one, if its sums stay in the PEs from step to step."""
    cut = place.stream and any(tile.entries.depth > place.half_words for tile in layer.tiles)
    return 1 if cut else MAX_VECTORS


def steps(
    config: AcceleratorConfig, layers: Sequence[ArrangedLayer], vectors: int, places: Sequence[Place]
) -> list[list[Step]]:
    """Return the steps of each layer on some activation vectors.

    A resident layer takes a step per tile. A streamed tile that does not fit half of the ring is cut into pieces of
    whole activation words, whose sums stay in the PEs until the last one. Streamed pieces use the halves in turn: each
    is loaded while the one before is at work.
    """
    engine = _engine(config)
    result: list[list[Step]] = []
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
) -> Step:
    """Return the step that does some activation words of a tile, its entries from `address` on."""
    engine, (begin, end) = _engine(config), piece
    ends = end == layer.input_words
    if stream:
        load = _load(engine, entries, address, layer.options.encode)
    else:
        load = _Load(weights=None if layer.options.encode else pack_entries(engine, entries))
    return Step(
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


def loads(config: AcceleratorConfig, layers: Sequence[ArrangedLayer], places: Sequence[Place]) -> list[Step]:
    """Return the steps that load resident weights Huffman-coded, a tile each; none where they are written."""
    engine = _engine(config)
    result = []
    for layer, place in zip(layers, places, strict=True):
        address = place.address
        for tile in layer.tiles:
            if layer.options.encode and not place.stream and tile.entries.depth:
                load = _load(engine, tile.entries, address, encode=True)
                nothing = dict.fromkeys(_NO_WORK, 0)
                result.append(
                    Step(
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
    starts = tile.entries.pointers[:: _engine(config).pes]  # (words + 1, PEs)
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
    pes = _engine(config).pes
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


def rounding_bias(layer: CompressedDense) -> np.ndarray:
    """Return the bias with which a shift to the right rounds: int64, (N,)."""
    return layer.bias + (1 << layer.shift >> 1)


def pack_activations(config: AcceleratorConfig, values: np.ndarray) -> Words:
    """Pack activation vectors: (M, K) integers to (M · words of a vector, …), missing lanes 0."""
    engine = _engine(config)
    M, K = values.shape
    words = -(-K // engine.pes)
    padded = np.zeros((M, words * engine.pes), dtype=values.dtype)
    padded[:, :K] = values
    return pack_lanes(padded.reshape(M * words, engine.pes), engine.activation_width)


def unpack_activations(config: AcceleratorConfig, words: Words, vector_words: int) -> np.ndarray:
    """Return activation vectors by position: int64, (M, vector_words · PEs)."""
    engine = _engine(config)
    lanes = unpack_lanes(words, engine.pes, engine.activation_width, signed=engine.activation_signed)
    return lanes.reshape(-1, vector_words * engine.pes)


def activation_offset(config: AcceleratorConfig, dtype: str) -> int:
    """Return what turns a type's integers into the engine's: always 0, as zeros must stay zeros.

    Raises
    ------
    CompileError
        The type does not fit the engine's activations.
    """
    _check_dtype(_engine(config), dtype)
    return 0


def _check_dtype(engine: SparseConfig, dtype: str) -> None:
    low, high = integer_range(dtype)
    smallest, largest = engine.activation_range
    if low < smallest or high > largest:
        kind = f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"
        raise CompileError(f"{dtype} activations do not fit the config's, which are {kind}.")


def check_layer(engine: SparseConfig, layer: Any) -> CompressedDense:
    """Return the layer if the engine has what it needs.

    Raises
    ------
    CompileError
        It is of another kind, or its integers do not fit the engine's widths.
    """
    name = getattr(layer, "name", "?")
    if not isinstance(layer, CompressedDense):
        raise CompileError(
            f"layer {name!r} is a {type(layer).__name__}; the sparse engine takes compressed layers, "
            "which celosia makes of a float network."
        )
    if (engine.codebook_width is None) != (layer.codebook is None):
        has, wants = ("no codebook", "one") if layer.codebook is None else ("a codebook", "weights without one")
        raise CompileError(f"layer {name!r} has {has}; codebook_width={engine.codebook_width} takes {wants}.")
    if layer.codebook is not None and len(layer.codebook) > 1 << (engine.codebook_width or 0):
        raise CompileError(
            f"layer {name!r} has a codebook of {len(layer.codebook)} weights; codebook_width={engine.codebook_width} "
            f"holds {1 << (engine.codebook_width or 0)}."
        )
    for dtype in (layer.input_dtype, layer.output_dtype):
        try:
            _check_dtype(engine, dtype)
        except CompileError as error:
            raise CompileError(f"layer {name!r}: {error}") from None
    weights = layer.codes if layer.codebook is None else layer.codebook
    _check_fit(name, "weights", weights, "weight_width", engine.weight_width)
    _check_fit(name, "biases", rounding_bias(layer), "accumulator_width", engine.accumulator_width)
    return layer


def _check_fit(name: str, what: str, values: np.ndarray, field: str, width: int) -> None:
    low, high = int(values.min()), int(values.max())
    limit = 1 << (width - 1)
    if low < -limit or high >= limit:
        raise CompileError(
            f"layer {name!r} has {what} from {low} to {high}; {field}={width} holds {-limit} to {limit - 1}."
        )
