"""Names that Verilog allows and a reader knows."""

import re

from celosia.hw.verilog.hints import Hints
from celosia.hw.verilog.netlist import memory_of, outputs_of, wire_of
from celosia.hw.verilog.rtlil import Module

__all__ = ["RESERVED", "choose_names", "order_ports", "rename_parts", "unique_name"]

_KEYWORDS = """
    always and assign automatic begin bit buf byte case casex casez cell class clocking config const context cover
    deassign default defparam design disable do edge else end endcase endfunction endmodule enum event expect export
    extends extern final first_match for force forever fork function generate genvar global highz0 if iff ifnone
    implies import in initial inout input inside instance int integer interface join large let library local localparam
    logic longint macromodule matches medium modport module nand negedge new nexttime nmos nor not null or output
    package packed parameter pmos posedge primitive priority program property protected pull0 pull1 pulldown pullup
    pure rand real realtime ref reg release repeat restrict return scalared sequence shortint shortreal signed small
    soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1 table tagged task
    this throughout time timeprecision timeunit tran tri tri0 tri1 triand trior trireg type typedef union unique
    unique0 unsigned use uwire var vectored virtual void wait wand weak weak0 weak1 while wildcard wire with within
    wor xnor xor
    accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof break bufif0 bufif1
    chandle checker cmos constraint continue covergroup coverpoint cross dist endchecker endclass endclocking
    endconfig endgenerate endgroup endinterface endpackage endprimitive endprogram endproperty endsequence
    endspecify endtable endtask eventually foreach forkjoin ignore_bins illegal_bins implements incdir include
    interconnect intersect join_any join_none liblist nettype noshowcancelled notif0 notif1 pulsestyle_ondetect
    pulsestyle_onevent randc randcase randsequence rcmos reject_on rnmos rpmos rtran rtranif0 rtranif1 s_always
    s_eventually s_nexttime s_until s_until_with showcancelled sync_accept_on sync_reject_on tranif0 tranif1 untyped
    wait_order
"""

#: Verilog's and SystemVerilog's keywords.
RESERVED: frozenset[str] = frozenset(_KEYWORDS.split())


def rename_parts(module: Module) -> None:
    """Gives instances and memories names that Verilog allows."""
    taken: set[str] = set(RESERVED)
    for cell in module.cells:
        if not cell.kind.startswith("$"):
            cell.name = unique_name(cell.name, taken)
    names = {name: unique_name(name, taken) for name in module.memories}
    module.memories = {names[name]: memory for name, memory in module.memories.items()}
    for name, memory in module.memories.items():
        memory.name = name
    for cell in module.cells:
        if "MEMID" in cell.parameters:
            cell.parameters["MEMID"] = names[memory_of(cell)]


def choose_names(
    module: Module, modules: dict[str, Module], hints: Hints, aliases: dict[str, list[str]]
) -> dict[str, str]:
    """New name of every wire that is not anonymous: the component's port names, then local names, then its driver's."""
    drivers = {
        wire_of(cell.ports[port]): f"{cell.name}_{port}"
        for cell in module.cells
        if not cell.kind.startswith("$")
        for port in outputs_of(cell, modules)
    }
    wanted: dict[str, str] = {}
    for wire in module.wires:
        candidates = [wire, *aliases.get(wire, [])]
        names = [hints.ports[name] for name in candidates if name in hints.ports]
        local = [name for name in candidates if "$" not in name and name not in hints.children]
        names += sorted(local, key=lambda name: "__" in name)  # a memory port's signal is a second choice
        names += [drivers[wire]] if wire in drivers else []
        names += ["_".join(hints.children[name]) for name in candidates if name in hints.children]
        names += [base for name in candidates if (base := re.sub(r"\$\d+$", "", name))]
        if names:
            wanted[wire] = names[0]
    taken = {cell.name for cell in module.cells if not cell.kind.startswith("$")} | set(module.memories) | RESERVED
    # Port names are given first, so that they are what the component calls them.
    order = sorted(wanted, key=lambda wire: not module.wires[wire].port)
    return {wire: unique_name(wanted[wire], taken) for wire in order}


def unique_name(wanted: str, taken: set[str]) -> str:
    """A plain Verilog identifier like ``wanted`` that is not taken yet; takes it."""
    base = re.sub(r"[^A-Za-z0-9_]", "_", wanted)
    if not re.match(r"[A-Za-z_]", base):
        base = f"n{base}"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def order_ports(module: Module, hints: Hints) -> None:
    """Clock and reset, then the signature's order, then the rest."""
    order = {name: index for index, name in enumerate(["clk", "rst", *hints.ports.values()])}
    wires = sorted(
        module.wires.values(), key=lambda wire: (not wire.port, order.get(wire.name, len(order)) if wire.port else 0)
    )
    module.wires = {wire.name: wire for wire in wires}
