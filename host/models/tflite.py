"""TensorFlow Lite files: networks quantized to int8, per tensor or per channel.

The integers are those of its reference kernels (tried: ai-edge-litert 2.3.0, `OpResolverType.BUILTIN_REF`):

* FULLY_CONNECTED rounds once, half away from zero, in float64; a layer's multipliers are those that round every sum
  which can occur alike (`tflite_scales.py`).
* CONV_2D, DEPTHWISE_CONV_2D, MEAN, ADD, QUANTIZE between integers and RELU round twice, as gemmlowp.
* AVERAGE_POOL_2D divides half away from zero.
* SOFTMAX is the one in 32-bit fixed point.

The default of ai-edge-litert, the XNNPACK delegate, rounds half to even: a value next to a tie can be one off there.

Files that begin with QUANTIZE take real inputs, which become the integers that it gives, ties included; files that end
with DEQUANTIZE have their outputs' scale.
"""

import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network

MAX_BYTES: Final = 2**30
"""Largest file read, in bytes."""


def read_tflite(path: str | os.PathLike[str]) -> Network:
    """Read a quantized network.

    Parameters
    ----------
    path : path
        The .tflite file.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        If the package ``tflite`` is missing, the file cannot be read, is larger than 1 GiB or damaged, or the graph
        holds something that is not supported; then everything unsupported is named.
    """
    network, _ = read_tflite_tensors(path)
    return network


def read_tflite_tensors(path: str | os.PathLike[str]) -> tuple[Network, Mapping[int, int]]:
    """Read a quantized network, and which of its tensors are which of the file's.

    Parameters
    ----------
    path : path
        The .tflite file.

    Returns
    -------
    network : Network
    places : mapping
        Number of a tensor of activations in the file → that in the network: 0 is its input, i + 1 the output of layer
        i. Their elements are equal in C order. Those that the network has no tensor for are left out.

    Raises
    ------
    ModelError
        As :func:`read_tflite`.
    """
    try:
        _import_tflite()
        return _read(Path(path))
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from None


def _import_tflite() -> types.ModuleType:
    try:
        import tflite
    except ImportError:
        raise ModelError(
            "reading .tflite files needs the package tflite, which is missing; pip install 'celosia[tflite]' installs "
            "it."
        ) from None
    return tflite


def _read(path: Path) -> tuple[Network, Mapping[int, int]]:
    from celosia.host.models.tflite_file import parse_file
    from celosia.host.models.tflite_graph import GraphReader

    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"it has {size} bytes, but at most {MAX_BYTES} are read.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError("there is no such file.") from None
    except OSError as error:
        raise ModelError(f"it cannot be read ({error.strerror}).") from None
    reader = GraphReader(parse_file(content), path.stem)
    return reader.read(), reader.places
