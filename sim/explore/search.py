"""Which combinations of a space are looked at: all of them, some by chance, or those that a search asks for."""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from celosia.host.errors import CelosiaError
from celosia.sim.explore.objectives import Objective
from celosia.sim.explore.space import Space

Choice = Mapping[str, Any]
ROUND: Final = 64  # choices that a search asks for before it is told what came of them
SAMPLERS: Final = ("nsga2", "nsga3", "tpe")
METHODS: Final = ("grid", "random", *SAMPLERS)


class Search(Protocol):
    """Asks for combinations, round by round."""

    count: int

    def ask(self) -> Sequence[Choice]:
        """Return the next combinations; none when there is no more."""
        ...

    def tell(self, costs: Sequence[Sequence[float] | None]) -> None:
        """Take the costs of what was asked for, in that order; None for what was refused."""
        ...


class _Listed:
    """Combinations that are known from the beginning."""

    def __init__(self, space: Space, indices: Sequence[int]) -> None:
        self._space, self._indices = space, indices
        self.count = len(indices)
        self._asked = False

    def ask(self) -> Sequence[Choice]:
        """Return all of them once."""
        if self._asked:
            return ()
        self._asked = True
        return [self._space[index] for index in self._indices]

    def tell(self, costs: Sequence[Sequence[float] | None]) -> None:
        """Take no notice."""


class _Sampled:
    """Combinations that Optuna asks for."""

    def __init__(self, space: Space, objectives: Sequence[Objective], count: int, *, sampler: str, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise CelosiaError(
                f"--search {sampler} needs the package optuna; pip install 'celosia[explore]' installs it."
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        makers: dict[str, Any] = {
            "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=ROUND, seed=seed),
            "nsga3": lambda: optuna.samplers.NSGAIIISampler(population_size=ROUND, seed=seed),
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
        }
        self._space, self.count = space, count
        self._failed = optuna.trial.TrialState.FAIL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # its interface may change
            made = makers[sampler]()
        self._study = optuna.create_study(
            sampler=made, directions=[optuna.study.StudyDirection.MINIMIZE] * len(objectives)
        )
        self._left = count
        self._trials: list[Any] = []

    def ask(self) -> Sequence[Choice]:
        """Return a round of combinations."""
        self._trials = [self._study.ask() for _ in range(min(ROUND, self._left))]
        self._left -= len(self._trials)
        return [self._choice(trial) for trial in self._trials]

    def _choice(self, trial: Any) -> Choice:
        grids = self._space.grids
        grid = grids[_place(trial, "engine", len(grids))]
        # Values are in an order that means something; the search sees where they are in it.
        return {name: values[_place(trial, name, len(values))] for name, values in grid.items()}

    def tell(self, costs: Sequence[Sequence[float] | None]) -> None:
        """Tell Optuna what came of a round."""
        for trial, cost in zip(self._trials, costs, strict=True):
            if cost is None:
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, cost)


def _place(trial: Any, name: str, count: int) -> int:
    return int(trial.suggest_int(f"{name} of {count}", 0, count - 1)) if count > 1 else 0


def make_search(
    method: str, space: Space, objectives: Sequence[Objective], *, count: int | None = None, seed: int = 0
) -> Search:
    """Return a search.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    space : Space
    objectives : sequence of Objective
    count : int or None
        How many combinations to look at; only grid, which looks at all, leaves it out.
    seed : int
        Of chance: equal seeds look at equal combinations in equal order.

    Raises
    ------
    CelosiaError
        The method is unknown, needs a count, or a package that is not installed.
    """
    if method not in METHODS:
        raise CelosiaError(f"--search {method!r} is unknown; there are: {', '.join(METHODS)}.")
    if method == "grid":
        return _Listed(space, range(space.size))
    if count is None or count < 1:
        raise CelosiaError(f"--search {method} needs --points N, how many combinations to look at.")
    if method == "random":
        numbers = random.Random(seed).sample(range(space.size), min(count, space.size))
        return _Listed(space, numbers)
    return _Sampled(space, objectives, count, sampler=method, seed=seed)


def in_rounds(search: Search) -> Iterator[Sequence[Choice]]:
    """Yield what a search asks for, until it asks for no more."""
    while asked := search.ask():
        yield asked
