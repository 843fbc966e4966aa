"""A candidate of a sweep, and what is known about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celosia.hw.config import AcceleratorConfig

LEVELS: Final = ("cycles", "synthesis", "route")
"""How closely a candidate was looked at: exact cycles with estimates of area and clock; a netlist; place and route.

Each replaces estimates by what was measured."""
CHECK: Final = "rtl"
"""Another look, which measures nothing new: whether the RTL, simulated, gives the values and cycles of the models."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One point of a design space.

    Parameters
    ----------
    number : int
        Its place in the order in which a sweep came upon candidates.
    choice : mapping
        The parameters that are varied → their values.
    config : AcceleratorConfig or None
        With memories that the workload fits; None if there is none of that kind.
    figures : mapping of str to float
        By name: those of `celosia.sim.explore.objectives.OBJECTIVES` that are known, estimates replaced by what was
        measured; besides ``fmax_mhz``, ``estimated_luts``, … for what was measured later on, and ``rtl_cycles`` where
        the RTL was simulated.
    level : str
        The last of `LEVELS` that it has gone through; empty if it was refused by the first.
    refused : str
        Why it is out: one sentence; empty if it is not.
    """

    number: int
    choice: Mapping[str, Any]
    config: AcceleratorConfig | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    level: str = ""
    refused: str = ""

    @property
    def thrift(self) -> tuple[float, ...]:
        """What decides between candidates that are equal in every objective: less is better."""
        names = ("brams", "dsps", "luts", "memory_bits", "pes", "cycles")
        return (*(self.figures.get(name, 0.0) for name in names), self.number)

    @property
    def name(self) -> str:
        """The choice in words: ``rows=8 cols=4``."""
        return " ".join(f"{name}={value}" for name, value in self.choice.items()) or "the config as it is"
