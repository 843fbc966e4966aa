"""What the sparse engine should do for one output: which columns, entries and sums, in which PEs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from celosia.hw.registry import find_engine
from celosia.hw.sparse.config import SparseConfig
from celosia.sim.mismatch.layer import LayerRun


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry that a PE works off.

    Parameters
    ----------
    address : int
        Its word in the weight memory.
    column : int
        Position of its activation in the layer's input vector.
    row : int
        Accumulator that its product is added to.
    code, index : int
        What it consists of, as unsigned numbers.
    weight, activation : int
        What is multiplied.
    padding : bool
        Whether it only counts zeros.
    """

    address: int
    column: int
    row: int
    code: int
    index: int
    weight: int
    activation: int
    padding: bool

    @property
    def product(self) -> int:
        """What it adds to its row."""
        return 0 if self.padding else self.weight * self.activation


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """What one step does for a vector: some columns of a tile.

    Parameters
    ----------
    output : Output
        On whose behalf.
    step : int
        Index of the step in its layer.
    """

    output: "Output"
    step: int

    @property
    def fields(self) -> Any:
        """Fields of the step's descriptor."""
        return self.output.run.plan.steps[self.step].fields

    @property
    def first_column(self) -> int:
        """Position of the step's first column."""
        return (self.fields["source"] - self.output.run.plan.steps[0].fields["source"]) * self.output.engine.pes

    @cached_property
    def pointers(self) -> np.ndarray:
        """Address of the first entry of each column in each PE, and of what follows: int64 (columns + 1, PEs)."""
        config, fields = self.output.run.config, self.fields
        words = self.output.run.replay.program.image["pointers"]
        count = fields["source_words"] * self.output.engine.pes + 1
        return find_engine(config.engine_name).packer.unpack_pointers(config, words)[fields["pointers"] :][:count]

    def number(self, column: int) -> int:
        """Return the number of a column's pointer."""
        return self.fields["pointers"] + column - self.first_column

    def span(self, column: int, pe: int) -> tuple[int, int]:
        """Return the address of a PE's first entry in a column, and how many there are."""
        first, end = self.pointers[column - self.first_column :][:2, pe].tolist()
        return first, end - first

    def column_of(self, address: int, pe: int) -> int | None:
        """Return the column of a PE's entry, active or not; None if no column has an entry there."""
        column = int(np.searchsorted(self.pointers[:, pe], address, side="right")) - 1
        return self.first_column + column if 0 <= column < len(self.pointers) - 1 else None

    @cached_property
    def columns(self) -> list[int]:
        """Positions of the activations that are not zero, in the order in which they are broadcast."""
        size = self.fields["source_words"] * self.output.engine.pes
        return (self.first_column + np.flatnonzero(self.output.lanes[self.first_column :][:size])).tolist()

    def entries(self, pe: int) -> Iterator[Entry]:
        """Yield the entries that a PE works off, in order."""
        output, engine = self.output, self.output.engine
        entries = output.run.plan.steps[self.step].detail.entries
        codebook, base = output.run.plan.arranged.layer.codebook, int(self.pointers[0, pe])
        for column in self.columns:
            first, length = self.span(column, pe)
            for address in range(first, first + length):
                code = int(entries.codes[address - base, pe])
                yield Entry(
                    address=address,
                    column=column,
                    row=int(entries.rows[address - base, pe]),
                    code=code & ((1 << engine.code_width) - 1),
                    index=int(entries.indices[address - base, pe]),
                    weight=code if codebook is None else int(codebook[code]),
                    activation=int(output.lanes[column]),
                    padding=bool(entries.relative_width and code == 0),
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One output of a layer.

    Parameters
    ----------
    run : LayerRun
        The layer.
    vector, channel : int
        Row of the layer's inputs, column of its weights.
    """

    run: LayerRun
    vector: int
    channel: int

    @property
    def engine(self) -> SparseConfig:
        """Config of the engine."""
        assert isinstance(self.run.config.engine, SparseConfig)
        return self.run.config.engine

    @cached_property
    def tile_index(self) -> int:
        """Index of the tile that the channel belongs to."""
        ends = [int(tile.outputs[-1]) for tile in self.run.plan.arranged.tiles]
        return int(np.searchsorted(ends, self.channel))

    @property
    def tile(self) -> Any:
        """The tile, a `celosia.host.pack.sparse_layers.Tile`."""
        return self.run.plan.arranged.tiles[self.tile_index]

    @property
    def share(self) -> int:
        """PEs that share the output's row."""
        return self.tile.schedule.group

    @property
    def row(self) -> int:
        """Accumulator of the output in each of its PEs."""
        return int(self.tile.schedule.row_slot[self.channel - self.tile.outputs[0]])

    @property
    def pes(self) -> range:
        """PEs that sum the output up."""
        first = int(self.tile.schedule.row_group[self.channel - self.tile.outputs[0]]) * self.share
        return range(first, first + self.share)

    @property
    def position(self) -> int:
        """Position of the output in its layer's output vector."""
        return int(self.run.plan.arranged.output_positions[self.channel])

    @property
    def drained_word(self) -> int:
        """Number of the output's word among those of its tile."""
        return self.position // self.engine.pes - self.tile.first_word

    @property
    def address(self) -> int:
        """Word of the output in its memory."""
        pitch = self.run.plan.arranged.output_words
        return self.run.destination + self.vector * pitch + self.position // self.engine.pes

    @property
    def lane(self) -> int:
        """Lane of the output in its word."""
        return self.position % self.engine.pes

    @cached_property
    def pieces(self) -> list[Piece]:
        """The steps of the tile."""
        ends = [index for index, step in enumerate(self.run.plan.steps) if step.fields["rows"]]
        first = ends[self.tile_index - 1] + 1 if self.tile_index else 0
        return [Piece(output=self, step=step) for step in range(first, ends[self.tile_index] + 1)]

    @cached_property
    def lanes(self) -> np.ndarray:
        """The input vector by position, as it is in memory: int64 (words · PEs,)."""
        arranged, empty = self.run.plan.arranged, 0
        if self.run.index:
            before = self.run.replay.program.layers[self.run.index - 1].arranged.layer
            empty = min(max(0, before.minimum), before.maximum)  # what lanes without a row hold
        lanes = np.full(arranged.input_words * self.engine.pes, empty, dtype=np.int64)
        lanes[arranged.input_positions] = self.run.x[self.vector]
        return lanes

    def input_at(self, column: int) -> int | None:
        """Return the input channel at a position; None where there is none."""
        channels = np.flatnonzero(self.run.plan.arranged.input_positions == column)
        return int(channels[0]) if len(channels) else None

    def clipped(self, total: int) -> int:
        """Return a sum as an accumulator holds it."""
        limit = 1 << (self.engine.accumulator_width - 1)
        return min(max(total, -limit), limit - 1)

    @cached_property
    def sums(self) -> dict[int, int]:
        """What each of the PEs sums up for the output."""
        result = dict.fromkeys(self.pes, 0)
        for pe in self.pes:
            for piece in self.pieces:
                for entry in piece.entries(pe):
                    if entry.row == self.row:
                        result[pe] = self.clipped(result[pe] + entry.product)
        return result

    @property
    def merged(self) -> int:
        """What they have summed up together."""
        return sum(self.sums.values())
