# amaranth: UnusedElaboratable=no
"""Parts of an accelerator that can be had as Verilog: the whole, also behind a link; its core; its engine alone."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from amaranth.hdl import UnusedElaboratable, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.link.table import find_link
from celosia.hw.registry import find_engine
from celosia.hw.top import Accelerator, LinkedAccelerator
from celosia.hw.verilog import LINT_WAIVERS, top_ports
from celosia.sim.rtl.sources import verilog_of

__all__ = ["LINT_WAIVERS", "PARTS", "clock_ports_of", "ports_of", "top_name", "verilog_of_part"]

PARTS: dict[str, Callable[[AcceleratorConfig], wiring.Component]] = {
    "accelerator": Accelerator,
    "core": Core,
    "engine": lambda config: find_engine(config.engine_name).rtl(config),
}
"""Name of a part -> its component."""


def top_name(part: str, config: AcceleratorConfig, link: str = "") -> str:
    """Name of a part's Verilog module: the part's and its link's, or for an engine the engine's."""
    name = config.engine_name if part == "engine" else part
    return f"{name}_{link.replace('-', '_')}" if link else name


def verilog_of_part(
    part: str,
    config: AcceleratorConfig,
    progress: Callable[[str], None] | None = None,
    *,
    link: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Verilog of a part; the same text that the simulator is built from.

    Parameters
    ----------
    part : str
        One of `PARTS`.
    config : AcceleratorConfig
    progress : callable, optional
        Told about each stage.
    link : str
        Name of the link that an accelerator is behind; empty for none.
    parameters : mapping, optional
        Of the link, such as `clock_hz`.

    Raises
    ------
    ValueError
        The link is unknown, or one of its parameters is out of range.
    """
    component = _component(part, config, link, parameters)
    identity = " ".join([config.hash, link, *(f"{name}={value}" for name, value in sorted((parameters or {}).items()))])
    return verilog_of(component, top_name(part, config, link), identity=identity.strip(), progress=progress)


def ports_of(
    part: str, config: AcceleratorConfig, link: str = "", parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Ports of a part's module: name, direction and width in bits of each, without the clock and reset of `sync`."""
    ports: dict[str, tuple[Value, PortDirection]] = top_ports(_component(part, config, link, parameters))
    return [
        {"name": name, "direction": direction.value, "width": len(value)} for name, (value, direction) in ports.items()
    ]


def clock_ports_of(
    part: str, config: AcceleratorConfig, link: str = "", parameters: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """Names of a part's clock and reset; a reset whose name ends in ``n`` is active low, all are synchronous."""
    component = _component(part, config, link, parameters)
    clock, reset = getattr(getattr(component, "link", None), "clock_ports", ("clk", "rst"))
    return clock, reset


def _component(part: str, config: AcceleratorConfig, link: str, parameters: Mapping[str, Any] | None) -> Any:
    # Nor is what links are made of elaborated where the Verilog comes from the cache, or only ports are asked for.
    warnings.filterwarnings("ignore", category=UnusedElaboratable)
    if not link:
        return PARTS[part](config)
    return LinkedAccelerator(config, find_link(link).build(config, **(parameters or {})))
