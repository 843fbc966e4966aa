"""RTLIL processes, registers and memories as Verilog always blocks and assignments."""

from dataclasses import dataclass

from celosia.hw.verilog.expressions import Expressions
from celosia.hw.verilog.netlist import memory_of, statements
from celosia.hw.verilog.rtlil import Assign, Bits, Case, Cell, Module, Process, Slice, Spec, Switch, part_of
from celosia.hw.verilog.terms import constant

__all__ = ["Statements"]

_STEP = "  "


@dataclass(frozen=True)
class _Writer:
    """How assignments of one process are written: to which name, with which operator."""

    target: str
    width: int
    operator: str


class Statements:
    """Writes the clocked and the combinational logic of one module.

    Parameters
    ----------
    module : Module
        After `celosia.hw.verilog.cleanup.clean_up`.
    expressions : Expressions
        Of the same module.
    """

    def __init__(self, module: Module, expressions: Expressions) -> None:
        self._module = module
        self._expressions = expressions
        self._processes = {process.wire: process for process in module.processes}
        self.registers: set[str] = set()  # nets to be declared reg
        self.absorbed: set[str] = set()  # process nets that became part of a register

    # -- registers --

    def register(self, cell: Cell) -> list[str]:
        """Always block of a flip-flop: reset first, then the branches that load it."""
        piece = cell.ports["Q"][0]
        assert isinstance(piece, Slice)
        target = self._expressions.name(piece.wire)
        self.registers.add(piece.wire)
        writer = _Writer(target, piece.width, "<=")
        process = self._absorbable(cell.ports["D"])
        if process is None:
            body = [f"{target} <= {self._expressions.right(cell.ports['D'])};"]
        else:
            self.absorbed.add(process.wire)
            body = self._register_body(process, cell.ports["Q"], writer)
        if cell.kind == "$adff":
            body = self._asynchronous(cell, target, body)
        return [self._edge(cell), *_indent(body)] if len(body) == 1 else _block(self._edge(cell), body)

    def _edge(self, cell: Cell) -> str:
        edge = "posedge" if cell.number("CLK_POLARITY") else "negedge"
        clock = f"{edge} {self._expressions.closed(cell.ports['CLK'])}"
        if cell.kind == "$adff":
            edge = "posedge" if cell.number("ARST_POLARITY") else "negedge"
            clock += f" or {edge} {self._expressions.closed(cell.ports['ARST'])}"
        return f"always @({clock})"

    def _asynchronous(self, cell: Cell, target: str, body: list[str]) -> list[str]:
        """The body behind an asynchronous reset."""
        reset = self._expressions.closed(cell.ports["ARST"])
        condition = reset if cell.number("ARST_POLARITY") else f"!{reset}"
        value = constant(cell.parameters["ARST_VALUE"].partition("'")[2])
        rest = [f"else {body[0]}"] if len(body) == 1 else _block("else", body)
        return [f"if ({condition}) {target} <= {value};", *rest]

    def _absorbable(self, data: Spec) -> Process | None:
        """The process that computes a register's next value, if nothing else wants that."""
        if len(data) != 1 or not isinstance(data[0], Slice):
            return None
        piece = data[0]
        process = self._processes.get(piece.wire)
        whole = piece.width == self._module.wires[piece.wire].width
        return process if process is not None and whole and self._expressions.used_once(piece.wire) else None

    def _register_body(self, process: Process, register: Spec, writer: _Writer) -> list[str]:
        body = list(process.body)
        first = body[0]
        if isinstance(first, Assign) and first.right == register:
            body = body[1:]  # keeps its value by itself
        reset = self._reset(body, writer.width)
        if reset is None:
            return self._body(body, writer)
        condition, value = reset
        rest = self._body(body[:-1], writer)
        head = [f"if ({condition}) {writer.target} <= {value};"]
        if not rest:
            return head
        if rest[0].startswith("if (") and _single_statement(rest):
            return [*head, f"else {rest[0]}", *rest[1:]]
        return [*head, *([f"else {rest[0]}"] if len(rest) == 1 else _block("else", rest))]

    def _reset(self, body: list[Assign | Switch], width: int) -> tuple[str, str] | None:
        """Condition and value of a last statement that overrides everything with a constant."""
        last = body[-1] if body else None
        if not isinstance(last, Switch) or len(last.cases) != 1 or len(last.cases[0].body) != 1:
            return None
        only = last.cases[0].body[0]
        if last.cases[0].patterns != ("1",) or not isinstance(only, Assign) or only.left.width != width:
            return None
        if not all(isinstance(piece, Bits) for piece in only.right):
            return None
        return self._expressions.closed(last.select), self._expressions.closed(only.right)

    # -- combinational processes --

    def combinational(self, process: Process) -> list[str]:
        """A conditional assignment where that says it all, else an always block."""
        wire = process.wire
        name, width = self._expressions.name(wire), self._module.wires[wire].width
        if (choice := self._choice(process, width)) is not None:
            return [f"assign {name} = {choice};"]
        self.registers.add(wire)
        return _block("always @*", self._body(process.body, _Writer(name, width, "=")))

    def _choice(self, process: Process, width: int) -> str | None:
        """``a ? x : b ? y : z`` for a default and up to three conditions of which the first true one decides."""
        if len(process.body) != 2:
            return None
        default, switch = process.body
        if not isinstance(default, Assign) or not isinstance(switch, Switch) or len(switch.cases) > 3:
            return None
        branches: list[tuple[Spec, bool, Spec]] = []
        final = default.right
        for case in switch.cases:
            condition = _condition(switch.select, case.patterns)
            only = case.body[0] if len(case.body) == 1 else None
            if not isinstance(only, Assign) or only.left.width != width:
                return None
            if not case.patterns:
                final = only.right
                break
            if condition is None:
                return None
            branches.append((*condition, only.right))
        parts = [
            f"{self._test(select, value)} ? {self._expressions.operand(right)} : " for select, value, right in branches
        ]
        return "".join(parts) + self._expressions.operand(final)

    def _test(self, select: Spec, value: bool) -> str:
        text = self._expressions.operand(select)
        return text if value else f"!{text}"

    # -- statements --

    def _body(self, body: list[Assign | Switch], writer: _Writer) -> list[str]:
        return [line for item in body for line in self._statement(item, writer)]

    def _statement(self, item: Assign | Switch, writer: _Writer) -> list[str]:
        if isinstance(item, Assign):
            target = writer.target
            if item.left.width != writer.width:
                low, high = item.left.low, item.left.low + item.left.width - 1
                target += f"[{low}]" if low == high else f"[{high}:{low}]"
            return [f"{target} {writer.operator} {self._expressions.right(item.right)};"]
        if not item.select:  # only keeps statements in order
            return [line for case in item.cases for line in self._body(case.body, writer)]
        conditions = [_condition(item.select, case.patterns) for case in item.cases]
        if all(
            condition is not None or not case.patterns for condition, case in zip(conditions, item.cases, strict=True)
        ):
            return self._if_chain(item, writer)
        return self._case(item, writer)

    def _if_chain(self, switch: Switch, writer: _Writer) -> list[str]:
        lines: list[str] = []
        for number, case in enumerate(_without_empty_tail(switch.cases)):
            condition = _condition(switch.select, case.patterns)
            head = "else " if number else ""
            if condition is not None:
                select, value = condition
                text = self._expressions.closed(select) if value else f"!{self._expressions.operand(select)}"
                head += f"if ({text})"
            body = self._body(case.body, writer)
            if len(body) == 1 and not body[0].startswith(("if ", "case")):
                lines.append(f"{head.strip()} {body[0]}")
            else:
                lines += _block(head.strip(), body)
        return lines

    def _case(self, switch: Switch, writer: _Writer) -> list[str]:
        wild = any("-" in pattern for case in switch.cases for pattern in case.patterns)
        width = sum(piece.width for piece in switch.select)
        lines = [f"{'casez' if wild else 'case'} ({self._expressions.closed(switch.select)})"]
        defaulted = False
        for case in switch.cases:
            label = ", ".join(_pattern(pattern, width) for pattern in case.patterns) or "default"
            defaulted |= not case.patterns
            body = self._body(case.body, writer)
            if not body:
                lines.append(f"{_STEP}{label}: ;")
            elif len(body) == 1:
                lines.append(f"{_STEP}{label}: {body[0]}")
            else:
                lines += _indent(_block(f"{label}:", body))
        return [*lines, *([] if defaulted else [f"{_STEP}default: ;"]), "endcase"]

    # -- memories --

    def memory_write(self, cell: Cell) -> list[str]:
        """Always block of a write port, one condition per group of bits with one enable."""
        name, address = memory_of(cell), self._expressions.index(cell.ports["ADDR"])
        data = cell.ports["DATA"]
        body = []
        for low, width, enable in _enable_groups(cell.ports["EN"]):
            whole = width == cell.number("WIDTH")
            part = "" if whole else f"[{low + width - 1}:{low}]"
            value = self._expressions.closed(part_of(data, low, width))
            statement = f"{name}[{address}]{part} <= {value};"
            condition = self._expressions.closed(enable)
            if condition != "1'b0":
                body.append(statement if condition == "1'b1" else f"if ({condition}) {statement}")
        return _block(self._edge(cell), body) if len(body) > 1 else [self._edge(cell), *_indent(body)]

    def memory_read(self, cell: Cell, writes: list[Cell]) -> list[str]:
        """Assignment of an asynchronous read port, always block of a synchronous one."""
        piece = cell.ports["DATA"][0]
        assert isinstance(piece, Slice)
        target, address = self._expressions.name(piece.wire), self._expressions.index(cell.ports["ADDR"])
        value = f"{memory_of(cell)}[{address}]"
        if not cell.number("CLK_ENABLE"):
            return [f"assign {target} = {value};"]
        self.registers.add(piece.wire)
        body = [f"{target} <= {value};"]
        for write in writes:
            if cell.number("TRANSPARENCY_MASK") >> write.number("PORTID") & 1:
                body += self._forward(target, address, piece.width, write)
        enable = self._expressions.closed(cell.ports["EN"])
        if enable != "1'b1":
            body = [f"if ({enable}) {body[0]}"] if len(body) == 1 else _block(f"if ({enable})", body)
        return [self._edge(cell), *_indent(body)] if _single_statement(body) else _block(self._edge(cell), body)

    def _forward(self, target: str, address: str, word_width: int, write: Cell) -> list[str]:
        """A word written in the same cycle reaches a transparent read port."""
        lines = []
        same = f"{self._expressions.index(write.ports['ADDR'])} == {address}"
        for low, width, enable in _enable_groups(write.ports["EN"]):
            part = "" if width == word_width else f"[{low + width - 1}:{low}]"
            value = self._expressions.closed(part_of(write.ports["DATA"], low, width))
            lines.append(f"if ({self._expressions.operand(enable)} && {same}) {target}{part} <= {value};")
        return lines

    def memory_content(self, cell: Cell) -> list[str]:
        """Initial block of a memory: a loop when every word is the same."""
        name, width, depth = memory_of(cell), cell.number("WIDTH"), cell.number("WORDS")
        bits = "".join(piece.bits for piece in cell.ports["DATA"] if isinstance(piece, Bits))
        words = [bits[end - width : end] for end in range(len(bits), 0, -width)]
        if len(words) == 1:  # see `emit_rtlil`
            index = self._expressions.fresh(f"{name}_index")
            value = f"{width}'h{int(words[0], 2):x}"
            loop = f"initial for ({index} = 0; {index} < {depth}; {index} = {index} + 1) {name}[{index}] = {value};"
            return [f"integer {index};", loop]
        return _block("initial", [f"{name}[{index}] = {width}'h{int(word, 2):x};" for index, word in enumerate(words)])


