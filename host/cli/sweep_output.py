"""What celosia sweep shows and leaves: the front, why its first is the best, and a folder of reports."""

import json
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.markup import escape

from celosia.host.cli.folder import check_target, write_folder
from celosia.host.cli.output import show, table

SHOWN: Final = 12  # rows of the front that are printed
MORE: Final = ("cycles", "clock_mhz", "luts", "dsps", "brams")  # figures beside the objectives
SHORT: Final = {"cycles": "cycles", "clock_mhz": "MHz", "dsps": "DSP", "brams": "BRAM"}  # titles of narrow columns
PICTURES: Final = ("front.svg", "front.png")
PAGE: Final = "front.html"
TABLES: Final = ("candidates.csv", "candidates.parquet")
FILES: Final = (*PICTURES, PAGE, *TABLES)
BEST: Final = "best.json"


def build_input(found: Any, candidate: Any, model: Path | None) -> dict[str, Any]:
    """Return what `celosia build -` reads."""
    return {**found.build_input(candidate), **({} if model is None else {"model": str(model)})}


def build_command(found: Any, candidate: Any, model: Path | None) -> str:
    """Return the shell command that builds a candidate, or without a board writes its Verilog."""
    if not found.board:
        text = json.dumps(candidate.config.to_json(), separators=(",", ":"))
        name = candidate.config.engine_name
        return f"echo {shlex.quote(text)} > config.json && celosia generate {name} --config config.json"
    text = json.dumps(build_input(found, candidate, model), separators=(",", ":"))
    return f"echo {shlex.quote(text)} | celosia build -"


def check_reports(output: Path, *, force: bool) -> None:
    """Refuse a folder that must not be written, or reports that cannot be made here, before the work begins.

    Raises
    ------
    CelosiaError
    """
    from celosia.sim.explore.page import check_page
    from celosia.sim.explore.plot import check_plot
    from celosia.sim.explore.tables import check_table

    check_target(output, force=force)
    check_page(Path(PAGE))
    for names, check in ((PICTURES, check_plot), (TABLES, check_table)):
        for name in names:
            check(Path(name))


def write_reports(found: Any, output: Path, model: Path | None, *, force: bool) -> None:
    """Leave a folder with pictures, page and tables."""
    from celosia.sim.explore.page import write_page
    from celosia.sim.explore.plot import draw_front
    from celosia.sim.explore.tables import write_table

    with TemporaryDirectory() as folder:
        made = Path(folder)
        for name in PICTURES:
            draw_front(found, made / name)
        write_page(found, made / PAGE, lambda candidate: build_command(found, candidate, model))
        for name in TABLES:
            write_table(found, made / name)
        files: dict[str, str | bytes] = {path.name: path.read_bytes() for path in sorted(made.iterdir())}
    if found.best is not None:
        files[BEST] = json.dumps(build_input(found, found.best, model), indent=2) + "\n"
    write_folder(output, files, {"part": "sweep", "workload": found.workload, "board": found.board}, force=force)


def show_outcome(found: Any, output: Path | None) -> None:
    """Print the front, and why its first is the best."""
    from celosia.sim.explore.summary import level_text, rounded, title_of, why

    front = found.front
    names = [objective.name for objective in found.objectives]
    more = [name for name in MORE if name not in names]
    known = [name for name in [*names, *more] if front and name in front[0].figures]
    level = level_text(found, front[0].level) if front else ""
    title = f"{len(front)} of {len(found.candidates):,} candidates are on the front: {level}"
    grid = table("", *(SHORT.get(name, title_of(name)) for name in known), title=title)
    for candidate in front[:SHOWN]:
        grid.add_row(escape(candidate.name), *(rounded(candidate.figures[name]) for name in known))
    if front:
        show(grid)
    if len(front) > SHOWN:
        show(f"and {len(front) - SHOWN} more")
    show(escape(why(found)))
    made = ", ".join(f"{count:,} {level}" for level, count in found.evaluated.items()) or "nothing"
    reused = ", ".join(f"{count:,} {level}" for level, count in found.reused.items())
    show(f"evaluated: {made}" + (f"; from the store: {reused}" if reused else "") + f"; {found.seconds:.1f} s")
    if output is not None:
        show(f"{output}: {', '.join([*FILES, BEST])}")
    if found.best is not None and found.board:
        again = "the same command with --best | celosia build -"
        show(f"build it: {again if output is None else f'celosia build - < {output / BEST}'}")
