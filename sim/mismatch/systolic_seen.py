"""What is seen of the systolic engine: signals, parts of them, and faults told of an output."""

from collections.abc import Mapping

from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.stage import Seen, Stage
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.vcd import Waves, integer_of


class View:
    """Signals in some cycles.

    Parameters
    ----------
    waves : Waves
    """

    def __init__(self, waves: Waves) -> None:
        self.waves = waves

    def at(self, name: str, cycle: int, *, signed: bool = False) -> Seen:
        """Return what a signal held."""
        values = self.waves.values.get(name)
        if values is None or not 0 <= cycle - self.waves.start < len(values):
            return None
        return self.waves.at(name, cycle, signed=signed)

    def part(self, name: str, cycle: int, index: int, width: int, *, signed: bool = False) -> Seen:
        """Return one of the numbers of some bits that a signal held."""
        return self.bits(name, cycle, index * width, width, signed=signed)

    def bits(self, name: str, cycle: int, low: int, width: int, *, signed: bool = False) -> Seen:
        """Return some bits of what a signal held."""
        word = self.at(name, cycle)
        return None if word is None else integer_of(word >> low, width, signed=signed)


def record(output: Output, names: list[str], start: int, stop: int) -> View:
    """Return what signals held from one cycle up to but not including another one."""
    start = max(start, 1)
    return View(output.replay.record([], (start, max(stop, start + 1)), names))


def fault_of(output: Output, stage: Stage, position: Mapping[str, int]) -> Fault:
    """Return the fault that a stage is."""
    return Fault(
        place=stage.place,
        quantity=stage.quantity,
        expected=stage.expected,
        actual=stage.actual,
        cycle=stage.cycle,
        position={**output.position, **position},
        operands=stage.operands,
    )
