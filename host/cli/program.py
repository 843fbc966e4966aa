"""celosia program: load a bitstream into a board. celosia boards: what boards there are."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from celosia.host.cli.folder import read_manifest
from celosia.host.cli.machines import describe
from celosia.host.cli.options import Json
from celosia.host.cli.output import emit, note, show, table
from celosia.host.errors import CelosiaError


def program(
    board: Annotated[str, typer.Argument(help="Name of a board; see celosia boards.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder that celosia build made; build/BOARD-ENGINE.")
    ] = None,
) -> None:
    """Load the bitstream of a folder into a board, with openFPGALoader, dfu-util or iceprog."""
    from celosia.boards.table import find_board

    chosen = find_board(board)
    folder = directory or _only_folder(chosen.name)
    manifest = read_manifest(folder)
    if manifest is None or "bitstream" not in manifest:
        raise CelosiaError(f"{folder} holds no bitstream; celosia build {chosen.name} makes one.")
    if manifest["board"] != chosen.name:
        raise CelosiaError(f"{folder} holds a bitstream for {manifest['board']}, not for {chosen.name}.")
    bitstream = folder / manifest["bitstream"]
    if not bitstream.is_file():
        cure = (
            f"cd {folder} && vivado -mode batch -source build.tcl makes it"
            if (folder / "build.tcl").is_file()
            else f"celosia build {chosen.name} --output {folder} --force makes it again"
        )
        raise CelosiaError(f"{bitstream} is missing; {cure}.")
    command = chosen.command(str(bitstream))
    if shutil.which(command[0]) is None:
        raise CelosiaError(f"{command[0]} is not installed; install it, then run: {shlex.join(command)}")
    if chosen.note:
        note(chosen.note)
    code = subprocess.run(command, check=False).returncode
    if code:
        note(f"{command[0]} failed with exit code {code}: {shlex.join(command)}")
        raise typer.Exit(1)


def _only_folder(board: str) -> Path:
    """Return the folder of the board's bitstream, if there is one only."""
    found = [
        path.parent
        for path in sorted(Path("build").glob(f"{board}-*/manifest.json"))
        if (read_manifest(path.parent) or {}).get("board") == board
    ]
    if not found:
        raise CelosiaError(f"build holds no bitstream for {board}; celosia build {board} makes one.")
    if len(found) > 1:
        raise CelosiaError(f"there are several bitstreams for {board}; give one of {', '.join(map(str, found))}.")
    return found[0]


def _design(design: Any) -> dict[str, Any]:
    config = design.config
    return {"clock_mhz": design.clock_mhz, "config_hash": config.hash, "config": config.to_json()}


def boards(as_json: Json = False) -> None:
    """List the boards: chip, clock, serial port, and the accelerators that fit."""
    from celosia.boards.table import all_boards

    grid = table("board", "chip", "clock MHz", "serial port", "accelerators by default", left=5)
    for board in all_boards():
        values: dict[str, Any] = {
            "board": board.name,
            "summary": board.summary,
            "part": board.device.part,
            "input_clock_hz": board.clock_hz,
            "link": "uart",
            "baud": board.baud,
            "serial": board.serial,
            "lights": sorted(board.leds),
            "designs": {name: _design(design) for name, design in board.designs.items()},
            "program": board.command("BITSTREAM"),
            "note": board.note,
        }
        if as_json:
            emit(values)
            continue
        designs = [f"{describe(design.config)} at {design.clock_mhz:g} MHz" for design in board.designs.values()]
        chip = f"{board.device.part}\n{board.device.luts:,} LUT, {board.device.dsps} DSP, {board.device.brams} BRAM"
        grid.add_row(board.name, chip, f"{board.clock_hz / 1e6:g}", board.serial, "\n".join(designs) or "too small")
    if not as_json:
        show(grid)
