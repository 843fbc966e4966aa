"""Reads waveforms: what named signals held in every cycle of a VCD file that `Simulator.trace` wrote."""

import re
from collections.abc import Iterable, Mapping, Sequence
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
        return integer_of(self.values[name][cycle - self.start], self.widths[name], signed=signed)


def integer_of(word: int, width: int, *, signed: bool) -> int:
    """Return the number in the lowest bits of a word."""
    value = word & ((1 << width) - 1)
    return value - (1 << width) if signed and value >> (width - 1) else value


@dataclass(frozen=True)
class _Part:
    """Bits of a signal from `low` on: their code in the file, and how many there are."""

    code: str
    low: int
    width: int


def read_waves(path: Path, names: Iterable[str], *, start: int, top: str, optional: Iterable[str] = ()) -> Waves:
    """Read some signals of a VCD file with two time steps per cycle, clock low and clock high.

    Verilog has some inputs in pieces, called `data_11_0` and `data_27_12`: here `data` is all of them together, and 0
    where no piece is, which are bits that nothing reads.

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
    optional : iterable of str
        Signals that the file may not have; they are left out then.

    Raises
    ------
    SimulationError
        The file has no signal of such a name.
    """
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
        pieces = _pieces(declared)
        found = {name: _find(declared, pieces, name, top) for name in dict.fromkeys([*names, *optional])}
        if missing := [name for name in names if not found[name]]:
            raise SimulationError(f"waveform {path.name} has no signal {top}.{missing[0]}.")
        parts = {name: each for name, each in found.items() if each}
        changes = {part.code: 0 for each in parts.values() for part in each}
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
                bits, _, code = line.rstrip().rpartition(" ")
                if code in changes:
                    changes[code] = int(bits[1:], 2)
            elif line[0] in "01" and line[1:-1] in changes:
                changes[line[1:-1]] = int(line[0])
    return Waves(
        start=start,
        values={name: _together(each, history) for name, each in parts.items()},
        widths={name: max(part.low + part.width for part in each) for name, each in parts.items()},
    )


def join_waves(parts: Sequence[Waves]) -> Waves:
    """Return waves of the same signals that follow one another as one."""
    first = parts[0]
    return Waves(
        start=first.start,
        values={name: [value for part in parts for value in part.values[name]] for name in first.values},
        widths=first.widths,
    )


def _pieces(declared: Mapping[str, tuple[str, int]]) -> dict[str, list[_Part]]:
    """Return what may be pieces of signals, by the names of those."""
    result: dict[str, list[_Part]] = {}
    for name, (code, width) in declared.items():
        if match := re.fullmatch(r"(.+?)(?:_(\d+))?_(\d+)", name):
            whole, high, low = match[1], int(match[2] or match[3]), int(match[3])
            if high - low + 1 == width:
                result.setdefault(whole, []).append(_Part(code, low, width))
    return result


def _find(
    declared: Mapping[str, tuple[str, int]], pieces: Mapping[str, list[_Part]], name: str, top: str
) -> list[_Part]:
    for prefix in ("", "TOP."):  # Verilator puts a scope of its own around the top
        full = f"{prefix}{top}.{name}"
        if full in declared:
            code, width = declared[full]
            return [_Part(code, 0, width)]
        if full in pieces:
            return pieces[full]
    return []


def _together(parts: Sequence[_Part], history: Mapping[str, list[int]]) -> list[int]:
    """Return the values of a signal from those of its parts."""
    if len(parts) == 1 and parts[0].low == 0:
        return history[parts[0].code]
    columns = [[value << part.low for value in history[part.code]] for part in parts]
    return [sum(values) for values in zip(*columns, strict=True)]
