"""What a sweep can be after: figures of a candidate, their units, and whether more of them is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A figure to make small or large.

    Parameters
    ----------
    name : str
        Its name among the figures of a candidate, on the command line and in exported tables.
    title : str
        A few words for people, with the unit.
    larger_is_better : bool
    needs_board : bool
        Whether it is known for a board only.
    """

    name: str
    title: str
    larger_is_better: bool = False
    needs_board: bool = False

    def cost(self, figures: Mapping[str, float]) -> float:
        """Return the figure as something to make small."""
        return -figures[self.name] if self.larger_is_better else figures[self.name]


OBJECTIVES: Final[Mapping[str, Objective]] = MappingProxyType(
    {
        objective.name: objective
        for objective in (
            Objective(name="cycles", title="cycles per input"),
            Objective(name="latency_us", title="latency, µs", needs_board=True),
            Objective(name="inputs_per_second", title="inputs per second", larger_is_better=True, needs_board=True),
            Objective(
                name="inputs_per_second_per_lut",
                title="inputs per second per LUT",
                larger_is_better=True,
                needs_board=True,
            ),
            Objective(name="utilization", title="useful MACs / (PEs × cycles)", larger_is_better=True),
            Objective(name="pes", title="PEs"),
            Objective(name="memory_bits", title="bits of memory"),
            Objective(name="luts", title="LUT", needs_board=True),
            Objective(name="ffs", title="FF", needs_board=True),
            Objective(name="dsps", title="DSP blocks", needs_board=True),
            Objective(name="brams", title="block RAMs", needs_board=True),
            Objective(name="clock_mhz", title="clock, MHz", larger_is_better=True, needs_board=True),
            Objective(name="energy_uj", title="energy per input, µJ (model)"),
            Objective(name="accuracy", title="accuracy", larger_is_better=True),
        )
    }
)
"""Every objective, by name."""


def find_objectives(names: Sequence[str]) -> list[Objective]:
    """Return the objectives of those names, in that order.

    Raises
    ------
    ValueError
        There are none, one is unknown, or one is named twice.
    """
    if not names:
        raise ValueError(f"there must be an objective at least; there are: {', '.join(OBJECTIVES)}.")
    unknown = [name for name in names if name not in OBJECTIVES]
    if unknown:
        raise ValueError(f"objective {unknown[0]!r} is unknown; there are: {', '.join(OBJECTIVES)}.")
    if len(set(names)) < len(names):
        raise ValueError(f"objectives {', '.join(names)}: each is named once.")
    return [OBJECTIVES[name] for name in names]
