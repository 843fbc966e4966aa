"""Where an output of the binary engine is: in the layer, in the run's beats, in the engine and in memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.tree import Tree, count_tree
from celosia.sim.mismatch.layer import LayerRun

BEAT_LOOPS = ("planes", "weight_planes", "kernel_rows", "kernel_cols", "chunks")
PASS_LOOPS = ("vectors", "out_rows", "out_cols", "folds", "pool_rows", "pool_cols")


def pass_beats(fields: Mapping[str, int]) -> int:
    """Return the beats of a pass of a step."""
    return math.prod(fields[loop] for loop in BEAT_LOOPS)


def step_beats(fields: Mapping[str, int]) -> int:
    """Return the beats of a step."""
    return math.prod(fields[loop] for loop in PASS_LOOPS) * pass_beats(fields)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One output of a layer.

    Parameters
    ----------
    run : LayerRun
        The layer.
    vector, index : int
        Row of the layer's inputs; place in the output, in C order.
    """

    run: LayerRun
    vector: int
    index: int

    @property
    def engine(self) -> BinaryConfig:
        """Config of the engine."""
        assert isinstance(self.run.config.engine, BinaryConfig)
        return self.run.config.engine

    @property
    def tree(self) -> Tree:
        """How a PE counts."""
        return count_tree(self.engine.simd)

    @property
    def arranged(self) -> Any:
        """The layer, a `celosia.host.pack.binary_layers.ArrangedLayer`."""
        return self.run.plan.arranged

    # -- where it is --

    @property
    def channel(self) -> int:
        """Output channel."""
        return self.index % int(self.arranged.shape[1])

    @property
    def pixel(self) -> int:
        """Pixel of the output, in C order."""
        return self.index // int(self.arranged.shape[1])

    @property
    def out_row(self) -> int:
        """Row of the output."""
        return self.pixel // int(self.fields["out_cols"])

    @property
    def out_col(self) -> int:
        """Column of the output."""
        return self.pixel % int(self.fields["out_cols"])

    @property
    def fold(self) -> int:
        """Fold of the layer."""
        return self.channel // self.engine.pes

    @property
    def pe(self) -> int:
        """PE that sums it up."""
        return self.channel % self.engine.pes

    @property
    def group(self) -> int:
        """Group of the PE."""
        return self.pe // self.engine.resolved_post_lanes

    @property
    def lane(self) -> int:
        """Lane of the drain."""
        return self.pe % self.engine.resolved_post_lanes

    @cached_property
    def step(self) -> int:
        """Step of the layer that computes it."""
        ends = np.cumsum([step.fields["folds"] for step in self.run.plan.steps])
        return int(np.searchsorted(ends, self.fold, side="right"))

    @property
    def fields(self) -> Any:
        """Fields of the step's descriptor."""
        return self.run.plan.steps[self.step].fields

    @cached_property
    def first_fold(self) -> int:
        """First fold of the step."""
        return sum(int(step.fields["folds"]) for step in self.run.plan.steps[: self.step])

    @property
    def step_beat(self) -> int:
        """Number of the step's first beat in the run."""
        return self.run.first_beat + sum(step_beats(step.fields) for step in self.run.plan.steps[: self.step])

    def pass_beat(self, fold: int, number: int) -> int:
        """Return the number of the first beat of a pass for the output's pixel."""
        fields = self.fields
        pixel = self.vector * fields["out_rows"] * fields["out_cols"] + self.pixel
        pool = fields["pool_rows"] * fields["pool_cols"]
        passes = (pixel * fields["folds"] + fold - self.first_fold) * pool + number
        return self.step_beat + int(passes) * pass_beats(fields)

    @property
    def position(self) -> dict[str, int]:
        """Where in the layer it is; loops that are none are left out."""
        fields = self.fields
        return {
            **({"step": self.step} if len(self.run.plan.steps) > 1 else {}),
            **({"out row": self.out_row} if fields["out_rows"] > 1 else {}),
            **({"out col": self.out_col} if fields["out_cols"] > 1 else {}),
            "out channel": self.channel,
            "fold": self.fold,
            "PE": self.pe,
        }

    @property
    def is_raw(self) -> bool:
        """Whether it is a sum."""
        return bool(self.fields["raw"])

    @property
    def weights_base(self) -> int:
        """First weight word of the fold."""
        return int(self.fields["weights"]) + (self.fold - self.first_fold) * int(self.fields["fold_words"])

    @property
    def address(self) -> int:
        """First word that it is written to."""
        fields, engine = self.fields, self.engine
        pixel = self.vector * fields["out_rows"] * fields["out_cols"] + self.pixel
        word = self.channel * engine.result_words if self.is_raw else self.channel // engine.simd
        return self.run.destination + int(pixel * fields["destination_pitch"] + word)

    @property
    def completing(self) -> tuple[int, int]:
        """Fold and group of the channels that complete its word."""
        if self.is_raw:
            return self.fold, self.group
        engine, fields = self.engine, self.fields
        group = (self.fold - self.first_fold) * engine.groups + self.group
        of_step = (fields["folds"] - 1) * engine.groups + fields["groups_edge"]
        last = min((group // engine.groups_per_word + 1) * engine.groups_per_word, of_step) - 1
        return self.first_fold + int(last) // engine.groups, int(last) % engine.groups
