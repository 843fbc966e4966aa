"""What the systolic engine should do for one output: its sums, K tile by K tile, and what the drain makes of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.hw.systolic.timing import WINDOW_CYCLES, sum_cycles
from celosia.sim.golden.systolic_steps import Fields, Machine, NTile
from celosia.sim.mismatch.replay import Replay
from celosia.sim.mismatch.systolic_step import StepRun


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One output, that of a column of the array.

    Parameters
    ----------
    step : StepRun
    machine : Machine
        Which made the N tile.
    tile : NTile
    row : int
        Which vector of the tile's outputs.
    column : int
        Column of the array.
    element : mapping
        Where in the layer's output it is, if it is part of an image there.
    """

    step: StepRun
    machine: Machine
    tile: NTile
    row: int
    column: int
    element: dict[str, int]

    @property
    def fields(self) -> Fields:
        """Descriptor of the step."""
        return self.step.fields

    @property
    def engine(self) -> SystolicConfig:
        """Config of the engine."""
        return self.machine.engine

    @property
    def replay(self) -> Replay:
        """The run."""
        return self.step.run.replay

    @property
    def mode(self) -> Mode:
        """What the array does with vectors."""
        return Mode(self.fields["mode"])

    @property
    def position(self) -> dict[str, int]:
        """Where it is in the layer."""
        step = self.step
        several = len(step.run.replay.program.layers[step.layer].steps) > 1
        return {
            **({} if step.layer == step.run.index else {"layer": step.layer}),
            **self.element,
            **({"step": step.number} if several else {}),
            "block": self.tile.block,
            "N tile": self.tile.number,
        }

    # -- sums --

    @property
    def sums(self) -> range:
        """The tile's sums that it is the greatest of."""
        pool = self.fields["pool"]
        return range(self.row * pool, (self.row + 1) * pool)

    @property
    def tile_sums(self) -> int:
        """Sums of the tile."""
        return len(self.tile.results)

    @cached_property
    def beats(self) -> list[int]:
        """Beats of the block that end in its sums."""
        return np.flatnonzero(self.tile.beats.sums)[self.sums.start : self.sums.stop].tolist()

    def tile_beat(self, k_tile: int) -> int:
        """Return the number in the run of the first beat of a K tile that sums."""
        fields, block = self.fields, self.tile.block
        before = block * fields["block_rows"] * fields["n_tiles"] * fields["k_tiles"]
        tiles = self.tile.number * fields["k_tiles"] + k_tile
        return self.step.first_beat + before + tiles * self.tile_sums

    def weighted_before(self, k_tile: int) -> tuple[int, int] | None:
        """Return the first beat of the tile with weights before a K tile, and the beats of its line before that."""
        lead = self.fields["lead"]
        if k_tile or self.tile.number:
            return self.tile_beat(k_tile) - self.tile_sums, lead
        if self.tile.block:
            return self.tile_beat(k_tile) - self.fields["block_rows"], lead
        return self.step.weighted

    def accumulator_row(self, number: int) -> int:
        """Return the accumulator row of one of the tile's sums."""
        before = self.tile.block * self.fields["block_rows"] * self.fields["n_tiles"]
        row = self.step.first_sum + before + self.tile.number * self.tile_sums + number
        return row % self.engine.accumulator_rows

    def arrival(self, cycle: int) -> int:
        """Return the cycle in which the psum of a beat is in front of the accumulator."""
        return cycle + WINDOW_CYCLES + sum_cycles(self.engine, self.mode, self.fields["lead"]) + self.column

    def entry(self, cycle: int) -> int:
        """Return the cycle in which the first activation of a beat's sum is in front of the column's first PE."""
        return cycle + WINDOW_CYCLES + self.column - (self.fields["lead"] if self.mode is Mode.CHANNELS else 0)

    def source(self, row: int, beat: int) -> tuple[int, int] | None:
        """Return the beat and the lane whose activation a PE multiplies for a sum; None if any will do."""
        if self.mode is Mode.MATRIX:
            return beat, row
        return (beat - self.fields["lead"] + row, self.column) if row <= self.fields["lead"] else None

    def operands(self, k_tile: int, beat: int) -> tuple[list[int], list[int]]:
        """Return the activations and weights of each row of the column for a sum, 0 where nothing is multiplied."""
        tile, activations, weights = self.tile.k_tiles[k_tile], [], []
        for row in range(self.engine.rows):
            source = self.source(row, beat)
            activations.append(0 if source is None else int(tile.vectors[source]))
            weights.append(0 if source is None else int(tile.weights[row, self.column]))
        return activations, weights

    def sum_before(self, k_tile: int, number: int) -> int:
        """Return what one of the tile's sums is before a K tile."""
        return int(self.tile.k_tiles[k_tile - 1].sums[number, self.column]) if k_tile else 0

    def sum_after(self, k_tile: int, number: int) -> int:
        """Return what one of the tile's sums is after a K tile."""
        return int(self.tile.k_tiles[k_tile].sums[number, self.column])

    # -- drain --

    @property
    def group(self) -> int:
        """Group of lanes in the tile."""
        return self.column // self.engine.resolved_post_lanes

    @property
    def lane(self) -> int:
        """Requantizer lane."""
        return self.column % self.engine.resolved_post_lanes

    @property
    def word_lane(self) -> int:
        """Lane of the word that it is written to."""
        return (self.tile.first_lane + self.column) % self.engine.rows

    @property
    def address(self) -> int:
        """Word that it is written to."""
        return int(self.tile.addresses[self.row, self.column])

    @property
    def value(self) -> int:
        """What is written, in the device's integers."""
        return int(self.tile.outputs[self.row, self.column])

    @property
    def parameters(self) -> dict[str, int]:
        """What the requantizer is told of the channel, the shift as a number."""
        address = self.parameters_address
        values = (int(each[address][self.lane]) for each in self.machine.memories["parameters"])
        return dict(zip(("bias", "multiplier", "shift", "enable"), values, strict=True))

    @property
    def parameters_address(self) -> int:
        """Word of its parameters."""
        return self.tile.first_parameters + self.group
