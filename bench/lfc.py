"""BNN-PYNQ's LFC-W1A1 in RTL: at FINN's folding layer by layer, and the whole network on one core.

    CELOSIA_DATA=… python bench/lfc.py [--json]

The trained network and its image are those of `bnn_pynq/lfc_w1a1.npz`. Every bit of every layer is compared with the
golden model, every counter with the cycle model. FINN's cycles are SF · NF (synapse folds × neuron folds) of each
layer, which its dataflow does at the same time: an image every 512 cycles. As FINN's unit does, a core here holds as
many sums against thresholds at a time as PE and SIMD allow.

`interval` is the cycles of the last of several images in a row, in RTL. `take to done` is
what a layer takes up to its last write; `RUN to DONE` has the fetch of its descriptor, too, which is done ahead if a
layer runs before it.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from celosia.host.models.binary import BinaryDense
from celosia.host.models.ir import Network
from celosia.host.models.popcount import dense_from_popcount
from celosia.host.session import CoreMachine, Outcome, run
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.sim import reference
from celosia.sim.core import CoreSimulator
from celosia.sim.golden.binary import run_layer

BATCH = 4  # images in a row
ONE_CORE = (64, 32)  # SIMD, PE of the core that does all layers


def read(folder: Path) -> tuple[list[BinaryDense], list[tuple[int, int]], np.ndarray, int]:
    """Return the layers, FINN's (SIMD, PE) of each, the image's 832 inputs of ±1, and its class."""
    arrays = np.load(folder / "bnn_pynq" / "lfc_w1a1.npz")
    count = sum(name.startswith("weights_") for name in arrays.files)
    layers = [
        dense_from_popcount(f"layer {index}", arrays[f"weights_{index}"], arrays[f"threshold_{index}"])
        for index in range(count)
    ]
    folding = [(int(simd), int(pe)) for simd, pe in (arrays[f"folding_{index}"] for index in range(count))]
    inputs = np.full(layers[0].weights.shape[0], -1, dtype=np.int8)
    pixels = arrays["image"].ravel() / 255 * 2 - 1
    inputs[: pixels.size] = np.where(pixels >= 0, 1, -1)
    return layers, folding, inputs, int(arrays["expected_class"])


def core(folding: tuple[int, int], weight_words: int, batch: int) -> AcceleratorConfig:
    """Return a core for XNOR networks with room for so many weight words and vectors."""
    simd, pe = folding
    engine = BinaryConfig(
        simd=simd, pes=pe, activation_width=1, output_width=1, accumulator_width=11, post_lanes=math.gcd(simd, pe)
    )
    words = 1 << (1024 // simd * batch - 1).bit_length()
    return AcceleratorConfig(
        engine=engine,
        weight_depth=weight_words,
        parameter_depth=4096,
        input_depth=words,
        activation_depth=2 * words,
        output_depth=words,
    )


def run_network(layers: list[BinaryDense], inputs: np.ndarray, folding: tuple[int, int]) -> Outcome:
    """Run layers on a core of their own; exactly, or else stop."""
    network = Network(name="LFC-W1A1", layers=layers, input_shape=layers[0].input_shape)
    simd, pe = folding
    weight_words = sum(-(-N // pe) * -(-K // simd) for K, N in (layer.weights.shape for layer in layers))
    machine = CoreMachine(CoreSimulator(core(folding, weight_words, len(inputs))))
    outcome = run(network, inputs, machine, reference)
    if not outcome.exact or not outcome.cycle_exact:
        raise SystemExit(f"{layers[0].name}: {outcome.mismatch}")
    return outcome


def measure(folder: Path) -> dict[str, Any]:
    """Run everything, and return what was found."""
    layers, folding, image, expected = read(folder)
    others = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (BATCH - 1, len(image)))
    values = np.concatenate([image[None], others])
    rows = []
    for layer, own in zip(layers, folding, strict=True):
        alone = run_network([layer], values[:1], own)
        fewer, more = (run_network([layer], values[:count], own) for count in (BATCH - 1, BATCH))
        K, N = layer.weights.shape
        finn = -(-K // own[0]) * -(-N // own[1])
        rows.append(
            {
                "layer": layer.name,
                "K": K,
                "N": N,
                "simd": own[0],
                "pe": own[1],
                "finn": finn,
                "interval": more.cycles - fewer.cycles,
                "take_to_done": alone.cycles - alone.causes["fetch"] + 1,
                "run_to_done": alone.cycles,
                "utilization": alone.utilization,
            }
        )
        values = run_layer(layer, values).astype(np.int8)
    whole = run_network(layers, image[None], ONE_CORE)
    classes = np.flatnonzero(whole.results[0, :10] == 1).tolist()
    return {
        "layers": rows,
        "class": classes,
        "expected_class": expected,
        "finn_sequential": sum(row["finn"] for row in rows),
        "layers_sequential": sum(row["take_to_done"] for row in rows),
        "runs_sequential": sum(row["run_to_done"] for row in rows),
        "one_core": whole.cycles,
        "one_core_utilization": whole.utilization,
    }


def print_table(found: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title="LFC-W1A1, one image: cycles in RTL, equal to golden and cycle model")
    for column in ("", "K × N", "SIMD × PE", "FINN", "interval", "take to done", "RUN to DONE", "utilization"):
        table.add_column(column, justify="right" if column else "left")
    for row in found["layers"]:
        table.add_row(
            row["layer"],
            f"{row['K']} × {row['N']}",
            f"{row['simd']} × {row['pe']}",
            *(f"{row[name]:,}" for name in ("finn", "interval", "take_to_done", "run_to_done")),
            f"{row['utilization']:.1%}",
        )
    names = ("finn_sequential", "layers_sequential", "runs_sequential")
    finn, layers, runs = (found[name] for name in names)
    table.add_row("one after the other", "", "", f"{finn:,}", "", f"{layers:,}", f"{runs:,}", "")
    table.add_row("… / FINN", "", "", "", "", f"{layers / finn:.3f}", f"{runs / finn:.3f}", "")
    size = "{} × {}".format(*ONE_CORE)
    cycles = found["one_core"]
    table.add_row("all on one core", "", size, "", "", "", f"{cycles:,}", f"{found['one_core_utilization']:.1%}")
    console.print(table)
    console.print(f"class: {found['class']}, expected {found['expected_class']}")


def main() -> int:
    parser = argparse.ArgumentParser(description="BNN-PYNQ's LFC-W1A1 in RTL.")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    arguments = parser.parse_args()
    if "CELOSIA_DATA" not in os.environ:
        print("CELOSIA_DATA is not set; it names the folder that has bnn_pynq/lfc_w1a1.npz.", file=sys.stderr)
        return 2
    found = measure(Path(os.environ["CELOSIA_DATA"]))
    if arguments.json:
        print(json.dumps(found))
    else:
        print_table(found)
    return 0 if found["class"] == [found["expected_class"]] else 1


if __name__ == "__main__":
    sys.exit(main())