def _indent(lines: list[str]) -> list[str]:
    return [f"{_STEP}{line}" for line in lines]


def _block(head: str, body: list[str]) -> list[str]:
    return [f"{head} begin", *_indent(body), "end"]


def _single_statement(lines: list[str]) -> bool:
    """Whether lines are one statement with its branches: an else, an end or an inner line follows the first."""
    return all(line.startswith((_STEP, "else", "end")) for line in lines[1:])


def _without_empty_tail(cases: list[Case]) -> list[Case]:
    kept = list(cases)
    while kept and not any(statements(kept[-1].body)):
        kept.pop()
    return kept


def _condition(select: Spec, patterns: tuple[str, ...]) -> tuple[Spec, bool] | None:
    """The one bit that decides a case, and its value; None when there is no such bit."""
    if len(patterns) != 1:
        return None
    decided = [index for index, character in enumerate(patterns[0]) if character != "-"]
    if len(decided) != 1 or (patterns[0][decided[0]] == "0" and len(patterns[0]) > 1):
        return None
    low = len(patterns[0]) - 1 - decided[0]
    return part_of(select, low, 1), patterns[0][decided[0]] == "1"


def _pattern(pattern: str, width: int) -> str:
    if "-" in pattern:
        return f"{width}'b{pattern.replace('-', '?')}"
    return f"{width}'d{int(pattern, 2)}" if width <= 16 else f"{width}'h{int(pattern, 2):x}"


def _enable_groups(enable: Spec) -> list[tuple[int, int, Spec]]:
    """Neighbouring bits with one enable: (lowest bit, bits, enable)."""
    width = sum(piece.width for piece in enable)
    groups: list[tuple[int, int, Spec]] = []
    for bit in range(width):
        one = part_of(enable, bit, 1)
        if groups and groups[-1][2] == one:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1, one)
        else:
            groups.append((bit, 1, one))
    return groups
