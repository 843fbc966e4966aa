"""celosia generate: Verilog and a manifest for people who build hardware without Python."""

from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

import celosia
from celosia.host.cli.folder import MANIFEST, check_target, write_folder
from celosia.host.cli.machines import describe
from celosia.host.cli.options import Cols, ConfigFile, Json, Rows, Settings, read_config
from celosia.host.cli.output import emit, show, working
from celosia.hw.config import PROTOCOL_VERSION, AcceleratorConfig


class Part(StrEnum):
    """What to generate."""

    ACCELERATOR = "accelerator"
    CORE = "core"
    ENGINE = "engine"


LINT = "lint.vlt"
"""Name of the file that says which of Verilator's warnings do not apply, and why."""


def manifest_of(part: str, config: AcceleratorConfig) -> dict[str, Any]:
    """Return what a generated folder says about itself."""
    from celosia.sim.parts import ports_of, top_name

    memories = [
        {"name": memory.name, "id": memory.id, "width": memory.width, "depth": memory.depth}
        for memory in config.memories
    ]
    return {
        "part": part,
        "engine": config.engine_name,
        "top": top_name(part, config),
        "config_hash": config.hash,
        "config": config.to_json(),
        "versions": {"celosia": celosia.__version__, "amaranth": version("amaranth"), "protocol": PROTOCOL_VERSION},
        "memories": memories,
        "causes": list(config.causes),
        "clock": "clk",
        "reset": "rst, synchronous, active high",
        "ports": ports_of(part, config),
    }


def write_part(
    part: str, config: AcceleratorConfig, target: Path, *, force: bool, progress: Callable[[str], None] | None = None
) -> Path:
    """Write a part's Verilog and its manifest into a folder, and return the Verilog file's path.

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
    from celosia.sim.parts import LINT_WAIVERS, top_name, verilog_of_part

    check_target(target, force=force)  # before the work is done
    name = f"{top_name(part, config)}.v"
    what = describe(config) if part == "engine" else f"{part} with engine {describe(config)}"
    header = f"// Celosia {celosia.__version__}: {what}, config {config.hash}.\n\n"
    files = {name: header + verilog_of_part(part, config, progress), LINT: LINT_WAIVERS}
    write_folder(target, files, manifest_of(part, config), force=force)
    return target / name


def generate(
    engine: Annotated[str, typer.Argument(help="Name of an engine; see celosia list.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to make.")],
    part: Annotated[
        Part, typer.Option("--part", help="The whole accelerator, its core without the link, or the engine alone.")
    ] = Part.ACCELERATOR,
    config: ConfigFile = None,
    rows: Rows = None,
    cols: Cols = None,
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that celosia generated.")] = False,
    as_json: Json = False,
) -> None:
    """Write readable Verilog, a manifest and lint waivers into a folder.

    The manifest holds the config and its hash, versions, the memories as the host sees them, and the ports.
    """
    chosen = read_config(engine, file=config, rows=rows, cols=cols, settings=settings)
    with working(f"generating {describe(chosen)}") as report:
        path = write_part(part.value, chosen, output, force=force, progress=report)
    text = path.read_text(encoding="utf-8")
    modules = sum(line.startswith("module ") for line in text.splitlines())
    if as_json:
        emit(
            {
                "engine": chosen.engine_name,
                "part": part.value,
                "config_hash": chosen.hash,
                "directory": str(output),
                "verilog": str(path),
                "modules": modules,
                "bytes": len(text.encode()),
            }
        )
    else:
        show(
            f"{path}: {part.value}, {describe(chosen)}, {modules} modules, {len(text.splitlines())} lines",
            f"{output / MANIFEST}: config {chosen.hash}, memories, ports",
            f"{output / LINT}: for verilator --lint-only -Wall {output / LINT} {path}",
        )
