"""celosia run: a model file on an accelerator's RTL, compared with the golden model."""

import os
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from celosia.host.cli.check import TensorReport, check_run, describe_wrong
from celosia.host.cli.layers import layer_reports, show_layers
from celosia.host.cli.machines import connected, describe, simulated, simulated_core
from celosia.host.cli.mismatch import explain
from celosia.host.cli.options import (
    Cols,
    ConfigFile,
    DeviceAddress,
    EngineName,
    Json,
    Rows,
    Settings,
    given_names,
    read_config,
    refuse_beside_device,
)
from celosia.host.cli.output import emit, note, shares, show, table, working, yes
from celosia.host.cli.picture import check_picture, draw_schedule
from celosia.host.errors import CelosiaError
from celosia.host.files import replacing
from celosia.host.fit import engine_for, fit_memories
from celosia.host.models import read_model
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.integers import container
from celosia.host.models.ir import Network
from celosia.host.prepare import check_inputs, prepare
from celosia.host.session import DeviceMachine, Outcome, run
from celosia.hw.config import AcceleratorConfig

SHOWN = 10  # inputs whose class is shown


class RunPart(StrEnum):
    """What runs the model."""

    ACCELERATOR = "accelerator"
    CORE = "core"


def run_model(
    model: Annotated[Path, typer.Argument(help="Model file: .npz, .onnx or .tflite, float or quantized.")],
    inputs: Annotated[
        Path, typer.Option("--input", "-i", metavar="X.npy", help="Inputs, one per entry of the first axis.")
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="Y.npy", help="Right classes, for the accuracy.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", metavar="X.npy", help="Typical inputs to quantize a float model with; else --input."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT.npy", help="Write the outputs: real values of a float model, else integers."
        ),
    ] = None,
    engine: EngineName = None,
    config: ConfigFile = None,
    rows: Rows = None,
    cols: Cols = None,
    settings: Settings = None,
    part: Annotated[
        RunPart | None,
        typer.Option(
            "--part", help="Simulate the whole accelerator, or its core without the link.", show_default="accelerator"
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every tensor, layer by layer; on the core unless --part says else.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw time line and roofline: .svg, .png or .pdf."),
    ] = None,
    golden_only: Annotated[
        bool, typer.Option("--golden-only", help="No RTL: outputs of the golden model, cycles of the cycle model.")
    ] = False,
    device: DeviceAddress = None,
    clock: Annotated[float, typer.Option("--clock", metavar="MHZ", help="Clock that times are told for.")] = 100.0,
    as_json: Json = False,
) -> None:
    """Run a model on the RTL or a device, and compare it with the golden model and the cycle model.

    If an output differs, the first mismatch is named, down to PE, cycle and operands, and mismatch.vcd shows it.
    """
    if not 0 < clock < float("inf"):
        raise CelosiaError(f"--clock {clock} must be a positive number of MHz.")
    if check and golden_only:
        raise CelosiaError("--check compares the RTL's tensors, and --golden-only runs no RTL; leave one of them out.")
    if device is not None:
        refuse_beside_device(
            {
                "--config": config,
                "--rows": rows,
                "--cols": cols,
                "--set": settings,
                "--part": part,
                "--check": check,
                "--golden-only": golden_only,
            }
        )
    if picture is not None:
        check_picture(picture)
    for written in (output, picture):
        if written is not None:
            check_writable(written)
    read = read_model(model)
    values = read_inputs(read, inputs)
    typical = None if calibration is None else read_inputs(read, calibration)
    right = None if labels is None else read_labels(labels, len(values))
    if device is not None:
        outcome, integers = _run_on_device(device, read, values, typical, engine)
    else:
        name = engine or (engine_for(read) if config is None else None)
        chosen = read_config(name, file=config, rows=rows, cols=cols, settings=settings)
        network, integers = prepare(read, values, chosen, calibration=typical)
        if config is None:
            chosen = _fitted(network, chosen, given_names(settings))
        simulated_part = part or (RunPart.CORE if check else RunPart.ACCELERATOR)
        outcome = _execute(network, integers, chosen, simulated_part.value, golden_only)
    tensors = _check(outcome, integers) if check else []
    if output is not None:
        network = outcome.program.network
        real = isinstance(read, FloatNetwork) or network.input_thresholds is not None
        kind = container(network.output_dtype)
        with replacing(output) as file:
            np.save(file, network.dequantize_output(outcome.results) if real else outcome.results.astype(kind))
    report = _report(outcome, model, right, clock, output)
    report |= {"tensors": [asdict(tensor) for tensor in tensors], "picture": None if picture is None else str(picture)}
    if picture is not None:
        _draw(outcome, report, picture)
    if as_json:
        emit(report)
    else:
        _show(outcome, report, clock)
    wrong = describe_wrong(tensors)
    if wrong or not outcome.exact:
        for sentence in (wrong, outcome.mismatch):
            if sentence:
                note(sentence)
        if outcome.outputs is not None and not outcome.bit_exact:
            explain(outcome, integers)
        raise typer.Exit(1)


