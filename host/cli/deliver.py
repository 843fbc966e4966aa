"""Folders of Verilog that can be taken away and checked without Python."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import celosia
from celosia.host.cli.folder import MANIFEST, check_target, write_folder
from celosia.host.cli.machines import describe
from celosia.host.deliverable.build_files import BUILD, core_file, makefile
from celosia.host.deliverable.header import NAME as HEADER
from celosia.host.deliverable.header import c_header
from celosia.host.deliverable.links import LINK_BENCHES
from celosia.host.deliverable.readme import Top, readme
from celosia.host.deliverable.testbench import verilog_testbench
from celosia.host.deliverable.vectors import Vectors
from celosia.hw.config import PROTOCOL_VERSION, AcceleratorConfig

LINT: Final = "lint.vlt"
"""Name of the file that says which of Verilator's warnings do not apply, and why."""

CONFIG: Final = "config.json"
"""Name of the file that the same hardware can be generated from again."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is generated.

    Parameters
    ----------
    name : str
        ``accelerator``, ``core`` or ``engine``.
    config : AcceleratorConfig
    link : str
        Name of the link that an accelerator is behind; empty for none.
    parameters : mapping
        Of the link.
    """

    name: str
    config: AcceleratorConfig
    link: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """A few words that name it."""
        if self.name == "engine":
            return f"engine {describe(self.config)}"
        behind = f" behind {self.link}" if self.link else ""
        return f"{self.name} with engine {describe(self.config)}{behind}"

    @property
    def top(self) -> Top:
        """Its top module."""
        from celosia.sim.parts import clock_ports_of, ports_of, top_name

        clock, reset = clock_ports_of(self.name, self.config, self.link, self.parameters)
        return Top(
            name=top_name(self.name, self.config, self.link),
            part=self.name,
            what=self.what,
            link=self.link,
            clock=clock,
            reset=reset,
            ports=ports_of(self.name, self.config, self.link, self.parameters),
        )

    def verilog(self, progress: Progress | None = None) -> str:
        """Its Verilog, with a line above that says what it is."""
        from celosia.sim.parts import verilog_of_part

        text = verilog_of_part(self.name, self.config, progress, link=self.link, parameters=self.parameters)
        return f"// Celosia {celosia.__version__}: {self.what}, config {self.config.hash}.\n\n{text}"


def manifest_of(part: Part, top: Top, vectors: Vectors | None = None) -> dict[str, Any]:
    """Return what a generated folder says about itself."""
    config = part.config
    memories = [
        {"name": memory.name, "id": memory.id, "width": memory.width, "depth": memory.depth}
        for memory in config.memories
    ]
    return {
        "part": part.name,
        "engine": config.engine_name,
        "top": top.name,
        "link": part.link or None,
        "link_parameters": dict(part.parameters),
        "config_hash": config.hash,
        "config": config.to_json(),
        "versions": {"celosia": celosia.__version__, "amaranth": version("amaranth"), "protocol": PROTOCOL_VERSION},
        "memories": memories,
        "causes": list(config.causes),
        "clock": top.clock,
        "reset": f"{top.reset}, synchronous, active {top.reset_active}",
        "ports": list(top.ports),
        "vectors": None
        if vectors is None
        else {
            "network": vectors.network,
            "inputs": vectors.inputs,
            "requests": len(vectors.exchanges),
            "request_words": vectors.request_words,
            "answer_words": vectors.answer_words,
        },
        "products": [BUILD],
    }


def write_part(
    part: str, config: AcceleratorConfig, target: Path, *, force: bool, progress: Progress | None = None
) -> Path:
    """Write only a part's Verilog, its waivers and its manifest into a folder, and return the Verilog file's path.

    Parameters
    ----------
    part : {"accelerator", "core", "engine"}
    config : AcceleratorConfig
    target : Path
        The folder, see `celosia.host.cli.folder.write_folder`.
    force : bool
        Replace an earlier result.
    progress : callable, optional
        Told about each stage.
    """
    from celosia.sim.parts import LINT_WAIVERS

    check_target(target, force=force)  # before the work is done
    chosen = Part(name=part, config=config)
    top = chosen.top
    files = {f"{top.name}.v": chosen.verilog(progress), LINT: LINT_WAIVERS}
    write_folder(target, files, manifest_of(chosen, top), force=force)
    return target / f"{top.name}.v"


def write_deliverable(
    part: Part, vectors: Vectors | None, target: Path, *, force: bool, progress: Progress | None = None
) -> dict[str, str]:
    """Write a part with all that belongs to it, and return the files' texts by their names.

    Parameters
    ----------
    part : Part
    vectors : Vectors or None
        What its testbench checks; None: no testbench.
    target : Path
        The folder, see `celosia.host.cli.folder.write_folder`.
    force : bool
        Replace an earlier result.
    progress : callable, optional
        Told about each stage.
    """
    from celosia.sim.parts import LINT_WAIVERS

    top, config, has_testbench = part.top, part.config, vectors is not None
    files = {
        f"{top.name}.v": part.verilog(progress),
        LINT: LINT_WAIVERS,
        f"{top.name}.core": core_file(top.name, config, part.what, has_testbench=has_testbench),
        "Makefile": makefile(top.name, has_testbench=has_testbench),
        CONFIG: json.dumps(config.to_json(), indent=2) + "\n",
    }
    if part.name == "accelerator":
        has_registers = part.link in LINK_BENCHES and LINK_BENCHES[part.link].has_registers
        files[HEADER] = c_header(config, part.what, has_registers=has_registers)
    if vectors is not None:
        bench = verilog_testbench(top.name, config, vectors, link=part.link, parameters=part.parameters, what=part.what)
        files |= {
            f"tb/{top.name}_tb.v": bench,
            "vectors/requests.hex": vectors.requests_hex(),
            "vectors/answers.hex": vectors.answers_hex(),
        }
    files["README.md"] = readme(top, config, [*files, MANIFEST], vectors)
    write_folder(target, files, manifest_of(part, top, vectors), force=force)
    return files
