"""EIE's nine benchmark layers on Celosia's sparse engine with 64 PEs, beside what the paper measured.

    python bench/eie.py [--layers Alex-7 FC8-like] [--rtl] [--seed 1] [--table 4] [--json]
    python bench/eie.py --file layer.npz

Cycles are those from RUN to DONE of one vector: fetching the descriptor, loading the codebook, merging and writing the
results included. They are the cycle model's, which is exact; `--rtl` runs the RTL, too, and compares every output and
every counter. `ideal` is non-zero weights in active columns / 64. `EIE mode` is the paper's machine on the same RTL:
rows dealt in turn, 4-bit relative indices with padding, a queue that holds 7 columns, a cycle for each empty column,
the bias as one more column; its cycles are counted as the paper's authors do, from the first broadcast to the last
product. Storage is that of PEs that share no rows.

`--file` takes a layer of your own: an .npz with `codes` (K, N) uint8, 0 for pruned weights, `codebook` (up to 16
integers of 16 bits, the first 0), `bias` (N,) integers and `x` (K,) integers of 16 bits.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from eie_layers import LAYERS, MEGAHERTZ, PES, SparseLayer, draw_fc8, draw_layer
from rich.console import Console
from rich.table import Table

from celosia.host.compile import compile_network
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import EIE, SparseOptions
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.sim import reference
from celosia.sim.core import CoreSimulator

FC8_CYCLES = 7_926  # of the real FC8 in the simulator of EIE's authors


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """A layer with one input vector.

    Parameters
    ----------
    name : str
    layer : CompressedDense
    x : ndarray (1, K) of int64
    theoretical, actual : float
        Cycles of the paper, NaN where there are none.
    """

    name: str
    layer: CompressedDense
    x: np.ndarray
    theoretical: float = math.nan
    actual: float = math.nan

    @property
    def ideal(self) -> float:
        used = np.count_nonzero(self.layer.codes, axis=1)
        return float(used[self.x[0] != 0].sum() / PES)


def drawn(name: str, seed: int, table: int) -> Workload:
    """Return one of the paper's layers, or the one like the FC8 that its authors published."""
    fc8 = name == "FC8-like"
    sparse = draw_fc8() if fc8 else draw_layer(name, seed=seed, table=table)
    published = LAYERS["Alex-8"] if fc8 else LAYERS[name]
    return Workload(
        name=name,
        layer=compressed(name, sparse, seed),
        x=sparse.activations[None].astype(np.int64),
        theoretical=math.nan if fc8 else published.theoretical * MEGAHERTZ,
        actual=FC8_CYCLES if fc8 else published.actual * MEGAHERTZ,
    )


def compressed(name: str, sparse: SparseLayer, seed: int) -> CompressedDense:
    rng = np.random.default_rng(seed)
    codes = np.zeros(sparse.shape, dtype=np.uint8)
    codes[sparse.cols, sparse.rows] = sparse.codes
    codebook = np.concatenate([[0], np.sort(rng.integers(-3000, 3000, 15))])
    return CompressedDense(
        name=name,
        codes=codes,
        codebook=codebook,
        bias=rng.integers(-(1 << 16), 1 << 16, sparse.outputs),
        shift=14,
        minimum=0,
        maximum=32767,
        input_dtype="int16",
        output_dtype="int16",
    )


def from_file(path: Path) -> Workload:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            codes, codebook, bias, x = (arrays[name] for name in ("codes", "codebook", "bias", "x"))
    except (OSError, KeyError, ValueError) as error:
        raise SystemExit(f"{path}: it is no .npz file with codes, codebook, bias and x ({error}).") from None
    layer = CompressedDense(
        name=path.stem,
        codes=codes.astype(np.uint8),
        codebook=codebook,
        bias=bias,
        shift=14,
        minimum=-32768,
        maximum=32767,
        input_dtype="int16",
        output_dtype="int16",
    )
    return Workload(name=path.stem, layer=layer, x=x[None].astype(np.int64), actual=FC8_CYCLES)


