"""celosia sweep: which accelerator for a model, of a space of them, and how sure that is."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from celosia.host.cli.options import ConfigFile, EngineName, Json, Settings, given_names, read_config
from celosia.host.cli.output import emit, note
from celosia.host.cli.sweep_output import build_input, check_reports, show_outcome, write_reports
from celosia.host.cli.sweep_progress import sweep_progress
from celosia.host.errors import CelosiaError
from celosia.host.fit import engine_for
from celosia.host.models import READERS, read_model
from celosia.host.models.ir import Network
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES

STORE: Final = Path("build") / "sweep.db"
_LEAST_DEPTH: Final = 2  # of a memory, before it is found out what the model needs


def sweep(
    workload: Annotated[Path, typer.Argument(help="Model that celosia run takes, or a SCALE-Sim topology (.csv).")],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary", "-v", metavar="NAME=VALUES", help="A parameter and its values: 4,8 or 1..16 or 64..512*2."
        ),
    ] = None,
    objectives: Annotated[
        list[str] | None,
        typer.Option("--objective", metavar="NAME", help="What to make small or large; the first decides the best."),
    ] = None,
    requirements: Annotated[
        list[str] | None, typer.Option("--require", metavar="NAME<=NUMBER", help="Bound of a figure; may be repeated.")
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", metavar="NAME", help="Board to fit; see celosia boards.")
    ] = None,
    clock: Annotated[
        float | None, typer.Option("--clock", metavar="MHZ", help="Clock to reach; else what each design can.")
    ] = None,
    engine: EngineName = None,
    config: ConfigFile = None,
    settings: Settings = None,
    inputs: Annotated[
        Path | None, typer.Option("--input", "-i", metavar="X.npy", help="Inputs, where cycles or accuracy need them.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="Y.npy", help="Right classes of them, for the accuracy.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="X.npy", help="Typical inputs to quantize a float model with."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Inputs that are run at a time.")] = 1,
    search: Annotated[
        str, typer.Option("--search", metavar="METHOD", help="grid, random, nsga2, nsga3 or tpe.")
    ] = "grid",
    points: Annotated[
        int | None, typer.Option("--points", metavar="N", min=1, help="Candidates that a search looks at; grid: all.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of chance.")] = 0,
    synthesize: Annotated[
        int, typer.Option("--synthesize", metavar="N", min=0, help="Synthesize so many of the best.")
    ] = 0,
    route: Annotated[int, typer.Option("--route", metavar="N", min=0, help="Place and route so many of the best.")] = 0,
    simulate: Annotated[
        int, typer.Option("--simulate", metavar="N", min=0, help="Run so many of the best in RTL.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Worker processes.", show_default="one per core"),
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option("--scheduler", metavar="ADDRESS", help="Workers of a dask scheduler instead: tcp://HOST:PORT."),
    ] = "",
    store: Annotated[
        Path, typer.Option("--store", metavar="FILE", help="Results; what is in it is not evaluated again.")
    ] = STORE,
    stored: Annotated[bool, typer.Option("--stored", help="Report what the store has; evaluate nothing.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to make: front as .png, .svg, .html, .csv, .parquet."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that celosia made.")] = False,
    compute_report: Annotated[
        Path | None,
        typer.Option(
            "--compute-report", metavar="FILE", help="COMPUTE_REPORT.csv of a topology on the best candidate."
        ),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Print the best as JSON, for celosia build -, and nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Explore a design space: exact cycles of every candidate, area and clock estimated, the best built for real.

    A candidate's memories are as deep as the workload needs, unless their depth is varied or set. A sweep that is
    killed goes on where it was when it is started again; sweeps may share a store.
    """
    from celosia.sim.explore.evaluate import evaluate
    from celosia.sim.explore.objectives import find_objectives
    from celosia.sim.explore.pool import Pool, hands
    from celosia.sim.explore.requirement import parse_requirement
    from celosia.sim.explore.search import make_search
    from celosia.sim.explore.space import Space
    from celosia.sim.explore.store import Store
    from celosia.sim.explore.summary import why
    from celosia.sim.explore.sweep import Sweep, explore

    if output is not None:
        check_reports(output, force=force)
    if compute_report is not None and workload.suffix.lower() in READERS:
        raise CelosiaError(f"--compute-report is of a SCALE-Sim topology, and {workload} is a model; leave it out.")
    names = objectives or (["latency_us", "luts"] if board else ["cycles", "pes"])
    load, topology = _workload(workload, inputs, labels, calibration, batch)
    dimensions = _dimensions(vary)
    bases = _bases(load.models[0], dimensions.pop("engine", None), engine, config, settings)
    space = Space(bases=bases, dimensions=dimensions)
    wanted = find_objectives(names)
    looked_for = Sweep(
        space=space,
        workload=load,
        objectives=wanted,
        search=make_search(search, space, wanted, count=points, seed=seed),
        board=board or "",
        clock_mhz=clock,
        requirements=[parse_requirement(text) for text in requirements or []],
        promoted={"synthesis": synthesize, "route": route, "rtl": simulate},
        keep=tuple(given_names(settings)) + (tuple(_depths()) if config else ()),
    )
    with Store(store) as results, sweep_progress(wanted[0]) as progress:
        if stored:
            found = explore(looked_for, store=results, pool=None, progress=progress)
        else:
            with hands(jobs or os.cpu_count() or 1, scheduler) as workers:
                found = explore(looked_for, store=results, pool=Pool(workers, evaluate), progress=progress)
    if compute_report is not None and found.best is not None:
        _write_compute_report(compute_report, topology, found.best)
    # A float model is built with other inputs than it is explored with, maybe; who builds says which.
    model = workload if topology is None and isinstance(load.models[0], Network) else None
    if output is not None:
        write_reports(found, output, model, force=force)
    if best:
        if found.best is None:
            raise CelosiaError(why(found))
        emit(build_input(found, found.best, model))
    elif as_json:
        for candidate in found.front:
            known = {"choice": candidate.choice, "level": candidate.level, "figures": candidate.figures}
            emit(known | build_input(found, candidate, model))
    else:
        show_outcome(found, output)
    if found.best is None:
        raise typer.Exit(1)


