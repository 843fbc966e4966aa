"""Amaranth component to Verilog that a person can read.

One module per distinct component, named after its class; ports as the component calls them; registers as
``if (rst) … else if (enable) …``, state machines as ``case``; no temporaries where an expression says it; no escaped
names. Amaranth's own Verilog is equivalent, but has one module per instance and takes simulators several times longer.
"""

import re
from typing import Any

from amaranth.hdl import Fragment
from amaranth.lib import wiring

from celosia.hw.verilog.cleanup import clean_up
from celosia.hw.verilog.emit import emit_rtlil
from celosia.hw.verilog.hints import gather_hints, top_ports
from celosia.hw.verilog.lint import LINT_WAIVERS
from celosia.hw.verilog.merge import instance_counts, merge_identical, name_modules
from celosia.hw.verilog.modules import module_text
from celosia.hw.verilog.names import RESERVED
from celosia.hw.verilog.rtlil import parse
from celosia.hw.verilog.terms import VerilogError

__all__ = ["LINT_WAIVERS", "VerilogError", "top_ports", "write_verilog"]


def write_verilog(component: wiring.Component, name: str, *, header: str = "", platform: Any = None) -> str:
    """Verilog of a component and everything below it.

    Parameters
    ----------
    component : wiring.Component
        Clocked by the ``sync`` domain, which becomes the ports ``clk`` and ``rst``.
    name : str
        Name of the top module, and prefix of the others' names.
    header : str
        Lines to open the file with, written as comments.
    platform : optional
        Handed to `elaborate`.

    Returns
    -------
    str
        Verilog-2001; the top module comes first.

    Raises
    ------
    VerilogError
        A name is not a plain identifier, or the design uses what this writer does not know: signed division,
        assertions, prints.
    """
    for identifier in (name, *top_ports(component)):
        if not re.fullmatch(r"[A-Za-z_]\w*", identifier) or identifier in RESERVED:
            raise VerilogError(f"{identifier!r} cannot be the name of a module or port in Verilog; choose another")
    ports = [(port, value, direction) for port, (value, direction) in top_ports(component).items()]
    design = Fragment.get(component, platform).prepare(ports=ports, hierarchy=(name,))
    hints = gather_hints(design)
    modules = {module.name: module for module in parse(emit_rtlil(design, name))}
    clean_up(modules, hints, name)
    modules = merge_identical(modules)
    names = name_modules(modules, hints, name)
    counts = instance_counts(modules, name)
    opening = "".join(f"// {line}".rstrip() + "\n" for line in header.splitlines())
    texts = []
    for rtlil_name, module in modules.items():
        count = counts[rtlil_name]
        comment = " ".join(filter(None, [hints[rtlil_name].title, f"({count} instances)" if count > 1 else ""]))
        texts.append(module_text(module, modules, names, comment))
    return "\n".join([*([opening] if opening else []), *texts])
