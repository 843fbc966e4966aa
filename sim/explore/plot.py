"""A picture of a sweep: its candidates by the first objectives, and the front among them."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.host.files import replacing
from celosia.sim.explore.candidate import LEVELS, Candidate
from celosia.sim.explore.front import front
from celosia.sim.explore.labels import label
from celosia.sim.explore.outcome import Outcome
from celosia.sim.explore.summary import error_text, level_name, level_text, title_of, why
from celosia.sim.explore.tables import load

SUFFIXES: Final = (".svg", ".png", ".pdf")
GREY, LAST, FRONT, BEST = "#cfcfcf", "#6f8fb0", "#2a7f62", "#d9660f"
RASTERIZED = 2000  # points above which a cloud is pixels in a vector picture, too
LOG_SPAN = 30  # factor between an axis' ends from which it is logarithmic
SIZES = ("luts", "pes", "cycles", "memory_bits")  # what a single objective is drawn over, the first that there is


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A figure along an axis.

    Parameters
    ----------
    names : tuple of str
        The figure it shows; empty for a rank.
    title : str
    values : mapping of int to float
        Numbers of candidates → their finite values.
    larger_is_better : bool
    """

    names: tuple[str, ...]
    title: str
    values: Mapping[int, float]
    larger_is_better: bool = False

    @property
    def is_logarithmic(self) -> bool:
        """Whether the values are spread over so many orders of magnitude that the small ones would be lost."""
        return spreads(self.values.values())


def spreads(values: Iterable[float]) -> bool:
    """Tell whether values are all positive and spread over a factor of more than `LOG_SPAN`."""
    known = list(values)
    return bool(known) and min(known) > 0 and max(known) > LOG_SPAN * min(known)


def check_plot(path: Path) -> None:
    """Refuse a name that no picture can have, or a picture that cannot be drawn here.

    Raises
    ------
    CelosiaError
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CelosiaError(f"{path}: pictures are {', '.join(SUFFIXES)} files.")
    load("matplotlib", "matplotlib", "drawing")


def draw_front(outcome: Outcome, path: Path) -> None:
    """Draw the candidates by the first two objectives; a third is the colour of the front, others are not drawn.

    A single objective is drawn over the size of the candidates, or their rank. Equal outcomes give equal files.

    Parameters
    ----------
    outcome : Outcome
        If nothing in it is feasible, the picture says so.
    path : Path
        A .png, .svg or .pdf file; its folder must exist. It appears whole or not at all.

    Raises
    ------
    CelosiaError
        Another kind of file; or matplotlib is missing.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    title = f"{outcome.workload} on {outcome.board}" if outcome.board else outcome.workload
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, parse_math=False)
    if outcome.best:
        _draw(figure, outcome)
    else:
        text = "\n".join(textwrap.fill(line, 90) for line in why(outcome).splitlines())
        figure.text(0.5, 0.5, text, ha="center", va="center", parse_math=False)
    # Text stays text.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "celosia"}), replacing(path) as file:
        kind = path.suffix.lower().removeprefix(".")
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(file, format=kind, dpi=150, metadata=dated.get(kind))


def _draw(figure: Any, outcome: Outcome) -> None:
    fine = [candidate for candidate in outcome.candidates if not candidate.refused]
    across, up, colour = _axes(outcome, fine)
    shown = [each for each in fine if each.number in across.values and each.number in up.values]
    numbers = {each.number for each in shown}
    found = [each for each in outcome.front if each.number in numbers]
    corner = _corner(found, across, up)
    axes = figure.subplots()
    _prepare(axes, across, "x")
    _prepare(axes, up, "y")
    _draw_clouds(axes, outcome, shown, (across, up))
    if found:
        _draw_found(figure, axes, found, corner, (across, up, colour))
    figure.legend(loc="outside upper right", ncols=5, fontsize=9, frameon=False, handletextpad=0.3, columnspacing=1.2)
    caption = _caption(outcome, shown, (across, up, colour))
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8.5, color="#555555", parse_math=False)
    if found:
        ordered = [found[0], *(each for each in corner if each.number != found[0].number)]
        others, better = _places(shown, (across, up)), (_better(across), _better(up))
        label(figure, axes, _places(ordered, (across, up)), _names(ordered), others, better)


def _axes(outcome: Outcome, fine: Sequence[Candidate]) -> tuple[Axis, Axis, Axis | None]:
    def figure(name: str, larger_is_better: bool = False) -> Axis:
        known = {each.number: float(each.figures[name]) for each in fine if name in each.figures}
        finite = {number: value for number, value in known.items() if math.isfinite(value)}
        return Axis(names=(name,), title=title_of(name), values=finite, larger_is_better=larger_is_better)

    axes = [figure(objective.name, objective.larger_is_better) for objective in outcome.objectives]
    if len(axes) > 1:
        return axes[0], axes[1], axes[2] if len(axes) > 2 else None
    for name in SIZES:
        size = figure(name)
        if name not in axes[0].names and len(size.values) == len(fine) and len(set(size.values.values())) > 1:
            return size, axes[0], None
    ranked = sorted(axes[0].values, key=lambda number: axes[0].values[number], reverse=axes[0].larger_is_better)
    ranks = {number: place + 1.0 for place, number in enumerate(ranked)}
    return Axis(names=(), title="rank", values=ranks), axes[0], None


