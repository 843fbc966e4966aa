"""Finds the place of a fault in the binary engine: the sums of an output beat by beat, then the drain behind them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from celosia.hw.config import AcceleratorConfig
from celosia.sim.mismatch import binary_array, binary_drain, binary_write
from celosia.sim.mismatch.binary_array import ArraySearch
from celosia.sim.mismatch.binary_drain import DrainSearch
from celosia.sim.mismatch.binary_output import Output
from celosia.sim.mismatch.binary_place import step_beats
from celosia.sim.mismatch.binary_seen import Window
from celosia.sim.mismatch.binary_write import WriteSearch
from celosia.sim.mismatch.layer import OutputSearch
from celosia.sim.mismatch.report import Fault

BEAT_CAUSE = "compute"


def beats(plan: Any, config: AcceleratorConfig) -> int:  # noqa: ARG001
    """Return the beats of a layer."""
    return sum(step_beats(step.fields) for step in plan.steps)


@dataclass(frozen=True, kw_only=True)
class Search(OutputSearch):
    """One wrong output of one layer; `channel` is its place among those of a vector, in C order."""

    @cached_property
    def output(self) -> Output:
        """What the engine should do for it."""
        return Output(run=self.run, vector=self.vector, index=self.channel)

    def order(self) -> tuple[int, ...]:
        """Return what outputs are sorted by to be in the order of their writes."""
        return self.output.step, self.vector, self.channel

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        output = self.output
        if output.value != output.golden:
            return Fault(
                place="layer as packed, whatever the hardware does,",
                quantity="output",
                expected=output.golden,
                actual=output.value,
                cycle=0,
                position=output.position,
            )
        names = [*binary_array.names(output), *binary_drain.names(output), *binary_write.names(output)]
        window = Window(output, names)
        if window.missing is not None:
            return Fault(
                place="feeder",
                quantity=f"beat {window.missing} of the run",
                expected=1,
                actual=None,
                cycle=window.waves.stop - 1,
                position=output.position,
            )
        for number, each in enumerate(output.passes):
            if fault := ArraySearch(window, each).find() or DrainSearch(window, number).find():
                return fault
        return WriteSearch(window).find()
