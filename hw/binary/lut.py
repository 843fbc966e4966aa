"""A function of four bits that has a lookup table of its own."""

import itertools
from collections.abc import Callable
from typing import Any

from amaranth.hdl import Const, Instance, Module, Signal, Value

INPUTS = 4


def lut(m: Module, name: str, function: Callable[..., Any], *bits: Value, platform: object) -> Signal:
    """Return a function of up to four bits.

    On a platform whose `family` is `"ecp5"` it is an instance of LUT4. Synthesis saves area where it can, by making
    one function from another that there is anyway, and so puts more tables behind each other than the slowest paths
    bear; what is behind such an instance is one table away from its inputs. On other platforms it is written as it is.

    Latency: none; no register.

    Parameters
    ----------
    m : Module
        On ECP5 gets the instance, as submodule NAME.
    name : str
        Name of the result.
    function : callable
        Takes bits, as values or as integers, and joins them with `&`, `|`, `^` and `~` only.
    bits : Value
        One to four bits.
    platform : object
        What `elaborate` was given.
    """
    result = Signal(name=name)
    if getattr(platform, "family", None) != "ecp5":
        m.d.comb += result.eq(function(*bits))
        return result
    table = 0
    for index, values in enumerate(itertools.product((0, 1), repeat=INPUTS)):
        table |= (function(*values[::-1][: len(bits)]) & 1) << index
    ports = {f"i_{pin}": bit for pin, bit in itertools.zip_longest("ABCD", bits, fillvalue=Const(0, 1))}
    m.submodules[name] = Instance("LUT4", p_INIT=Const(table, 1 << INPUTS), **ports, o_Z=result)
    return result
