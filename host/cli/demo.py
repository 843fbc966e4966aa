"""celosia demo: the whole test set of handwritten digits through the RTL of every engine."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from celosia.host.cli.generate import write_part
from celosia.host.cli.machines import describe, simulated_device
from celosia.host.cli.options import Cols, ConfigFile, EngineName, Json, Rows, Settings, given_names, read_config
from celosia.host.cli.output import emit, note, shares, show, table, working, yes
from celosia.host.compression_report import compression_report
from celosia.host.data import binary_network, digits_network, lenet_network, load_digits
from celosia.host.fit import fit_memories
from celosia.host.models.binary import BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.prepare import prepare
from celosia.host.session import Outcome, run
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES

NETWORKS: Final[dict[str, Callable[[], FloatNetwork | Network]]] = {
    "systolic": digits_network,
    "sparse": lenet_network,
    "binary": binary_network,
}
"""Engine → the network that it reads digits with."""


def _quantized(config: AcceleratorConfig) -> tuple[Network, np.ndarray]:
    """Return the network and the test images in the integers of a config."""
    images, calibration = (load_digits(split)[0].astype(np.float32) for split in ("test", "train"))
    return prepare(NETWORKS[config.engine_name](), images, config, calibration=calibration)


def demo_engine(config: AcceleratorConfig, folder: Path) -> tuple[Outcome, dict[str, Any]]:
    """Run the digits on one engine.

    Parameters
    ----------
    config : AcceleratorConfig
    folder : Path
        Where the Verilog of what ran is written.

    Returns
    -------
    outcome : Outcome
    report : dict
        Plain values: what ``celosia demo --json`` prints.
    """
    from celosia.sim import reference

    with working(f"generating {describe(config)}") as stage:
        verilog = write_part("accelerator", config, folder, force=True, progress=stage)
    model = NETWORKS[config.engine_name]()
    images, labels = load_digits("test")
    network, inputs = _quantized(config)
    with simulated_device(config) as machine, working(f"{len(images)} images through {describe(config)}"):
        outcome = run(network, inputs, machine, reference)
    assert outcome.outputs is not None, "a machine gives outputs"

    def accuracy(outputs: np.ndarray) -> float:
        return float(np.mean(network.dequantize_output(outputs).argmax(axis=1) == labels))

    return outcome, {
        "engine": config.engine_name,
        "config_hash": config.hash,
        "images": len(images),
        "accuracy_float": _float_accuracy(model, images, labels),
        "accuracy_golden": accuracy(outcome.golden),
        "accuracy_rtl": accuracy(outcome.outputs),
        "bit_exact": outcome.bit_exact,
        "cycle_exact": outcome.cycle_exact,
        "cycles": outcome.cycles,
        "cycles_per_image": outcome.cycles_per_input,
        "network": "-".join(str(size) for size in (math.prod(network.input_shape), *_widths(network))),
        "macs_per_image": network.macs,
        "useful_macs_per_image": sum(outcome.useful_macs) / len(images),
        "smaller_than_float32": _smaller(network),
        "utilization": outcome.utilization,
        "causes": outcome.causes,
        "cycles_per_second": round(machine.cycles_per_second),
        "verilog": str(verilog),
    }


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


def _widths(network: Network) -> list[int]:
    return [math.prod(layer.output_shape) for layer in network.layers]


def demo(
    engine: EngineName = None,
    config: ConfigFile = None,
    rows: Rows = None,
    cols: Cols = None,
    settings: Settings = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the Verilog, one folder per engine.")
    ] = Path("build/demo"),
    as_json: Json = False,
) -> None:
    """Read 445 handwritten digits on every engine, in RTL.

    A small float network is quantized, compiled and run on the accelerator's RTL under Verilator, link included. Every
    output is compared with the golden model and every cycle counter with the cycle model.
    """
    begin = time.perf_counter()
    if config is not None:
        chosen = [read_config(engine, file=config, rows=rows, cols=cols, settings=settings)]
    else:
        chosen = []
        for name in [engine] if engine else ENGINES:
            has_array = engine is not None or name == "systolic"
            size = (rows, cols) if has_array else (None, None)
            chosen.append(read_config(name, rows=size[0], cols=size[1], settings=settings))
        kept = given_names(settings)
        chosen = [fit_memories(_quantized(accelerator)[0], accelerator, keep=kept) for accelerator in chosen]
    results = []
    for accelerator in chosen:
        outcome, report = demo_engine(accelerator, output / accelerator.engine_name)
        results.append((outcome, report))
        if as_json:
            emit(report)
        if not outcome.comparable:
            note(
                f"{describe(accelerator)}: the weights stream over the link, whose pace the cycle model does not know; "
                "set weight_depth higher to have every counter compared."
            )
    if not as_json:
        _show([outcome for outcome, _ in results], [report for _, report in results], time.perf_counter() - begin)
    wrong = [outcome for outcome, _ in results if not outcome.exact]
    for outcome in wrong:
        note(f"{describe(outcome.program.config)}: {outcome.mismatch}")
    if wrong:
        raise typer.Exit(1)


def _show(outcomes: list[Outcome], reports: list[dict[str, Any]], seconds: float) -> None:
    grid = table("", *(describe(outcome.program.config) for outcome in outcomes))
    grid.add_row("network", *(report["network"] for report in reports))
    grid.add_row("MACs per image", *(f"{report['macs_per_image']:,}" for report in reports))
    grid.add_row("of which neither factor is 0", *(_needed(outcome, len(outcome.golden)) for outcome in outcomes))
    sizes = [report["smaller_than_float32"] for report in reports]
    if any(sizes):
        grid.add_row("weights smaller than in float32", *(f"{size:.1f} ×" if size else "" for size in sizes))
    grid.add_section()
    for name, key in (("float", "accuracy_float"), ("golden model", "accuracy_golden"), ("RTL", "accuracy_rtl")):
        shown = (report[key] for report in reports)
        grid.add_row(f"accuracy, {name}", *("" if value is None else f"{value:.2%}" for value in shown))
    grid.add_section()
    grid.add_row("every output equals the golden model's", *(yes(report["bit_exact"]) for report in reports))
    grid.add_row("every counter equals the cycle model's", *(yes(report["cycle_exact"]) for report in reports))
    grid.add_section()
    grid.add_row("cycles per image", *(f"{report['cycles_per_image']:.1f}" for report in reports))
    grid.add_row("utilization: useful MACs / (PEs × cycles)", *(f"{report['utilization']:.1%}" for report in reports))
    parts = [shares(report["causes"]) for report in reports]
    for cause in dict.fromkeys(name for part in parts for name in part):
        grid.add_row(f"  cycles: {cause}", *(f"{part.get(cause, 0):.1%}" for part in parts))
    grid.add_section()
    grid.add_row("simulated cycles per second", *(f"{report['cycles_per_second']:,}" for report in reports))
    show(f"[bold]{reports[0]['images']} handwritten digits[/bold]", grid)
    for report in reports:
        show(f"Verilog: {report['verilog']}")
    show(f"{seconds:.1f} s")


def _needed(outcome: Outcome, images: int) -> str:
    """Return the multiplications of an image where the engine skips zeros."""
    useful = sum(outcome.useful_macs) / images
    return f"{useful:,.0f}" if useful < outcome.program.network.macs else ""
