"""celosia conformance: every network and test vector of a folder, in the golden model and in RTL."""

from pathlib import Path
from typing import Annotated, Any

import typer

from celosia.host.cli.machines import describe, simulated_core
from celosia.host.cli.options import Json, read_config
from celosia.host.cli.output import emit, note, show, table, working
from celosia.host.compile import compile_network
from celosia.host.conformance import Case, common_configs, compare_golden, find_cases, read_case
from celosia.host.errors import CelosiaError
from celosia.host.fit import engine_for
from celosia.hw.config import AcceleratorConfig


def conformance(
    folder: Annotated[Path, typer.Argument(help="Folder of .tflite, .onnx and .npz files, and of folders of them.")],
    inputs: Annotated[
        int, typer.Option("--inputs", min=1, metavar="N", help="Random inputs of a network; vectors bring their own.")
    ] = 3,
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="R", help="Rows of a systolic array.")] = 16,
    cols: Annotated[int, typer.Option("--cols", min=1, metavar="C", help="Columns of a systolic array.")] = 16,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="S", help="Of the inputs.")] = 1,
    golden_only: Annotated[bool, typer.Option("--golden-only", help="No RTL.")] = False,
    as_json: Json = False,
) -> None:
    """Run every network and every set of test vectors found in a folder.

    The golden model is compared with the outputs that vectors bring, and with every tensor of LiteRT's reference
    kernels if ai-edge-litert is installed; the RTL with every tensor of the golden model and every counter of the cycle
    model. Files that cannot be run are refused, with the reason.
    """
    cases = [read_case(path, inputs, seed) for path in find_cases(folder)]
    configs = common_configs(cases, lambda name: _smallest(name, rows, cols))
    ready = [case for case in cases if case.network is not None and not case.refused]
    for case in ready:
        _compare(case, lambda case: compare_golden(case, _tensors(case)))
    if not golden_only:
        for name, config in configs.items():
            _compare_rtl([case for case in ready if case.network and engine_for(case.network) == name], config)
    if as_json:
        emit({"cases": [_report(case, folder) for case in cases]})
    else:
        _show(cases, folder)
    if any(case.passed is False for case in cases):
        raise typer.Exit(1)


def _smallest(engine: str, rows: int, cols: int) -> AcceleratorConfig:
    """Return the engine's default config, a systolic array of that size."""
    if engine == "systolic":
        return read_config(engine, file=None, rows=rows, cols=cols, settings=None)
    return read_config(engine, file=None, rows=None, cols=None, settings=None)


def _tensors(case: Case) -> Any:
    from celosia.sim.golden.network import tensors

    return tensors(case.network, case.inputs)


def _compare(case: Case, compare: Any) -> None:
    """Compare; an error is a difference, too."""
    try:
        compare(case)
    except (CelosiaError, RuntimeError, ValueError) as error:
        case.results["errors"] = 1, 1
        case.notes.append(str(error))


def _compare_rtl(cases: list[Case], config: AcceleratorConfig) -> None:
    if not cases:
        return
    with simulated_core(config) as core, working(f"{len(cases)} files on {describe(config)}", log=False) as stage:
        for case in cases:
            stage(case.path.name)
            _compare(case, lambda case: _compare_on(case, core))


def _compare_on(case: Case, core: Any) -> None:
    """Compare every tensor, then the whole run's outputs and counters."""
    from celosia.host.session import CoreMachine, run
    from celosia.sim import reference
    from celosia.sim.check import check_tensors

    assert case.network is not None
    program = compile_network(case.network, core.config)
    for check in check_tensors(program, case.inputs, core):
        about = f"RTL, input {check.iteration * program.vectors}, layer {program.layers[check.index - 1].name!r}"
        case.compare("RTL tensors", check.expected, check.actual, about)
    outcome = run(case.network, case.inputs, CoreMachine(core), reference)
    assert outcome.outputs is not None
    case.compare("RTL outputs", outcome.golden, outcome.outputs, "RTL, whole network")
    case.results["RTL cycles"] = outcome.cycles, 0 if outcome.cycle_exact else outcome.cycles
    if outcome.mismatch:
        case.notes.append(outcome.mismatch)


def _report(case: Case, folder: Path) -> dict[str, Any]:
    return {
        "file": str(case.path.relative_to(folder)),
        "passed": case.passed,
        "refused": case.refused,
        "inputs": len(case.inputs),
        "compared": {what: {"count": count, "wrong": wrong} for what, (count, wrong) in case.results.items()},
        "notes": case.notes,
    }


def _show(cases: list[Case], folder: Path) -> None:
    grid = table("file", "result", "inputs", "compared")
    grid.columns[-1].justify = "left"
    for case in cases:
        compared = [
            f"{what}: {f'{wrong:,} of ' if wrong else ''}{count:,} {'differ' if wrong else 'equal'}"
            for what, (count, wrong) in case.results.items()
        ]
        verdict = {True: "pass", False: "[bold]FAIL[/bold]", None: "refused"}[case.passed]
        inputs = str(len(case.inputs)) if case.results else ""
        grid.add_row(str(case.path.relative_to(folder)), verdict, inputs, "\n".join(compared))
    show(grid)
    verdicts = [case.passed for case in cases]
    show(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed, {verdicts.count(None)} refused")
    for case in cases:
        for sentence in [*([f"refused: {case.refused}"] if case.refused else []), *case.notes]:
            note(f"{case.path.relative_to(folder)}: {sentence}")
