# amaranth: UnusedElaboratable=no
"""Parts of an accelerator that can be had as Verilog: the whole of it, its core, or its engine alone."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.registry import find_engine
from celosia.hw.top import Accelerator
from celosia.hw.verilog import LINT_WAIVERS, top_ports
from celosia.sim.rtl.sources import verilog_of

__all__ = ["LINT_WAIVERS", "PARTS", "ports_of", "top_name", "verilog_of_part"]

PARTS: dict[str, Callable[[AcceleratorConfig], wiring.Component]] = {
    "accelerator": Accelerator,
    "core": Core,
    "engine": lambda config: find_engine(config.engine_name).rtl(config),
}
"""Name of a part -> its component."""


def top_name(part: str, config: AcceleratorConfig) -> str:
    """Name of a part's Verilog module: the part's, or for an engine the engine's."""
    return config.engine_name if part == "engine" else part


def verilog_of_part(part: str, config: AcceleratorConfig, progress: Callable[[str], None] | None = None) -> str:
    """Verilog of a part; the same text that the simulator is built from."""
    return verilog_of(PARTS[part](config), top_name(part, config), identity=config.hash, progress=progress)


def ports_of(part: str, config: AcceleratorConfig) -> list[dict[str, Any]]:
    """Ports of a part's module: name, direction and width in bits of each, without clock and reset."""
    ports: dict[str, tuple[Value, PortDirection]] = top_ports(PARTS[part](config))
    return [
        {"name": name, "direction": direction.value, "width": len(value)} for name, (value, direction) in ports.items()
    ]
