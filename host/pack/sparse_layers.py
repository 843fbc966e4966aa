"""Arranges compressed layers for the sparse engine: which PE has which row, how indices count, what fits at a time.

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
from celosia.host.pack.entries import Entries, make_entries
from celosia.host.pack.schedule import Schedule, schedule
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
    def windows(self) -> int:
        """Activation vectors of an input of the network: one."""
        return 1

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
    engine = engine_of(config)
    arranged: list[ArrangedLayer] = []
    for layer in layers:
        checked = check_layer(engine, layer)
        before = arranged[-1] if arranged else None
        positions = before.output_positions if before else np.arange(checked.codes.shape[0])
        words = before.output_words if before else -(-checked.codes.shape[0] // engine.pes)
        arranged.append(_arrange_layer(engine, checked, positions, words, options or SparseOptions()))
    return arranged


def engine_of(config: AcceleratorConfig) -> SparseConfig:
    """Return the engine's config."""
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


def rounding_bias(layer: CompressedDense) -> np.ndarray:
    """Return the bias with which a shift to the right rounds: int64, (N,)."""
    return layer.bias + (1 << layer.shift >> 1)


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
            check_dtype(engine, dtype)
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


def check_dtype(engine: SparseConfig, dtype: str) -> None:
    """Refuse a type that the engine's activations do not hold.

    Raises
    ------
    CompileError
        It is one.
    """
    low, high = integer_range(dtype)
    smallest, largest = engine.activation_range
    if low < smallest or high > largest:
        kind = f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"
        raise CompileError(f"{dtype} activations do not fit the config's, which are {kind}.")
