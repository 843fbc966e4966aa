"""A network of CNV's shape (BNN-PYNQ, CIFAR-10) with random binary weights, end to end in RTL.

    python bench/cnv.py [--pes 32 --simd 32 --images 2] [--json]

Six 3 × 3 convolutions without padding, 2 × 2 max pooling after the second and the fourth, three fully connected
layers; pixels of 8 bits, everything behind them of one bit. Random thresholds lie where sums are dense. Every output is
compared with the golden model, every counter with the cycle model.
"""

import argparse
import json
import math
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from celosia.host.cli.layers import layer_reports
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.ir import Network
from celosia.host.pack.binary import arrange
from celosia.host.session import CoreMachine, Outcome, run
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.sim import reference
from celosia.sim.core import CoreSimulator

SIDE, CHANNELS = 32, (3, 64, 64, 128, 128, 256, 256)
POOLED = (1, 3)  # convolutions with a pooling layer behind them
DENSE = (256, 512, 512, 10)


def cnv(seed: int = 1) -> Network:
    """Return the network."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return rng.choice(np.array([-1, 1], np.int8), shape)

    def thresholds(K: int, N: int, dtype: str) -> np.ndarray:
        deviation = math.sqrt(K) * (74 if dtype == "int8" else 1)  # of sums of K random products
        return np.rint(rng.normal(0, deviation / 2, (N, 1))).astype(np.int64)

    layers: list[BinaryConv | BinaryDense] = []
    side, dtype = SIDE, "int8"
    for index, (C, N) in enumerate(pairwise(CHANNELS)):
        layers.append(
            BinaryConv(
                name=f"conv{index}",
                weights=weights(3, 3, C, N),
                input_size=(side, side),
                pool=(2, 2) if index in POOLED else (1, 1),
                thresholds=thresholds(9 * C, N, dtype),
                input_dtype=dtype,
            )
        )
        side, dtype = layers[-1].output_shape[0], "bipolar"
    for index, (K, N) in enumerate(pairwise(DENSE)):
        last = index == len(DENSE) - 2
        layers.append(
            BinaryDense(
                name=f"fc{index}",
                weights=weights(K, N),
                thresholds=None if last else thresholds(K, N, dtype),
                output_dtype="int32" if last else "bipolar",
            )
        )
    return Network(name="CNV", layers=layers, input_shape=(SIDE, SIDE, CHANNELS[0]), input_scale=1 / 128)


def core(pes: int, simd: int, weight_words: int) -> AcceleratorConfig:
    """Return a core with room for the network."""
    return AcceleratorConfig(
        engine=BinaryConfig(pes=pes, simd=simd, accumulator_width=14, output_width=1),
        weight_depth=weight_words,
        parameter_depth=8192,
        input_depth=1 << 14,
        activation_depth=1 << 14,
        output_depth=256,
        packet_words=4096,
    )


def execute(pes: int, simd: int, images: int) -> tuple[Outcome, float, float]:
    """Run some random images; return what came, the seconds of the build, and those of the run."""
    network = cnv()
    most = AcceleratorConfig(engine=BinaryConfig(pes=pes, simd=simd, accumulator_width=14))
    weight_words = sum(layer.weight_words for layer in arrange(most, network.layers))
    begin = time.perf_counter()
    machine = CoreMachine(CoreSimulator(core(pes, simd, weight_words)))
    built = time.perf_counter()
    inputs = np.random.default_rng(2).integers(-128, 128, (images, *network.input_shape)).astype(np.int8)
    outcome = run(network, inputs, machine, reference)
    return outcome, built - begin, time.perf_counter() - built


def report(outcome: Outcome, build: float, seconds: float) -> dict[str, Any]:
    """Return plain values of a run."""
    return {
        "images": len(outcome.golden),
        "bit_exact": outcome.bit_exact,
        "cycle_exact": outcome.cycle_exact,
        "cycles_per_image": outcome.cycles_per_input,
        "utilization": outcome.utilization,
        "binary_operations": sum(outcome.useful_macs) // len(outcome.golden),
        "build_seconds": round(build, 1),
        "run_seconds": round(seconds, 1),
        "layers": layer_reports(outcome),
    }


def print_table(found: dict[str, Any], pes: int, simd: int) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"CNV on {pes} × {simd}, cycles of an image in RTL")
    for column in ("layer", "M × K × N", "cycles", "utilization"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for row in found["layers"]:
        shape = f"{row['m']:,} × {row['k']:,} × {row['n']:,}"
        table.add_row(row["name"], shape, f"{row['cycles'] / found['images']:,.0f}", f"{row['utilization']:.1%}")
    table.add_row("all", "", f"{found['cycles_per_image']:,.0f}", f"{found['utilization']:.1%}")
    console.print(table)
    exact = "every output and counter equal" if found["bit_exact"] and found["cycle_exact"] else "NOT EQUAL"
    console.print(
        f"{found['images']} images, {exact}; {found['binary_operations']:,} binary operations an image; "
        f"{found['run_seconds']} s with golden and compiler, behind {found['build_seconds']} s of build"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="A network of CNV's shape, end to end in RTL.")
    parser.add_argument("--pes", type=int, default=32)
    parser.add_argument("--simd", type=int, default=32)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    arguments = parser.parse_args()
    outcome, build, seconds = execute(arguments.pes, arguments.simd, arguments.images)
    found = report(outcome, build, seconds)
    if arguments.json:
        print(json.dumps(found))
    else:
        print_table(found, arguments.pes, arguments.simd)
    return 0 if outcome.exact else 1


if __name__ == "__main__":
    sys.exit(main())
