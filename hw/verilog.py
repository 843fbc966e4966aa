"""Amaranth component to readable, hierarchical, de-duplicated Verilog."""

from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Const, Fragment, Value, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from amaranth._toolchain.yosys import find_yosys

__all__ = ["top_ports", "write_verilog"]


def top_ports(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """Ports of a component as they appear on its Verilog module.

    Parameters
    ----------
    component : wiring.Component
        Any component; nested interface members are joined by two underscores (``run__start``).

    Returns
    -------
    dict
        Port name to (signal, direction). Constant members (``valid`` of an ``always_valid`` stream) and 0-bit
        signals have no port.
    """
    ports: dict[str, tuple[Value, PortDirection]] = {}
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, ValueCastable):
            value = Value.cast(value)
        if isinstance(value, Const) or not len(value):
            continue
        direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports["__".join(map(str, path))] = (value, direction)
    return ports


def write_verilog(component: wiring.Component, name: str, *, header: str = "", platform: Any = None) -> str:
    """Verilog text of ``component`` as module ``name``."""
    fragment = Fragment.get(component, platform)
    text, _names = rtlil.convert_fragment(fragment, top_ports(component), name, emit_src=False)
    script = f"read_rtlil <<rtlil\n{text}\nrtlil\nproc\nopt\nattrmap -remove generator -remove src\nwrite_verilog"
    yosys = find_yosys(lambda version: version >= (0, 40))
    return header + yosys.run(["-q", "-"], script, ignore_warnings=True)
