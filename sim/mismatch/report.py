"""What is known about a first mismatch, and how it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Operands = Mapping[str, tuple[int, int]]
"""By name, what was expected and what was there."""


class Bits(int):
    """A word of single bits, told in hexadecimal."""

    def __str__(self) -> str:
        return f"{int(self):#x}"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first place in an engine where a value is not what the golden model says.

    Parameters
    ----------
    place : str
        The part of the hardware: `PE (2, 1)` is row 2, column 1.
    quantity : str
        What is wrong there: a partial sum, a sum, an activation.
    expected, actual : int
        Its value; `actual` is None where there is none.
    cycle : int
        Cycle of the run in which it can be seen, the cycle of the start being 0.
    position : mapping
        Where in the layer, as the engine counts: tile, step, PE, row, column, lane; what of it applies.
    operands : mapping
        What the place computed with, expected and actual.
    """

    place: str
    quantity: str
    expected: int
    actual: int | None
    cycle: int
    position: Mapping[str, int] = field(default_factory=dict)
    operands: Operands = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The first wrong activation of a run, and the fault behind it.

    Parameters
    ----------
    layer, layer_name : int, str
        Index and name of the first layer with a wrong output.
    iteration : int
        Iteration of the run, from 0.
    vector, channel : int
        Which output: index of the input in the batch, output channel; of an image the place in C order. In the order in
        which the hardware writes them, it is the first that is wrong.
    expected, actual : int
        Its value, in the network's integers.
    fault : Fault
        Where it went wrong.
    waves : Path or None
        Waveform of cycles `window[0]` up to but not including `window[1]`, around the fault.
    """

    layer: int
    layer_name: str
    iteration: int
    vector: int
    channel: int
    expected: int
    actual: int
    fault: Fault
    waves: Path | None = None
    window: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        fault = self.fault
        where = ", ".join(f"{name} {value}" for name, value in fault.position.items())
        found = "nothing" if fault.actual is None else str(fault.actual)
        place = fault.place.removesuffix(",")
        lines = [
            f"layer {self.layer} {self.layer_name!r}, iteration {self.iteration}, vector {self.vector}, channel "
            f"{self.channel}: {self.actual} instead of {self.expected}",
            f"first fault: {place}, cycle {fault.cycle}: {fault.quantity} {found} instead of {fault.expected}",
        ]
        if where:
            lines.append(f"at: {where}")
        if fault.operands:
            lines.append("operands: " + ", ".join(_operand(name, *both) for name, both in fault.operands.items()))
        if self.waves:
            lines.append(f"waveform: cycles {self.window[0]} to {self.window[1] - 1} in {self.waves}")
        return "\n".join(lines)


def _operand(name: str, expected: int, actual: int) -> str:
    return f"{name} {actual}" if actual == expected else f"{name} {actual} instead of {expected}"
