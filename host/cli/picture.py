"""A picture of a schedule: when each layer runs and what its cycles go to, and how near it is to the limits."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from celosia.host.errors import CelosiaError

COLORS = {
    "compute": "#2a7f62",
    "window": "#7fc8a9",
    "weights_load": "#e0a030",
    "weights_wait": "#b5651d",
    "output_wait": "#8367c7",
    "hazard": "#c65b7c",
    "drain": "#5b8bd0",
    "fetch": "#777777",
}
OTHER = "#bbbbbb"
CLOSE = 10  # points of the roofline nearer than e^(1/10) times share their numbers
SUFFIXES = (".svg", ".png", ".pdf")


def check_picture(path: Path) -> None:
    """Refuse a name that no picture can have, or a picture that cannot be drawn here.

    Raises
    ------
    CelosiaError
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CelosiaError(f"{path}: pictures are {', '.join(SUFFIXES)} files.")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CelosiaError(
            "drawing needs the package matplotlib, which is missing; pip install 'celosia[plot]' installs it."
        ) from None


def draw_schedule(
    file: IO[bytes],
    reports: Sequence[Mapping[str, Any]],
    *,
    suffix: str,
    iterations: int,
    title: str,
    peak: int,
    bytes_per_cycle: float,
) -> None:
    """Draw the layers on a time line, and in a roofline below if it is known what they read.

    Parameters
    ----------
    file : binary file
    reports : sequence of mapping
        From `celosia.host.cli.layers.layer_reports`: cycles of all iterations, MACs and bytes of one.
    suffix : str
        Kind of picture: .svg, .png or .pdf.
    iterations : int
    title : str
        What ran, on what.
    peak : int
        Multiply-accumulates per cycle, at most.
    bytes_per_cycle : float
        Of activations and weights that the engine reads, at most.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = [report for report in reports if report["cycles"]]
    heights = [max(0.3 * len(shown), 1.5), *[3.0] * all(report["weight_read_bytes"] is not None for report in shown)]
    figure = Figure(figsize=(11, 0.6 + sum(heights)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_timeline(axes[0], shown)
    for roofline in axes[1:]:
        _draw_roofline(roofline, shown, iterations, peak, bytes_per_cycle)
    # Text stays text, and equal schedules give equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "celosia"}):
        kind = suffix.lower().removeprefix(".")
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(file, format=kind, dpi=150, metadata=dated.get(kind))


def _draw_timeline(axes: Any, reports: Sequence[Mapping[str, Any]]) -> None:
    begin, told = 0, set()
    for row, report in enumerate(reports):
        at = begin
        for cause, cycles in report["causes"].items():
            if cycles:
                label = None if cause in told else cause.replace("_", " ")
                axes.barh(row, cycles, left=at, color=COLORS.get(cause, OTHER), label=label, height=0.75)
                told.add(cause)
                at += cycles
        note = f" {report['utilization']:.0%}" if report["macs"] else ""
        axes.text(at, row, note, va="center", fontsize=8)
        begin = at
    axes.set_yticks(range(len(reports)), [f"{row} {_short(report)}" for row, report in enumerate(reports)], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, begin * 1.06)
    axes.set_xlabel("cycles; at the right of each layer: useful MACs / (PEs × cycles)")
    axes.legend(fontsize=8, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)


def _short(report: Mapping[str, Any]) -> str:
    name = report["name"] if len(report["name"]) <= 34 else "…" + report["name"][-33:]
    return f"{name} · {report['kind']}"


def _draw_roofline(
    axes: Any, reports: Sequence[Mapping[str, Any]], iterations: int, peak: int, bytes_per_cycle: float
) -> None:
    points = [
        (report["macs"] / moved, iterations * report["macs"] / report["cycles"], row, report["cycles"])
        for row, report in enumerate(reports)
        if report["macs"] and (moved := report["read_bytes"] + report["weight_read_bytes"])
    ]
    ridge = peak / bytes_per_cycle
    low = min([ridge / 4, *(point[0] / 1.5 for point in points)])
    high = max([ridge * 4, *(point[0] * 1.5 for point in points)])
    axes.plot([low, ridge, high], [low * bytes_per_cycle, peak, peak], color="black", linewidth=1)
    total = sum(point[3] for point in points)
    named: dict[tuple[int, int], list[str]] = {}
    for intensity, speed, row, cycles in points:
        axes.scatter(intensity, speed, s=20 + 400 * cycles / total, color=COLORS["compute"], alpha=0.6)
        named.setdefault((round(CLOSE * math.log(intensity)), round(CLOSE * math.log(speed))), []).append(str(row))
    for (x, y), rows in named.items():
        place = math.exp(x / CLOSE), math.exp(y / CLOSE)
        axes.annotate(", ".join(rows), place, fontsize=8, xytext=(9, -9), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-accumulates per byte of activations and weights that the engine reads; size: cycles")
    axes.set_ylabel("MACs per cycle")
    axes.set_ylim(min(speed for _, speed, *_ in points) / 2 if points else None, 2 * peak)
    axes.text(high, 1.1 * peak, f"{peak} MACs per cycle", ha="right", va="bottom", fontsize=8)
    middle = math.sqrt(low * ridge)
    about = f"{bytes_per_cycle:g} bytes per cycle "
    axes.text(middle, middle * bytes_per_cycle, about, ha="right", va="bottom", fontsize=8)
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
