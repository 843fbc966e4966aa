"""Fixed delays, and bit fields as Amaranth structures."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data

from celosia.hw.fields import Fields


def delay(m: Module, value: Any, cycles: int, name: str, *, reset: bool = False, keep: bool = False) -> Any:
    """Return `value`, a value or a view, some cycles later, through registers called `name_1`, `name_2`, ….

    Only control that must not outlive a reset asks for `reset`; data registers go without one. `keep` stops synthesis
    from merging equal registers that are apart on purpose.
    """
    value = value if isinstance(value, data.View) else Value.cast(value)
    for cycle in range(1, cycles + 1):
        attributes = {"keep": 1} if keep else {}
        register = Signal(value.shape(), name=f"{name}_{cycle}", reset_less=not reset, attrs=attributes)
        m.d.sync += register.eq(value)
        value = register
    return value


def select(index: Any, values: Iterable[Any]) -> Any:
    """Return the value of that index, by two-way choices, which cost less than the shift that indexing an array is.

    `values` are as many as `index` tells apart, or fewer if it is never beyond them.
    """
    level, bit = list(values), 0
    while len(level) > 1:
        pairs = [Mux(index[bit], high, low) for low, high in zip(level[::2], level[1::2], strict=False)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
        bit += 1
    return level[0]


def latch(m: Module, strobe: Value, source: data.View, *names: str) -> SimpleNamespace:
    """Return registers named after some members of a view, which take their values at `strobe`."""
    registers = {}
    for name in names:
        registers[name] = register = Signal.like(source[name], name=f"layer_{name}", reset_less=True)
        with m.If(strobe):
            m.d.sync += register.eq(source[name])
    return SimpleNamespace(**registers)


def struct_of(fields: Fields) -> data.StructLayout:
    """Return the Amaranth layout of bit fields, same order, same widths."""
    return data.StructLayout({f.name: signed(f.width) if f.signed else unsigned(f.width) for f in fields})