def config_for(workload: Workload, *, group: int) -> AcceleratorConfig:
    """Return 64 PEs with memories that hold the layer: 10 bits an entry where PEs share no rows."""
    K, N = workload.layer.codes.shape
    depth = 1 << int(np.count_nonzero(workload.layer.codes) * 1.8 / PES).bit_length()
    vector = 1 << max(-(-max(K + 1, N) // PES), 2).bit_length()
    return AcceleratorConfig(
        engine=SparseConfig(
            pes=PES,
            queue_depth=32 if group > 1 else 16,
            group=group,
            index_width=6 + group.bit_length() - 1,
            accumulator_rows=512 if group > 1 else 256,
            pointer_depth=2 * (K // 2 + PES + 2),
        ),
        weight_depth=depth,
        parameter_depth=256,
        program_depth=32,
        input_depth=vector,
        activation_depth=2,
        output_depth=vector,
    )


def with_bias_column(workload: Workload) -> Workload:
    """Return the layer with its bias as one more column, for an input that is always 1, as EIE has it.

    Only its cycles are of interest: the bias is not one of the codebook's values.
    """
    column = np.where(workload.layer.bias != 0, 1, 0).astype(np.uint8)
    layer = replace(
        workload.layer,
        codes=np.concatenate([workload.layer.codes, column[None]]),
        bias=np.zeros_like(workload.layer.bias),
    )
    return replace(workload, layer=layer, x=np.concatenate([workload.x, [[1]]], axis=1))


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one layer took."""

    program: Program
    cycles: int
    causes: dict[str, int]
    equal: bool | None = None
    seconds: float = math.nan

    @property
    def column_cycles(self) -> int:
        """From the first broadcast to the last product."""
        return sum(self.causes[name] for name in ("compute", "padding", "empty_column", "queue_full", "starved"))


def execute(workload: Workload, config: AcceleratorConfig, options: SparseOptions, *, rtl: bool) -> Run:
    """Compile a layer and foretell its cycles; run it on the RTL, too, if asked for."""
    network = Network(name=workload.name, layers=[workload.layer], input_shape=(workload.x.shape[1],))
    program = compile_network(network, config, options=options)
    prediction = reference.predict(program, workload.x)
    run = Run(program=program, cycles=prediction.total, causes=prediction.causes)
    if not rtl:
        return run
    simulator = CoreSimulator(config, lambda stage: print(f"{workload.name}: {stage}", file=sys.stderr))
    for memory, words in program.image.items():
        simulator.write(memory, words)
    simulator.write("inputs", program.pack_inputs(workload.x))
    begin = time.perf_counter()
    result = simulator.run(program.run_parameters(1, stream=False))
    seconds = time.perf_counter() - begin
    outputs = program.unpack_outputs(simulator.read("outputs", program.output_words), 1)
    simulator.close()
    equal = bool(np.array_equal(outputs, reference.golden(program, workload.x))) and result.causes == prediction.causes
    return replace(run, equal=equal, seconds=seconds)


def storage(program: Program) -> tuple[float, float]:
    """Return the bits of weight and index, and of pointers, per non-zero weight."""
    arranged, config = program.layers[0].arranged, program.config
    entries = [tile.entries for tile in arranged.tiles]
    pointers = sum(each.pointers.size for each in entries) * config.weight_depth.bit_length()
    bits = sum(each.count for each in entries) * config.engine.entry_width
    return bits / arranged.work, pointers / arranged.work


def measure(workload: Workload, *, rtl: bool) -> dict[str, object]:
    plain = config_for(workload, group=1)
    best = execute(workload, config_for(workload, group=8), SparseOptions(), rtl=rtl)
    alone = execute(workload, plain, SparseOptions(), rtl=False)
    eie = execute(with_bias_column(workload), plain, EIE, rtl=False)
    weight_bits, pointer_bits = storage(alone.program)
    return {
        "layer": workload.name,
        "ideal": workload.ideal,
        "theoretical": workload.theoretical,
        "actual": workload.actual,
        "eie_mode": eie.column_cycles,
        "eie_mode_total": eie.cycles,
        "cycles": best.cycles,
        "column_cycles": best.column_cycles,
        "cycles_without_groups": alone.cycles,
        "causes": best.causes,
        "group": best.program.layers[0].arranged.tiles[0].schedule.group,
        "speedup": workload.actual / best.cycles,
        "of_ideal": workload.ideal / best.cycles,
        "weight_bits": weight_bits,
        "pointer_bits": pointer_bits,
        "rtl_equal": best.equal,
        "rtl_seconds": best.seconds,
        "rtl_cycles_per_second": best.cycles / best.seconds,
    }


def table_of(figures: list[dict[str, object]]) -> Table:
    table = Table(title=f"{PES} PEs, one vector, cycles")
    heads = ("layer", "paper: theory", "actual", "EIE mode", "ideal", "best, RUN to DONE", "of ideal", "actual / best")
    for head in (*heads, "no groups", "bits: weight + index", "pointers", "RTL equal", "RTL k cycles/s"):
        table.add_column(head, justify="left" if head == "layer" else "right")

    def number(value: object, form: str = ",.0f") -> str:
        return "" if isinstance(value, float) and math.isnan(value) else format(value, form)

    for row in figures:
        table.add_row(
            str(row["layer"]),
            *(number(row[name]) for name in ("theoretical", "actual", "eie_mode", "ideal", "cycles")),
            *(number(row["of_ideal"], ".1%"), number(row["speedup"], ".3f"), number(row["cycles_without_groups"])),
            *(number(row["weight_bits"], ".2f"), number(row["pointer_bits"], ".2f")),
            {None: "", True: "yes", False: "NO"}[row["rtl_equal"]],  # type: ignore[index]
            number(row["rtl_cycles_per_second"] / 1000),  # type: ignore[operator]
        )
    return table


def summary(figures: list[dict[str, object]]) -> str:
    nine = [row for row in figures if row["layer"] in LAYERS]
    if len(nine) < len(LAYERS):
        return ""

    def geometric(values: list[float]) -> float:
        return float(np.exp(np.mean(np.log(values))))

    best = geometric([float(row["speedup"]) for row in nine])  # type: ignore[arg-type]
    eie = geometric([row["actual"] / row["eie_mode"] for row in nine])  # type: ignore[operator]
    share = float(np.mean([row["of_ideal"] for row in nine]))  # type: ignore[arg-type]
    most = max(float(row["weight_bits"]) for row in nine)  # type: ignore[arg-type]
    return (
        f"Nine layers: {best:.3f} × as fast as the paper's actual times (geometric mean), {share:.1%} of the ideal "
        f"(mean); EIE mode {eie:.3f} ×; at most {most:.2f} bits per non-zero weight for weight and index."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*LAYERS, "FC8-like"]
    parser.add_argument("--layers", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--file", type=Path, help="a layer of your own instead")
    parser.add_argument("--rtl", action="store_true", help="run the RTL, too: a build of a minute for each layer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=int, choices=(3, 4), default=4, help="whose work: see bench/eie_layers.py")
    parser.add_argument("--json", action="store_true", help="one JSON object per layer")
    options = parser.parse_args()
    figures = []
    for name in [options.file] if options.file else options.layers:
        workload = from_file(name) if options.file else drawn(name, options.seed, options.table)
        figures.append(measure(workload, rtl=options.rtl))
        if options.json:
            print(json.dumps(figures[-1]), flush=True)
    if not options.json:
        console = Console(width=None if sys.stdout.isatty() else 180)
        console.print(table_of(figures), summary(figures))
    return 1 if any(row["rtl_equal"] is False for row in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
