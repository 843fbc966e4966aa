"""Finds the place of a fault in the systolic engine: the sums of an output in array and accumulator, then the drain.

What a step should do follows from its descriptor, the program's words and what was in memory before it, as
`celosia.sim.golden.systolic_steps` carries it out.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import unpack_lanes
from celosia.sim.golden.systolic_steps import Machine
from celosia.sim.mismatch.layer import LayerRun, OutputSearch
from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.systolic_drain import DrainSearch
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.mismatch.systolic_step import StepRun, element_lanes, machine_of, step_beats, steps_of
from celosia.sim.mismatch.systolic_sums import SumSearch
from celosia.sim.mismatch.systolic_vectors import Read

BEAT_CAUSE = "compute"


def beats(plan: Any, config: AcceleratorConfig) -> int:  # noqa: ARG001
    """Return the beats of a layer that sum."""
    return sum(step_beats(step.fields) for step in plan.steps)


@dataclass(frozen=True, kw_only=True)
class Search(OutputSearch):
    """One wrong output of one layer.

    Parameters
    ----------
    output : Output or None
        What the engine should do for what was written wrongly first: the output, or what is copied for it; None if all
        that the layer's steps write is as its descriptors say.
    value : int
        What they say of the output, in the network's integers.
    """

    output: Output | None
    value: int

    @classmethod
    def first(cls, run: LayerRun, wrong: np.ndarray) -> Self:
        """Return the search for that of some wrong outputs, rows of (vector, channel), which was written first."""
        before, steps = steps_of(run)
        machine = machine_of(run)
        for step in before:
            machine.run(step.fields)
        place = run.replay.program.tensor(run.index + 1)
        address = run.replay.address_in(run.iteration, place.memory, place.address)
        lanes = element_lanes(run.replay.program, run.index + 1, machine.engine)
        vector, channel = (int(number) for number in wrong[0])
        output = next((found for step in steps if (found := _first_of_step(step, machine))), None)
        if output is not None and output.step.memory == place.memory:
            lane = (output.address - address) * machine.engine.rows + output.word_lane
            elements = np.argwhere(lanes == lane)
            if len(elements) and (wrong == elements[0]).all(axis=1).any():
                vector, channel = (int(number) for number in elements[0])
                output = replace(output, element=_element(run, channel))
        word, lane = divmod(int(lanes[vector, channel]), machine.engine.rows)
        value = int(machine.memories[place.memory][address + word, lane]) - run.output_offset
        return cls(run=run, vector=vector, channel=channel, output=output, value=value)

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        if self.output is None:
            golden = int(self.run.golden[self.vector, self.channel])
            return Fault(
                place="layer as compiled, whatever the hardware does,",
                quantity="output",
                expected=golden,
                actual=self.value,
                cycle=0,
            )
        fault, read = _fault_of(self.output)
        if read is None or self.output.step.source_memory == "inputs":
            return fault
        # A lane that is no element of a tensor can be wrong unnoticed where it is written.
        writer = _writer(self.run, read.address, read.lane or 0)
        before = None if writer is None else _fault_of(writer)[0]
        return fault if before is None or before.expected == before.actual else before


def _fault_of(output: Output) -> tuple[Fault, Read | None]:
    """Return the first place where a value of an output is wrong, and what was read wrongly, if that is it."""
    sums = SumSearch(output)
    return sums.find() or DrainSearch(output, sums.last).find(), sums.read


def _writer(run: LayerRun, address: int, lane: int) -> Output | None:
    """Return what wrote a lane of the activation memory before a layer."""
    machine, writer = machine_of(run), None
    for step in steps_of(run)[0]:
        for tile in machine.tiles(step.fields):
            lanes = (tile.first_lane + np.arange(tile.outputs.shape[1])) % machine.engine.rows
            places = np.argwhere((tile.addresses == address) & (lanes == lane))
            if step.memory == "activations" and len(places):
                row, column = (int(number) for number in places[-1])
                writer = Output(step=step, machine=machine, tile=tile, row=row, column=column, element={})
    return writer


def _first_of_step(step: StepRun, machine: Machine) -> Output | None:
    """Execute a step, and return what of it the hardware wrote wrongly first; None if nothing."""
    engine, first = machine.engine, int(step.fields["destination"])
    words = step.run.replay.memory_before(step.behind, step.memory, step.words(engine), first)
    held = unpack_lanes(words, engine.rows, engine.activation_width, signed=engine.activation_signed)
    for tile in machine.tiles(step.fields):
        lanes = (tile.first_lane + np.arange(tile.outputs.shape[1])) % engine.rows
        wrong = np.argwhere(held[tile.addresses - first, lanes] != tile.outputs)
        if len(wrong):
            row, column = (int(number) for number in wrong[0])
            return Output(step=step, machine=machine, tile=tile, row=row, column=column, element={})
    return None


def _element(run: LayerRun, channel: int) -> dict[str, int]:
    """Return where in an image an output is."""
    shape = run.plan.layer.output_shape
    if len(shape) != 3:
        return {}
    return dict(zip(("out row", "out col", "out channel"), map(int, np.unravel_index(channel, shape)), strict=True))
