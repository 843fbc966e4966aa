"""Output files appear whole or not at all."""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np


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


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as numpy.savez_compressed does, but without dates: equal arrays give equal bytes.

    Parameters
    ----------
    file : BinaryIO
        Open for writing and seekable.
    arrays : mapping of str to ndarray
        Names and arrays, in the order in which they are written; no Python objects.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, 9)