def _dimensions(vary: list[str] | None) -> dict[str, tuple[Any, ...]]:
    from celosia.sim.explore.space import parse_dimension

    dimensions: dict[str, tuple[Any, ...]] = {}
    for text in vary or []:
        name, values = parse_dimension(text)
        if name in dimensions:
            raise CelosiaError(f"--vary {name} is given twice; put its values into one, with commas between.")
        dimensions[name] = values
    return dimensions


def _workload(
    path: Path, inputs: Path | None, labels: Path | None, calibration: Path | None, batch: int
) -> tuple[Any, Any]:
    """Return the workload, and the topology if it is one."""
    from celosia.host.cli.run import read_inputs, read_labels
    from celosia.sim.explore.workload import Workload

    if path.suffix.lower() == ".csv":
        from celosia.sim.explore.topology import read_topology

        if inputs or labels or calibration:
            raise CelosiaError(f"{path}: a topology has no inputs; leave --input, --labels and --calibration out.")
        topology = read_topology(path)
        models = [layer.network() for layer in dict.fromkeys(topology.layers)]
        return Workload(name=topology.name, models=models, batch=batch), topology
    model = read_model(path)
    given = None if inputs is None else read_inputs(model, inputs)
    right = None if labels is None else read_labels(labels, 0 if given is None else len(given))
    typical = None if calibration is None else read_inputs(model, calibration)
    name = getattr(model, "name", "") or path.stem
    return Workload(name=name, models=[model], inputs=given, labels=right, calibration=typical, batch=batch), None


def _depths() -> list[str]:
    return [field.name for field in fields(AcceleratorConfig) if field.name.endswith("_depth")]


def _bases(
    model: Any, engines: tuple[Any, ...] | None, engine: str | None, file: Path | None, settings: list[str] | None
) -> list[AcceleratorConfig]:
    """Return the config that candidates differ from, for each engine; its memories as small as they can be."""
    if engines and (engine or file):
        raise CelosiaError("--vary engine=… says which engines there are; leave --engine and --config out.")
    names = [str(name) for name in engines] if engines else [engine or (None if file else engine_for(model))]
    unknown = [name for name in names if name is not None and name not in ENGINES]
    if unknown:
        raise CelosiaError(f"engine {unknown[0]!r} is unknown; there are: {', '.join(ENGINES)}.")
    given = given_names(settings)
    bases = []
    for name in names:
        base = read_config(name, file=file, settings=settings)
        if file is None:
            small: dict[str, Any] = {depth: _LEAST_DEPTH for depth in _depths() if depth not in given}
            base = replace(base, **small)
        bases.append(base)
    return bases


def _write_compute_report(path: Path, topology: Any, candidate: Any) -> None:
    from celosia.sim.explore.compute_report import compute_report, count_layers, write_compute_report

    if candidate.config.engine_name != "systolic":
        raise CelosiaError(
            f"--compute-report: SCALE-Sim knows systolic arrays, not engine {candidate.config.engine_name!r}."
        )
    counts = count_layers(topology, candidate.config)
    write_compute_report(path, compute_report(topology, candidate.config, counts))
    note(f"{path} written, for {candidate.name}.")
