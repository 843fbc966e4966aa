"""celosia demo: the whole test set of handwritten digits through the RTL of every engine, or through a device."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from celosia.host.cli.deliver import write_part
from celosia.host.cli.machines import connected, describe, simulated_device
from celosia.host.cli.options import (
    Cols,
    ConfigFile,
    DeviceAddress,
    Json,
    Rows,
    Settings,
    given_names,
    read_config,
    refuse_beside_device,
)
from celosia.host.cli.output import emit, note, shares, show, table, working, yes
from celosia.host.compression_report import compression_report
from celosia.host.data import binary_network, cnn_network, digits_network, lenet_network, load_digits, tiny_network
from celosia.host.errors import CelosiaError, CompileError
from celosia.host.fit import fit_memories
from celosia.host.models.binary import BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.prepare import prepare
from celosia.host.session import DeviceMachine, Machine, Outcome, run
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES

NETWORKS: Final[dict[str, dict[str, Callable[[], FloatNetwork | Network]]]] = {
    "systolic": {"": digits_network, "CNN": cnn_network},
    "sparse": {"": lenet_network},
    "binary": {"": binary_network},
}
"""Engine → the networks that it reads digits with, by what is said of them beside the engine's name."""

SMALL_NETWORKS: Final[dict[str, dict[str, Callable[[], FloatNetwork | Network]]]] = {"binary": {"tiny": tiny_network}}
"""Further ones, for devices that those are too large for."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A network on an engine.

    Parameters
    ----------
    title : str
        A few words that name both.
    outcome : Outcome
    report : dict
        Plain values: what ``celosia demo --json`` prints.
    """

    title: str
    outcome: Outcome
    report: dict[str, Any]


def _quantized(model: FloatNetwork | Network, config: AcceleratorConfig) -> tuple[Network, np.ndarray]:
    """Return a network and the test images in the integers of a config."""
    images, calibration = (load_digits(split)[0].astype(np.float32) for split in ("test", "train"))
    return prepare(model, images, config, calibration=calibration)


def _fitted(config: AcceleratorConfig, kept: list[str]) -> AcceleratorConfig:
    """Return the config with memories for all networks of its engine that it can have."""
    for label, model in NETWORKS[config.engine_name].items():
        with _left_out(config, label, say=False):
            config = fit_memories(_quantized(model(), config)[0], config, keep=kept)
    return config


@contextmanager
def _left_out(config: AcceleratorConfig, label: str, *, say: bool = True) -> Iterator[None]:
    """Go on without a further network of an engine if the config does not allow it, and say why."""
    try:
        yield
    except CompileError as error:
        if not label:
            raise
        if say:
            note(_reason(config, label, error))


def _reason(config: AcceleratorConfig, label: str, error: CompileError) -> str:
    return f"{describe(config)}: the {label} is left out, because {error}"


def demo_engine(config: AcceleratorConfig, folder: Path) -> Iterator[Result]:
    """Run the digits on one engine, network by network on the same simulator.

    Parameters
    ----------
    config : AcceleratorConfig
    folder : Path
        Where the Verilog of what ran is written.

    Yields
    ------
    Result
        Of each network that the config can have.
    """
    with working(f"generating {describe(config)}") as stage:
        verilog = write_part("accelerator", config, folder, force=True, progress=stage)
    with simulated_device(config) as machine:
        for label, model in NETWORKS[config.engine_name].items():
            with _left_out(config, label):
                cycles, seconds = machine.cycles, machine.seconds
                result = _run(model(), label, machine, "rtl")
                speed = (machine.cycles - cycles) / (machine.seconds - seconds)
                result.report.update(cycles_per_second=round(speed), verilog=str(verilog))
                yield result


