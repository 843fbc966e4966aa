"""celosia build: a bitstream for a board, with its report."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

import celosia
from celosia.host.cli.folder import check_target, write_folder
from celosia.host.cli.machines import describe
from celosia.host.cli.options import ConfigFile, EngineName, Json, Settings, given_names, read_config
from celosia.host.cli.output import emit, note, show, table, working
from celosia.host.errors import CelosiaError, CompileError
from celosia.host.fit import engine_for, fit_memories
from celosia.host.models import read_model
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.hw.config import AcceleratorConfig

REPORT: Final = "report.json"
CONFIG: Final = "config.json"
SAMPLES: Final = 16  # images of the demo networks whose cycles are averaged

Rates = dict[str, dict[str, float]]
"""Name of a network → ``cycles_per_input``, ``inputs_per_second``."""


def build(
    board: Annotated[
        str, typer.Argument(help="Name of a board, see celosia boards; or - for what celosia sweep --best prints.")
    ],
    model: Annotated[
        Path | None, typer.Argument(help="Model file that the memories are made for; else Celosia's own networks.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", metavar="X.npy", help="Typical inputs; a float model needs them.")
    ] = None,
    engine: EngineName = None,
    config: ConfigFile = None,
    changes: Settings = None,
    clock: Annotated[
        float | None, typer.Option("--clock", metavar="MHZ", help="Clock rate, or the next lower one that can be had.")
    ] = None,
    baud: Annotated[
        int | None, typer.Option("--baud", metavar="RATE", help="Bits per second of the serial port.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Seeds to try until one meets timing.")] = 3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to make; build/BOARD-ENGINE.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that celosia made.")] = False,
    as_json: Json = False,
) -> None:
    """Build the bitstream of an accelerator for a board, and say how large and how fast it is.

    The folder holds the bitstream, its config for celosia run --config, the report and the tools' logs.
    """
    from celosia.boards.clocks import MHZ, plan_clock
    from celosia.boards.limits import least_usage
    from celosia.boards.table import find_board

    base = None
    if board == "-":
        told = _read_choice(engine, config)
        board, clock, model = told.board, clock or told.clock_mhz, model or told.model
        base = AcceleratorConfig.from_json(told.config)
    chosen_board = find_board(board)
    read = None if model is None else read_model(model)
    if base is not None:
        chosen = read_config(base.engine_name, settings=changes, base=base)
    else:
        chosen = _config(chosen_board, read, engine, config, changes)
    network = None
    if read is not None:
        network = _integers(read, model, calibration, chosen)
        chosen = fit_memories(network, chosen, keep=given_names(changes))
    default = chosen_board.designs.get(chosen.engine_name)
    wanted = clock if clock is not None else default.clock_mhz if default else chosen_board.clock_hz / MHZ
    if not 0 < wanted < float("inf"):
        raise CelosiaError(f"--clock {clock} must be a positive number of MHz.")
    plan = plan_clock(chosen_board.device.family, chosen_board.clock_hz, wanted * MHZ)
    rate = baud if baud is not None else chosen_board.baud
    target = output or Path("build") / f"{chosen_board.name}-{chosen.engine_name}"
    check_target(target, force=force)
    _check_room(chosen_board, chosen, least_usage(chosen, chosen_board.device), "needs at least")
    if chosen_board.pins:
        _write_project(chosen_board, chosen, plan, rate, target, force=force, as_json=as_json)
        return
    attempts = _attempts(chosen_board, chosen, plan, rate, seeds)
    best = max(attempts, key=lambda attempt: attempt.fmax_mhz)
    _check_room(chosen_board, chosen, best.usage, "takes")
    if not best.fits:
        note(f"{describe(chosen)} does not fit on {chosen_board.name}: {best.failure}.")
        raise typer.Exit(1)
    if not best.meets_timing:
        _tell_timing(chosen_board, best, len(attempts))
        raise typer.Exit(1)
    rates = _rates(network, chosen, plan)
    report = _report(chosen_board, chosen, plan, rate, best, rates, target)
    _write(target, chosen, best, report, force=force)
    if as_json:
        emit({**report, "directory": str(target)})
    else:
        _show(chosen_board, chosen, report, target)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What to build: a board's name, a config as JSON, the clock rate, and the model it was chosen for."""

    board: str
    config: dict[str, Any]
    clock_mhz: float
    model: Path | None = None


