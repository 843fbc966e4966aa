"""SCALE-Sim 3.0.0 beside Celosia: the same layers, weight-stationary, on the same array; cycles and seconds.

    python bench/scalesim.py [TOPOLOGY.csv …] [--rows 32 --cols 32 --layers NAME … --smallest N --repeat 25] [--traces]

Without topologies: those of $CELOSIA_DATA/scalesim. SCALE-Sim takes minutes to hours for whole networks (its speed is
told); `--smallest 1` takes the layer of the fewest cycles of each. It runs in a virtual environment of its own, in
Celosia's cache folder, which is made first if need be.

Seconds of SCALE-Sim: reading its config, topology and layout, the simulation, and its reports; not the start of Python,
imports, and traces, which its own command always writes and `--traces` has it write. It estimates bandwidth
(`InterfaceBandwidth: CALC`), so that it never stalls. Seconds of Celosia: the network is made, its memories are chosen,
it is compiled, and its cycles are counted; nothing is kept in between but what depends on the array alone. The median
of `--repeat` times, and in JSON also the first time, when nothing has been touched before.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore.compute_report import PARTS, compute_report, count, scalesim_cycles
from celosia.sim.explore.topology import CONVOLUTION, GEMM, ConvLayer, Layer, Topology, read_topology
from celosia.sim.paths import cache_directory

REQUIREMENTS = ("scalesim==3.0.0", "numpy<2.4")  # later numpy takes away what it uses
CYCLES = "Total Cycles"

CONFIG = """\
[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: 1024
FilterSramSzkB: 1024
OfmapSramSzkB: 1024
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {dataflow}
ReadRequestBuffer: 64
WriteRequestBuffer: 64
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""

DRIVER = """\
import csv, json, sys, time
from scalesim.scale_sim import scalesim

answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    folder, is_gemm, traces = json.loads(line)
    begin = time.perf_counter()
    simulation = scalesim(
        save_disk_space=not traces,
        verbose=False,
        config=folder + "/config.cfg",
        topology=folder + "/topology.csv",
        layout=folder + "/layout.csv",
        input_type_gemm=is_gemm,
    )
    simulation.run_scale(top_path=folder)
    seconds = time.perf_counter() - begin
    with open(folder + "/run/COMPUTE_REPORT.csv") as file:
        (row,) = csv.DictReader(file, skipinitialspace=True)
    print(json.dumps({"seconds": seconds, "report": row}), file=answers, flush=True)
"""


def environment() -> Path:
    """Return the Python that has SCALE-Sim, and make its virtual environment first if there is none."""
    folder = cache_directory() / REQUIREMENTS[0].replace("==", "-")
    python, done = folder / "bin" / "python", folder / "installed"
    if sys.platform == "win32":
        python = folder / "Scripts" / "python.exe"
    if not done.exists():
        print(f"making a virtual environment for {REQUIREMENTS[0]} in {folder} …", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
        if subprocess.run(install, check=False).returncode:
            raise CelosiaError(f"{' and '.join(REQUIREMENTS)} cannot be installed into {folder}.")
        done.touch()
    return python


def write_job(folder: Path, layer: Layer, rows: int, cols: int, dataflow: str) -> None:
    """Write SCALE-Sim's input files for one layer."""
    layer = replace(layer, name="layer")
    head: tuple[str, ...]
    cells: tuple[str | int, ...]
    if isinstance(layer, ConvLayer):
        head, stride = (*CONVOLUTION, "Strides"), layer.strides[0]
        cells = (layer.name, *layer.image, *layer.kernel, layer.channels, layer.filters, stride)
    else:
        head, cells = GEMM, (layer.name, layer.M, layer.N, layer.K)
    (folder / "config.cfg").write_text(CONFIG.format(rows=rows, cols=cols, dataflow=dataflow))
    (folder / "topology.csv").write_text("".join(",".join(map(str, line)) + ",\n" for line in (head, cells)))
    factors = ("layer", *[1] * 20)
    (folder / "layout.csv").write_text("".join(",".join(map(str, line)) + ",\n" for line in (factors, factors)))


def scalesim(layers: list[Layer], rows: int, cols: int, dataflow: str, *, traces: bool) -> Iterator[dict[str, Any]]:
    """Run SCALE-Sim layer by layer, and yield its seconds and its row of the report.

    Raises
    ------
    CelosiaError
        It fails.
    """
    command = [str(environment()), "-c", DRIVER]
    with (
        tempfile.TemporaryDirectory() as temporary,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=temporary,  # not that of a file named scalesim.py
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for index, layer in enumerate(layers):
                folder = Path(temporary) / str(index)
                folder.mkdir()
                write_job(folder, layer, rows, cols, dataflow)
                job = [str(folder), not isinstance(layer, ConvLayer), traces]
                print(json.dumps(job), file=process.stdin, flush=True)
                answer = process.stdout.readline()
                if not answer:
                    raise CelosiaError(f'SCALE-Sim failed on layer "{layer.name}", see above.')
                yield json.loads(answer)
        finally:
            process.stdin.close()


def chosen(topology: Topology, names: list[str], smallest: int | None, config: AcceleratorConfig) -> Topology:
    """Return the topology with the layers that are to be run, in order, those that SCALE-Sim can read."""
    engine: Any = config.engine
    square = [layer for layer in topology.layers if not isinstance(layer, ConvLayer) or len(set(layer.strides)) == 1]
    for layer in topology.layers:
        if layer not in square:
            print(f"{topology.name} {layer.name}: left out, as SCALE-Sim 3.0.0 reads one stride only", file=sys.stderr)
    if names:
        square = [layer for layer in square if layer.name in names]
    order = sorted(square, key=lambda layer: scalesim_cycles(layer, engine.rows, engine.cols))
    keep = {id(layer) for layer in order[:smallest]}
    return replace(topology, layers=tuple(layer for layer in square if id(layer) in keep))


def compare(
    topology: Topology, config: AcceleratorConfig, repeat: int, dataflow: str, *, traces: bool
) -> list[dict[str, Any]]:
    """Run both on each layer, and return rows of what is to be told."""
    engine: Any = config.engine
    counts, seconds = [], []
    for layer in topology.layers:
        times = []
        for _ in range(repeat):
            begin = time.perf_counter()
            counted = count(layer, config)
            times.append(time.perf_counter() - begin)
        counts.append(counted)
        seconds.append(times)
    rows = []
    runs = scalesim(list(topology.layers), engine.rows, engine.cols, dataflow, traces=traces)
    for ours, times, theirs in zip(compute_report(topology, config, counts), seconds, runs, strict=True):
        cycles = int(theirs["report"][CYCLES])
        rows.append(
            {
                "topology": topology.name,
                "layer": ours["Layer"],
                "gemm": [ours[name] for name in "MKN"],
                "celosia_cycles": ours[CYCLES],
                "scalesim_cycles": cycles,
                "formula_agrees": ours["SCALE-Sim Cycles (ws)"] == cycles,
                "explained": sum(ours[part] for part in PARTS) == ours[CYCLES] - cycles,
                "parts": {part: ours[part] for part in PARTS if ours[part]},
                "explanation": ours["Explanation"],
                "celosia_seconds": statistics.median(times),
                "celosia_first_seconds": times[0],
                "scalesim_seconds": theirs["seconds"],
                "ratio": theirs["seconds"] / statistics.median(times),
                "scalesim_report": {name: value for name, value in theirs["report"].items() if name},
            }
        )
        print(f"{topology.name} {ours['Layer']}: {theirs['seconds']:.2f} s", file=sys.stderr)
    return rows


def print_table(console: Console, rows: list[dict[str, Any]], title: str) -> None:
    right = ("M × K × N", "Celosia", "SCALE-Sim", "difference", "Celosia s", "SCALE-Sim s", "ratio")
    table = Table(title=title)
    for name in ("layer", *right[:3], "formula", *right[3:4], "explained", *right[4:]):
        table.add_column(name, justify="right" if name in right else "left")
    for row in rows:
        ours, theirs = row["celosia_cycles"], row["scalesim_cycles"]
        table.add_row(
            f"{row['topology']} {row['layer']}",
            " × ".join(map(str, row["gemm"])),
            f"{ours:,}",
            f"{theirs:,}",
            "yes" if row["formula_agrees"] else "NO",
            f"{ours - theirs:+,}",
            "yes" if row["explained"] else "NO",
            f"{row['celosia_seconds']:.4f}",
            f"{row['scalesim_seconds']:.2f}",
            f"{row['ratio']:,.0f} ×",
        )
    console.print(table)
    ours, theirs = (sum(row[f"{name}_seconds"] for row in rows) for name in ("celosia", "scalesim"))
    cycles = [sum(row[f"{name}_cycles"] for row in rows) for name in ("celosia", "scalesim")]
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
    console.print(f"cycles: {cycles[0]:,} and {cycles[1]:,}; seconds: {ours:.3f} and {theirs:.1f}")
    console.print(f"ratio of seconds: {theirs / ours:,.0f} × of the sums, {mean:,.0f} × geometric mean of the layers")
    console.print(f"SCALE-Sim: {cycles[1] / theirs:,.0f} cycles per second")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="TOPOLOGY")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--cols", type=int, default=32)
    parser.add_argument("--dataflow", choices=["ws"], default="ws", help="Celosia's array is weight-stationary")
    parser.add_argument("--layers", nargs="+", default=[], metavar="NAME", help="only layers of these names")
    parser.add_argument("--smallest", type=int, metavar="N", help="only the N layers of fewest cycles of each topology")
    parser.add_argument("--traces", action="store_true", help="have SCALE-Sim write its traces, as its command does")
    parser.add_argument("--repeat", type=int, default=25, help="times that Celosia counts each layer")
    parser.add_argument("--json", action="store_true", help="one JSON object per layer, on a line")
    options = parser.parse_args()
    try:
        files = options.files or sorted((Path(os.environ.get("CELOSIA_DATA", "")) / "scalesim").glob("*.csv"))
        config = AcceleratorConfig(engine=SystolicConfig(rows=options.rows, cols=options.cols))
        topologies = [chosen(read_topology(file), options.layers, options.smallest, config) for file in files]
        rows = [
            row
            for topology in topologies
            for row in compare(topology, config, options.repeat, options.dataflow, traces=options.traces)
        ]
        if not rows:
            raise CelosiaError("there is no layer; name topologies, or set CELOSIA_DATA to the folder of scalesim/.")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        for row in rows:
            print(json.dumps(row))
    else:
        console = Console(width=None if sys.stdout.isatty() else 140)
        print_table(console, rows, f"{options.rows} × {options.cols}, weight-stationary: cycles and seconds")
    return 0 if all(row["formula_agrees"] and row["explained"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