def _fitted(network: Network, config: AcceleratorConfig, keep: list[str]) -> AcceleratorConfig:
    """Return the config with memories that hold the network, and say what is larger than by default."""
    fitted = fit_memories(network, config, keep=keep)
    pairs: list[tuple[Any, Any]] = [(config, fitted), (config.engine, fitted.engine)]
    larger = [
        f"{field.name}={getattr(after, field.name)}"
        for before, after in pairs
        for field in fields(before)
        if field.name != "engine" and getattr(after, field.name) != getattr(before, field.name)
    ]
    if larger:
        note(f"{network.name} needs larger memories than the default: {', '.join(larger)}.")
    return fitted


def _execute(network: Network, inputs: np.ndarray, config: AcceleratorConfig, part: str, golden_only: bool) -> Outcome:
    from celosia.host.compile import compile_network
    from celosia.sim import reference

    if golden_only:
        return run(network, inputs, None, reference, config=config)
    compile_network(network, config, batch=len(inputs))  # whatever does not fit is told before a long build
    what = f"{len(inputs)} inputs through {describe(config)}"
    with simulated(part, config) as machine, working(what, log=False) as stage:
        return run(network, inputs, machine, reference, progress=lambda done, of: stage(f"{done}/{of}"))


def _run_on_device(
    address: str,
    model: Network | FloatNetwork,
    values: np.ndarray,
    calibration: np.ndarray | None,
    engine: str | None,
) -> tuple[Outcome, np.ndarray]:
    """Compile for the device's own config and run there; returns the inputs in integers, too."""
    from celosia.sim import reference

    with connected(address, f"{len(values)} inputs") as (device, _, progress):
        config = device.identity.config
        needed = engine or (engine_for(model) if isinstance(model, Network) else config.engine_name)
        if needed != config.engine_name:
            raise CelosiaError(
                f"the model is for engine {needed!r}, and the device at {address} is {describe(config)}."
            )
        network, integers = prepare(model, values, config, calibration=calibration)
        return run(network, integers, DeviceMachine(device), reference, progress=progress), integers


def _check(outcome: Outcome, inputs: np.ndarray) -> list[TensorReport]:
    with simulated_core(outcome.program.config) as core:
        return check_run(outcome.program, inputs, core)


def _draw(outcome: Outcome, report: dict[str, Any], path: Path) -> None:
    """Draw the schedule of all inputs."""
    config, iterations = outcome.program.config, outcome.iterations
    inputs = f"{report['inputs']} inputs" if report["inputs"] > 1 else "one input"
    ports = config.memory("inputs").width + config.memory("weights").width
    with replacing(path) as file:
        draw_schedule(
            file,
            report["layers"],
            suffix=path.suffix,
            iterations=iterations,
            title=f"{outcome.program.network.name}: {inputs} on {describe(config)}, {outcome.cycles:,} cycles",
            peak=config.engine.pe_count,
            bytes_per_cycle=ports / 8,
        )


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file.

    Raises
    ------
    CelosiaError
        It is none.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise CelosiaError(f"{path}: it is no .npy file of numbers; numpy.save writes one.") from None
    if not isinstance(array, np.ndarray):
        raise CelosiaError(f"{path}: it holds several arrays; a .npy file of one is needed.")
    return array


