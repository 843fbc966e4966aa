"""Whole quantized networks on a systolic core: cycles, utilization layer by layer, and every tensor in RTL.

    python bench/networks.py NETWORK.tflite … [--rows 16 --cols 16 --inputs 3 --batch 1 --layers] [--json]

Every tensor of random inputs is compared with the golden model, every counter of whole runs with the cycle model.
Beside the cycles stand limits: what the multiply-accumulates of all layers, or of all but depthwise ones, would take if
all PEs worked in every cycle, and what loading all weights takes, a row per cycle, once for each iteration.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from celosia.host.compile import compile_network
from celosia.host.errors import CelosiaError
from celosia.host.fit import fit_memories
from celosia.host.models import read_model
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.program import LayerPlan, Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.check import check_tensors
from celosia.sim.core import CoreSimulator
from celosia.sim.golden.network import tensors

TIMED = 5  # times that each model is run for the fastest


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network: program, cycles of an iteration, and seconds."""

    program: Program
    causes: dict[str, int]
    by_layer: list[dict[str, int]]
    elements: int  # compared in RTL
    compile_seconds: float
    golden_seconds: float
    model_seconds: float
    rtl_seconds: float  # of one inference, its image and inputs written, each layer run, every tensor read and compared

    @property
    def cycles(self) -> int:
        """Cycles of an iteration."""
        return sum(self.causes.values())

    @property
    def plans(self) -> list[tuple[LayerPlan, int]]:
        """The layers with something to do, and their cycles."""
        first, plans = 0, []
        for plan in self.program.layers:
            steps = self.by_layer[first : first + len(plan.steps)]
            first += len(plan.steps)
            if plan.steps:
                plans.append((plan, sum(sum(causes.values()) for causes in steps)))
        return plans

    def limits(self) -> dict[str, float]:
        """Cycles of what stands in the way, if nothing else did, for one iteration."""
        pes = self.program.config.engine.pe_count
        depthwise = [plan.macs for plan in self.program.layers if getattr(plan.layer, "is_depthwise", False)]
        return {
            "all PEs in every cycle": self.program.macs / pes,
            "the same without depthwise layers": (self.program.macs - sum(depthwise)) / pes,
            "a row of weights per cycle": float(sum(plan.weight_words for plan in self.program.layers)),
        }


def fastest(work: Any) -> tuple[Any, float]:
    """Return what a function gives, and the seconds of its fastest run."""
    seconds = []
    for _ in range(TIMED):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return result, min(seconds)


def measure(network: Network, config: AcceleratorConfig, inputs: int, batch: int) -> Measured:
    """Run a network and compare it.

    Raises
    ------
    SystemExit
        Something differs.
    """
    config = fit_memories(network, config)
    program, compile_seconds = fastest(lambda: compile_network(network, config, batch=batch))
    low, high = integer_range(network.input_dtype)
    x = np.random.default_rng(1).integers(low, high, (inputs * batch, *network.input_shape), endpoint=True)
    iteration = x[: program.vectors]
    _, golden_seconds = fastest(lambda: tensors(network, x[:1]))
    cycles, model_seconds = fastest(lambda: reference.predict(program, iteration))
    core = CoreSimulator(config)
    elements, begin = 0, time.perf_counter()
    for check in check_tensors(program, x, core):
        elements += check.expected.size
        if not check.equal:
            sys.exit(f"{network.name}: {check.wrong} elements of tensor {check.index} differ, first {check.first}.")
    rtl_seconds = (time.perf_counter() - begin) / inputs
    core.write("inputs", program.pack_inputs(iteration))
    run = core.run(program.run_parameters(1, stream=False), weights=program.weight_stream, limit=1 << 32)
    if run.causes != cycles.causes:
        sys.exit(f"{network.name}: the counters {run.causes} are not the cycle model's, {cycles.causes}.")
    return Measured(
        program=program,
        causes=run.causes,
        by_layer=cycles.by_layer,
        elements=elements,
        compile_seconds=compile_seconds,
        golden_seconds=golden_seconds,
        model_seconds=model_seconds,
        rtl_seconds=rtl_seconds,
    )


def report(measured: Measured) -> dict[str, Any]:
    """Return everything measured, as JSON."""
    pes = measured.program.config.engine.pe_count
    return {
        "network": measured.program.network.name,
        "inputs_per_iteration": measured.program.vectors,
        "macs": measured.program.macs,
        "cycles": measured.cycles,
        "utilization": measured.program.macs / (pes * measured.cycles),
        "causes": measured.causes,
        "limits": measured.limits(),
        "elements_compared": measured.elements,
        "compile_seconds": measured.compile_seconds,
        "golden_seconds": measured.golden_seconds,
        "cycle_model_seconds": measured.model_seconds,
        "rtl_seconds": measured.rtl_seconds,
        "layers": [
            {
                "name": plan.name,
                "kind": plan.kind,
                "mode": plan.mode,
                "shape": plan.shape,
                "macs": plan.macs,
                "cycles": cycles,
            }
            for plan, cycles in measured.plans
        ],
    }


def print_tables(console: Console, measured: Measured, *, layers: bool) -> None:
    told = report(measured)
    pes = measured.program.config.engine.pe_count
    table = Table(title=f"{told['network']}, {told['inputs_per_iteration']} at a time", show_header=False)
    table.add_row("cycles", f"{told['cycles']:,}")
    table.add_row("utilization: MACs / (PEs × cycles)", f"{told['utilization']:.1%}")
    for name, limit in told["limits"].items():
        table.add_row(f"cycles / {limit:,.0f}, {name}", f"{told['cycles'] / limit:.3f}")
    table.add_row("elements of tensors equal in RTL", f"{told['elements_compared']:,}")
    for name in ("compile", "golden", "cycle_model", "rtl"):
        table.add_row(f"seconds: {name.replace('_', ' ')}", f"{told[f'{name}_seconds']:.4f}")
    console.print(table)
    if layers:
        grid = Table("layer", "kind", "mode", "M × K × N", "MACs", "cycles", "utilization")
        for plan, cycles in measured.plans:
            shape = " × ".join(map(str, plan.shape))
            used = f"{plan.macs / (pes * cycles):.1%}" if plan.macs else ""
            grid.add_row(plan.name[-32:], plan.kind, plan.mode, shape, f"{plan.macs:,}", f"{cycles:,}", used)
        console.print(grid)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--cols", type=int, default=16)
    parser.add_argument("--post-lanes", type=int, help="requantizer lanes; else as many as K = 32 keeps busy")
    parser.add_argument("--inputs", type=int, default=3, help="how many inputs, or batches, are compared in RTL")
    parser.add_argument("--batch", type=int, default=1, help="inputs at a time, of networks of dense layers")
    parser.add_argument("--layers", action="store_true", help="show each layer")
    parser.add_argument("--json", action="store_true", help="one JSON object per network, on a line")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        engine = SystolicConfig(rows=arguments.rows, cols=arguments.cols, post_lanes=arguments.post_lanes)
        for file in arguments.files:
            network = read_model(file)
            if not isinstance(network, Network):
                raise CelosiaError(f"{file}: it is a float network; quantize it first.")
            measured = measure(network, AcceleratorConfig(engine=engine), arguments.inputs, arguments.batch)
            if arguments.json:
                print(json.dumps(report(measured)))
            else:
                print_tables(console, measured, layers=arguments.layers)
    except (CelosiaError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
