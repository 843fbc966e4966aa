"""What the Python objects know about names, gathered before the RTLIL text forgets it."""

import re
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Const, Fragment, Value, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

__all__ = ["Hints", "gather_hints", "top_ports"]


@dataclass
class Hints:
    """Names for one module.

    ``kind`` is the class of the component in snake case, ``title`` the first line of its docstring. ``ports`` maps
    local wire names to the component's own port names, in the order of its signature; ``children`` maps local wire
    names to (instance, port) for signals that belong to a submodule's signature.
    """

    kind: str = ""
    title: str = ""
    ports: dict[str, str] = field(default_factory=dict)
    children: dict[str, tuple[str, str]] = field(default_factory=dict)


def top_ports(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """Ports of a component as they appear on its Verilog module.

    Parameters
    ----------
    component : wiring.Component
        Any component; nested interface members are joined by two underscores (``run__start``).

    Returns
    -------
    dict
        Port name to (signal, direction), in the order of the signature. Constant members (``valid`` of an
        ``always_valid`` stream) and 0-bit signals have no port.
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


def gather_hints(design: Any) -> dict[str, Hints]:
    """Hints of every module of a prepared design, by its RTLIL name."""
    hints = {".".join(info.name): Hints() for info in design.fragments.values()}
    owners: dict[Fragment, list[Any]] = {}
    for elaboratable, fragment in design.elaboratables.items():
        owners.setdefault(fragment, []).append(elaboratable)
    for fragment, elaboratables in owners.items():
        info = design.fragments[fragment]
        hint = hints[".".join(info.name)]
        components = [item for item in elaboratables if isinstance(item, wiring.Component)]
        component = components[0] if components else elaboratables[-1]
        hint.kind = _snake_case(type(component).__name__)
        hint.title = (type(component).__doc__ or "").strip().partition("\n")[0]
        if not isinstance(component, wiring.Component):
            continue
        parent = design.fragments.get(info.parent)
        parent_hint = hints[".".join(parent.name)] if parent else Hints()
        for port, (value, _direction) in top_ports(component).items():
            if value in info.signal_names:
                hint.ports[info.signal_names[value]] = port
            if parent and value in parent.signal_names:
                parent_hint.children[parent.signal_names[value]] = (info.name[-1], port)
    return hints


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_")
