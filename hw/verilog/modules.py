"""One RTLIL module as the text of one Verilog module."""

import re
import textwrap
from collections.abc import Iterable

from celosia.hw.verilog.expressions import Expressions
from celosia.hw.verilog.netlist import memory_of, outputs_of
from celosia.hw.verilog.rtlil import Cell, Module, Slice, Spec, Wire
from celosia.hw.verilog.statements import Statements
from celosia.hw.verilog.terms import VerilogError, constant

__all__ = ["module_text"]

_WIDTH = 120  # columns
_BREAK = re.compile(r"(?<=,) | (?=[-+*&|^?:]+ )")
_INTERNAL = ("init", "src", "generator", "top", "enum_", "amaranth")


def module_text(module: Module, modules: dict[str, Module], names: dict[str, str], comment: str) -> str:
    """Verilog of one module.

    Parameters
    ----------
    module : Module
        After cleaning and merging.
    modules : dict
        All modules by RTLIL name.
    names : dict
        RTLIL to Verilog names of modules.
    comment : str
        What to say above it.
    """
    return _Writer(module, modules, names).text(comment)


class _Writer:
    def __init__(self, module: Module, modules: dict[str, Module], names: dict[str, str]) -> None:
        self._module = module
        self._modules = modules
        self._names = names
        self._expressions = Expressions(module, modules)
        self._statements = Statements(module, self._expressions)

    def text(self, comment: str) -> str:
        logic = self._logic()
        lines = [f"// {line}" for line in textwrap.wrap(comment, _WIDTH - 3)]
        lines += [*_attributes(self._module.attributes), f"module {self._names[self._module.name]} ("]
        ports = [" ".join(self._declaration(wire)) for wire in self._module.wires.values() if wire.port]
        lines += [f"  {line}" for line in _joined(ports)]
        lines += [");", *self._declarations(), ""]
        lines += [f"  {line}" for block in logic for line in block]
        return "\n".join(_wrapped(lines)) + "\nendmodule\n"

    # -- declarations --

    def _declarations(self) -> list[str]:
        hidden = self._expressions.inlined | self._statements.absorbed
        nets = [wire for wire in self._module.wires.values() if not wire.port and wire.name not in hidden]
        nets = [wire for wire in nets if not wire.name.startswith("$") or wire.name in self._expressions.names]
        # Nets of one type share a declaration; what has attributes has one of its own.
        declared: dict[str, list[str]] = {}
        for wire in nets:
            kind, name = self._declaration(wire)
            declared.setdefault(f"{kind}\n{name}" if "\n" in kind else kind, []).append(name)
        lines = [f"  {line}" for kind, names in declared.items() for line in _declared(kind, names)]
        for memory in self._module.memories.values():
            lines += [f"  {line}" for line in _attributes(memory.attributes)]
            lines.append(f"  reg  {_range(memory.width)}{memory.name} [0:{memory.depth - 1}];")
        return lines

    def _declaration(self, wire: Wire) -> tuple[str, str]:
        """Attributes and type, name and initial value."""
        register = wire.name in self._statements.registers
        kind = "reg" if register else "wire"
        signed = "signed " if wire.signed else ""
        direction = f"{wire.port:<6} " if wire.port else ""
        name = self._expressions.name(wire.name)
        initial = ""
        if register and "init" in wire.attributes:
            initial = f" = {constant(wire.attributes['init'].partition(chr(39))[2])}"
        text = f"{direction}{kind:<4} {signed}{_range(wire.width)}".rstrip()
        return "\n".join([*_attributes(wire.attributes), text]), f"{name}{initial}"

    # -- logic --

    def _logic(self) -> list[list[str]]:
        """Text of every cell, process and connection, in the order of the RTLIL.

        What is needed shows only while writing: a consumer either takes an operator's text into its own, or asks for a
        net. So ports, state and named nets are written first, then the nets that they asked for, and so on.
        """
        cells, processes = self._module.cells, self._module.processes
        texts: dict[int, list[str]] = {}
        drivers: dict[str, int] = {}
        for number, cell in enumerate(cells):
            if self._is_operator(cell):
                drivers[_target(cell)] = number
            else:
                texts[number] = self._state(cell)
        for number, process in enumerate(processes, len(cells)):
            drivers[process.wire] = number
        connections = [
            f"assign {self._expressions.closed(left)} = {self._expressions.right(right)};"
            for left, right in self._module.connections
        ]
        while pending := {wire for wire in drivers if not wire.startswith("$") or wire in self._expressions.names}:
            for wire in sorted(pending, key=drivers.__getitem__):
                number = drivers.pop(wire)
                if number < len(cells):
                    texts[number] = self._operator(cells[number])
                elif wire not in self._statements.absorbed:
                    texts[number] = self._statements.combinational(processes[number - len(cells)])
        # Combinational processes read best before the registers that they feed; operators come first in the RTLIL.
        rank = {number: (self._rank(number), number) for number in texts}
        blocks = _grouped([texts[number] for number in sorted(texts, key=rank.__getitem__)])
        return [*([connections] if connections else []), *blocks]

    def _rank(self, number: int) -> int:
        """Order of the blocks: operators, combinational processes, then state, memories and instances."""
        if number >= len(self._module.cells):
            return 1
        return 0 if self._is_operator(self._module.cells[number]) else 2

    def _is_operator(self, cell: Cell) -> bool:
        if cell.kind == "$memrd_v2":
            return not cell.number("CLK_ENABLE")
        return cell.kind.startswith("$") and cell.kind not in ("$dff", "$adff", "$memwr_v2", "$meminit_v2")

    def _operator(self, cell: Cell) -> list[str]:
        if cell.kind == "$memrd_v2":
            return self._statements.memory_read(cell, [])
        return [f"assign {self._expressions.name(_target(cell))} = {self._expressions.whole(cell)};"]

    def _state(self, cell: Cell) -> list[str]:
        match cell.kind:
            case "$dff" | "$adff":
                return self._statements.register(cell)
            case "$memwr_v2":
                return self._statements.memory_write(cell)
            case "$memrd_v2":
                return self._statements.memory_read(cell, self._writes(cell))
            case "$meminit_v2":
                return self._statements.memory_content(cell)
        return self._instance(cell)

    def _writes(self, read: Cell) -> list[Cell]:
        writes = [cell for cell in self._module.cells if cell.kind == "$memwr_v2"]
        return [cell for cell in writes if memory_of(cell) == memory_of(read)]

    def _instance(self, cell: Cell) -> list[str]:
        kind = self._names.get(cell.kind, cell.kind)
        parameters = ", ".join(f".{name}({_parameter(value)})" for name, value in cell.parameters.items())
        order = self._modules[cell.kind].wires if cell.kind in self._modules else cell.ports
        ports = [name for name in order if name in cell.ports]
        pins = [f".{name}({self._pin(cell, name)})" for name in ports]
        head = f"{kind} #({parameters}) {cell.name} (" if parameters else f"{kind} {cell.name} ("
        first, *rest = _filled(head, pins)
        return [*_attributes(cell.attributes), first, *(f"  {line}" for line in rest)]

    def _pin(self, cell: Cell, port: str) -> str:
        spec: Spec = cell.ports[port]
        driven = port in outputs_of(cell, self._modules)
        if driven and not any(isinstance(piece, Slice) and piece.wire in self._module.wires for piece in spec):
            return ""  # nobody reads it
        return self._expressions.closed(spec)


