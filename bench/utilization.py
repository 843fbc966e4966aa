"""Utilization of GEMM shapes on the systolic core, from RUN to DONE, in RTL and in the cycle model.

    python bench/utilization.py [--rows 16 --cols 16] [--json]

Utilization is useful MACs / (PEs × cycles). `limit` is the share of the PEs that the shape itself allows: a tile of R
weight rows takes R cycles to load, so that M < R activation vectors leave the array waiting for weights.
"""

import argparse
import json
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from celosia.host.compile import compile_network
from celosia.host.models.ir import Dense, Network
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.core import CoreSimulator
from celosia.sim.cycles.model import predict
from celosia.sim.golden.systolic import run_layer

SHAPES = [  # M, K, N, weights stream
    (64, 64, 64, False),
    (128, 128, 128, False),
    (256, 256, 256, False),
    (256, 256, 256, True),
    (512, 512, 512, False),
    (100, 100, 100, False),
    (65, 129, 257, False),
    (1, 1024, 1024, False),
    (4, 1024, 1024, False),
    (16, 1024, 1024, False),
]


def gemm(M: int, K: int, N: int, seed: int = 1) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    layer = Dense(
        name="gemm",
        weights=rng.integers(-128, 128, (K, N)).astype(np.int8),
        bias=rng.integers(-1000, 1000, N),
        multiplier=rng.integers(2**30, 2**31, N),
        shift=np.full(N, -9),
        rounding="double",
        input_zero_point=-3,
        output_zero_point=5,
        minimum=-128,
        maximum=127,
    )
    return Network(name="gemm", layers=[layer], input_shape=(K,)), rng.integers(-128, 128, (M, K))


def limit(M: int, K: int, N: int, rows: int, cols: int) -> float:
    """Return the utilization that loading a row of weights per cycle and whole columns of PEs allow."""
    edge = K % rows
    cycles = K // rows * max(M, rows) + (max(M, edge) if edge else 0)
    return M * K * N / (rows * cols * cycles * -(-N // cols))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--cols", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="one JSON object per shape")
    options = parser.parse_args()
    # One config for all shapes, so that it is built once. Weights stream when they are more than it holds.
    config = AcceleratorConfig(
        engine=SystolicConfig(rows=options.rows, cols=options.cols),
        weight_depth=1 << 16,
        input_depth=1 << 14,
        output_depth=1 << 14,
        parameter_depth=1 << 10,
    )
    streaming = AcceleratorConfig(engine=config.engine, weight_depth=2048, input_depth=1 << 14, output_depth=1 << 14)
    table = Table(title=f"GEMM on {options.rows} × {options.cols}, RUN to DONE")
    for column in (
        "M × K × N",
        "weights",
        "cycles",
        "utilization",
        "limit",
        "of limit",
        "equal",
        "model",
        "M cycles/s",
    ):
        table.add_column(column, justify="left" if column == "weights" else "right")
    simulators: dict[str, CoreSimulator] = {}
    failed = False
    for M, K, N, stream in SHAPES:
        used = streaming if stream else config
        if used.hash not in simulators:
            simulators[used.hash] = CoreSimulator(used)
        simulator = simulators[used.hash]
        network, x = gemm(M, K, N)
        program = compile_network(network, used, batch=M)
        for memory, words in program.image.items():
            simulator.write(memory, words)
        simulator.write("inputs", program.pack_inputs(x))
        run = program.run_parameters(1, stream=False)
        begin = time.perf_counter()
        result = simulator.run(run, weights=program.weight_stream)
        seconds = time.perf_counter() - begin
        outputs = program.unpack_outputs(simulator.read("outputs", program.output_words), M)
        equal = bool(np.array_equal(outputs, run_layer(network.layers[0], x)))
        begin = time.perf_counter()
        cycles = predict(used, [step.fields for step in program.steps], run)
        model_seconds = time.perf_counter() - begin
        cycle_exact = cycles.causes == result.causes
        failed |= not (equal and cycle_exact)
        utilization = M * K * N / (options.rows * options.cols * result.total_cycles)
        most = limit(M, K, N, options.rows, options.cols)
        figures = {
            "shape": [M, K, N],
            "weights": "streamed" if program.weight_stream is not None else "resident",
            "cycles": result.total_cycles,
            "utilization": utilization,
            "limit": most,
            "bit_exact": equal,
            "cycle_exact": cycle_exact,
            "causes": result.causes,
            "cycles_per_second": result.total_cycles / seconds,
            "model_microseconds": model_seconds * 1e6,
        }
        if options.json:
            print(json.dumps(figures), flush=True)
        table.add_row(
            f"{M} × {K} × {N}",
            str(figures["weights"]),
            f"{result.total_cycles:,}",
            f"{utilization:.2%}",
            f"{most:.2%}",
            f"{utilization / most:.2%}",
            "yes" if equal and cycle_exact else "NO",
            f"{model_seconds * 1e6:,.0f} µs",
            f"{result.total_cycles / seconds / 1e6:.2f}",
        )
    if not options.json:
        Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
