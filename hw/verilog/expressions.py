"""RTLIL operators as Verilog expressions, with as few nets in between as Verilog's width rules allow.

Verilog computes an operand in the width and signedness of its whole expression; RTLIL computes every operator on its
own. An operator's text is therefore put into another one's only where both agree:

* *closed* texts do not depend on their surroundings (names, slices, comparisons, reductions, bitwise operators on
  unsigned operands of one width);
* sums, differences, products and bitwise operators may be nested when only the low bits are wanted, or when the inner
  result is exact, so that computing it wider changes nothing.

Everything else gets a net of its own.
"""

from collections import Counter
from collections.abc import Callable

from celosia.hw.verilog.names import RESERVED, unique_name
from celosia.hw.verilog.netlist import outputs_of, reads
from celosia.hw.verilog.rtlil import Bits, Cell, Module, Slice, Spec, part_of
from celosia.hw.verilog.terms import (
    ARITHMETIC,
    BITWISE,
    COMPARE,
    UNARY,
    WHOLE,
    Leaf,
    Node,
    Text,
    VerilogError,
    constant,
    extended,
    is_constant,
    is_exact,
    leaves_of,
    printed,
    width_of,
)

__all__ = ["Expressions"]

# What an operator's result is called when it needs a net of its own.
_NAMES = {
    **{"$add": "sum", "$sub": "difference", "$neg": "negated", "$mul": "product", "$mux": "choice", "$not": "inverted"},
    **{"$shl": "shifted", "$shr": "shifted", "$sshr": "shifted", "$shift": "selected", "$memrd_v2": "word"},
    **{"$and": "both", "$or": "either", "$xor": "differing", "$dff": "register"},
    **{"$eq": "equal", "$ne": "unequal", "$lt": "less", "$le": "at_most", "$gt": "more", "$ge": "at_least"},
}


