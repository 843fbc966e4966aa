"""celosia simulate: one random matrix product on the RTL of the core, or the RTL as a device for other programs."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from celosia.host.cli.machines import describe, simulated_core
from celosia.host.cli.options import Cols, ConfigFile, EngineName, Json, Rows, Settings, read_config
from celosia.host.cli.output import emit, note, shares, show, table, working, yes
from celosia.host.cli.products import random_product
from celosia.host.cli.serve import serve_serial, serve_tcp
from celosia.host.compile import compile_network
from celosia.host.errors import CelosiaError
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig

LARGEST = 1 << 20  # of M, K and N


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A product on the core: how it was run, and what was found.

    Parameters
    ----------
    program : Program
    iterations : int
        How many runs of the layers it took.
    stream : bool
        Whether inputs and results streamed; else they were in their memories before and after.
    counters, foretold : mapping of str to int
        Cycles by cause: the RTL's counters, and the cycle model's.
    bit_exact : bool
        Whether every output equals the golden model's.
    macs : int
        Useful multiply-accumulates.
    cycles_per_second : float
        Clock cycles simulated per second.
    """

    program: Program
    iterations: int
    stream: bool
    counters: Mapping[str, int]
    foretold: Mapping[str, int]
    bit_exact: bool
    macs: int
    cycles_per_second: float

    @property
    def cycle_exact(self) -> bool:
        """Whether every counter equals the cycle model's."""
        return dict(self.counters) == self.program.config.counted(self.foretold)

    @property
    def causes(self) -> Mapping[str, int]:
        """Cycles by cause: the counters', or the model's where they are equal, as narrow counters overflow."""
        return self.foretold if self.cycle_exact else self.counters

    @property
    def cycles(self) -> int:
        """Cycles from start to end."""
        return sum(self.causes.values())

    @property
    def utilization(self) -> float:
        """Useful MACs / (PEs × cycles), 0 to 1."""
        return self.macs / (self.program.config.engine.pe_count * self.cycles)


