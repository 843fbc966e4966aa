"""Makefile and FuseSoC core file of a generated folder."""

import celosia
from celosia.host.deliverable.template import fill
from celosia.hw.config import AcceleratorConfig

BUILD = "build"
"""Folder that the Makefile's targets leave their files in."""


def makefile(top: str, *, has_testbench: bool) -> str:
    """Return the Makefile: lint, and simulations if there is a testbench."""
    return fill(
        "Makefile",
        top=top,
        variables=fill("variables.mk") if has_testbench else "",
        targets="icarus verilator lint clean" if has_testbench else "lint clean",
        rules=fill("simulate.mk") if has_testbench else "",
    )


def core_file(top: str, config: AcceleratorConfig, what: str, *, has_testbench: bool) -> str:
    """Return the FuseSoC core file, CAPI2: filesets rtl and tb, targets default, lint, sim and sim_verilator."""
    values = {"top": top, "engine": config.engine_name, "version": celosia.__version__, "what": what}
    simulate = {name: fill(f"core_{name}.yml", **values) if has_testbench else "" for name in ("filesets", "targets")}
    return fill("core.yml", **values, **simulate)