def _grouped(blocks: list[list[str]]) -> list[list[str]]:
    """Registers that load in every cycle, one after the other, share an always block."""
    grouped: list[list[str]] = []
    for block in blocks:
        plain = len(block) == 2 and block[0].startswith("always @(") and re.match(r"  \w+ <= ", block[1])
        if (
            plain
            and grouped
            and grouped[-1][0] == f"{block[0]} begin"
            and grouped[-1][-1] == "end"
            and (re.match(r"  \w+ <= ", grouped[-1][-2]))
        ):
            grouped[-1].insert(-1, block[1])
        elif plain:
            grouped.append([f"{block[0]} begin", block[1], "end"])
        else:
            grouped.append(block)
    return [
        [block[0].removesuffix(" begin"), block[1]] if len(block) == 3 and block[-1] == "end" else block
        for block in grouped
    ]


def _target(cell: Cell) -> str:
    spec = cell.ports["Y"] if "Y" in cell.ports else cell.ports["DATA"]
    piece = spec[0]
    if not isinstance(piece, Slice):
        raise VerilogError(f"operator {cell.kind} drives a constant")
    return piece.wire


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _attributes(attributes: dict[str, str]) -> list[str]:
    """What synthesis tools want to know; what only the generator knows is left out."""
    kept = {name: value for name, value in attributes.items() if not name.startswith(_INTERNAL)}
    return [f"(* {name} = {_parameter(value)} *)" for name, value in kept.items()]


def _parameter(value: str) -> str:
    """A parameter or attribute: string, number, real or bits."""
    qualifier, _, rest = value.rpartition(" ")
    if qualifier == "real":
        return rest.strip('"')
    if "'" in rest and not rest.startswith('"'):
        return constant(rest.partition("'")[2], signed=qualifier == "signed")
    return value.removeprefix("signed ")


def _declared(kind: str, names: list[str]) -> list[str]:
    """Declarations of nets of one type, as many names to a line as fit."""
    *attributes, kind = kind.split("\n") if "\n" not in kind else kind.split("\n")[:-1]
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 5 <= _WIDTH:
            lines[-1] += f", {name}"
        else:
            lines.append(f"{kind} {name}")
    return [*attributes, *(f"{line};" for line in lines)]


def _joined(items: list[str]) -> list[str]:
    """Items with commas between them."""
    lines = [f"{item}," for item in items[:-1]] + items[-1:]
    return [line for item in lines for line in item.split("\n")]


def _filled(head: str, items: list[str]) -> list[str]:
    """An instance: its head, then its pins with commas between them, several to a line."""
    lines = [head]
    for position, item in enumerate(items):
        text = f"{item});" if position == len(items) - 1 else f"{item},"
        space = "" if lines[-1].endswith("(") else " "
        if len(lines[-1]) + len(space) + len(text) + 4 <= _WIDTH:
            lines[-1] += f"{space}{text}"
        else:
            lines.append(text)
    return lines if items else [f"{head});"]


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Breaks long lines after a comma or before an operator."""
    result: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        while len(line) > _WIDTH:
            breaks = [match.start() for match in _BREAK.finditer(line, len(indent) + 1, _WIDTH)]
            if not breaks:
                break
            result.append(line[: breaks[-1]])
            line = indent + line[breaks[-1] :].lstrip()
        result.append(line.rstrip())
    return result
