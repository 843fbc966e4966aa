"""RTLIL as Amaranth writes it, made fit for reading: dead logic and aliases removed, nets renamed."""

import re
from collections.abc import Callable, Iterable, Iterator

from celosia.hw.verilog.hints import Hints
from celosia.hw.verilog.rtlil import Assign, Cell, Module, Slice, Spec, Switch

__all__ = ["RESERVED", "clean_up", "memory_of", "outputs_of", "reads", "statements", "unique_name"]

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
RESERVED = frozenset(_KEYWORDS.split())

# Operators worth a net when they are needed twice; what fits into one condition is clearer written twice.
_MERGED = frozenset(
    {"$add", "$sub", "$neg", "$mul", "$mux", "$shift", "$shl", "$shr", "$sshr", "$divfloor", "$modfloor"}
    | {"$lt", "$le", "$gt", "$ge"}
)


def outputs_of(cell: Cell, modules: dict[str, Module]) -> list[str]:
    """Ports through which a cell drives nets; of a foreign instance, none is known."""
    if not cell.kind.startswith("$"):
        child = modules.get(cell.kind)
        return [name for name in cell.ports if child and child.wires[name].port == "output"]
    return [name for name in ("Y", "Q") if name in cell.ports] or (["DATA"] if cell.kind == "$memrd_v2" else [])


def statements(body: Iterable[Assign | Switch]) -> Iterator[Assign | Switch]:
    """All statements of a process, nested ones included."""
    for item in body:
        yield item
        if isinstance(item, Switch):
            for case in item.cases:
                yield from statements(case.body)


def reads(module: Module, modules: dict[str, Module]) -> Iterator[Spec]:
    """Every value that the module's logic reads, once per place."""
    for cell in module.cells:
        driven = outputs_of(cell, modules)
        yield from (spec for name, spec in cell.ports.items() if name not in driven)
    for process in module.processes:
        for item in statements(process.body):
            yield item.right if isinstance(item, Assign) else item.select
    yield from (right for _left, right in module.connections)


def clean_up(modules: dict[str, Module], hints: dict[str, Hints], top: str) -> None:
    """Cleans a whole design in place; every module but ``top`` still has exactly one instance.

    Parameters
    ----------
    modules, hints : dict
        By RTLIL name.
    top : str
        The module whose ports all stay.
    """
    instances = {
        cell.kind: (parent, cell) for parent in modules.values() for cell in parent.cells if cell.kind in modules
    }
    aliases = {name: _drop_aliases(module) for name, module in modules.items()}
    for module in modules.values():
        _merge_operators(module)
        _rename_parts(module)
    while True:
        for module in modules.values():
            _drop_dead_logic(module, modules)
        _drop_silent_instances(modules, top)
        instances = {name: instance for name, instance in instances.items() if name in modules}
        alive = {name: _alive(module, modules) for name, module in modules.items()}
        if not [
            name for name, (parent, cell) in instances.items() if _drop_ports(modules[name], cell, alive, parent.name)
        ]:
            break
    for name, module in modules.items():
        names = _choose_names(module, modules, hints[name], aliases[name])
        _rename(module, names)
        _order_ports(module, hints[name])
        if name != top:
            _parent, cell = instances[name]
            cell.ports = {names.get(port, port): spec for port, spec in cell.ports.items()}


def _drop_ports(module: Module, cell: Cell, alive: dict[str, set[str]], parent: str) -> bool:
    """Drops inputs that the module does not read and outputs that its parent does not; tells whether there were any."""
    dropped = False
    for wire in [wire for wire in module.wires.values() if wire.port]:
        if wire.port == "input" and wire.name not in alive[module.name]:
            del module.wires[wire.name]
        elif wire.port == "output" and alive[parent].isdisjoint(_wires([cell.ports[wire.name]])):
            module.connections = [pair for pair in module.connections if _wire_of(pair[0]) != wire.name]
            wire.port = ""
        else:
            continue
        cell.ports.pop(wire.name)
        dropped = True
    return dropped


