"""RTLIL as Amaranth writes it, made fit for reading: dead logic and aliases removed, nets renamed."""

from celosia.hw.verilog.hints import Hints
from celosia.hw.verilog.names import choose_names, order_ports, rename_parts
from celosia.hw.verilog.netlist import (
    map_specs,
    map_targets,
    memory_of,
    outputs_of,
    rename,
    renamed,
    statements,
    wire_of,
    wires_of,
)
from celosia.hw.verilog.rtlil import Assign, Cell, Module, Slice, Spec

__all__ = ["clean_up"]

# Operators worth a net when they are needed twice; what fits into one condition is clearer written twice.
_MERGED = frozenset(
    {"$add", "$sub", "$neg", "$mul", "$mux", "$shift", "$shl", "$shr", "$sshr", "$divfloor", "$modfloor"}
    | {"$lt", "$le", "$gt", "$ge"}
)


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
        rename_parts(module)
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
        names = choose_names(module, modules, hints[name], aliases[name])
        rename(module, names)
        order_ports(module, hints[name])
        if name != top:
            _parent, cell = instances[name]
            cell.ports = {names.get(port, port): spec for port, spec in cell.ports.items()}


def _drop_ports(module: Module, cell: Cell, alive: dict[str, set[str]], parent: str) -> bool:
    """Drops inputs that the module does not read and outputs that its parent does not; tells whether there were any."""
    dropped = False
    for wire in [wire for wire in module.wires.values() if wire.port]:
        if wire.port == "input" and wire.name not in alive[module.name]:
            del module.wires[wire.name]
        elif wire.port == "output" and alive[parent].isdisjoint(wires_of([cell.ports[wire.name]])):
            module.connections = [pair for pair in module.connections if wire_of(pair[0]) != wire.name]
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
        target = wire_of(left)
        low = sum(piece.width for piece in right)
        for piece in right:
            low -= piece.width
            if isinstance(piece, Slice) and piece.wire.startswith("port$"):
                # Amaranth's name for an input of which the module reads a part: say which part of what.
                part = f"{target}_{low + piece.width - 1}_{low}" if piece.width > 1 else f"{target}_{low}"
                aliases.setdefault(piece.wire, []).append(part)
        net = wire_of(right) if len(right) == 1 and isinstance(right[0], Slice) else ""
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
    map_specs(module, lambda spec: renamed(spec, taken_over))
    map_targets(module, lambda name: taken_over.get(name, name))
    return {taken_over.get(net, net): names for net, names in aliases.items()}


def _merge_operators(module: Module) -> None:
    """Computes an equal sum, product, shift or choice once; Amaranth writes an operator anew for every use."""
    while True:
        first: dict[str, str] = {}
        same: dict[str, str] = {}
        kept: list[Cell] = []
        for cell in module.cells:
            target = wire_of(cell.ports["Y"]) if cell.kind in _MERGED else ""
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
        map_specs(module, lambda spec, same=same: renamed(spec, same))  # type: ignore[misc]


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
        read = wires_of(spec for name, spec in cell.ports.items() if name not in driven)
        targets = wires_of(cell.ports[name] for name in driven)
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
        sources[process.wire] = wires_of(item.right if isinstance(item, Assign) else item.select for item in inner)
    for left, right in module.connections:
        sources.setdefault(wire_of(left), set()).update(wires_of([right]))
    alive: set[str] = set()
    while todo:
        wire = todo.pop()
        if wire not in alive:
            alive.add(wire)
            todo += sources.get(wire, ())
    return alive


def _memory_net(name: str) -> str:
    """Stands for the memory's content among the wires; no wire is called so."""
    return f"memory {name}"


def _cell_alive(cell: Cell, modules: dict[str, Module], alive: set[str]) -> bool:
    if not cell.kind.startswith("$"):
        return True
    if cell.kind in ("$memwr_v2", "$meminit_v2"):
        return _memory_net(memory_of(cell)) in alive
    return not alive.isdisjoint(wires_of(cell.ports[name] for name in outputs_of(cell, modules)))
