"""What a sweep found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from celosia.sim.explore.candidate import LEVELS, Candidate
from celosia.sim.explore.front import front
from celosia.sim.explore.objectives import Objective


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Candidates of a sweep, the best of them first and foremost.

    Parameters
    ----------
    workload : str
        Name of the model or topology.
    board : str
        Name of the board; empty if there is none.
    objectives : tuple of Objective
        The first one decides which is the best.
    candidates : tuple of Candidate
        All, by their numbers.
    evaluated, reused : mapping of str to int
        By level: results that were made now, and those that the store had.
    seconds : float
        How long it took.
    errors : mapping of str to mapping
        By figure: ``median`` and ``p95`` of the estimator's error on designs it was not fitted on, as shares.
    """

    workload: str
    board: str
    objectives: tuple[Objective, ...]
    candidates: tuple[Candidate, ...]
    evaluated: Mapping[str, int] = field(default_factory=dict)
    reused: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @cached_property
    def feasible(self) -> list[Candidate]:
        """Candidates that meet the constraints, of the furthest level that any has reached only.

        Figures that were measured are not compared with figures that were estimated.
        """
        fine = [candidate for candidate in self.candidates if candidate.level and not candidate.refused]
        last = max((LEVELS.index(candidate.level) for candidate in fine), default=0)
        return [candidate for candidate in fine if LEVELS.index(candidate.level) == last]

    @cached_property
    def front(self) -> list[Candidate]:
        """Of those, the ones that no other is better than in every objective, by the first objective, best first.

        Of candidates that are equal in every objective, there is the thriftiest.
        """
        costs, fine = distinct(self.feasible, self.objectives)
        return sorted((fine[index] for index in front(costs)), key=lambda each: self.objectives[0].cost(each.figures))

    @property
    def best(self) -> Candidate | None:
        """The first of the front; None if nothing is feasible."""
        found = self.front
        return found[0] if found else None

    def build_input(self, candidate: Candidate) -> dict[str, Any]:
        """Return what `celosia build -` takes on standard input; JSON."""
        assert candidate.config is not None
        values: dict[str, Any] = {"board": self.board or None, "config": candidate.config.to_json()}
        if "clock_mhz" in candidate.figures:
            values["clock_mhz"] = candidate.figures["clock_mhz"]
        return values


def distinct(candidates: Sequence[Candidate], objectives: Sequence[Objective]) -> tuple[np.ndarray, list[Candidate]]:
    """Return the costs of candidates, float (n, objectives), and the candidates, of equal ones only the thriftiest."""
    by_costs: dict[tuple[float, ...], Candidate] = {}
    for candidate in sorted(candidates, key=lambda each: each.thrift):
        by_costs.setdefault(tuple(objective.cost(candidate.figures) for objective in objectives), candidate)
    return np.array(list(by_costs), dtype=np.float64).reshape(len(by_costs), len(objectives)), list(by_costs.values())
