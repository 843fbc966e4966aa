"""Builds a component under cocotb's runner, from the Verilog that users get, and runs a bench module on it."""

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
import pytest
from amaranth.lib import wiring
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from celosia.hw.verilog import write_verilog
from celosia.sim.rtl.cache import cached, digest
from celosia.sim.rtl.compiler import verilator_root

HERE = Path(__file__).parent
BUILD_FLAGS = ("-Wno-fatal", "--x-assign", "unique", "--x-initial", "unique")  # unknown registers are random
# make is not given the precompiled header that GCC would link; unoptimized code is compiled faster than it is run.
MAKE_FLAGS = "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-lpthread OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"


def build(component: wiring.Component, name: str) -> Path:
    """Return the folder with a program that simulates the component under cocotb, built or from the cache."""
    verilog = write_verilog(component, name)

    def fill(folder: Path) -> None:
        shutil.copytree(runtime(), folder / "build")  # make sees that these objects are newer than their sources
        compile_verilog(verilog, name, folder)
        (folder / "build" / name).rename(folder / name)
        shutil.rmtree(folder / "build")

    return cached("cocotb", key(verilog, name), fill)


def runtime() -> Path:
    """Return the folder with Verilator's runtime as objects: the same for every component."""

    def fill(folder: Path) -> None:
        compile_verilog("module nothing(input clk);\nendmodule\n", "nothing", folder)
        for item in (folder / "build").glob("verilated*.o"):
            item.rename(folder / item.name)
        shutil.rmtree(folder / "build")

    return cached("cocotb-runtime", key(), fill)


def key(*parts: str) -> str:
    return digest(*parts, str(verilator_root()), sys.version, cocotb.__version__, MAKE_FLAGS, *BUILD_FLAGS)


def compile_verilog(verilog: str, name: str, folder: Path) -> None:
    """Build a program in `folder`/build."""
    root = verilator_root()
    assert root is not None, "the verilator package is not installed"
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as temporary:
        tool = Path(temporary) / "verilator"
        tool.symlink_to(root / "bin" / "verilator_bin")  # the program itself: no perl around it
        source = Path(temporary) / f"{name}.v"
        source.write_text(verilog)
        patch.setenv("PATH", temporary, prepend=os.pathsep)
        patch.setenv("VERILATOR_ROOT", str(root))
        patch.setenv("MAKEFLAGS", MAKE_FLAGS)
        get_runner("verilator").build(
            sources=[source],
            hdl_toplevel=name,
            build_args=list(BUILD_FLAGS),
            build_dir=folder / "build",
            timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )


@pytest.fixture
def run_bench(tmp_path: Path) -> Callable[..., None]:
    """Return what runs all tests of a bench module of this folder on a component."""

    def run(component: wiring.Component, name: str, module: str, settings: Any) -> None:
        folder = build(component, name)
        seed = random.SystemRandom().randrange(1 << 32)
        runner = get_runner("verilator")
        results = tmp_path / "results.xml"
        log = tmp_path / "bench.log"
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(HERE)  # the simulator's Python looks where this one does
                runner.test(
                    test_module=module,
                    hdl_toplevel=name,
                    hdl_toplevel_lang="verilog",
                    build_dir=folder,
                    test_dir=tmp_path,
                    results_xml=str(results),
                    seed=seed,
                    test_args=[f"+verilator+seed+{seed % 0x7FFFFFFF + 1}", "+verilator+rand+reset+2"],
                    extra_env={"CELOSIA_BENCH": json.dumps(settings)},
                    log_file=log,
                )
        except SystemExit:
            pytest.fail(f"{module}, seed {seed}:\n{log.read_text()[-6000:]}")
        tests, failed = get_results(results)
        assert tests > 0, f"{module} has no tests"
        assert failed == 0, f"{module}, seed {seed}:\n{log.read_text()[-6000:]}"

    return run