def _read_choice(engine: str | None, file: Path | None) -> _Choice:
    """Read what `celosia sweep --best` prints from standard input."""
    if engine or file:
        raise CelosiaError("- takes the config from standard input; leave --engine and --config out.")
    text = sys.stdin.read()
    try:
        values = json.loads(text)
        model = values.get("model")
        return _Choice(
            board=str(values["board"]),
            config=dict(values["config"]),
            clock_mhz=float(values["clock_mhz"]),
            model=None if model is None else Path(model),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = "nothing comes" if not text.strip() else f"{error!r}"
        raise CelosiaError(
            f"standard input must hold what celosia sweep --board … --best prints, but {reason}."
        ) from None


def _config(
    board: Any, model: Network | FloatNetwork | None, engine: str | None, file: Path | None, changes: list[str] | None
) -> AcceleratorConfig:
    """Return the config of the file, or the board's own for the engine, with the changes."""
    if file is not None:
        return read_config(engine, file=file, settings=changes)
    name = engine or (engine_for(model) if model is not None else next(iter(board.designs), "systolic"))
    if name not in board.designs:
        read_config(name)  # an unknown engine is told as such
        has = f"there is one for {', '.join(board.designs)}" if board.designs else "it is too small for any"
        raise CelosiaError(
            f"{board.name} has no default accelerator with engine {name!r}, {has}; give one with --config FILE."
        )
    return read_config(name, settings=changes, base=board.designs[name].config)


def _integers(
    model: Network | FloatNetwork, file: Path | None, calibration: Path | None, config: AcceleratorConfig
) -> Network:
    """Return the model in the integers of the config."""
    from celosia.host.cli.run import read_inputs
    from celosia.host.prepare import prepare

    if isinstance(model, Network):
        return model
    if calibration is None:
        raise CelosiaError(f"{file}: a float model needs typical inputs to be quantized; give --calibration X.npy.")
    return prepare(model, read_inputs(model, calibration), config)[0]


def _check_room(board: Any, config: AcceleratorConfig, usage: Any, verb: str) -> None:
    """Say what does not fit and what would, and end, if too much is used."""
    from celosia.boards.limits import describe_excess, nearest, settings, too_much

    if not too_much(usage):
        return
    note(f"{describe(config)} {verb} {describe_excess(usage)} of {board.name}.")
    smaller = nearest(config, board.device, usage)
    if smaller is not None:
        note(f"{settings(config, smaller)} would fit, by scaling.")
    raise typer.Exit(1)


def _attempts(board: Any, config: AcceleratorConfig, plan: Any, baud: int, seeds: int) -> list[Any]:
    """Run the tools."""
    from celosia.boards.bitstream import build_bitstream
    from celosia.boards.tools import SynthesisError

    try:
        with working(f"{describe(config)} for {board.name}, which takes minutes") as stage:
            return build_bitstream(
                board, config, plan, baud=baud, seeds=range(1, seeds + 1), progress=lambda what: stage(what)
            )
    except SynthesisError as error:
        raise CelosiaError(str(error)) from None


def _write_project(
    board: Any, config: AcceleratorConfig, plan: Any, baud: int, target: Path, *, force: bool, as_json: bool
) -> None:
    """Leave a project for the manufacturer's tools, which are not run."""
    from celosia.boards.vivado import vivado_project

    with working(f"{describe(config)} for {board.name}") as stage:
        stage("write Verilog")
        files: dict[str, str | bytes] = {**vivado_project(board, config, plan, baud)}
    files[CONFIG] = json.dumps(config.to_json(), indent=2) + "\n"
    facts = {
        "board": board.name,
        "part": "project",
        "engine": config.engine_name,
        "config_hash": config.hash,
        "clock_hz": float(plan.output_hz),
        "baud": baud,
        "bitstream": f"{board.name}.bit",
        "program": board.command(str(target / f"{board.name}.bit")),
        "products": [f"{board.name}.bit", "utilization.rpt", "timing.rpt"],
    }
    write_folder(target, files, facts, force=force)
    if as_json:
        emit({**facts, "directory": str(target)})
    else:
        show(
            f"{target}: Vivado project, {describe(config)} at {plan.mhz:g} MHz, config {config.hash}; not built yet",
            f"cd {target} && vivado -mode batch -source build.tcl",
            f"celosia program {board.name} {target}",
        )


def _tell_timing(board: Any, best: Any, count: int) -> None:
    from celosia.boards.clocks import MHZ, plan_clock

    reached = f"{best.fmax_mhz:.1f} MHz is the fastest of {count} seeds, and {best.constraint_mhz:g} MHz is wanted"
    try:
        slower = plan_clock(board.device.family, board.clock_hz, best.fmax_mhz * MHZ)
    except ValueError:
        note(f"timing is not met: {reached}.")
        return
    note(f"timing is not met: {reached}; --clock {slower.mhz:g} would meet it.")


def _rates(network: Network | None, config: AcceleratorConfig, plan: Any) -> Rates:
    """Return how fast networks run, by the cycle model; those whose weights stream are left out."""
    from celosia.host.cli.demo import NETWORKS, SMALL_NETWORKS
    from celosia.host.compile import compile_network
    from celosia.host.data import load_digits
    from celosia.host.prepare import prepare
    from celosia.host.session import run
    from celosia.sim import reference

    networks: list[tuple[Network, np.ndarray]] = []
    if network is not None:
        networks.append((network, np.zeros((1, *network.layers[0].input_shape), np.int64)))
    else:
        images, calibration = (load_digits(split)[0].astype(np.float32) for split in ("test", "train"))
        known = {**NETWORKS[config.engine_name], **SMALL_NETWORKS.get(config.engine_name, {})}
        for read in known.values():
            try:
                networks.append(prepare(read(), images[:SAMPLES], config, calibration=calibration))
            except CelosiaError:
                continue
    rates: Rates = {}
    for integers, inputs in networks:
        try:
            if compile_network(integers, config, batch=len(inputs)).weight_stream is not None:
                continue
            cycles = run(integers, inputs, None, reference, config=config).cycles_per_input
        except CompileError:
            continue
        rates[integers.name] = {
            "cycles_per_input": cycles,
            "inputs_per_second": float(plan.output_hz) / cycles,
        }
    return rates


def _report(
    board: Any, config: AcceleratorConfig, plan: Any, baud: int, best: Any, rates: Rates, target: Path
) -> dict[str, Any]:
    from importlib.metadata import version

    from celosia.boards.bitstream import tool_versions

    bitstream = _bitstream_name(board)
    return {
        "board": board.name,
        "part": board.device.part,
        "engine": config.engine_name,
        "config_hash": config.hash,
        "config": config.to_json(),
        "clock_hz": float(plan.output_hz),
        "pll": asdict(plan) | {"output_hz": float(plan.output_hz), "vco_hz": float(plan.vco_hz)},
        "baud": baud,
        "serial": board.serial,
        "usage": {
            kind: {**asdict(count), "percent": round(100 * count.share, 1)} for kind, count in best.usage.items()
        },
        "fmax_mhz": best.fmax_mhz,
        "constraint_mhz": best.constraint_mhz,
        "margin": best.margin,
        "seed": best.seed,
        "networks": rates,
        "versions": {"celosia": celosia.__version__, "amaranth": version("amaranth"), **tool_versions(board)},
        "bitstream": bitstream,
        "program": board.command(str(target / bitstream)),
    }


def _bitstream_name(board: Any) -> str:
    from celosia.boards.packing import PACKERS

    return f"{board.name}{PACKERS[board.device.family].suffix}"


def _write(target: Path, config: AcceleratorConfig, best: Any, report: dict[str, Any], *, force: bool) -> None:
    path = [f"{step['delay_ns']:6.2f} ns  {step['kind']:8} -> {step['to']}" for step in best.path]
    files: dict[str, str | bytes] = {
        report["bitstream"]: best.bitstream,
        CONFIG: json.dumps(config.to_json(), indent=2) + "\n",
        REPORT: json.dumps(report, indent=2) + "\n",
        "critical_path.txt": "\n".join(path) + "\n",
        **best.logs,
    }
    manifest = {
        key: report[key] for key in ("board", "engine", "config_hash", "bitstream", "program", "clock_hz", "baud")
    }
    write_folder(target, files, {"part": "bitstream", **manifest}, force=force)


def _show(board: Any, config: AcceleratorConfig, report: dict[str, Any], target: Path) -> None:
    from celosia.boards.usage import KINDS

    grid = table("", "used", "available", "%", title=f"{describe(config)} on {board.name}, {board.device.part}")
    for kind, count in report["usage"].items():
        grid.add_row(KINDS[kind], f"{count['used']:,}", f"{count['available']:,}", f"{count['percent']:.1f}")
    show(grid)
    reached = f"{report['fmax_mhz']:.1f} MHz with seed {report['seed']}: {report['margin']:.0%} margin"
    show(f"clock {report['constraint_mhz']:g} MHz, reached {reached}")
    for name, rate in report["networks"].items():
        each = f"{rate['cycles_per_input']:,.1f} cycles per input"
        show(f"{name}: {rate['inputs_per_second']:,.0f} inputs per second, {each}, without the serial port")
    show(f"serial port: {report['baud']:,} baud, {board.serial}")
    if board.note:
        show(board.note)
    show(f"{target / report['bitstream']}: config {config.hash}", f"celosia program {board.name} {target}")
