"""Finds the place of a fault in the sparse engine: every accumulation of an output, then the drain behind them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.sim.mismatch import sparse_drain, sparse_entries
from celosia.sim.mismatch.layer import OutputSearch
from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.sparse_drain import DrainSearch
from celosia.sim.mismatch.sparse_output import Output
from celosia.sim.mismatch.sparse_times import TAKE, find_times, step_beats

BEAT_CAUSE = "drain"


def beats(plan: Any, config: AcceleratorConfig) -> int:
    """Return the beats of a layer: the cycles in which sums are drained, whatever the activations are."""
    assert isinstance(config.engine, SparseConfig)
    return sum(step_beats(step.fields, config.engine) for step in plan.steps)


@dataclass(frozen=True, kw_only=True)
class Search(OutputSearch):
    """One wrong output of one layer."""

    @cached_property
    def output(self) -> Output:
        """What the engine should do for it."""
        return Output(run=self.run, vector=self.vector, channel=self.channel)

    def order(self) -> tuple[int, ...]:
        """Return what outputs are sorted by to be in the order of their writes."""
        return self.output.tile_index, self.vector, self.output.position

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        times = find_times(self.output)
        names = [TAKE, *sparse_drain.names(self.output)]
        optional = sparse_drain.optional_names()
        for pe in self.output.pes:
            names += sparse_entries.names(pe)
            optional += sparse_entries.optional_names(pe)
        waves = self.run.replay.record(names, (times.start, times.stop), optional)
        fault = sparse_entries.first_fault(self.output, times, waves)
        return fault or DrainSearch(self.output, times, waves).find()
