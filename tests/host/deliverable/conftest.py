import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.deliverable.vectors import Vectors, golden_vectors
from celosia.host.fit import fit_memories
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.rtl.compiler import find_compiler, verilator_root

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=2, cols=2))


@pytest.fixture(scope="session")
def tiny(networks) -> tuple[Program, np.ndarray]:
    """A network for a 2×2 array, five inputs to three outputs, and two inputs."""
    rng = np.random.default_rng(7)
    builder = networks.Builder(rng, (5,))
    builder.dense(0, 4)
    builder.dense(1, 3)
    network: Network = builder.network()
    return compile_network(network, fit_memories(network, CONFIG)), builder.inputs(2)


@pytest.fixture(scope="session")
def vectors(tiny) -> Vectors:
    """What is foretold of the tiny network."""
    return golden_vectors(*tiny, reference)


@pytest.fixture
def simulate() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of a folder's Makefile's targets where no Python is; skips without the programs."""

    def make(target: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", target], cwd=folder, env={"PATH": str(_programs(target, folder))}, capture_output=True, text=True
        )

    return make


def _programs(target: str, folder: Path) -> Path:
    """A folder with nothing but what a Makefile may call."""
    needed = ["make", "sh", "mkdir", "cat", "grep", "rm"]
    if target == "icarus":
        needed += ["iverilog", "vvp"]
    else:
        needed += ["g++", "c++", "ar", "as", "ld", "xargs", "echo", "cp"]
    found = {name: shutil.which(name) for name in needed}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    programs = folder.parent / f"programs-{target}"
    programs.mkdir(exist_ok=True)
    for name, path in found.items():
        if not (programs / name).exists():
            (programs / name).symlink_to(os.path.realpath(str(path)) if name != "c++" else str(path))
    root = verilator_root()
    if target != "icarus":
        if root is None or find_compiler() is None:
            pytest.skip("verilator and a C++ compiler are needed")
        # The compiler's effort would take longer than the simulation.
        flags = '-MAKEFLAGS "OPT_FAST=-O0 OPT_GLOBAL=-O0"'
        script = f'#!/bin/sh\nVERILATOR_ROOT={root} exec {root}/bin/verilator_bin "$@" {flags}\n'
        (programs / "verilator").write_text(script)
        (programs / "verilator").chmod(0o755)
    return programs