def _drop_silent_instances(modules: dict[str, Module], top: str) -> None:
    """Drops modules without outputs and all below them, unless something from outside the design is inside."""

    def foreign(name: str) -> bool:
        kinds = [cell.kind for cell in modules[name].cells if not cell.kind.startswith("$")]
        return any(kind not in modules or foreign(kind) for kind in kinds)

    def drop(name: str) -> None:
        for cell in modules.pop(name).cells:
            if cell.kind in modules:
                drop(cell.kind)

    silent = [
        name
        for name, module in modules.items()
        if name != top and not any(wire.port == "output" for wire in module.wires.values()) and not foreign(name)
    ]
    for module in modules.values():
        module.cells = [cell for cell in module.cells if cell.kind not in silent]
    for name in silent:
        if name in modules:
            drop(name)


def _drop_aliases(module: Module) -> dict[str, list[str]]:
    """Drops second names of nets: nothing reads them, Amaranth resolves every use. Returns net to its aliases.

    An output port takes over an anonymous net; one that carries a named net or a part of one keeps its assignment.
    """
    aliases: dict[str, list[str]] = {}
    taken_over: dict[str, str] = {}
    kept: list[tuple[Spec, Spec]] = []
    for left, right in module.connections:
        if not left:
            continue  # of 0 bits, such as the index of one lane
        target = _wire_of(left)
        low = sum(piece.width for piece in right)
        for piece in right:
            low -= piece.width
            if isinstance(piece, Slice) and piece.wire.startswith("port$"):
                # Amaranth's name for an input of which the module reads a part: say which part of what.
                part = f"{target}_{low + piece.width - 1}_{low}" if piece.width > 1 else f"{target}_{low}"
                aliases.setdefault(piece.wire, []).append(part)
        net = _wire_of(right) if len(right) == 1 and isinstance(right[0], Slice) else ""
        if net and right == (Slice(net, 0, module.wires[net].width),):
            aliases.setdefault(net, []).append(target)
            if module.wires[target].port and net.startswith("$") and net not in taken_over:
                taken_over[net] = target
                continue
        if module.wires[target].port:
            kept.append((left, right))
        else:
            del module.wires[target]
    module.connections = kept
    for net, port in taken_over.items():
        old = module.wires.pop(net)
        module.wires[port].attributes = {**old.attributes, **module.wires[port].attributes}
    _map_specs(module, lambda spec: _renamed(spec, taken_over))
    _map_targets(module, lambda name: taken_over.get(name, name))
    return {taken_over.get(net, net): names for net, names in aliases.items()}


def _wire_of(spec: Spec) -> str:
    piece = spec[0]
    assert isinstance(piece, Slice)
    return piece.wire


def _rename_parts(module: Module) -> None:
    """Gives instances and memories names that Verilog allows."""
    taken = set(RESERVED)
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


def _merge_operators(module: Module) -> None:
    """Computes an equal sum, product, shift or choice once; Amaranth writes an operator anew for every use."""
    while True:
        first: dict[str, str] = {}
        same: dict[str, str] = {}
        kept: list[Cell] = []
        for cell in module.cells:
            target = _wire_of(cell.ports["Y"]) if cell.kind in _MERGED else ""
            if target.startswith("$"):
                inputs = [(name, spec) for name, spec in cell.ports.items() if name != "Y"]
                key = repr((cell.kind, cell.parameters, inputs))
                if first.setdefault(key, target) != target:
                    same[target] = first[key]
                    continue
            kept.append(cell)
        if not same:
            return
        module.cells = kept
        for target in same:
            del module.wires[target]
        _map_specs(module, lambda spec, same=same: _renamed(spec, same))  # type: ignore[misc]


def _drop_dead_logic(module: Module, modules: dict[str, Module]) -> None:
    """Drops what reaches no port, instance or kept net; a register that only feeds itself goes too."""
    alive = _alive(module, modules)
    module.cells = [cell for cell in module.cells if _cell_alive(cell, modules, alive)]
    module.processes = [process for process in module.processes if process.wire in alive]
    module.wires = {name: wire for name, wire in module.wires.items() if name in alive or wire.port}
    module.memories = {name: memory for name, memory in module.memories.items() if _memory_net(name) in alive}