def demo_device(address: str) -> Iterator[Result]:
    """Run the digits on a device, with its config, network by network.

    Parameters
    ----------
    address : str
        See `celosia.host.transports.address.open_port`.

    Yields
    ------
    Result
        Of each network that its config can have.

    Raises
    ------
    CelosiaError
        It can have none, or there is no device.
    """
    with connected(address, "images") as (device, transport, _):
        config = device.identity.config
        networks = {**NETWORKS[config.engine_name], **SMALL_NETWORKS.get(config.engine_name, {})}
        reasons = []
        for label, model in networks.items():
            sent, begin = transport.retransmissions, time.perf_counter()
            try:
                result = _run(model(), label, DeviceMachine(device), "device")
            except CompileError as error:
                reasons.append(_reason(config, label or "usual network", error))
                continue
            seconds = time.perf_counter() - begin
            result.report.update(
                address=address,
                images_per_second=result.report["images"] / seconds,
                retransmissions=transport.retransmissions - sent,
            )
            yield result
    if len(reasons) == len(networks):
        raise CelosiaError(f"{address}: none of the demo's networks fits. {reasons[-1]}")
    for reason in reasons:
        note(reason)


def _run(model: FloatNetwork | Network, label: str, machine: Machine, where: str) -> Result:
    """Run all images; `where` names what ran them in the report."""
    from celosia.sim import reference

    config = machine.config
    title = f"{describe(config)}, {label}" if label else describe(config)
    images, labels = load_digits("test")
    network, inputs = _quantized(model, config)
    with working(f"{len(images)} images through {title}"):
        outcome = run(network, inputs, machine, reference)
    assert outcome.outputs is not None, "a machine gives outputs"

    def accuracy(outputs: np.ndarray) -> float:
        return float(np.mean(network.dequantize_output(outputs).argmax(axis=1) == labels))

    report = {
        "engine": config.engine_name,
        "config_hash": config.hash,
        "name": network.name,
        "images": len(images),
        "accuracy_float": _float_accuracy(model, images, labels),
        "accuracy_golden": accuracy(outcome.golden),
        f"accuracy_{where}": accuracy(outcome.outputs),
        "bit_exact": outcome.bit_exact,
        "cycle_exact": outcome.cycle_exact,
        "cycles": outcome.cycles,
        "cycles_per_image": outcome.cycles_per_input,
        "network": _layers(network),
        "macs_per_image": network.macs,
        "useful_macs_per_image": sum(outcome.useful_macs) / len(images),
        "smaller_than_float32": _smaller(network),
        "utilization": outcome.utilization,
        "causes": outcome.causes,
    }
    return Result(title=title, outcome=outcome, report=report)


