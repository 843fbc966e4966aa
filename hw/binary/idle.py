"""Registers that take a layer's descriptor as long as the engine is idle."""

from types import SimpleNamespace

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data

from celosia.hw.unmerged import unmerged

BITS_TOGETHER = 32
"""Bits that take their values by the same enable: a net to all of a descriptor's would be slow."""


def follow(m: Module, idles: Value, values: dict[str, Value]) -> SimpleNamespace:
    """Return registers that have followed some values as long as the engine was idle.

    A layer is taken in an idle cycle, so in the next cycle they hold what belongs to it: unlike registers that are
    written when it is taken, they wait for nothing that is known late.

    Parameters
    ----------
    m : Module
        Gets the registers, called `layer_NAME`.
    idles : Value
        The next cycle is idle.
    values : dict of Value
        What to follow.
    """
    registers: dict[str, Signal] = {}
    idle, left = idles, 0
    for name, value in values.items():
        if left < len(value):
            idle, left = unmerged(m, idles, f"idle_{name}"), BITS_TOGETHER
        registers[name] = register = Signal(value.shape(), name=f"layer_{name}", reset_less=True)
        with m.If(idle):
            m.d.sync += register.eq(value)
        left -= len(value)
    return SimpleNamespace(**registers)


def members(layer: data.View, *names: str) -> dict[str, Value]:
    """Return some of a descriptor's fields, for `follow`."""
    return {name: Value.cast(layer[name]) for name in names}
