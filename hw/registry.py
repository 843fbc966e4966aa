"""Table of engines. Every command, report and generic test finds its engines here.

An engine is seven modules of the same names, found by convention and imported only when asked for:
`celosia.hw.NAME.config` (its config), `celosia.hw.NAME.layer` (its descriptor), `celosia.hw.NAME.engine` (its RTL),
`celosia.sim.golden.NAME` and `celosia.sim.cycles.NAME` (its models), `celosia.sim.mismatch.NAME` (what names its first
mismatch), and `celosia.host.pack.NAME` (its packer).
"""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Engine:
    """One line of the table: a name, the prefix of its class names, and one sentence about it."""

    name: str
    prefix: str
    summary: str

    @cached_property
    def config(self) -> Any:
        """Class of its config, pure Python."""
        return getattr(import_module(f"celosia.hw.{self.name}.config"), f"{self.prefix}Config")

    @cached_property
    def layer_fields(self) -> Any:
        """Function from an accelerator config to the layout of a layer descriptor."""
        return import_module(f"celosia.hw.{self.name}.layer").layer_fields

    @cached_property
    def rtl(self) -> Any:
        """Class of its Amaranth component; imports Amaranth."""
        return getattr(import_module(f"celosia.hw.{self.name}.engine"), f"{self.prefix}Engine")

    @cached_property
    def golden(self) -> Any:
        """Module of its bit-exact model."""
        return import_module(f"celosia.sim.golden.{self.name}")

    @cached_property
    def cycles(self) -> Any:
        """Module of its cycle model."""
        return import_module(f"celosia.sim.cycles.{self.name}")

    @cached_property
    def packer(self) -> Any:
        """Module that packs layers into memory words."""
        return import_module(f"celosia.host.pack.{self.name}")


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("systolic", "Systolic", "weight-stationary array of int8 multipliers for dense and image networks"),
        Engine("sparse", "Sparse", "EIE-style PEs for pruned layers with shared weights"),
        Engine("binary", "Binary", "XNOR-popcount PEs for binarized layers, folded PE × SIMD"),
    )
}


def find_engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises
    ------
    ValueError
        There is none; the sentence names those there are.
    """
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is unknown; there are: {', '.join(ENGINES)}.")
    return ENGINES[name]
