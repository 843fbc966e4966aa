"""Several small additions on an FPGA's carry chains, XNOR-popcount's first level included."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Cat, Const, Instance, Module, Mux, Signal, Value

CHAIN_HALVES = 16  # of a chain: longer ones are slower, shorter ones need more ends


@dataclass(frozen=True, eq=False)
class Bit:
    """A bit to add."""

    value: Value


@dataclass(frozen=True, eq=False)
class Differs:
    """1 if two bits differ."""

    a: Value
    b: Value


@dataclass(frozen=True, eq=False)
class Either:
    """`high` if `choice` is 1, else `low`."""

    choice: Value
    high: Value
    low: Value


Operand = Bit | Differs | Either


@dataclass(frozen=True, kw_only=True, eq=False)
class Addition:
    """Two numbers and a carry: a sum of `width` bits, which holds it.

    `left` and `right` have their bits from the least significant one on; of two operands of the same weight at most
    one is an Either, and a Differs has only a Differs beside it.
    """

    left: Sequence[Operand]
    right: Sequence[Operand]
    carry: Operand | None
    width: int

    @property
    def is_copy(self) -> bool:
        """Whether there is nothing to add: the sum is `left`."""
        return not self.right and self.carry is None


def add_all(m: Module, additions: Sequence[Addition], platform: object) -> list[Value]:
    """Return the sum of each addition.

    On a platform whose `family` is `"ecp5"` additions share chains of CCU2C. A half of a CCU2C adds a bit of two
    numbers, and these may each be the difference of two signals: the first level of an XNOR-popcount costs nothing of
    its own. Between two additions one half brings the carry of the first out, and one more bit into the second: for
    that it has the sum bit 0, XORed with the carry that enters, while its carry is that bit, whatever enters. So
    the count of three differences takes two halves, in a chain. On other platforms the sums are written as they are.

    Latency: none; no register.

    Parameters
    ----------
    m : Module
        On ECP5 gets the cells, as submodules `chain_0_0`, `chain_0_1`, …: chain by chain.
    additions : sequence of Addition
        What to add; the last one of a chain costs least if it has no carry to bring out.
    platform : object
        What `elaborate` was given.
    """
    if getattr(platform, "family", None) != "ecp5":
        return [_number(a.left) + _number(a.right) + (0 if a.carry is None else _value(a.carry)) for a in additions]
    sums = [Signal(addition.width, name=f"sum_{index}") for index, addition in enumerate(additions)]
    added = [(addition, total) for addition, total in zip(additions, sums, strict=True) if not addition.is_copy]
    for index, chain in enumerate(_chains(added)):
        _place(m, chain, f"chain_{index}")
    return [_number(a.left) if a.is_copy else total for a, total in zip(additions, sums, strict=True)]


def _value(operand: Operand) -> Value:
    if isinstance(operand, Bit):
        return operand.value
    if isinstance(operand, Differs):
        return operand.a ^ operand.b
    return Mux(operand.choice, operand.high, operand.low)


def _number(bits: Sequence[Operand]) -> Value:
    return Cat(_value(bit) for bit in bits)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Half:
    """One half of a CCU2C (FPGA-TN-02198): its four inputs, its table, and where its sum bit goes.

    The sum bit is the table's bit 8 D + 4 C + 2 B + A, XORed with the carry that enters. The carry that leaves is the
    one that enters where that bit is 1, and else the table's bit 2 B + A. Inputs left out are 1.
    """

    table: int
    inputs: dict[str, Value] = field(default_factory=dict)
    total: Value | None = None

    def arguments(self, number: int) -> dict[str, Any]:
        """Return what an instance of CCU2C is given for its half 0 or 1."""
        ports: dict[str, Any] = {f"p_INIT{number}": Const(self.table, 16), f"p_INJECT1_{number}": "NO"}
        for pin in "ABCD":
            ports[f"i_{pin}{number}"] = self.inputs.get(pin, Const(1, 1))
        if self.total is not None:
            ports[f"o_S{number}"] = self.total
        return ports


def _bring(carry: Operand | None, total: Value | None) -> _Half:
    """Return the half that begins an addition with a carry, and has that of the one before as its sum bit."""
    if carry is None:
        return _Half(table=0x0000, total=total)
    if isinstance(carry, Bit):
        return _Half(table=0x000A, inputs={"A": carry.value}, total=total)
    assert isinstance(carry, Differs)
    return _Half(table=0x0006, inputs={"A": carry.a, "B": carry.b}, total=total)


def _add(left: Operand | None, right: Operand | None, total: Value) -> _Half:
    """Return the half that adds two bits, or one or none and 0."""
    if isinstance(right, Either) or left is None:
        left, right = right, left
    if isinstance(left, Differs):
        if right is None:
            return _Half(table=0x6666, inputs={"A": left.a, "B": left.b}, total=total)
        assert isinstance(right, Differs)
        return _Half(table=0x6996, inputs={"A": left.a, "B": left.b, "C": right.a, "D": right.b}, total=total)
    assert right is None or isinstance(right, Bit)
    other = Const(0, 1) if right is None else right.value
    if isinstance(left, Either):
        inputs = {"A": other, "B": left.choice, "C": left.high, "D": left.low}
        return _Half(table=0x596A, inputs=inputs, total=total)  # a ^ (c if b else d)
    value = Const(0, 1) if left is None else left.value
    return _Half(table=0x5AAA, inputs={"A": other, "D": value}, total=total)  # a ^ d, as c is 1


def _chains(additions: Sequence[tuple[Addition, Signal]]) -> Iterator[list[_Half]]:
    chain: list[_Half] = []
    carry_out: Value | None = None
    for addition, total in additions:
        bits = max(len(addition.left), len(addition.right))
        if chain and len(chain) + bits + 2 > CHAIN_HALVES:
            yield [*chain, *_end(carry_out)]
            chain, carry_out = [], None
        chain.append(_bring(addition.carry, carry_out))
        for bit in range(bits):
            left, right = (side[bit] if bit < len(side) else None for side in (addition.left, addition.right))
            chain.append(_add(left, right, total[bit]))
        carry_out = total[bits] if addition.width > bits else None
    yield [*chain, *_end(carry_out)]


def _end(carry_out: Value | None) -> list[_Half]:
    return [] if carry_out is None else [_bring(None, carry_out)]


def _place(m: Module, chain: list[_Half], name: str) -> None:
    if len(chain) % 2:
        chain = [*chain, _bring(None, None)]
    carry: Value = Const(0, 1)
    for index, (first, second) in enumerate(zip(chain[::2], chain[1::2], strict=True)):
        carry_out = Signal(name=f"{name}_carry_{index}")
        m.submodules[f"{name}_{index}"] = Instance(
            "CCU2C", **first.arguments(0), **second.arguments(1), i_CIN=carry, o_COUT=carry_out
        )
        carry = carry_out
