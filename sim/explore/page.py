"""A page about a sweep: one file that needs no network, whose points tell what they are and how to build that."""

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from celosia.host.errors import CelosiaError
from celosia.host.files import replacing
from celosia.sim.explore.candidate import LEVELS, Candidate
from celosia.sim.explore.objectives import OBJECTIVES
from celosia.sim.explore.outcome import Outcome
from celosia.sim.explore.page_parts import SCRIPT, STYLE
from celosia.sim.explore.plot import BEST, FRONT, GREY, LAST, SIZES, spreads
from celosia.sim.explore.summary import front_rows, level_name, level_text, rounded, title_of, why
from celosia.sim.explore.tables import figure_names, load

SUFFIXES: Final = (".html", ".htm")
MOST: Final = 5000  # points besides the front

Command = Callable[[Candidate], str]

BOX: Final = (
    '<section class="box"><h2 id="chosen"></h2>'
    '<p class="figures" id="figures"></p>'
    '<h3>Build it <button type="button" data-copies="command">Copy</button></h3><pre id="command"></pre>'
    '<h3>Config <button type="button" data-copies="config">Copy</button></h3><pre id="config"></pre></section>'
)


def check_page(path: Path) -> None:
    """Refuse a name that no page can have, or a page that cannot be written here.

    Raises
    ------
    CelosiaError
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CelosiaError(f"{path}: pages are {' or '.join(SUFFIXES)} files.")
    load("plotly", "plotly.io", "a page")


def write_page(outcome: Outcome, path: Path, command: Command) -> None:
    """Write the feasible candidates as points of a plot whose axes can be chosen, and the front as a table.

    A point, or a row's button, shows the command that builds the candidate, and its config.

    Parameters
    ----------
    outcome : Outcome
        If nothing in it is feasible, the page says why.
    path : Path
        An .html file; its folder must exist. It appears whole or not at all.
    command : callable
        Returns the shell command that builds a candidate.

    Raises
    ------
    CelosiaError
        Another kind of file; or plotly is missing.
    """
    check_page(path)
    title = escape(f"{outcome.workload} on {outcome.board}" if outcome.board else outcome.workload)
    reasons = "".join(f"<p>{escape(line)}</p>" for line in why(outcome).splitlines())
    body = f'<h1>{title}</h1><div class="why">{reasons}</div>'
    if outcome.best:
        body += _explorer(outcome, command)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    with replacing(path) as file:
        file.write(f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'.encode())


def _explorer(outcome: Outcome, command: Command) -> str:
    from plotly.io import to_html

    found = outcome.front
    on_front = {candidate.number for candidate in found}
    fine = [each for each in outcome.candidates if not each.refused and each.number not in on_front]
    levels = sorted({each.level for each in (*fine, *found)}, key=LEVELS.index)
    last = _sample([each for each in fine if each.level == levels[-1]], MOST)
    earlier = _sample([each for each in fine if each.level != levels[-1]], MOST - len(last))
    clouds = [(level, [each for each in (*earlier, *last) if each.level == level]) for level in levels]
    points = [*found, *(each for _, cloud in clouds for each in cloud)]
    names = [name for name in figure_names(outcome) if any(name in each.figures for each in points)]
    x, y = _first_axes(outcome, names)
    axes = {name: _axis(name, points) for name in names}
    figure = {"data": _traces(outcome, clouds, found, points, (x, y)), "layout": _layout(axes[x], axes[y])}
    plot = to_html(
        figure,
        full_html=False,
        include_plotlyjs=True,
        div_id="plot",
        post_script=SCRIPT,
        validate=False,
        default_height="620px",
        config={"displaylogo": False, "responsive": True},
    )
    data = {"axes": axes, "points": [_point(outcome, each, command) for each in points]}
    left_out = len(fine) - len(earlier) - len(last)
    sampled = f"<p>The front and an even sample of {MOST:,} of the other {len(fine):,} candidates are shown.</p>"
    return "".join(
        [
            f"<p>The best and the front: {escape(level_text(outcome, found[0].level))}.</p>",
            sampled if left_out else "",
            f'<p class="axes"><label>across {_select("x", names, x)}</label>',
            f" <label>up {_select('y', names, y)}</label>",
            " A click on a point shows how to build it.</p>",
            f'<script type="application/json" id="data">{_embedded(data)}</script>',
            plot,
            BOX,
            _table(outcome, names),
        ]
    )


def _sample(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return so many at most, evenly spread."""
    step = max(len(candidates) / count, 1.0) if count else math.inf
    return [candidates[int(place * step)] for place in range(min(count, len(candidates)))]


