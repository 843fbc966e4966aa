"""What a module's parts read and drive, and changes to all of them."""

from collections.abc import Callable, Iterable, Iterator

from celosia.hw.verilog.rtlil import Assign, Cell, Module, Slice, Spec, Switch

__all__ = [
    "map_specs",
    "map_targets",
    "memory_of",
    "outputs_of",
    "reads",
    "rename",
    "renamed",
    "statements",
    "wire_of",
    "wires_of",
]


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


def wire_of(spec: Spec) -> str:
    """The wire that a value begins with."""
    piece = spec[0]
    assert isinstance(piece, Slice)
    return piece.wire


def wires_of(specs: Iterable[Spec]) -> set[str]:
    """All wires in some values."""
    return {piece.wire for spec in specs for piece in spec if isinstance(piece, Slice)}


def memory_of(cell: Cell) -> str:
    """Name of the memory that a memory port or initial content belongs to."""
    return cell.parameters["MEMID"].strip('"').lstrip("\\")


def rename(module: Module, names: dict[str, str]) -> None:
    """Renames wires; names not listed stay."""
    module.wires = {names.get(name, name): wire for name, wire in module.wires.items()}
    for name, wire in module.wires.items():
        wire.name = name
    map_specs(module, lambda spec: renamed(spec, names))
    map_targets(module, lambda name: names.get(name, name))


def renamed(spec: Spec, names: dict[str, str]) -> Spec:
    """A value with its wires renamed."""
    return tuple(
        Slice(names.get(piece.wire, piece.wire), piece.low, piece.width) if isinstance(piece, Slice) else piece
        for piece in spec
    )


def map_specs(module: Module, change: Callable[[Spec], Spec]) -> None:
    """Changes every value of a module but the targets of its processes."""
    for cell in module.cells:
        cell.ports = {name: change(spec) for name, spec in cell.ports.items()}
    for process in module.processes:
        for item in statements(process.body):
            if isinstance(item, Assign):
                item.right = change(item.right)
            else:
                item.select = change(item.select)
    module.connections = [(change(left), change(right)) for left, right in module.connections]


def map_targets(module: Module, change: Callable[[str], str]) -> None:
    """Changes the wires that processes drive."""
    for process in module.processes:
        for item in statements(process.body):
            if isinstance(item, Assign):
                item.left = Slice(change(item.left.wire), item.left.low, item.left.width)
