"""What commands print: results on standard output, everything else on standard error."""

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

Report = Callable[[str], None]


def emit(values: Mapping[str, Any]) -> None:
    """Print one line of JSON."""
    print(json.dumps(values, ensure_ascii=False), flush=True)


def show(*parts: object) -> None:
    """Print text or tables for people."""
    console = Console(highlight=False)
    for part in parts:
        console.print(part)


def note(text: str) -> None:
    """Print one line to standard error."""
    print(f"celosia: {text}", file=sys.stderr, flush=True)


def table(*columns: str, left: int = 1, title: str = "") -> Table:
    """Return an empty table whose first `left` columns hold text, the others numbers."""
    grid = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for index, column in enumerate(columns):
        grid.add_column(column, justify="left" if index < left else "right", overflow="fold")
    return grid


def yes(value: bool | None, otherwise: str = "not compared") -> str:
    """Return yes or no in the colours of pass and fail."""
    return {True: "[green]yes[/green]", False: "[bold red]NO[/bold red]"}.get(value, otherwise)  # type: ignore[arg-type]


def shares(causes: Mapping[str, int]) -> dict[str, float]:
    """Return the share of each cause in all cycles, 0 to 1, largest first; causes without cycles are left out."""
    total = sum(causes.values()) or 1
    order = sorted(causes, key=lambda name: -causes[name])
    return {name: causes[name] / total for name in order if causes[name]}


@contextmanager
def working(what: str, *, log: bool = True) -> Iterator[Report]:
    """Show what takes long, and its stages, while the block runs.

    Parameters
    ----------
    what : str
    log : bool
        Print a line per stage where there is no terminal.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: note(f"{what}: {stage}") if log else None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what)
        yield lambda stage: progress.update(task, description=f"{what}: {stage}")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done and how long the rest takes, on a terminal, while the block runs.

    Yields
    ------
    callable
        Takes what is done, and of how much.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def notices(category: type[Warning]) -> Iterator[None]:
    """Print warnings of a category that the block gives as notes, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield
    for warning in caught:
        if not issubclass(warning.category, category):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    for text in dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, category)):
        note(text)
