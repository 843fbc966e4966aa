"""Loops counted down, with what decides at their ends in registers."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value


@dataclass(frozen=True)
class Turns:
    """How many turns a loop has, 1 or more, and whether that is one, or one or two."""

    count: Value
    single: Value
    short: Value

    @classmethod
    def of(cls, count: Value) -> "Turns":
        """Return so many turns."""
        return cls(count, count == 1, count < 3)

    def latched(self, m: Module, strobe: Value, name: str) -> "Turns":
        """Return registers that take these values at `strobe`."""
        count = Signal(len(self.count), name=f"{name}_count", reset_less=True)
        single = Signal(name=f"{name}_single", reset_less=True)
        short = Signal(name=f"{name}_short", reset_less=True)
        with m.If(strobe):
            m.d.sync += [count.eq(self.count), single.eq(self.single), short.eq(self.short)]
        return Turns(count, single, short)

    def unless(self, condition: Value, other: "Turns") -> "Turns":
        """Return these turns, or the other ones if `condition`."""
        mine, others = (self.count, self.single, self.short), (other.count, other.single, other.short)
        return Turns(*(Mux(condition, theirs, own) for own, theirs in zip(mine, others, strict=True)))


class Countdown:
    """Turns left of a loop, this one included; `last` says that this is the last one, `ahead` that the next one is.

    Both are registers, and the next values depend on a count only in its comparison with a constant: an adder and a
    comparison in front of a decision would be its slowest part. The methods return what happens in a cycle.
    """

    left: Signal
    last: Signal
    ahead: Signal

    def __init__(self, width: int, name: str) -> None:
        self.left = Signal(width, name=f"{name}_left", reset_less=True)
        self.last = Signal(name=f"{name}_last", reset_less=True)
        self.ahead = Signal(name=f"{name}_ahead", reset_less=True)

    def begin(self, turns: Turns) -> list[Any]:
        """Go to the first turn."""
        return self.go(turns.count, turns.single, turns.short)

    def go(self, left: Any, last: Any, ahead: Any) -> list[Any]:
        """Go to a turn that is given by its registers' values, such as another loop's."""
        return [self.left.eq(left), self.last.eq(last), self.ahead.eq(ahead)]

    def step(self, turns: Turns | None = None) -> list[Any]:
        """Go to the next turn, after the last one to the first of as many turns, if they are given."""
        if turns is None:
            return self.go(self.left - 1, self.ahead, self.left == 3)
        return self.go(*self.following(turns))

    def following(self, turns: Turns) -> tuple[Value, Value, Value]:
        """Return the registers' values in the next turn."""
        return Mux(self.last, turns.count, self.left - 1), self.ahead, Mux(self.last, turns.short, self.left == 3)
