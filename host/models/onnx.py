"""ONNX files: fully connected networks, float or as onnxruntime's quantizers write them (QDQ and QOperator).

Those with operators of QONNX or FINN, or with Sign, are binarized or few-bit networks: `qonnx.py` reads them.

Quantized layers round once, half to even, as onnxruntime's QLinearMatMul and QGemm do; their scale is computed in
float32 as there. onnxruntime (tried: 1.31) also multiplies the accumulator in float32, so that a product within half a
float32 step of a tie can come out one higher or lower there: 5 of 1.6 million outputs of QOperator graphs, and 12 of
QDQ graphs that it runs in float.
"""

import os
import types
from pathlib import Path

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network


def read_onnx(path: str | os.PathLike[str]) -> Network | FloatNetwork:
    """Read a fully connected network, or a binarized one, which may have convolutions.

    Parameters
    ----------
    path : path
        The .onnx file; tensors in files beside it are read too.

    Returns
    -------
    Network or FloatNetwork
        Quantized if the graph is.

    Raises
    ------
    ModelError
        If the package ``onnx`` (for binarized networks: ``qonnx``) is missing, the file cannot be read or is damaged,
        or the graph holds something that is not supported; then everything unsupported is named.
    """
    onnx = _import_onnx()
    try:
        return _read(onnx, Path(path))
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from None


def _import_onnx() -> types.ModuleType:
    try:
        import onnx
    except ImportError:
        raise ModelError(
            "reading .onnx files needs the package onnx, which is missing; pip install 'celosia[onnx]' installs it."
        ) from None
    return onnx


def _read(onnx: types.ModuleType, path: Path) -> Network | FloatNetwork:
    from celosia.host.models.onnx_graph import GraphReader
    from celosia.host.models.onnx_values import MAX_BYTES
    from celosia.host.models.qonnx import is_binarized, read_qonnx

    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"it has {size} bytes, but at most {MAX_BYTES} are read.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError("there is no such file.") from None
    except OSError as error:
        raise ModelError(f"it cannot be read ({error.strerror}).") from None
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own error type differs between its implementations
        raise ModelError(f"it is damaged or no ONNX file ({type(error).__name__}: {error}).") from None
    return read_qonnx(model, path) if is_binarized(model) else GraphReader(model, path).read()