def _first_axes(outcome: Outcome, names: Sequence[str]) -> tuple[str, str]:
    first = [objective.name for objective in outcome.objectives]
    if len(first) > 1:
        return first[0], first[1]
    return next((name for name in (*SIZES, *names) if name in names and name != first[0]), first[0]), first[0]


def _axis(name: str, points: Sequence[Candidate]) -> dict[str, Any]:
    known = [value for each in points if (value := _number(each.figures.get(name))) is not None]
    return {"title": _plotly(title_of(name)), "type": "log" if spreads(known) else "linear"}


def _plotly(text: str) -> str:
    """Return text that Plotly shows as it is; it takes tags and entities for what they are in HTML."""
    return escape(text, quote=False)


def _number(value: float | None) -> float | None:
    """Return a number that JSON has."""
    return None if value is None or not math.isfinite(value) else float(value)


def _point(outcome: Outcome, candidate: Candidate, command: Command) -> dict[str, Any]:
    return {
        "title": f"Number {candidate.number}: {candidate.name}",
        "shown": "; ".join(_figures(outcome, candidate)),
        "figures": {name: _number(value) for name, value in candidate.figures.items()},
        "command": command(candidate),
        "config": candidate.config.to_json() if candidate.config else None,
    }


def _figures(outcome: Outcome, candidate: Candidate) -> list[str]:
    """Return the level and all figures, those of objectives first."""
    first = [objective.name for objective in outcome.objectives]
    names = [*first, *(name for name in (*OBJECTIVES, *candidate.figures) if name not in first)]
    known = [name for name in dict.fromkeys(names) if name in candidate.figures]
    return [
        level_name(outcome, candidate.level),
        *(f"{title_of(name)}: {rounded(candidate.figures[name])}" for name in known),
    ]


def _traces(
    outcome: Outcome,
    clouds: Sequence[tuple[str, Sequence[Candidate]]],
    found: Sequence[Candidate],
    points: Sequence[Candidate],
    axes: tuple[str, str],
) -> list[dict[str, Any]]:
    """Return the clouds, the front and the best as Plotly has them; each point knows its place among all points."""
    places = {each.number: place for place, each in enumerate(points)}
    groups: list[tuple[str, Sequence[Candidate], dict[str, Any]]] = []
    for level, cloud in clouds:
        is_last = level == clouds[-1][0] and len(clouds) > 1
        marker = {"symbol": "diamond", "size": 8, "color": LAST} if is_last else {"size": 6, "color": GREY}
        if cloud:
            groups.append((f"{len(cloud):,} {level_name(outcome, level)}", cloud, marker))
    edge = {"width": 1, "color": "white"}
    groups.append((f"front, {len(found):,}", found, {"size": 10, "color": FRONT, "line": edge}))
    groups.append(("best", found[:1], {"symbol": "star", "size": 17, "color": BEST, "line": edge}))
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": text,
            "x": [_number(each.figures.get(axes[0])) for each in group],
            "y": [_number(each.figures.get(axes[1])) for each in group],
            "customdata": [places[each.number] for each in group],
            "hovertext": [
                "<br>".join([f"<b>{_plotly(each.name)}</b>", *map(_plotly, _figures(outcome, each))]) for each in group
            ],
            "hoverinfo": "text",
            "marker": marker,
        }
        for text, group, marker in groups
    ]


def _layout(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    lines = {
        "gridcolor": "#e8e8e8",
        "zeroline": False,
        "linecolor": "#444444",
        "exponentformat": "SI",
        "automargin": True,
    }
    return {
        "xaxis": {"title": {"text": x["title"]}, "type": x["type"], **lines},
        "yaxis": {"title": {"text": y["title"]}, "type": y["type"], **lines},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "bgcolor": "white"},
        "plot_bgcolor": "white",
        "margin": {"t": 40, "r": 20},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
    }


def _select(axis: str, names: Sequence[str], chosen: str) -> str:
    options = "".join(
        f'<option value="{escape(name)}"{" selected" * (name == chosen)}>{escape(title_of(name))}</option>'
        for name in names
    )
    return f'<select id="{axis}">{options}</select>'


def _table(outcome: Outcome, names: Sequence[str]) -> str:
    first = [objective.name for objective in outcome.objectives]
    header, rows = front_rows(outcome, [*first, *(name for name in names if name not in first)])
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    # The front comes first among the points, in the order of these rows.
    lines = "".join(
        f'<tr><td><button type="button" data-shows="{place}">{escape(row[0])}</button></td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return f'<h2>The front</h2><div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _embedded(values: Any) -> str:
    """Return JSON that cannot end the element of a page that it is in."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
