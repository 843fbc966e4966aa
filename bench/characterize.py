"""Synthesize, place and route designs drawn by chance: the table that `celosia.boards.estimate` is fitted on.

    python bench/characterize.py systolic:0-15 deep:0-10 sparse:0-12 deep-sparse:0 binary:0-12 deep-binary:0-4
    python bench/characterize.py --synthesize systolic:100-170 narrow-systolic:0-6 narrow-sparse:0-14 narrow-binary:0-14

looks at the designs of those numbers and adds them to `boards/routed.csv`; the same number is the same design. With
place and route each takes two minutes, without 20 seconds, and has no clock rate. What was built before comes from the
cache. At the end it prints how far estimates are from the designs that they are not fitted on.
"""

import argparse
import csv
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import gcd
from typing import Any

from celosia.boards.bitstream import build_bitstream, count_design
from celosia.boards.clocks import MHZ, plan_clock
from celosia.boards.estimate import TABLE, estimate_errors, read_table
from celosia.boards.limits import least_usage, too_much
from celosia.boards.table import find_board
from celosia.host.files import replacing
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.block_shapes import SHAPES
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig

BOARD = find_board("ulx3s-85f")
CLOCK_MHZ = 80
DEEPEST_BLOCK = SHAPES[-1][1]
COLUMNS = ("draw", "number", "luts", "ffs", "dsps", "brams", "fmax_mhz", "config")