class Expressions:
    """Writes the values of one module; decides which nets are needed.

    Parameters
    ----------
    module : Module
        After `celosia.hw.verilog.cleanup.clean_up`.
    modules : dict
        All modules by name.
    """

    def __init__(self, module: Module, modules: dict[str, Module]) -> None:
        self._module = module
        instances = {cell.name for cell in module.cells if not cell.kind.startswith("$")}
        self._taken = set(module.wires) | instances | set(module.memories) | RESERVED
        self._drivers = {
            piece.wire: cell
            for cell in module.cells
            if cell.kind.startswith("$")
            for port in outputs_of(cell, modules)
            for piece in cell.ports[port]
            if isinstance(piece, Slice)
        }
        self._uses = Counter(
            piece.wire for spec in reads(module, modules) for piece in spec if isinstance(piece, Slice)
        )
        self._process_wires = {process.wire for process in module.processes}
        self.names: dict[str, str] = {}  # anonymous nets that got a name
        self.inlined: set[str] = set()

    # -- nets --

    def name(self, wire: str) -> str:
        """Verilog name of a net; an anonymous one that could not be avoided is named after what drives it."""
        if not wire.startswith("$"):
            return wire
        if wire not in self.names:
            driver = self._drivers.get(wire)
            base = "value" if driver is None else _NAMES.get(driver.kind, "result")
            self.names[wire] = unique_name(base, self._taken)
        return self.names[wire]

    def fresh(self, base: str) -> str:
        """A name for something that has none in the RTLIL."""
        return unique_name(base, self._taken)

    def used_once(self, wire: str) -> bool:
        """An anonymous net that one place reads."""
        return (
            wire.startswith("$") and self._uses[wire] == 1 and not self._module.wires[wire].attributes.keys() - {"init"}
        )

    def _inlinable(self, spec: Spec, *, part: bool = False) -> Cell | None:
        """The operator behind a value, if its text may stand in the value's place."""
        if len(spec) != 1 or not isinstance(spec[0], Slice):
            return None
        piece = spec[0]
        if not self.used_once(piece.wire) or piece.low or (piece.width != self._width(piece.wire) and not part):
            return None
        return self._drivers.get(piece.wire)

    def _width(self, wire: str) -> int:
        return self._module.wires[wire].width

    def _take(self, spec: Spec) -> None:
        piece = spec[0]
        assert isinstance(piece, Slice)
        self.inlined.add(piece.wire)

    # -- closed texts --

    def closed(self, spec: Spec) -> str:
        """Text of the value's width, independent of its surroundings but for the signedness of declared nets."""
        return self._closed(spec).text

    def operand(self, spec: Spec) -> str:
        """Closed text, in brackets where an operator beside it could tear it apart."""
        return self._closed(spec).bracketed

    def index(self, spec: Spec) -> str:
        """Closed text of an unsigned number, for addresses."""
        closed = self._closed(spec)
        return f"$unsigned({closed.text})" if closed.signed else closed.text

    def _closed(self, spec: Spec) -> "Text":
        if not spec:
            return Text("1'd0")
        piece, *others = spec
        if others:
            texts = self._repeats(spec)
            return Text(texts[0] if len(texts) == 1 else "{" + ", ".join(texts) + "}")
        if isinstance(piece, Bits):
            return Text(constant(piece.bits))
        cell = self._inlinable(spec)
        if cell is not None:
            text = self._closed_operator(cell, piece.width)
            if text is not None:
                self._take(spec)
                return text
        wire = self._module.wires[piece.wire]
        whole = piece.low == 0 and piece.width == wire.width
        name = self.name(piece.wire)
        if whole:
            return Text(name, signed=wire.signed)
        if piece.width == 1:
            return Text(f"{name}[{piece.low}]")
        return Text(f"{name}[{piece.low + piece.width - 1}:{piece.low}]")

    def _repeats(self, spec: Spec) -> list[str]:
        """Pieces of a concatenation, equal neighbours written as ``{n{x}}``."""
        texts: list[str] = []
        index = 0
        while index < len(spec):
            run = index
            while run < len(spec) and spec[run] == spec[index]:
                run += 1
            text = self.closed((spec[index],))
            texts.append(text if run - index == 1 else f"{{{run - index}{{{text}}}}}")
            index = run
        return texts

    def _closed_operator(self, cell: Cell, width: int) -> "Text | None":
        kind, ports = cell.kind, cell.ports
        if kind in UNARY and width == 1:
            return self._reduction(cell)
        if kind in COMPARE and width == 1:
            return self._comparison(cell)
        if kind == "$not" and width == 1:
            return Text(f"!{self.operand(ports['A'])}")
        if kind in BITWISE and all(width_of(ports[port]) == width for port in "AB"):
            texts = [self._closed(ports[port]) for port in "AB"]
            symbol = BITWISE[kind]
            parts = [text.text if text.operator == symbol else text.bracketed for text in texts]
            return Text(f" {symbol} ".join(parts), operator=symbol, signed=all(text.signed for text in texts))
        if kind == "$mux":
            chosen, other = self._closed(ports["B"]), self._closed(ports["A"])
            text = f"{self.operand(ports['S'])} ? {chosen.bracketed} : {other.bracketed}"
            return Text(text, operator="?", signed=chosen.signed and other.signed)
        return None

    def _reduction(self, cell: Cell) -> "Text":
        spec = cell.ports["A"]
        if width_of(spec) == 1:
            return self._closed(spec)
        return Text(f"{UNARY[cell.kind]}{self.operand(spec)}", operator="|")

    def _comparison(self, cell: Cell) -> "Text":
        widths = [width_of(cell.ports[port]) for port in "AB"]
        signed = bool(cell.number("A_SIGNED"))
        leaves = [Leaf(cell.ports[port], signed) for port in "AB"]
        either = cell.kind in ("$eq", "$ne") and widths[0] == widths[1]
        texts = self._leaf_texts(leaves, max(*widths, 1), signed=None if either else signed)
        return Text(f"{texts[0]} {COMPARE[cell.kind]} {texts[1]}", operator="==")

    # -- right sides of assignments --

    def right(self, spec: Spec) -> str:
        """Text of a value that is assigned to something of its width."""
        width = width_of(spec)
        cell = self._inlinable(spec)
        if cell is not None and cell.kind in WHOLE | {"$shift": ""}:
            self._take(spec)
            return self.whole(cell)
        cell = self._inlinable(spec, part=True)
        if cell is not None and width > 1:
            inlined = set(self.inlined)
            node = self._expand(spec, False, width, root=True)
            if isinstance(node, Node):
                if all(width_of(leaf.spec) <= width for leaf in leaves_of(node)):
                    return printed(node, self._leaf_texts(leaves_of(node), width))
                self.inlined = inlined  # the full result gets a net, so that the part that is cut off shows
        return self.closed(spec)

    def whole(self, cell: Cell) -> str:
        """Text of an operator assigned to a net of the width of its result."""
        width = cell.number("Y_WIDTH") if "Y_WIDTH" in cell.parameters else cell.number("WIDTH")
        if cell.kind in WHOLE:
            return self._shift_or_division(cell, width)
        if cell.kind == "$shift":
            return self._part_select(cell, width)
        node = self._operator(cell, width) if width > 1 or cell.kind in ARITHMETIC or cell.kind == "$neg" else None
        if node is not None:
            return printed(node, self._leaf_texts(leaves_of(node), width))
        text = self._closed_operator(cell, width)
        if text is None:
            raise VerilogError(
                f"operator {cell.kind} of {width} bits in module {self._module.name} has no Verilog form"
            )
        return text.text

    def _shift_or_division(self, cell: Cell, width: int) -> str:
        signed = bool(cell.number("A_SIGNED"))
        if cell.kind in ("$divfloor", "$modfloor"):
            if signed:
                raise VerilogError(f"signed division in module {self._module.name} has no Verilog form: it rounds down")
            texts = self._leaf_texts([Leaf(cell.ports[port], False) for port in "AB"], width, signed=False)
            return f"{texts[0]} {WHOLE[cell.kind]} {texts[1]}"
        value = self._shifted_leaf(cell, signed, width)
        return f"{value} {WHOLE[cell.kind]} {self.operand(cell.ports['B'])}"

    def _shifted_leaf(self, cell: Cell, signed: bool, width: int) -> str:
        """What a shift works on: bits above the result's width may come down into it."""
        spec = cell.ports["A"]
        return self._leaf_texts([Leaf(spec, signed)], max(width, width_of(spec)), signed=signed)[0]

    def _part_select(self, cell: Cell, width: int) -> str:
        spec, offset = cell.ports["A"], cell.ports["B"]
        signed = bool(cell.number("A_SIGNED"))
        value = spec[0] if len(spec) == 1 else None
        whole = isinstance(value, Slice) and value.width == self._width(value.wire)
        if whole and isinstance(value, Slice) and self._highest(offset) + width <= value.width:
            needed = max(1, (value.width - 1).bit_length())
            if width_of(offset) > needed:
                offset = part_of(offset, 0, needed)
            return f"{self.name(value.wire)}[{self.index(offset)} +: {width}]"
        text = self._shifted_leaf(cell, signed, width)
        return f"{text} {'>>>' if signed else '>>'} {self.operand(offset)}"

    def _highest(self, spec: Spec) -> int:
        """Largest number an offset can be: a product with a constant is known better than its width tells."""
        cell = self._drivers.get(spec[0].wire) if len(spec) == 1 and isinstance(spec[0], Slice) else None
        if cell is not None and cell.kind == "$mul" and all(isinstance(piece, Bits) for piece in cell.ports["B"]):
            factor = int("".join(piece.bits for piece in cell.ports["B"] if isinstance(piece, Bits)), 2)
            return ((1 << width_of(cell.ports["A"])) - 1) * factor
        return (1 << width_of(spec)) - 1

    # -- arithmetic --

    def _expand(self, spec: Spec, signed: bool, width: int, *, root: bool = False) -> "Leaf | Node":
        """The operator behind an operand, where it may be computed in ``width`` bits; else the operand itself."""
        cell = self._inlinable(spec, part=root or width_of(spec) >= width)
        if cell is None or cell.kind not in {**ARITHMETIC, **BITWISE, "$neg": "", "$not": ""}:
            return Leaf(spec, signed)
        if width > width_of(spec) and not is_exact(cell, spec, signed):
            return Leaf(spec, signed)
        node = self._operator(cell, width, inner_signed=signed)
        if node is None:
            return Leaf(spec, signed)
        self._take(spec)
        return node

    def _operator(self, cell: Cell, width: int, *, inner_signed: bool = False) -> Node | None:
        ports = cell.ports
        if cell.kind in BITWISE or cell.kind == "$not":
            specs = [ports[port] for port in "AB" if port in ports]
            if any(width_of(spec) != cell.number("Y_WIDTH") for spec in specs):
                return None
            symbol = BITWISE.get(cell.kind, "~")
            return Node(symbol, tuple(self._expand(spec, inner_signed, width) for spec in specs))
        signed = bool(cell.number("A_SIGNED")) if "A_SIGNED" in cell.parameters else False
        if cell.kind in ARITHMETIC:
            operands = tuple(self._expand(ports[port], signed, width) for port in "AB")
            return Node(ARITHMETIC[cell.kind], operands)
        if cell.kind == "$neg":
            return Node("-", (self._expand(ports["A"], signed, width),))
        return None

    def _leaf_texts(self, leaves: list[Leaf], width: int, *, signed: bool | None = None) -> list[str]:
        """Operands so written that Verilog extends each one as it should be.

        One unsigned operand makes Verilog extend all of them with zeros; so a sign to extend makes all of them signed.
        With ``signed`` given, the operator itself depends on it; else it matters only to operands that are extended.
        """
        if signed is None:
            grows = [leaf for leaf in leaves if width_of(leaf.spec) < width and not is_constant(leaf.spec)]
            if not grows:
                return [self._plain_leaf(leaf, width) for leaf in leaves]
            signed = any(leaf.signed for leaf in grows)
        write: Callable[[Leaf, int], str] = self._signed_leaf if signed else self._unsigned_leaf
        return [write(leaf, width) for leaf in leaves]

    def _plain_leaf(self, leaf: Leaf, width: int) -> str:
        return constant(extended(leaf, width)) if is_constant(leaf.spec) else self.operand(leaf.spec)

    def _signed_leaf(self, leaf: Leaf, width: int) -> str:
        if is_constant(leaf.spec):
            return constant(extended(leaf, width), signed=True)
        closed = self._closed(leaf.spec)
        if not leaf.signed and width_of(leaf.spec) < width:
            return f"$signed({{1'b0, {closed.text}}})"
        return closed.bracketed if closed.signed else f"$signed({closed.text})"

    def _unsigned_leaf(self, leaf: Leaf, width: int) -> str:
        if is_constant(leaf.spec):
            return constant(extended(leaf, width))
        closed = self._closed(leaf.spec)
        return f"$unsigned({closed.text})" if closed.signed else closed.bracketed
