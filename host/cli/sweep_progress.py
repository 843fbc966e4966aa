"""How far a sweep is: candidates that are through, the best so far, and how long the rest takes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from celosia.host.cli.output import note

LOOK_SECONDS: Final = 0.2  # between two looks, each at all candidates
NOTE_SECONDS: Final = 30.0  # between two notes, where there is no terminal

Tell = Callable[[str, int, int, Sequence[Any]], None]


@contextmanager
def sweep_progress(objective: Any) -> Iterator[Tell]:
    """Show how far a sweep is while the block runs: bars on a terminal, else a line now and then; on standard error.

    Parameters
    ----------
    objective : celosia.sim.explore.objectives.Objective
        What makes a candidate the best.

    Yields
    ------
    callable
        Takes the level, how many candidates are through, of how many, and all candidates.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Now(
            lambda level, done, total, best: note(f"{level}: {done:,} of {total:,}; {best}"), objective, NOTE_SECONDS
        )
        return
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        tasks: dict[str, Any] = {}

        def show(level: str, done: int, total: int, best: str) -> None:
            if level not in tasks:
                tasks[level] = progress.add_task(level, best="")
            progress.update(tasks[level], completed=done, total=total, best=best)

        yield _Now(show, objective, LOOK_SECONDS)


class _Now:
    """Tells at most every so many seconds, and when a level is through that took longer."""

    def __init__(self, show: Callable[[str, int, int, str], None], objective: Any, seconds: float) -> None:
        self._show, self._objective, self._seconds = show, objective, seconds
        self._told = self._begun = time.monotonic()
        self._level = ""

    def __call__(self, level: str, done: int, total: int, candidates: Sequence[Any]) -> None:
        now = time.monotonic()
        if level != self._level:
            self._level, self._begun = level, now
        last = done == total and now - self._begun >= self._seconds
        if now - self._told >= self._seconds or last:
            self._told = now
            self._show(level, done, total, _best(candidates, self._objective))


def _best(candidates: Sequence[Any], objective: Any) -> str:
    from celosia.sim.explore.summary import worded

    known = [each for each in candidates if each.level and not each.refused and objective.name in each.figures]
    if not known:
        return "none is feasible yet"
    best = min(known, key=lambda each: objective.cost(each.figures))
    return f"{worded(objective.name, best.figures[objective.name])}: {best.name}"
