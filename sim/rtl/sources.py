"""Verilog of components, from the cache when it was written before: writing a large one takes seconds."""

import functools
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from amaranth.lib import wiring

import celosia.hw
from celosia.hw.verilog import write_verilog
from celosia.sim.rtl.cache import cached, digest

__all__ = ["verilog_of"]


def verilog_of(
    component: wiring.Component, name: str, *, identity: str = "", progress: Callable[[str], None] | None = None
) -> str:
    """Verilog of a component.

    Parameters
    ----------
    component : wiring.Component
    name : str
        Name of the top module.
    identity : str
        What, beside its class, decides what the component is: a config's hash. The Verilog then comes from the cache
        if the same component was written before by the same version of the hardware's sources and of Amaranth. Empty:
        it is written anew.
    progress : callable, optional
        Told ``write Verilog`` if it is not in the cache.

    Returns
    -------
    str
        See `celosia.hw.verilog.write_verilog`.
    """

    def build(folder: Path) -> None:
        (folder / f"{name}.v").write_text(write(), encoding="utf-8")

    def write() -> str:
        if progress:
            progress("write Verilog")
        return write_verilog(component, name)

    if not identity:
        return write()
    kind = f"{type(component).__module__}.{type(component).__qualname__}"
    key = digest(kind, name, identity, _sources(), version("amaranth"))
    return (cached("verilog", key, build) / f"{name}.v").read_text(encoding="utf-8")


@functools.cache
def _sources() -> str:
    """Digest of every source file that decides what the hardware is."""
    state = hashlib.sha256()
    root = Path(next(iter(celosia.hw.__path__)))
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        state.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return state.hexdigest()
