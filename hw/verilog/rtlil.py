"""The part of RTLIL that Amaranth writes: data model and parser.

Format: https://yosyshq.readthedocs.io/projects/yosys/en/latest/yosys_internals/formats/rtlil_text.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "Assign",
    "Bits",
    "Case",
    "Cell",
    "Memory",
    "Module",
    "Process",
    "Slice",
    "Spec",
    "Switch",
    "Wire",
    "parse",
    "part_of",
]


@dataclass(frozen=True)
class Slice:
    """Bits ``low`` to ``low + width - 1`` of a wire."""

    wire: str
    low: int
    width: int


@dataclass(frozen=True)
class Bits:
    """A constant, most significant bit first, of the characters 0, 1, x and, in patterns, -."""

    bits: str

    @property
    def width(self) -> int:
        """Length in bits."""
        return len(self.bits)


#: A value: pieces from most to least significant; an empty one has 0 bits.
Spec = tuple[Slice | Bits, ...]


@dataclass
class Wire:
    """A net with a name; anonymous ones begin with ``$``. ``port`` is input, output or empty."""

    name: str
    width: int
    signed: bool = False
    port: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Memory:
    """An array of ``depth`` words of ``width`` bits."""

    name: str
    width: int
    depth: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Cell:
    """An operator (kind begins with ``$``) or an instance of another module."""

    kind: str
    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    ports: dict[str, Spec] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    def number(self, parameter: str) -> int:
        """Value of a parameter that is a number or a bit string."""
        text = self.parameters[parameter]
        return int(text.partition("'")[2] or "0", 2) if "'" in text else int(text)


@dataclass
class Assign:
    """Assignment inside a process."""

    left: Slice
    right: Spec


@dataclass
class Case:
    """One branch; no patterns: taken always."""

    patterns: tuple[str, ...]
    body: list["Assign | Switch"] = field(default_factory=list)


@dataclass
class Switch:
    """The first case of which a pattern matches is taken."""

    select: Spec
    cases: list[Case] = field(default_factory=list)


@dataclass
class Process:
    """Assignments to one wire; later ones win."""

    body: list[Assign | Switch] = field(default_factory=list)

    @property
    def wire(self) -> str:
        """The wire that is assigned: Amaranth's first statement gives all of it its default."""
        first = self.body[0]
        assert isinstance(first, Assign)
        return first.left.wire


