"""Every tensor of a network in RTL, compared with the golden model: what `celosia run --check` does."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.host.cli.output import working
from celosia.host.program import Program

AXES = {1: ("channel",), 3: ("y", "x", "channel")}
"""Names of a tensor's axes, by their number; others are numbered."""


@dataclass(kw_only=True)
class TensorReport:
    """A tensor in all iterations: its elements, how many are wrong, and a sentence about the first of these."""

    name: str
    index: int
    shape: tuple[int, ...]
    elements: int = 0
    wrong: int = 0
    first: str = ""


def check_run(program: Program, inputs: np.ndarray, core: Any) -> list[TensorReport]:
    """Run a program layer by layer on a simulated core, and compare every tensor that it makes.

    Parameters
    ----------
    program : Program
    inputs : ndarray (n, …), integers of the network's input type
    core : celosia.sim.core.CoreSimulator
    """
    from celosia.sim.check import check_tensors

    reports: dict[int, TensorReport] = {}
    with working("comparing every tensor", log=False) as stage:
        for check in check_tensors(program, inputs, core, progress=stage):
            name = program.layers[check.index - 1].name
            shape = check.expected.shape[1:]
            report = reports.setdefault(check.index, TensorReport(name=name, index=check.index, shape=shape))
            report.elements += check.expected.size
            report.wrong += check.wrong
            if check.wrong and not report.first:
                vector, *place = check.first
                axes = AXES.get(len(place), tuple(f"axis {axis}" for axis in range(len(place))))
                where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, place, strict=True))
                number = check.iteration * program.vectors + vector
                values = f"RTL {check.actual[check.first]}, golden {check.expected[check.first]}"
                report.first = f"first at {where} of input {number}: {values}."
    return [reports[index] for index in sorted(reports)]


def describe_wrong(reports: list[TensorReport]) -> str:
    """Return a sentence about the first tensor that is wrong; empty if none is."""
    for report in reports:
        if report.wrong:
            return f"layer {report.name!r}: {report.wrong} of {report.elements} elements differ, {report.first}"
    return ""
