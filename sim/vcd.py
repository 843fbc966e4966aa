"""Reads waveforms: what named signals held in every cycle of a VCD file that `Simulator.trace` wrote."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from celosia.sim.rtl import SimulationError


@dataclass(frozen=True, kw_only=True)
class Waves:
    """Signals by cycle.

    Parameters
    ----------
    start : int
        Cycle of the first value.
    values : mapping
        By name, one unsigned number per cycle: what the clock edge at the cycle's end sees.
    widths : mapping
        By name, bits.
    """

    start: int
    values: Mapping[str, list[int]]
    widths: Mapping[str, int]

    @property
    def stop(self) -> int:
        """First cycle after the last value."""
        return self.start + min(map(len, self.values.values()), default=0)

    def at(self, name: str, cycle: int, *, signed: bool = False) -> int:
        """Return what a signal held in a cycle."""
        value = self.values[name][cycle - self.start]
        return value - (1 << self.widths[name]) if signed and value >> (self.widths[name] - 1) else value


def read_waves(path: Path, names: Iterable[str], *, start: int, top: str) -> Waves:
    """Read some signals of a VCD file with two time steps per cycle, clock low and clock high.

    Parameters
    ----------
    path : Path
        The file.
    names : iterable of str
        Signals, by their path below `top`: `engine.array.psums`.
    start : int
        Cycle of the first time step.
    top : str
        Scope below which the names are.

    Raises
    ------
    SimulationError
        The file has no signal of such a name.
    """
    wanted = list(dict.fromkeys(names))
    with path.open(encoding="ascii") as file:
        declared: dict[str, tuple[str, int]] = {}
        scopes: list[str] = []
        for line in file:
            words = line.split()
            if not words:
                continue
            match words[0]:
                case "$scope":
                    scopes.append(words[2])
                case "$upscope":
                    scopes.pop()
                case "$var":
                    declared[".".join([*scopes, words[4]])] = words[3], int(words[2])
                case "$enddefinitions":
                    break
        keys = {name: _find(declared, name, top, path) for name in wanted}
        changes = {code: 0 for code, _ in keys.values()}
        history: dict[str, list[int]] = {code: [] for code in changes}
        first: int | None = None
        for line in file:
            if line[0] == "#":
                time = int(line[1:])
                if first is None:
                    first = time
                elif (time - first) % 2 == 1:  # the low half of a cycle is over: what it showed is what the edge saw
                    for code, value in changes.items():
                        history[code].append(value)
            elif line[0] == "b":
                bits, code = line[1:].split()
                if code in changes:
                    changes[code] = int(bits, 2)
            elif line[0] in "01" and line[1:-1] in changes:
                changes[line[1:-1]] = int(line[0])
    return Waves(
        start=start,
        values={name: history[code] for name, (code, _) in keys.items()},
        widths={name: width for name, (_, width) in keys.items()},
    )


def _find(declared: Mapping[str, tuple[str, int]], name: str, top: str, path: Path) -> tuple[str, int]:
    for prefix in ("", "TOP."):  # Verilator puts a scope of its own around the top
        if (full := f"{prefix}{top}.{name}") in declared:
            return declared[full]
    raise SimulationError(f"waveform {path.name} has no signal {top}.{name}.")
