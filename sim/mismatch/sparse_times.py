"""When the sparse engine works on one output: the cycles of its vector's columns, barrier and drain."""

from dataclasses import dataclass
from typing import Any

from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.timing import ENTRY_CYCLES, FLUSH_CYCLES, merge_cycles
from celosia.sim.mismatch.replay import Span
from celosia.sim.mismatch.sparse_output import Output
from celosia.sim.vcd import Waves

TAKE = "engine.layer_take"


def step_beats(fields: Any, engine: SparseConfig) -> int:
    """Return the cycles of the cause `drain` in a step: they are told ENTRY_CYCLES later, the last ones never."""
    if not fields["rows"]:
        return 0
    return _vector_beats(fields) * fields["vectors"] + merge_cycles(engine) + 1 - ENTRY_CYCLES


def _vector_beats(fields: Any) -> int:
    """Return the cycles from a barrier to the last read behind it."""
    return FLUSH_CYCLES + fields["rows"]


@dataclass(frozen=True, kw_only=True)
class Times:
    """Cycles of a vector.

    Parameters
    ----------
    beat : int
        Beat of its barrier.
    start : int
        First cycle in which a column of it may be broadcast.
    barrier : int
        The barrier behind its last column; where the run hangs before, its end.
    stop : int
        Its last word has been written.
    """

    beat: int
    start: int
    barrier: int
    stop: int

    def segments(self, output: Output, waves: Waves) -> list[Span]:
        """Return the cycles of each of the output's pieces, of those that are at work at all."""
        if output.vector:
            return [(self.start, self.barrier + 1)]
        takes = [cycle for cycle in range(self.start, self.barrier) if waves.at(TAKE, cycle)][-len(output.pieces) :]
        return list(zip(takes, [*takes[1:], self.barrier + 1], strict=True))


def find_times(output: Output) -> Times:
    """Run the program to see when the vector of an output is worked on."""
    run, engine = output.run, output.engine
    fields = output.pieces[-1].fields
    before = sum(step_beats(step.fields, engine) for step in run.plan.steps[: output.pieces[0].step])
    beat = run.first_beat + before + output.vector * _vector_beats(fields)
    cycles = run.replay.cycles_of([beat - 1, beat] if beat else [beat])
    start = 1 if beat == 0 else cycles[0] + 1
    if output.vector:
        start -= ENTRY_CYCLES
    barrier = cycles[-1] - ENTRY_CYCLES
    return Times(
        beat=beat,
        start=start,
        barrier=barrier,
        stop=barrier + FLUSH_CYCLES + fields["rows"] + merge_cycles(engine) + 2,
    )
