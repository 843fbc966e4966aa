"""Output files appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file under a temporary name beside `path`, and rename it to `path` when the block ends well.

    If the block raises (or is interrupted), the temporary file is removed and an older file at `path` stays as it was.

    Parameters
    ----------
    path : path
        The file to write; its folder must exist.

    Yields
    ------
    BinaryIO
        The open file.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
