"""Operators and operands of Verilog expressions, before they are text."""

from dataclasses import dataclass

from celosia.hw.verilog.rtlil import Bits, Cell, Spec

UNARY = {"$reduce_or": "|", "$reduce_and": "&", "$reduce_xor": "^", "$reduce_bool": "|"}
COMPARE = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
BITWISE = {"$and": "&", "$or": "|", "$xor": "^"}
ARITHMETIC = {"$add": "+", "$sub": "-", "$mul": "*"}
WHOLE = {"$shl": "<<", "$shr": ">>", "$sshr": ">>>", "$divfloor": "/", "$modfloor": "%"}
LEVEL = {"*": 6, "+": 5, "-": 5, "&": 3, "^": 2, "|": 1}  # how tightly Verilog binds


class VerilogError(ValueError):
    """The design uses something that cannot be written as Verilog."""


@dataclass(frozen=True)
class Text:
    """A closed text, its outermost operator (empty: nothing to be torn apart), and whether Verilog calls it signed."""

    text: str
    operator: str = ""
    signed: bool = False

    @property
    def bracketed(self) -> str:
        """The text, safe beside any operator."""
        return f"({self.text})" if self.operator else self.text


@dataclass(frozen=True)
class Leaf:
    """An operand of an arithmetic expression: its bits, and whether the top one is a sign."""

    spec: Spec
    signed: bool


@dataclass(frozen=True)
class Node:
    """An operator of an arithmetic expression."""

    operator: str
    operands: tuple["Leaf | Node", ...]


def leaves_of(item: "Leaf | Node") -> list[Leaf]:
    """Operands of an arithmetic expression, from left to right."""
    if isinstance(item, Leaf):
        return [item]
    return [leaf for operand in item.operands for leaf in leaves_of(operand)]


def width_of(spec: Spec) -> int:
    """Bits of a value."""
    return sum(piece.width for piece in spec)


def is_constant(spec: Spec) -> bool:
    """No net is in the value."""
    return all(isinstance(piece, Bits) for piece in spec)


def extended(leaf: Leaf, width: int) -> str:
    """Bits of a constant operand in the expression's width."""
    bits = "".join(piece.bits for piece in leaf.spec if isinstance(piece, Bits)) or "0"
    fill = bits[0] if leaf.signed else "0"
    return bits.rjust(width, fill)[-width:]


def constant(bits: str, *, signed: bool = False) -> str:
    """Verilog literal of a bit string, most significant bit first: decimal when short, else hexadecimal."""
    width = len(bits)
    sign = "s" if signed else ""
    if set(bits) - {"0", "1"}:
        return f"{width}'{sign}b{bits}"
    if width == 1:
        return f"1'{sign}b{bits}"
    value = int(bits, 2)
    if width <= 16 and not (signed and bits[0] == "1"):
        return f"{width}'{sign}d{value}"
    return f"{width}'{sign}h{value:x}"


def is_exact(cell: Cell, spec: Spec, signed: bool) -> bool:
    """The operator's result, read as ``signed`` says, is the true number, so that a wider one is the same."""
    width = width_of(spec)
    widths = [width_of(cell.ports[port]) for port in "AB" if port in cell.ports]
    if width != cell.number("Y_WIDTH"):
        return False
    if cell.kind in BITWISE:
        return all(operand == width for operand in widths)
    if cell.kind == "$not":
        return signed and widths[0] == width
    inner = bool(cell.number("A_SIGNED"))
    if cell.kind == "$mul":
        needed = sum(widths) + (signed and not inner)
        return width >= needed and (signed or not inner)
    needed = max(widths) + 1
    if cell.kind == "$add":
        return width >= needed + (signed and not inner) and (signed or not inner)
    return signed and width >= needed


def printed(node: "Node", leaf_texts: list[str]) -> str:
    """Text of an arithmetic expression, with the texts of its leaves from left to right."""
    texts = iter(leaf_texts)

    def write(item: "Leaf | Node", outer: int, right: bool) -> str:
        if isinstance(item, Leaf):
            return next(texts)
        if len(item.operands) == 1:
            text = f"{item.operator}{write(item.operands[0], 9, False)}"
            return f"({text})" if outer else text  # two minus signs in a row would be a decrement
        level = LEVEL[item.operator]
        left_text = write(item.operands[0], level, False)
        text = f"{left_text} {item.operator} {write(item.operands[1], level, True)}"
        same = level == outer and not right
        return text if outer == 0 or same or (level > outer > 3) else f"({text})"

    return write(node, 0, False)
