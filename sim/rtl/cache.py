"""Build cache: entries are complete or absent, whoever builds them at the same time and however it is interrupted."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from celosia.sim.paths import cache_directory

__all__ = ["cached", "digest"]

_MANIFEST = "manifest.json"
# Above this size (bytes) only the length is checked: of the precompiled header, which the compiler checks itself.
_HASH_LIMIT = 16 << 20


def digest(*parts: str) -> str:
    """Key of a cache entry: 32 hexadecimal digits over all parts and their boundaries."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()[:32]


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Folder of a cache entry, built now unless a sound one exists.

    Parameters
    ----------
    kind : str
        Subfolder of the cache.
    key : str
        See `digest`.
    build : callable
        Fills the empty folder it is given. Files that it leaves are checked (size and SHA-256) on every later use,
        and the entry is built again when one has changed.

    Returns
    -------
    Path
        The entry. Another process that builds the same key makes this one wait, then share the result.
    """
    folder = cache_directory() / kind
    entry = folder / key
    if _sound(entry):
        return entry
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / f"{key}.lock"):
        if _sound(entry):  # built by another process meanwhile
            return entry
        _remove_leftovers(folder, key)
        temporary = Path(tempfile.mkdtemp(prefix=f"{key}.part-", dir=folder))
        try:
            build(temporary)
            _write_manifest(temporary)
            os.rename(temporary, entry)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return entry


def _remove_leftovers(folder: Path, key: str) -> None:
    """Parts of killed builds, and an entry that is not sound; the lock is held, so nobody is at work on them."""
    for leftover in [*folder.glob(f"{key}.part-*"), folder / key]:
        shutil.rmtree(leftover, ignore_errors=True)


def _write_manifest(entry: Path) -> None:
    files = {str(path.relative_to(entry)): _fingerprint(path) for path in entry.rglob("*") if path.is_file()}
    (entry / _MANIFEST).write_text(json.dumps(files, indent=1, sort_keys=True))


def _sound(entry: Path) -> bool:
    try:
        files = json.loads((entry / _MANIFEST).read_text())
        return all(_fingerprint(entry / name) == fingerprint for name, fingerprint in files.items())
    except (OSError, ValueError, AttributeError):
        return False


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    if size > _HASH_LIMIT:
        return f"{size}"
    return f"{size}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Exclusive among processes; the system releases it when its holder dies."""
    with open(path, "a+b") as file:
        _acquire(file)
        yield


if os.name == "nt":
    import msvcrt

    def _acquire(file: IO[bytes]) -> None:
        while True:
            with contextlib.suppress(OSError):  # gives up after 10 s, a build may take longer
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
                return
else:
    import fcntl

    def _acquire(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