def read_inputs(model: Network | FloatNetwork, path: Path) -> np.ndarray:
    """Read inputs that fit a model.

    Raises
    ------
    CelosiaError
        They do not.
    """
    try:
        return check_inputs(model, read_array(path))
    except CelosiaError as error:
        raise CelosiaError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def read_labels(path: Path, count: int) -> np.ndarray:
    """Read the right classes of `count` inputs.

    Raises
    ------
    CelosiaError
        They are not as many integers.
    """
    labels = read_array(path)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise CelosiaError(
            f"{path}: labels have shape {labels.shape} and type {labels.dtype}, "
            f"but {count} inputs need integers ({count},)."
        )
    return labels


def check_writable(output: Path) -> None:
    """Refuse a file that could not be written when the work is done."""
    folder = output.parent
    if output.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise CelosiaError(f"{output} cannot be written; it must be a file in a folder that exists and can be written.")


def _report(
    outcome: Outcome, model: Path, labels: np.ndarray | None, clock: float, output: Path | None
) -> dict[str, Any]:
    config, real = outcome.program.config, outcome.program.network.dequantize_output(outcome.results)
    classes = real.reshape(len(real), -1).argmax(axis=1)
    return {
        "model": str(model),
        "engine": config.engine_name,
        "config_hash": config.hash,
        "inputs": len(classes),
        "iterations": outcome.iterations,
        "bit_exact": outcome.bit_exact,
        "cycle_exact": outcome.cycle_exact,
        "accuracy": None if labels is None else float(np.mean(classes == labels)),
        "top1": classes.tolist(),
        "cycles": outcome.cycles,
        "cycles_per_input": outcome.cycles_per_input,
        "clock_mhz": clock,
        "microseconds_per_input": outcome.cycles_per_input / clock,
        "utilization": outcome.utilization,
        "causes": outcome.causes,
        "layers": layer_reports(outcome),
        "output": None if output is None else str(output),
    }


def _show(outcome: Outcome, report: dict[str, Any], clock: float) -> None:
    show(f"{outcome.program.network.name} on {describe(outcome.program.config)}, config {report['config_hash']}", "")
    show_layers(report["layers"], modelled=outcome.cycle_exact is not True)
    grid = table("", "all layers")
    names = outcome.program.network.labels
    first = ", ".join(str(names[index]) if names else str(index) for index in report["top1"][:SHOWN])
    grid.add_row("inputs", f"{report['inputs']:,}")
    if report["accuracy"] is not None:
        grid.add_row("accuracy", f"{report['accuracy']:.2%}")
    grid.add_row("every output equals the golden model's", yes(outcome.bit_exact, "golden model only"))
    if report["tensors"]:
        wrong = sum(tensor["wrong"] for tensor in report["tensors"])
        elements = sum(tensor["elements"] for tensor in report["tensors"])
        grid.add_row("every element of every tensor does", f"{yes(not wrong, '')}, {elements:,} compared")
    unknown = "cycle model only" if outcome.outputs is None else "not compared"
    grid.add_row("every counter equals the cycle model's", yes(outcome.cycle_exact, unknown))
    grid.add_row("cycles", f"{outcome.cycles:,}")
    grid.add_row("cycles per input", f"{outcome.cycles_per_input:,.1f}")
    microseconds = report["microseconds_per_input"]
    grid.add_row(f"time per input at {clock:g} MHz", f"{microseconds:,.2f} µs")
    grid.add_row(f"inputs per second at {clock:g} MHz", f"{1e6 / microseconds:,.0f}")
    grid.add_row("utilization: useful MACs / (PEs × cycles)", f"{outcome.utilization:.1%}")
    for cause, share in shares(outcome.causes).items():
        grid.add_row(f"  cycles: {cause}", f"{outcome.causes[cause]:,} ({share:.1%})")
    show("", grid, f"top-1 of the first inputs: {first}")
    if outcome.outputs is not None and not outcome.comparable:
        show(
            "Weights stream over the link, whose pace the cycle model does not know; "
            "--part core compares every counter."
        )
    for what in ("output", "picture"):
        if report[what]:
            show(f"{what}: {report[what]}")