@dataclass
class Module:
    """A module; everything keeps the order of the text."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    connections: list[tuple[Spec, Spec]] = field(default_factory=list)


def part_of(spec: Spec, low: int, width: int) -> Spec:
    """Bits ``low`` to ``low + width - 1`` of a value."""
    chosen: list[Slice | Bits] = []
    position = sum(piece.width for piece in spec)
    for piece in spec:
        position -= piece.width
        first, last = max(low, position), min(low + width, position + piece.width)
        if first >= last:
            continue
        if isinstance(piece, Bits):
            end = piece.width - (first - position)
            chosen.append(Bits(piece.bits[end - (last - first) : end]))
        else:
            chosen.append(Slice(piece.wire, piece.low + first - position, last - first))
    return tuple(chosen)


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\d+\'[01xz-]*|[\\$][^\s]+|\[\d+(?::\d+)?\]|[{}]|[^\s]+')


class _Lines:
    """Lines as tokens, without empty ones."""

    def __init__(self, text: str) -> None:
        self._lines = iter(text.splitlines())

    def __iter__(self) -> Iterator[list[str]]:
        for line in self._lines:
            tokens = _TOKEN.findall(line)
            if tokens:
                yield tokens


def parse(text: str) -> list[Module]:
    """Modules of an RTLIL text as `amaranth.back.rtlil` writes it, in its order."""
    modules: list[Module] = []
    attributes: dict[str, str] = {}
    lines = iter(_Lines(text))
    for tokens in lines:
        if tokens[0] == "attribute":
            attributes[_name(tokens[1])] = tokens[2]
        elif tokens[0] == "module":
            modules.append(_module(_name(tokens[1]), attributes, lines))
            attributes = {}
    return modules


def _module(name: str, attributes: dict[str, str], lines: Iterator[list[str]]) -> Module:
    module = Module(name, attributes)
    pending: dict[str, str] = {}
    for tokens in lines:
        match tokens[0]:
            case "end":
                break
            case "attribute":
                pending[_name(tokens[1])] = tokens[2]
                continue
            case "wire":
                wire = _wire(tokens, pending)
                module.wires[wire.name] = wire
            case "memory":
                memory = Memory(_name(tokens[-1]), int(tokens[2]), int(tokens[4]), pending)
                module.memories[memory.name] = memory
            case "cell":
                module.cells.append(_cell(Cell(_name(tokens[1]), _name(tokens[2]), attributes=pending), module, lines))
            case "process":
                module.processes.append(Process(_body(lines, module)))
            case "connect":
                left, rest = _spec(tokens[1:], module)
                module.connections.append((left, _spec(rest, module)[0]))
        pending = {}
    return module


def _name(token: str) -> str:
    return token.removeprefix("\\")


def _wire(tokens: list[str], attributes: dict[str, str]) -> Wire:
    port = next((token for token in tokens[3:-1] if token in ("input", "output", "inout")), "")
    return Wire(_name(tokens[-1]), int(tokens[2]), "signed" in tokens[3:-1], port, attributes)


def _cell(cell: Cell, module: Module, lines: Iterator[list[str]]) -> Cell:
    for tokens in lines:
        if tokens[0] == "end":
            break
        if tokens[0] == "parameter":
            name = next(index for index, token in enumerate(tokens) if token.startswith("\\"))
            qualifier = " ".join(tokens[1:name])
            value = " ".join(tokens[name + 1 :])
            cell.parameters[_name(tokens[name])] = f"{qualifier} {value}" if qualifier else value
        else:
            cell.ports[_name(tokens[1])] = _spec(tokens[2:], module)[0]
    return cell


def _body(lines: Iterator[list[str]], module: Module) -> list[Assign | Switch]:
    """Statements up to the ``end`` of a process."""
    body: list[Assign | Switch] = []
    for tokens in lines:
        if tokens[0] == "end":
            break
        body.append(_statement(tokens, lines, module))
    return body


def _statement(tokens: list[str], lines: Iterator[list[str]], module: Module) -> Assign | Switch:
    if tokens[0] == "assign":
        left, rest = _spec(tokens[1:], module)
        target = left[0]
        assert isinstance(target, Slice)
        return Assign(target, _spec(rest, module)[0])
    switch = Switch(_spec(tokens[1:], module)[0])
    for inner in lines:
        if inner[0] == "end":
            break
        if inner[0] == "case":
            patterns = tuple(token.rstrip(",").partition("'")[2] for token in inner[1:] if "'" in token)
            switch.cases.append(Case(patterns))
        else:
            switch.cases[-1].body.append(_statement(inner, lines, module))
    return switch


def _spec(tokens: list[str], module: Module) -> tuple[Spec, list[str]]:
    """One value from the front of the tokens, and the tokens behind it."""
    head, rest = tokens[0], tokens[1:]
    if head == "{":
        pieces: list[Slice | Bits] = []
        while rest[0] != "}":
            inner, rest = _spec(rest, module)
            pieces += inner
        return _joined(pieces), rest[1:]
    if head[0] in "\\$":
        wire = module.wires[_name(head)]
        if rest and rest[0].startswith("["):
            high, _, low = rest[0][1:-1].partition(":")
            bottom = int(low or high)
            return (Slice(wire.name, bottom, int(high) - bottom + 1),), rest[1:]
        return (Slice(wire.name, 0, wire.width),) if wire.width else (), rest
    if "'" in head:
        bits = head.partition("'")[2]
        return (Bits(bits),) if bits else (), rest
    return (Bits(f"{int(head):032b}"),), rest


def _joined(pieces: list[Slice | Bits]) -> Spec:
    """Neighbouring constants become one."""
    joined: list[Slice | Bits] = []
    for piece in pieces:
        if joined and isinstance(piece, Bits) and isinstance(joined[-1], Bits):
            joined[-1] = Bits(joined[-1].bits + piece.bits)
        else:
            joined.append(piece)
    return tuple(joined)