def draw_systolic(draw: random.Random) -> AcceleratorConfig:
    rows, cols = (round(2 ** draw.uniform(0, 3.6)) for _ in "rc")
    shared = gcd(rows, cols)
    lanes = draw.choice([None, None, *(lanes for lanes in range(1, shared + 1) if shared % lanes == 0 and lanes <= 4)])
    engine = SystolicConfig(
        rows=rows,
        cols=cols,
        accumulator_rows=1 << draw.randint(6, 11),
        taps=draw.choice([None, None, 0]),
        lookup_tables=draw.choice([0, 4, 8, 16]) if cols >= rows else 0,
        post_lanes=lanes,
        weight_width=draw.choice([8, 8, 8, 4]),
        activation_width=draw.choice([8, 8, 8, 4]),
    )
    weights = draw.choice([1024, 2048, 4096, 6000, 8192, 12000, 16384])
    if weights * rows * cols > 1.2 * (1 << 20):
        raise ValueError("more weights than there are block RAMs for")
    return AcceleratorConfig(
        engine=engine,
        weight_depth=max(512, weights // max(1, rows * cols // 16)),
        parameter_depth=draw.choice([256, 512, 1024, 2048]),
        program_depth=draw.choice([256, 512, 1024]),
        input_depth=1 << draw.randint(8, 12),
        activation_depth=1 << draw.randint(8, 13),
        output_depth=1 << draw.randint(6, 12),
    )


def draw_deep(draw: random.Random) -> AcceleratorConfig:
    """Draw a small systolic array with memories that are several rows of block RAMs, as whole networks ask for."""
    rows, cols = draw.randint(1, 3), draw.randint(1, 4)
    config = AcceleratorConfig(
        engine=SystolicConfig(
            rows=rows,
            cols=cols,
            accumulator_rows=1 << draw.randint(6, 9),
            taps=draw.choice([None, None, 0]),
            lookup_tables=draw.choice([0, 6]) if cols >= rows else 0,
        ),
        weight_depth=draw.choice([8192, 20000, 32768, 43000, 65536]),
        parameter_depth=draw.choice([512, 1024]),
        program_depth=draw.choice([512, 1024]),
        input_depth=1 << draw.randint(8, 15),
        activation_depth=1 << draw.randint(11, 16),
        output_depth=1 << draw.randint(6, 15),
    )
    if all(memory.depth <= DEEPEST_BLOCK for memory in config.memories):
        raise ValueError("no memory of several rows of block RAMs")
    return config


def draw_sparse(draw: random.Random) -> AcceleratorConfig:
    engine = SparseConfig(
        pes=draw.choice([1, 2, 4, 4, 8, 8]),
        accumulator_rows=draw.choice([64, 128, 256]),
        pointer_depth=draw.choice([256, 512, 1024]),
        queue_depth=draw.choice([2, 4, 8, 16]),
        codebook_depth=draw.choice([64, 128, 256]),
    )
    return AcceleratorConfig(
        engine=engine,
        weight_depth=draw.choice([512, 1024, 2048, 4096]),
        parameter_depth=draw.choice([128, 256, 512]),
        input_depth=draw.choice([128, 256, 1024]),
        activation_depth=draw.choice([128, 256, 1024]),
        output_depth=draw.choice([128, 256]),
    )


def draw_binary(draw: random.Random) -> AcceleratorConfig:
    engine = BinaryConfig(
        pes=draw.choice([2, 4, 8, 16, 32]),
        simd=draw.choice([4, 8, 16, 32]),
        activation_width=draw.choice([1, 4, 8]),
    )
    return AcceleratorConfig(
        engine=engine,
        weight_depth=draw.choice([256, 512, 1024, 2048]),
        parameter_depth=draw.choice([256, 512, 1024]),
        input_depth=draw.choice([128, 512, 2048]),
        activation_depth=draw.choice([128, 512, 2048]),
        output_depth=draw.choice([128, 512, 2048]),
    )


def deepened(draw: random.Random, config: AcceleratorConfig) -> AcceleratorConfig:
    """Return the config with memories of weights, and maybe of activations, that are several rows of block RAMs."""
    return replace(
        config,
        weight_depth=draw.choice([20000, 32768, 43000, 65536]),
        activation_depth=draw.choice([config.activation_depth, 1 << 14, 1 << 15, 1 << 16]),
    )


def narrowed(draw: random.Random, config: AcceleratorConfig) -> AcceleratorConfig:
    """Return the config as small networks need it: narrow counters, some memories made of look-up tables."""
    engine: Any = config.engine
    if isinstance(engine, BinaryConfig):
        engine = replace(
            engine,
            side_width=draw.choice([2, 5, 8, 13]),
            loop_width=draw.choice([8, 10, 12, 16]),
            accumulator_width=draw.choice([10, 13, 16]),
            output_width=draw.choice([1, 2, 4, 8]),
        )
    return replace(
        config,
        engine=engine,
        counter_width=draw.choice([24, 32, 40]),
        program_depth=draw.choice([24, 32, 64, 128]),
        input_depth=1 << draw.randint(4, 7),
        activation_depth=1 << draw.randint(4, 8),
        output_depth=1 << draw.randint(4, 7),
    )


DRAWS: dict[str, Callable[[random.Random], AcceleratorConfig]] = {
    "systolic": draw_systolic,
    "deep": draw_deep,
    "sparse": draw_sparse,
    "deep-sparse": lambda draw: deepened(draw, draw_sparse(draw)),
    "binary": draw_binary,
    "deep-binary": lambda draw: deepened(draw, draw_binary(draw)),
    "narrow-systolic": lambda draw: narrowed(draw, draw_systolic(draw)),
    "narrow-sparse": lambda draw: narrowed(draw, draw_sparse(draw)),
    "narrow-binary": lambda draw: narrowed(draw, draw_binary(draw)),
}


def design(name: str, number: int) -> AcceleratorConfig:
    """Return a design by its number: the first draw that can be and has a chance to fit."""
    draw = random.Random(f"{name}{number}")
    while True:
        try:
            config = DRAWS[name](draw)
        except ValueError:
            continue
        if not too_much(least_usage(config, BOARD.device)):
            return config


def look(job: tuple[str, int, bool]) -> dict[str, Any]:
    """Return a row of the table; without figures if the design does not fit."""
    name, number, route = job
    config = design(name, number)
    plan = plan_clock(BOARD.device.family, BOARD.clock_hz, CLOCK_MHZ * MHZ)
    row: dict[str, Any] = {"draw": name, "number": number, "config": json.dumps(config.to_json())}
    if route:
        (attempt,) = build_bitstream(BOARD, config, plan, baud=BOARD.baud, seeds=(1,))
        usage = attempt.usage if attempt.fits else {}
        row["fmax_mhz"] = round(attempt.fmax_mhz, 2)
    else:
        usage = count_design(BOARD, config, plan, baud=BOARD.baud)
    return row | {kind: count.used for kind, count in usage.items()}


def jobs(ranges: list[str], route: bool) -> Iterator[tuple[str, int, bool]]:
    for text in ranges:
        name, _, numbers = text.partition(":")
        first, _, end = numbers.partition("-")
        yield from ((name, number, route) for number in range(int(first), int(end or int(first) + 1)))


def write(rows: list[dict[str, Any]]) -> None:
    """Write the table, in the order of draws and numbers."""
    order = list(DRAWS)
    rows.sort(key=lambda row: (order.index(row["draw"]), int(row["number"])))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(TABLE) as file:
        file.write(text.getvalue().encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ranges", nargs="*", metavar="ENGINE:FIRST-END", help="designs to look at, without END itself")
    parser.add_argument("--synthesize", action="store_true", help="do not place and route")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="designs at a time")
    options = parser.parse_args()
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    if TABLE.exists():
        with TABLE.open(newline="", encoding="utf-8") as file:
            rows = {(row["draw"], int(row["number"])): row for row in csv.DictReader(file)}
    with ProcessPoolExecutor(options.jobs) as pool:
        for row in pool.map(look, jobs(options.ranges, not options.synthesize)):
            print(row["draw"], row["number"], {name: row.get(name) for name in COLUMNS[2:-1]}, flush=True)
            if row.get("luts"):
                rows[row["draw"], row["number"]] = row
                write(list(rows.values()))
    read_table.cache_clear()
    for engine in ENGINES:
        print(engine)
        for name, error in estimate_errors([engine]).items():
            print(
                f"  {name}: median {error['median']:.1%}, p95 {error['p95']:.1%} on {error['designs']} held-out designs"
            )


if __name__ == "__main__":
    main()
