"""Readers: a model file becomes a network of layers."""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from celosia.host.models.errors import ModelError

if TYPE_CHECKING:
    from celosia.host.models.float_ir import FloatNetwork
    from celosia.host.models.ir import Network

READERS: Final = {
    ".npz": "celosia.host.models.npz:read_npz",
    ".onnx": "celosia.host.models.onnx:read_onnx",
    ".tflite": "celosia.host.models.tflite:read_tflite",
}
"""Suffix of a model file -> its reader, imported on first use."""


def read_model(path: str | os.PathLike[str]) -> "Network | FloatNetwork":
    """Read a model file, by its suffix.

    Parameters
    ----------
    path : path
        A file with one of the suffixes in :data:`READERS`, upper or lower case.

    Returns
    -------
    Network or FloatNetwork
        Quantized (ready to compile) or float (to be quantized first).

    Raises
    ------
    ModelError
        If the suffix is unknown or the reader refuses the file.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        raise ModelError(f"{os.fspath(path)}: suffix {suffix!r} names no model format; {', '.join(READERS)} are read.")
    module, function = READERS[suffix].split(":")
    return getattr(importlib.import_module(module), function)(path)
