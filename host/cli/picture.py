"""A picture of a schedule: when each layer runs and what its cycles go to, and how near it is to the limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
NAMED = 24  # points of the roofline that have a number beside them
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
    path: Path, reports: Sequence[Mapping[str, Any]], *, title: str, peak: int, bytes_per_cycle: float
) -> None:
    """Draw the layers of an iteration on a time line, and in a roofline below.

    Parameters
    ----------
    path : Path
        A .svg, .png or .pdf file.
    reports : sequence of mapping
        From `celosia.host.cli.layers.layer_reports`, all of one inference or more.
    title : str
        What ran, on what.
    peak : int
        Multiply-accumulates per cycle, at most.
    bytes_per_cycle : float
        Of activations and weights that the engine reads, at most.
    """
    from matplotlib.figure import Figure

    shown = [report for report in reports if report["cycles"]]
    figure = Figure(figsize=(11, 3.6 + 0.3 * len(shown)), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, 1, height_ratios=[max(0.3 * len(shown), 1.5), 3])
    _draw_timeline(above, shown)
    _draw_roofline(below, shown, peak, bytes_per_cycle)
    figure.savefig(path, dpi=150)


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


def _draw_roofline(axes: Any, reports: Sequence[Mapping[str, Any]], peak: int, bytes_per_cycle: float) -> None:
    points = [
        (report["macs"] / moved, report["macs"] / report["cycles"], row, report["cycles"])
        for row, report in enumerate(reports)
        if report["macs"] and (moved := report["read_bytes"] + report["weight_bytes"])
    ]
    ridge = peak / bytes_per_cycle
    low = min([ridge / 4, *(point[0] / 1.5 for point in points)])
    high = max([ridge * 4, *(point[0] * 1.5 for point in points)])
    axes.plot([low, ridge, high], [low * bytes_per_cycle, peak, peak], color="black", linewidth=1)
    total = sum(point[3] for point in points)
    for intensity, speed, row, cycles in points:
        axes.scatter(intensity, speed, s=20 + 400 * cycles / total, color=COLORS["compute"], alpha=0.6)
        if len(points) <= NAMED:
            axes.annotate(str(row), (intensity, speed), fontsize=8, xytext=(4, 4), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-accumulates per byte of activations and weights that the engine reads; size: cycles")
    axes.set_ylabel("MACs per cycle")
    axes.text(high, peak, f"{peak} MACs per cycle", ha="right", va="bottom", fontsize=8)
    axes.text(low, low * bytes_per_cycle, f" {bytes_per_cycle:g} bytes per cycle", va="bottom", fontsize=8)
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
