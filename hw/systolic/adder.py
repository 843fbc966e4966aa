"""Addition on an FPGA's carry chain, without what place and route adds to the ends of a chain."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Instance, Module, Mux, Shape, Signal, Value


@dataclass(frozen=True, kw_only=True)
class _Half:
    """One half of a CCU2C (FPGA-TN-02198) whose C is 1, and its other inputs if they are None.

    Bit 8 D + 4 + 2 B + A of the look-up table, XORed with the carry that enters, is the sum. The carry that leaves is
    the one that enters where that bit is 1, and else bit 2 B + A.
    """

    table: int
    a: Value | None = None
    b: Value | None = None
    d: Value | None = None
    total: Value | None = None

    def arguments(self, number: int) -> dict[str, Any]:
        """Return what an instance of CCU2C is given for its half 0 or 1."""
        ports: dict[str, Any] = {f"p_INIT{number}": Const(self.table, 16), f"p_INJECT1_{number}": "NO"}
        for pin, value in (("A", self.a), ("B", self.b), ("C", None), ("D", self.d)):
            ports[f"i_{pin}{number}"] = Const(1, 1) if value is None else value
        if self.total is not None:
            ports[f"o_S{number}"] = self.total
        return ports


def _full_adder(left: Value, right: Value, total: Value) -> _Half:
    return _Half(table=0x55AA, a=right, d=left, total=total)  # a ^ d; carry a where a equals d


def _gated_adder(left: Value, right: Value, keep: Value, total: Value) -> _Half:
    return _Half(table=0x7088, a=right, b=keep, d=left, total=total)  # a & b for a


def _carry(left: Value, right: Value) -> _Half:
    return _Half(table=0x0008, a=right, b=left)  # a & b, whatever enters


def _no_carry() -> _Half:
    return _Half(table=0x0000)  # 0, whatever enters


def add(m: Module, a: Value, b: Value, shape: Shape, platform: object, *, keep: Value | None = None) -> Value:
    """Return the sum of two numbers, or the first one alone.

    On a platform whose `family` is `"ecp5"` this is a chain of CCU2C, each of which adds two bits. nextpnr spends one
    more to bring a carry into a chain, even the constant 0. So this chain begins with half a CCU2C that sends a known
    carry whatever enters it, and the entry can be left open (`celosia.boards.synth` does). If the width is odd, the
    half would be left over at the other end, and sends no carry. If it is even, it sends the carry of the lowest bits,
    and one look-up table adds these; with `keep`, which has no place there, one more CCU2C does. On other platforms the
    sum is `a + b`, `keep` a multiplexer.

    Latency: none; no register. The caller's shape holds the sum, so it cannot overflow.

    Parameters
    ----------
    m : Module
        On ECP5 gets the cells, as submodules `carry_0`, `carry_1`, …, so that it can hold one such sum.
    a, b : Value
        The numbers, each with the signedness of its own shape and not wider than `shape`.
    shape : Shape
        Shape of the sum.
    platform : object
        What `elaborate` was given.
    keep : Value or None
        One bit that says whether `b` counts, else it is 0.

    Returns
    -------
    Value
        The sum; its lowest bits, as many as `shape` has, are meant.
    """
    if getattr(platform, "family", None) != "ecp5":
        return a + (b if keep is None else Mux(keep, b, 0))
    left, right, total = (Signal(shape, name=name) for name in ("left", "right", "total"))
    m.d.comb += [left.eq(a), right.eq(b)]
    bits = list(zip(left, right, total, strict=True))
    if keep is None:
        halves = [_full_adder(*bit) for bit in bits]
    else:
        halves = [_gated_adder(one, other, keep, out) for one, other, out in bits]
    if shape.width % 2:
        halves.insert(0, _no_carry())
    elif keep is not None:
        halves = [_no_carry(), *halves, _no_carry()]
    else:
        halves[0] = _carry(left[0], right[0])
        m.d.comb += total[0].eq(left[0] ^ right[0])
    carry: Value = Const(0, 1)
    for index, (first, second) in enumerate(zip(halves[::2], halves[1::2], strict=True)):
        carry_out = Signal(name=f"carry_out_{index}")
        m.submodules[f"carry_{index}"] = Instance(
            "CCU2C", **first.arguments(0), **second.arguments(1), i_CIN=carry, o_COUT=carry_out
        )
        carry = carry_out
    return total