def _alive(module: Module, modules: dict[str, Module]) -> set[str]:
    sources: dict[str, set[str]] = {}
    todo = [wire.name for wire in module.wires.values() if wire.port == "output" or "keep" in wire.attributes]
    for cell in module.cells:
        driven = outputs_of(cell, modules)
        read = _wires(spec for name, spec in cell.ports.items() if name not in driven)
        targets = _wires(cell.ports[name] for name in driven)
        if "MEMID" in cell.parameters:
            memory = _memory_net(memory_of(cell))
            if cell.kind == "$memrd_v2":
                read.add(memory)
            else:
                targets = {memory}
        if not cell.kind.startswith("$"):
            todo += read
        for target in targets:
            sources.setdefault(target, set()).update(read)
    for process in module.processes:
        inner = statements(process.body)
        sources[process.wire] = _wires(item.right if isinstance(item, Assign) else item.select for item in inner)
    for left, right in module.connections:
        sources.setdefault(_wire_of(left), set()).update(_wires([right]))
    alive: set[str] = set()
    while todo:
        wire = todo.pop()
        if wire not in alive:
            alive.add(wire)
            todo += sources.get(wire, ())
    return alive


def _wires(specs: Iterable[Spec]) -> set[str]:
    return {piece.wire for spec in specs for piece in spec if isinstance(piece, Slice)}


def memory_of(cell: Cell) -> str:
    """Name of the memory that a memory port or initial content belongs to."""
    return cell.parameters["MEMID"].strip('"').lstrip("\\")


def _memory_net(name: str) -> str:
    """Stands for the memory's content among the wires; no wire is called so."""
    return f"memory {name}"


def _cell_alive(cell: Cell, modules: dict[str, Module], alive: set[str]) -> bool:
    if not cell.kind.startswith("$"):
        return True
    if cell.kind in ("$memwr_v2", "$meminit_v2"):
        return _memory_net(memory_of(cell)) in alive
    return not alive.isdisjoint(_wires(cell.ports[name] for name in outputs_of(cell, modules)))


def _choose_names(
    module: Module, modules: dict[str, Module], hints: Hints, aliases: dict[str, list[str]]
) -> dict[str, str]:
    """New name of every wire that is not anonymous: the component's port names, then local names, then its driver's."""
    drivers = {
        _wire_of(cell.ports[port]): f"{cell.name}_{port}"
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


def _order_ports(module: Module, hints: Hints) -> None:
    """Clock and reset, then the signature's order, then the rest."""
    order = {name: index for index, name in enumerate(["clk", "rst", *hints.ports.values()])}
    wires = sorted(
        module.wires.values(), key=lambda wire: (not wire.port, order.get(wire.name, len(order)) if wire.port else 0)
    )
    module.wires = {wire.name: wire for wire in wires}


def _rename(module: Module, names: dict[str, str]) -> None:
    """Renames wires; names not listed stay."""
    module.wires = {names.get(name, name): wire for name, wire in module.wires.items()}
    for name, wire in module.wires.items():
        wire.name = name
    _map_specs(module, lambda spec: _renamed(spec, names))
    _map_targets(module, lambda name: names.get(name, name))


def _renamed(spec: Spec, names: dict[str, str]) -> Spec:
    return tuple(
        Slice(names.get(piece.wire, piece.wire), piece.low, piece.width) if isinstance(piece, Slice) else piece
        for piece in spec
    )


def _map_specs(module: Module, change: Callable[[Spec], Spec]) -> None:
    for cell in module.cells:
        cell.ports = {name: change(spec) for name, spec in cell.ports.items()}
    for process in module.processes:
        for item in statements(process.body):
            if isinstance(item, Assign):
                item.right = change(item.right)
            else:
                item.select = change(item.select)
    module.connections = [(change(left), change(right)) for left, right in module.connections]


def _map_targets(module: Module, change: Callable[[str], str]) -> None:
    for process in module.processes:
        for item in statements(process.body):
            if isinstance(item, Assign):
                item.left = Slice(change(item.left.wire), item.left.low, item.left.width)
