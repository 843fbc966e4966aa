"""ONNX files: networks as onnxruntime's static quantizer writes them (QDQ and QOperator), and float ones.

Quantized networks are graphs of convolutions, fully connected layers, pooling, additions and concatenations; float ones
are chains of fully connected layers. Those with operators of QONNX or FINN, or with Sign, are binarized or few-bit
networks: `qonnx.py` reads them.

**Arithmetic.** The networks equal, bit by bit, the graph evaluated one operator after the other in exact arithmetic:
operators between DequantizeLinear and QuantizeLinear, and the operators on integers, add products of integers, multiply
the sum by one scale and round once, half to even.

* The scale is the float32 that onnxruntime's integer kernels compute: (input · weight) / output for what has weights,
  input / (output · elements) for averages, input / output for values that are quantized again. A multiplier of 31 bits
  holds the 24 bits of a float32, so nothing is lost.
* Additions have two scales, which are the file's as exact numbers, and so is their quotient: see `onnx_addition.py`,
  which finds multipliers that are right for every pair of inputs.
* Maxima, clamps, concatenations and reshaping do not round. The bounds of a clamp are quantized in float32.
* A bias is an integer in units of input · weight; one that is not, e.g. a float one, is rounded to that, half to even.

**Where onnxruntime differs** (tried: 1.32, operator by operator): it computes in float32, so that a value can come out
one higher or lower where the exact one is next to a tie.

* QLinearConv, QLinearMatMul, QGemm and QLinearGlobalAveragePool add integers and then multiply once: values within a
  relative 2^−24 of a tie become it and go to even, 16 of 16.7 million values of networks for handwritten digits.
  `onnx_float32.py` chooses other multipliers with which these kernels are equalled for all inputs, where there are any.
* QLinearAdd, and all between DequantizeLinear and QuantizeLinear, round each product and each sum to float32: values
  within about (K + 8) · 2^−24 times the sum of the K products' magnitudes, 19 of 18.6 million there.
* Averages of n elements that stay in one scale, as QDQ files have them, meet ties often: one value in n if n is even.
  Here they go to even if n is a power of two; else float32(1 / n) is a little more or less than 1 / n, and all go away
  from zero, or all towards it. QLinearGlobalAveragePool gives the even neighbour, AveragePool either, by chance.
"""

import os
import types
from pathlib import Path

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network


def read_onnx(path: str | os.PathLike[str]) -> Network | FloatNetwork:
    """Read a quantized network, convolutional or fully connected, or a float one, fully connected.

    Parameters
    ----------
    path : path
        The .onnx file; tensors in files beside it are read too.

    Returns
    -------
    Network or FloatNetwork
        Quantized if the graph is. Images are given with channels first, as the file has them.

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
