"""Where Celosia keeps files that can be rebuilt at any time."""

import os
import sys
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """Folder of the cache; not created here.

    Returns
    -------
    Path
        ``$CELOSIA_CACHE`` when set; else ``celosia`` in the user's cache folder: ``$XDG_CACHE_HOME`` or ``~/.cache``,
        ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows.
    """
    chosen = os.environ.get("CELOSIA_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "celosia"