def _float_accuracy(model: FloatNetwork | Network, images: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the accuracy before quantization; None of a network that was trained in integers."""
    if isinstance(model, Network):
        return None
    return float(np.mean(model.evaluate(images).argmax(axis=1) == labels))


def _smaller(network: Network) -> float | None:
    """Return how many times smaller than in float32 the weights are; None if they are not.

    A compressed network Huffman-coded, a binarized one with a bit for each weight.
    """
    if all(isinstance(layer, BinaryDense) and not layer.is_ternary for layer in network.layers):
        return 32.0
    if not all(isinstance(layer, CompressedDense) for layer in network.layers):
        return None
    return compression_report(network)[-1]["ratio_huffman"]


def _layers(network: Network) -> str:
    """Return the sizes of inputs and outputs if all layers are fully connected, else how many layers there are."""
    if any(len(layer.output_shape) > 1 for layer in network.layers):
        return f"{len(network.layers)} layers"
    sizes = (network.input_shape, *(layer.output_shape for layer in network.layers))
    return "-".join(str(math.prod(size)) for size in sizes)


def demo(
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", metavar="NAME", help="Engine; each of them without it and --config.")
    ] = None,
    config: ConfigFile = None,
    rows: Rows = None,
    cols: Cols = None,
    settings: Settings = None,
    device: DeviceAddress = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the Verilog, one per engine; build/demo."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read 445 handwritten digits on every engine, in RTL.

    Small networks in integers are compiled and run on the accelerator's RTL under Verilator, link included. Every
    output is compared with the golden model and every cycle counter with the cycle model. With --device, on a board.
    """
    begin = time.perf_counter()
    if device is not None:
        simulator = {"--config": config, "--rows": rows, "--cols": cols, "--set": settings, "--output": output}
        refuse_beside_device({"--engine": engine, **simulator})
        found = demo_device(device)
    else:
        configs = _configs(engine, config, rows, cols, settings)
        folder = output or Path("build/demo")
        found = (result for each in configs for result in demo_engine(each, folder / each.engine_name))
    results = []
    for result in found:
        results.append(result)
        if as_json:
            emit(result.report)
        if not result.outcome.comparable:
            note(
                f"{result.title}: the weights stream over the link, whose pace the cycle model does not know; "
                "set weight_depth higher to have every counter compared."
            )
    if not as_json:
        _show(results, time.perf_counter() - begin)
    wrong = [result for result in results if not result.outcome.exact]
    for result in wrong:
        note(f"{result.title}: {result.outcome.mismatch}")
    if wrong:
        raise typer.Exit(1)


def _configs(
    engine: str | None, config: Path | None, rows: int | None, cols: int | None, settings: list[str] | None
) -> list[AcceleratorConfig]:
    """Return the accelerators that options describe: one, or one of each engine."""
    if config is not None:
        return [read_config(engine, file=config, rows=rows, cols=cols, settings=settings)]
    chosen = []
    for name in [engine] if engine else ENGINES:
        has_array = engine is not None or name == "systolic"
        size = (rows, cols) if has_array else (None, None)
        chosen.append(read_config(name, rows=size[0], cols=size[1], settings=settings))
    return [_fitted(accelerator, given_names(settings)) for accelerator in chosen]


def _show(results: list[Result], seconds: float) -> None:
    reports = [result.report for result in results]
    grid = table("", *(result.title.replace(", ", "\n") for result in results))
    grid.add_row("network", *(report["network"] for report in reports))
    grid.add_row("MACs per image", *(f"{report['macs_per_image']:,}" for report in reports))
    grid.add_row("of which neither factor is 0", *(_needed(result.outcome, reports[0]["images"]) for result in results))
    sizes = [report["smaller_than_float32"] for report in reports]
    if any(sizes):
        grid.add_row("weights smaller than float32", *(f"{size:.1f} ×" if size else "" for size in sizes))
    grid.add_section()
    for name in ("float", "golden", "rtl", "device"):
        shown = [report.get(f"accuracy_{name}") for report in reports]
        if name in ("rtl", "device") and not any(shown):
            continue
        name = {"golden": "golden model", "rtl": "RTL"}.get(name, name)
        grid.add_row(f"accuracy, {name}", *("" if value is None else f"{value:.2%}" for value in shown))
    grid.add_section()
    grid.add_row("outputs equal the golden model", *(yes(report["bit_exact"]) for report in reports))
    grid.add_row("counters equal the cycle model", *(yes(report["cycle_exact"]) for report in reports))
    grid.add_section()
    grid.add_row("cycles per image", *(f"{report['cycles_per_image']:,.1f}" for report in reports))
    grid.add_row("useful MACs / (PEs × cycles)", *(f"{report['utilization']:.1%}" for report in reports))
    parts = [shares(report["causes"]) for report in reports]
    for cause in dict.fromkeys(name for part in parts for name in part):
        grid.add_row(f"  cycles: {cause}", *(f"{part.get(cause, 0):.1%}" for part in parts))
    grid.add_section()
    if "address" in reports[0]:
        grid.add_row("images per second, link included", *(f"{report['images_per_second']:,.1f}" for report in reports))
        grid.add_row("packets sent again", *(f"{report['retransmissions']:,}" for report in reports))
    else:
        grid.add_row("simulated cycles per second", *(f"{report['cycles_per_second']:,}" for report in reports))
    show(f"[bold]{reports[0]['images']} handwritten digits[/bold]", grid)
    for verilog in dict.fromkeys(report["verilog"] for report in reports if "verilog" in report):
        show(f"Verilog: {verilog}")
    show(f"{seconds:.1f} s")


def _needed(outcome: Outcome, images: int) -> str:
    """Return the multiplications of an image where the engine skips zeros."""
    useful = sum(outcome.useful_macs) / images
    return f"{useful:,.0f}" if useful < outcome.program.network.macs else ""
