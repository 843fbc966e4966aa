"""One module per distinct component: Amaranth writes one per instance."""

import re
from collections import Counter

from celosia.hw.verilog.hints import Hints
from celosia.hw.verilog.names import unique_name
from celosia.hw.verilog.rtlil import Cell, Memory, Module, Wire

__all__ = ["instance_counts", "merge_identical", "name_modules"]

_NOISE = ("src", "generator")


def merge_identical(modules: dict[str, Module]) -> dict[str, Module]:
    """Merges modules that are equal but for their name, from the leaves up; the first of each kind stays.

    Parameters
    ----------
    modules : dict
        Modules by name, after `celosia.hw.verilog.cleanup.clean_up`; instances in them are redirected in place.
    """
    while True:
        first: dict[str, str] = {}
        same = {name: first.setdefault(_content(module), name) for name, module in modules.items()}
        if all(name == other for name, other in same.items()):
            return modules
        modules = {name: module for name, module in modules.items() if same[name] == name}
        for module in modules.values():
            for cell in module.cells:
                cell.kind = same.get(cell.kind, cell.kind)


def _content(module: Module) -> str:
    """Everything that makes a module what it is, as text."""
    owners: list[Wire | Memory | Cell] = [*module.wires.values(), *module.memories.values(), *module.cells]
    for owner in owners:
        for name in _NOISE:
            owner.attributes.pop(name, None)
    attributes = {name: value for name, value in module.attributes.items() if name not in _NOISE}
    wires = sorted(module.wires.items())
    cells = [
        (cell.kind, cell.name, cell.parameters, sorted(cell.ports.items()), cell.attributes) for cell in module.cells
    ]
    return repr((attributes, wires, module.memories, cells, module.processes, module.connections))


def name_modules(modules: dict[str, Module], hints: dict[str, Hints], top: str) -> dict[str, str]:
    """Verilog names: the top's own, then ``top_kind`` after the component's class, numbered where kinds differ."""
    names = {top: top}
    taken = {top.lower()}
    for name in modules:
        if name == top:
            continue
        kind = hints[name].kind if name in hints else ""
        if kind in ("", "module", "fragment"):
            kind = re.sub(r"(_?\d+)+$", "", name.rpartition(".")[2])
        names[name] = unique_name(f"{top}_{kind or 'part'}", taken)
    return names


def instance_counts(modules: dict[str, Module], top: str) -> Counter[str]:
    """How often each module occurs in the whole hierarchy below ``top``."""
    counts: Counter[str] = Counter({top: 1})
    # Amaranth lists parents before their submodules, and merging keeps the first of each kind: count along paths.
    for name, module in _parents_first(modules, top):
        for cell in module.cells:
            if cell.kind in modules:
                counts[cell.kind] += counts[name]
    return counts


def _parents_first(modules: dict[str, Module], top: str) -> list[tuple[str, Module]]:
    """Modules so ordered that each follows all that instantiate it."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for cell in modules[name].cells:
            if cell.kind in modules:
                visit(cell.kind)
        order.append(name)

    visit(top)
    return [(name, modules[name]) for name in reversed(order)]
