"""One layer in one iteration of a run: what every engine's search begins with."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.sim.mismatch.replay import Replay


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """A layer with the inputs that it has in an iteration, and where in the run it is.

    Parameters
    ----------
    replay : Replay
        The run.
    index, iteration : int
        Of the layer in the program, and of the iteration in the run.
    golden : ndarray of int64, (M, elements)
        Its outputs, right ones, in the network's integers.
    x : ndarray of int64, (M, K)
        Its inputs, the first ones if it takes several, right ones, in the device's integers.
    input_offset, output_offset : int
        What was added to the network's integers to give the device's.
    first_beat : int
        Beat of the run with which the layer begins.
    source, destination : int
        First word of its inputs and of its outputs in this iteration.
    """

    replay: Replay
    index: int
    iteration: int
    golden: np.ndarray
    x: np.ndarray
    input_offset: int
    output_offset: int
    first_beat: int
    source: int
    destination: int

    @property
    def config(self) -> AcceleratorConfig:
        """Config of the accelerator."""
        return self.replay.config

    @property
    def plan(self) -> Any:
        """The layer as compiled, a `celosia.host.program.LayerPlan`."""
        return self.replay.program.layers[self.index]

    @property
    def source_memory(self) -> str:
        """Memory that its inputs are in."""
        return "activations" if self.plan.steps[0].fields["source_is_activations"] else "inputs"

    @property
    def memory(self) -> str:
        """Memory that its outputs go to."""
        return "outputs" if self.plan.steps[0].fields["destination_is_outputs"] else "activations"


@dataclass(frozen=True, kw_only=True)
class OutputSearch:
    """One wrong output of one layer; an engine's `Search` finds where it went wrong.

    Parameters
    ----------
    run : LayerRun
        The layer.
    vector, channel : int
        The output: row of the layer's inputs, column of its weights; of an image the place in C order.
    """

    run: LayerRun
    vector: int
    channel: int

    @classmethod
    def first(cls, run: LayerRun, wrong: np.ndarray) -> Self:
        """Return the search for that of some wrong outputs, rows of (vector, channel), which was written first."""
        searches = [cls(run=run, vector=int(vector), channel=int(channel)) for vector, channel in wrong]
        return min(searches, key=lambda search: search.order())

    def order(self) -> tuple[int, ...]:
        """Return what outputs are sorted by to be in the order of their writes: vector by vector, if not told else."""
        return self.vector, self.channel