def _prepare(axes: Any, axis: Axis, letter: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{letter}label": axis.title})
    along = axes.xaxis if letter == "x" else axes.yaxis
    if axis.is_logarithmic:
        axes.set(**{f"{letter}scale": "log"})
        decades = math.log10(max(axis.values.values()) / min(axis.values.values()))
        along.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 4 else (1,), numticks=30))
        along.set_minor_locator(NullLocator())
    along.set_major_formatter(_plain)
    axes.margins(0.11)
    axes.grid(visible=True, linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(value: float, _: int) -> str:
    return f"{value:,.12g}"


def _draw_clouds(axes: Any, outcome: Outcome, shown: Sequence[Candidate], plane: tuple[Axis, Axis]) -> None:
    """Draw all candidates level by level, the last level over the others."""
    levels = [level for level in LEVELS if any(each.level == level for each in shown)]
    for level in levels:
        cloud = [each for each in shown if each.level == level]
        is_last = level == levels[-1] and len(levels) > 1
        style = {"marker": "D", "s": 22, "color": LAST} if is_last else {"marker": "o", "s": 13, "color": GREY}
        text = f"{len(cloud):,} {level_name(outcome, level)}"
        style |= {"rasterized": len(cloud) > RASTERIZED, "zorder": 1 + 0.1 * levels.index(level)}
        axes.scatter(*_places(cloud, plane).T, label=text, linewidths=0, **style)


def _draw_found(
    figure: Any,
    axes: Any,
    found: Sequence[Candidate],
    corner: Sequence[Candidate],
    dimensions: tuple[Axis, Axis, Axis | None],
) -> None:
    """Draw the front, as a line what it reaches in the plane, and the best."""
    across, up, colour = dimensions
    if len(corner) > 1:
        # Between two designs, what a limit along x allows is the one below the limit.
        steps = "steps-pre" if across.larger_is_better else "steps-post"
        axes.plot(*_places(corner, (across, up)).T, drawstyle=steps, color=FRONT, linewidth=1.2, zorder=2)
    style = {"s": 42 if len(found) <= 60 else 24, "linewidths": 0.6, "zorder": 3}
    text = f"front, {len(found):,}"
    hues = [colour.values.get(each.number, math.nan) for each in found] if colour else []
    if colour and all(map(math.isfinite, hues)):
        norm = "log" if spreads(hues) else "linear"
        places = _places(found, (across, up)).T
        marks = axes.scatter(*places, c=hues, cmap="viridis", norm=norm, edgecolors="#333333", **style)
        axes.scatter([], [], color="white", edgecolors="#333333", label=text, **style)
        bar = figure.colorbar(marks, ax=axes, pad=0.01, aspect=35, format=_plain)
        bar.set_label(colour.title)
        bar.outline.set_visible(False)
    elif len(found) > 1:
        axes.scatter(*_places(found, (across, up)).T, color=FRONT, edgecolors="white", label=text, **style)
    best = _places(found[:1], (across, up)).T
    axes.scatter(*best, s=240, marker="*", color=BEST, edgecolors="white", linewidths=0.8, zorder=4, label="best")


def _places(candidates: Sequence[Candidate], plane: tuple[Axis, Axis]) -> np.ndarray:
    """Return where candidates are: (candidates, 2)."""
    return np.array([[axis.values[each.number] for axis in plane] for each in candidates]).reshape(-1, 2)


def _better(axis: Axis) -> int:
    return 1 if axis.larger_is_better else -1


def _corner(found: Sequence[Candidate], across: Axis, up: Axis) -> list[Candidate]:
    """Return those of a front that no other is better than along both axes, from left to right."""
    if not found:
        return []
    costs = _places(found, (across, up)) * (-_better(across), -_better(up))
    return sorted((found[index] for index in front(costs)), key=lambda each: across.values[each.number])


def _names(candidates: Sequence[Candidate]) -> list[str]:
    """Return labels: the whole choice of the first, of the others what they differ in."""
    differing = [name for name in candidates[0].choice if len({str(each.choice.get(name)) for each in candidates}) > 1]
    names = [candidates[0].name]
    for each in candidates[1:]:
        names.append(" ".join(f"{name}={each.choice[name]}" for name in differing if name in each.choice) or each.name)
    return ["\n".join(textwrap.wrap(name, 30, max_lines=4, placeholder=" …", break_long_words=True)) for name in names]


def _caption(outcome: Outcome, shown: Sequence[Candidate], dimensions: tuple[Axis, Axis, Axis | None]) -> str:
    fine = sum(not candidate.refused for candidate in outcome.candidates)
    count = len(outcome.candidates)
    parts = [f"{count:,} candidate{'s' * (count != 1)}, {fine:,} feasible"]
    if len(shown) < fine:
        parts[0] += f", {len(shown):,} drawn, as of the others not all is known"
    parts.append(f"the best and the front: {level_text(outcome, outcome.front[0].level)}")
    names = [name for axis in dimensions if axis for name in axis.names]
    if errors := error_text(outcome, names):
        parts.append(f"estimator's {errors}")
    more = [objective.title for objective in outcome.objectives[3:]]
    if more:
        parts.append(f"not drawn: {', '.join(more)}")
    across, up, _ = dimensions
    if len(outcome.objectives) > 1:
        sides = "right" if across.larger_is_better else "left", "top" if up.larger_is_better else "bottom"
        parts.append(f"better is to the {sides[0]} and to the {sides[1]}")
    return textwrap.fill(". ".join(part[0].upper() + part[1:] for part in parts) + ".", 165)