def compile_product(network: Network, config: AcceleratorConfig, M: int, *, stream: bool) -> Program:
    """Compile for one iteration if the memories hold everything and nothing has to stream, else for several."""
    program = compile_network(network, config, batch=M)
    if not stream and program.vectors >= M:
        return program
    batch = min(M, program.vectors)
    while 2 * program.input_words > config.input_depth or 2 * program.output_words > config.output_depth:
        if batch == 1:
            raise CelosiaError(
                f"a row of {program.layers[0].shape[1]} inputs or its results do not fit half a memory; "
                "set input_depth or output_depth higher."
            )
        batch = -(-batch // 2)
        program = compile_network(network, config, batch=batch)
    return program


def simulate_product(
    core: Any, network: Network, inputs: np.ndarray, *, stall: float = 0.0, seed: int = 1
) -> Simulation:
    """Run a layer on a simulated core and compare it.

    Parameters
    ----------
    core : celosia.sim.core.CoreSimulator
    network : Network
        Of one layer.
    inputs : ndarray (M, K), integers
    stall : float
        Share of the cycles in which each stream's outer side is not willing; 0: nothing streams that need not.
    seed : int
        Of the stalls.
    """
    from celosia.sim import reference
    from celosia.sim.core import Stalls

    config: AcceleratorConfig = core.config
    program = compile_product(network, config, len(inputs), stream=stall > 0)
    iterations = -(-len(inputs) // program.vectors)
    stream = stall > 0 or iterations > 1
    stalls = Stalls(inputs=stall, weights=stall, results=stall, seed=seed)
    words = program.pack_inputs(inputs)
    weights = None if program.weight_stream is None else np.concatenate([program.weight_stream] * iterations)
    for memory, image in program.image.items():
        core.write(memory, image)
    if not stream:
        core.write("inputs", words)
    expected = sum(reference.predict(program, inputs, stream=stream).causes.values())
    limit = int(20 * expected / (1 - stall)) + 100_000
    begin = time.perf_counter()
    run = core.run(
        program.run_parameters(iterations, stream=stream),
        inputs=words if stream else None,
        weights=weights,
        stalls=stalls,
        limit=limit,
    )
    seconds = time.perf_counter() - begin
    results = run.results if stream else core.read("outputs", program.output_words)
    golden = reference.golden(program, inputs)
    cycles = max(run.total_cycles, int(expected / (1 - stall)))  # the counter may have overflowed
    gates = stalls.gates(config, 2 * cycles + 10_000)
    return Simulation(
        program=program,
        iterations=iterations,
        stream=stream,
        counters=run.causes,
        foretold=reference.predict(program, inputs, stream=stream, gates=gates).causes,
        bit_exact=bool(np.array_equal(program.unpack_outputs(results, len(inputs)), golden)),
        macs=sum(reference.useful_macs(program, inputs)),
        cycles_per_second=cycles / seconds,
    )


def simulate(
    m: Annotated[
        int | None, typer.Option("--m", min=1, max=LARGEST, metavar="M", help="Rows of the inputs (vectors).")
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, max=LARGEST, metavar="K", help="Columns of the inputs.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", min=1, max=LARGEST, metavar="N", help="Columns of the results.")
    ] = None,
    engine: EngineName = None,
    config: ConfigFile = None,
    rows: Rows = None,
    cols: Cols = None,
    settings: Settings = None,
    stall: Annotated[
        float, typer.Option("--stall", metavar="P", help="Share of the cycles in which each stream stalls, 0 to 0.99.")
    ] = 0.0,
    density: Annotated[
        float | None, typer.Option("--density", metavar="D", help="Share of the weights that are not 0; sparse: 0.1.")
    ] = None,
    active: Annotated[
        float | None, typer.Option("--active", metavar="A", help="Share of the inputs that are not 0; sparse: 0.35.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="S", help="Of the values and the stalls.")] = 1,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Write a waveform: .vcd, or .fst.")
    ] = None,
    cycles: Annotated[
        str, typer.Option("--cycles", metavar="A:B", help="Cycles of the waveform, A up to but not including B.")
    ] = "0:1000",
    pty: Annotated[
        bool, typer.Option("--pty", help="Instead: serve the accelerator, its UART bit by bit, as a serial port.")
    ] = False,
    pty_link: Annotated[
        Path | None, typer.Option("--pty-link", metavar="FILE", help="Symbolic link to make to that serial port.")
    ] = None,
    tcp: Annotated[
        str | None, typer.Option("--tcp", metavar="[HOST:]PORT", help="Instead: serve the accelerator on a TCP port.")
    ] = None,
    clock: Annotated[float, typer.Option("--clock", metavar="MHZ", help="Clock of the UART's device.")] = 48.0,
    baud: Annotated[float, typer.Option("--baud", metavar="B", help="Its bits per second.")] = 3e6,
    as_json: Json = False,
) -> None:
    """Multiply random M × K and K × N matrices on the RTL of the core, without its link.

    Inputs and results stay in their memories if these hold them and nothing stalls; else they stream. With --pty or
    --tcp nothing is multiplied: the whole accelerator waits for a host, such as celosia run --device, until Ctrl-C.
    """
    if pty or tcp is not None:
        product = (m, k, n, trace, density, active, stall or None)
        if (pty and tcp is not None) or any(value is not None for value in product):
            raise CelosiaError(
                "--pty and --tcp serve a whole accelerator: give one of them, and nothing about a product, "
                "such as --m, --stall, --density or --trace."
            )
        if tcp is not None and pty_link is not None:
            raise CelosiaError(
                "--pty-link is about the serial port of --pty, and --tcp has none; leave one of them out."
            )
        served = read_config(engine, file=config, rows=rows, cols=cols, settings=settings)
        if tcp is not None:
            serve_tcp(served, address=tcp, as_json=as_json)
        else:
            serve_serial(served, clock_mhz=clock, baud=baud, link=pty_link, as_json=as_json)
        return
    if m is None or k is None or n is None:
        raise CelosiaError("--m, --k and --n say what to multiply; or --pty or --tcp serve the accelerator to a host.")
    if not 0 <= stall <= 0.99:
        raise CelosiaError(f"--stall {stall} must be from 0 to 0.99.")
    for name, share in (("density", density), ("active", active)):
        if share is not None and not 0 <= share <= 1:
            raise CelosiaError(f"--{name} {share} must be from 0 to 1.")
    start, stop = _window(cycles)
    waves = _waves(trace)
    chosen = read_config(engine, file=config, rows=rows, cols=cols, settings=settings)
    network, inputs = random_product(chosen, m, k, n, seed, density=density, active=active)
    compile_product(network, chosen, m, stream=stall > 0)  # whatever does not fit is told before a long build
    temporary = trace.with_name(f".{trace.name}.{os.getpid()}.part") if trace else None
    try:
        with simulated_core(chosen, waves=waves) as core, working(f"{m} × {k} × {n} on {describe(chosen)}"):
            if temporary:
                core.trace(str(temporary), start, stop)
            simulation = simulate_product(core, network, inputs, stall=stall, seed=seed)
        if temporary and trace:
            temporary.replace(trace)
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
    report = _report(simulation, (m, k, n), stall, seed, trace)
    if as_json:
        emit(report)
    else:
        _show(simulation, report)
    if trace and start >= simulation.cycles:
        note(f"the run ended before cycle {start}, so the waveform is empty.")
    if not (simulation.bit_exact and simulation.cycle_exact):
        note(f"seed {seed}: RTL and models differ.")
        raise typer.Exit(1)


def _window(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d+):(\d*)", text)
    start, stop = (int(match[1]), int(match[2]) if match[2] else None) if match else (0, 0)
    if stop is not None and start >= stop:
        raise CelosiaError(f"--cycles {text!r} must be A:B with A below B, such as 0:1000.")
    return start, stop


def _waves(trace: Path | None) -> str:
    if trace is None:
        return ""
    waves = trace.suffix.lower().removeprefix(".")
    if waves not in ("vcd", "fst"):
        raise CelosiaError(f"--trace {trace} must end in .vcd or .fst.")
    if trace.is_dir() or not trace.parent.is_dir() or not os.access(trace.parent, os.W_OK):
        raise CelosiaError(f"{trace} cannot be written; it must be a file in a folder that exists and can be written.")
    return waves


def _report(
    simulation: Simulation, shape: tuple[int, int, int], stall: float, seed: int, trace: Path | None
) -> dict[str, Any]:
    config = simulation.program.config
    return {
        "engine": config.engine_name,
        "config_hash": config.hash,
        **dict(zip("mkn", shape, strict=True)),
        "stall": stall,
        "seed": seed,
        "streamed": simulation.stream,
        "iterations": simulation.iterations,
        "weights": simulation.program.layers[0].reason,
        "bit_exact": simulation.bit_exact,
        "cycle_exact": simulation.cycle_exact,
        "cycles": simulation.cycles,
        "causes": dict(simulation.causes),
        "causes_foretold": dict(simulation.foretold),
        "utilization": simulation.utilization,
        "cycles_per_second": round(simulation.cycles_per_second),
        "trace": None if trace is None else str(trace),
    }


def _show(simulation: Simulation, report: dict[str, Any]) -> None:
    name = describe(simulation.program.config)
    grid = table("", "RTL", "cycle model")
    about = f"{report['m']} × {report['k']} × {report['n']} on the core of {name}"
    grid.add_row("every output equals the golden model's", yes(simulation.bit_exact), "")
    grid.add_row("every counter equals the cycle model's", yes(simulation.cycle_exact), "")
    grid.add_section()
    grid.add_row("cycles", f"{simulation.cycles:,}", f"{sum(simulation.foretold.values()):,}")
    told = shares(simulation.causes)
    for cause in [*told, *(name for name, count in simulation.foretold.items() if count and name not in told)]:
        share = f"{simulation.causes[cause]:,} ({told.get(cause, 0):.1%})"
        grid.add_row(f"  {cause}", share, f"{simulation.foretold[cause]:,}")
    grid.add_section()
    grid.add_row("utilization: useful MACs / (PEs × cycles)", f"{simulation.utilization:.1%}", "")
    grid.add_row("simulated cycles per second", f"{simulation.cycles_per_second:,.0f}", "")
    moved = "streamed" if simulation.stream else "in their memories"
    times = "1 iteration" if simulation.iterations == 1 else f"{simulation.iterations} iterations"
    show(f"[bold]{about}[/bold]", grid, f"weights {report['weights']}", f"inputs and results {moved}, {times}")
    if report["trace"]:
        show(f"waveform: {report['trace']}")
