"""Networks in numpy's .npz container: Celosia's own format, also easy to write by hand.

Every entry is one array; texts are 0-d string arrays, numbers 0-d arrays. Nothing is pickled.

================== ============================================================================
entry              content
================== ============================================================================
``format``         ``celosia-float`` or ``celosia-quantized``
``version``        1
``name``           text
``input_shape``    integers (D,): shape of one input without the batch axis
``layers``         texts (L,): the layers' names, in order
``labels``         texts: one per output; optional
``input_scale``    number; quantized networks only
``output_scale``   number; quantized networks only
================== ============================================================================

Layer i (from 0) of a float network has ``i.weights`` float (K, N), ``i.bias`` float (N,) and, if there is one,
``i.activation``: ``none``, ``relu``, ``relu6`` or two numbers (lowest, highest). Layer i of a quantized network has the
fields of :class:`celosia.host.models.ir.Dense` under the same names: ``i.weights``, ``i.bias``, ``i.multiplier``,
``i.shift``, ``i.rounding``, ``i.input_zero_point``, ``i.output_zero_point``, ``i.minimum``, ``i.maximum``,
``i.input_dtype``, ``i.output_dtype``. ``i.kind`` is ``dense``, and may be left out.

A float network by hand::

    np.savez("mlp.npz", **{"format": "celosia-float", "version": 1, "name": "mlp", "input_shape": [64],
                           "layers": ["hidden", "classes"],
                           "0.weights": w0, "0.bias": b0, "0.activation": "relu", "1.weights": w1, "1.bias": b1})
"""

import dataclasses
import io
import math
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Final, TypedDict, cast

import numpy as np

from celosia.host.files import replacing, write_arrays
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import Activation, FloatDense, FloatNetwork
from celosia.host.models.ir import Dense, Layer, Network, Rounding

VERSION: Final = 1
MAX_BYTES: Final = 2**30
"""Largest file read, in bytes after decompression."""

_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    Dense: tuple(field.name for field in dataclasses.fields(Dense) if field.name != "name"),
    FloatDense: ("weights", "bias", "activation"),
}


def read_npz(path: str | os.PathLike[str]) -> Network | FloatNetwork:
    """Read a network that :func:`write_npz` or a user wrote.

    Parameters
    ----------
    path : path
        The .npz file.

    Returns
    -------
    Network or FloatNetwork

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged or larger than 1 GiB, or does not hold a network of format version 1.
    """
    try:
        entries = _Entries(_read_arrays(path))
        form = entries.text("format", "celosia-float or celosia-quantized")
        if form not in _READERS:
            raise ModelError(f'format is "{form}", but only celosia-float and celosia-quantized are known.')
        version = entries.integer("version")
        if version != VERSION:
            raise ModelError(f"the format's version is {version}, but this program reads version {VERSION}.")
        network = _READERS[form](entries)
        entries.refuse_others()
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from None
    return network


def write_npz(path: str | os.PathLike[str], network: Network | FloatNetwork) -> None:
    """Write a network; equal networks give equal bytes, and a failure leaves no half file.

    Parameters
    ----------
    path : path
        The .npz file, replaced if it exists.
    network : Network or FloatNetwork
        Every layer must be dense.

    Raises
    ------
    ModelError
        If a layer is of a kind that the format does not know, or the file cannot be written.
    """
    entries: dict[str, object] = {
        "format": "celosia-quantized" if isinstance(network, Network) else "celosia-float",
        "version": VERSION,
        "name": network.name,
        "input_shape": network.input_shape,
        "layers": [layer.name for layer in network.layers],
    }
    if network.labels:
        entries["labels"] = list(network.labels)
    if isinstance(network, Network):
        entries |= {"input_scale": network.input_scale, "output_scale": network.output_scale}
    layers: Sequence[Layer | FloatDense] = network.layers
    for index, layer in enumerate(layers):
        if type(layer) not in _FIELDS:
            kind = type(layer).__name__
            raise ModelError(
                f'{os.fspath(path)}: layer "{layer.name}" is a {kind}, but the format holds dense layers only.'
            )
        entries[f"{index}.kind"] = "dense"
        entries |= {f"{index}.{field}": getattr(layer, field) for field in _FIELDS[type(layer)]}
    arrays = {key: np.asarray(value) for key, value in entries.items()}
    try:
        with replacing(path) as file:
            write_arrays(file, arrays)
    except OSError as error:
        raise ModelError(f"{os.fspath(path)}: it cannot be written ({error.strerror}).") from None


def _read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of a .npz file, without trusting a size that the file states."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > MAX_BYTES:
                raise ModelError(f"the arrays take {size} bytes, but at most {MAX_BYTES} are read.")
            return {
                member.filename.removesuffix(".npy"): _read_array(archive.read(member), member.filename)
                for member in members
            }
    except FileNotFoundError:
        raise ModelError("there is no such file.") from None
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"it cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # zipfile and its decompressors raise a dozen types on damaged files
        raise ModelError(f"it is damaged or no .npz file ({type(error).__name__}: {error}).") from None


def _read_array(content: bytes, name: str) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream)
    except Exception as error:  # the header is Python text: whatever its evaluation raises
        raise ModelError(f'the entry "{name}" is no .npy array ({type(error).__name__}: {error}).') from None
    if dtype.kind not in "iufU":
        raise ModelError(f'the entry "{name}" has dtype {dtype}, but only integers, floats and texts are read.')
    expected, given = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if min((0, *shape)) < 0 or expected != given:
        raise ModelError(f'the entry "{name}" has {given} bytes, but shape {shape} of {dtype} needs {expected}.')
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return values.reshape(shape[::-1]).T if fortran_order else values.reshape(shape)


class _Entries:
    """The entries of a file, with sentences for what is missing, of the wrong kind, or unknown."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def array(self, key: str, wanted: str = "an array") -> np.ndarray:
        if key not in self._arrays:
            raise ModelError(f'the entry "{key}" is missing; {wanted} would be right.')
        self._read.add(key)
        return self._arrays[key]

    def _scalar(self, key: str, kinds: str, wanted: str) -> np.ndarray:
        array = self.array(key, wanted)
        if array.dtype.kind not in kinds or array.shape != ():
            raise ModelError(f'the entry "{key}" is {array.dtype} of shape {array.shape}, but {wanted} would be right.')
        return array

    def text(self, key: str, wanted: str = "one text") -> str:
        return str(self._scalar(key, "U", wanted))

    def integer(self, key: str) -> int:
        return int(self._scalar(key, "iu", "one integer"))

    def number(self, key: str) -> float:
        return float(self._scalar(key, "iuf", "one number"))

    def vector(self, key: str, kinds: str, wanted: str) -> list[str] | list[int]:
        array = self.array(key, wanted)
        if array.ndim != 1 or (array.dtype.kind not in kinds and array.size):
            raise ModelError(f'the entry "{key}" is {array.dtype} of shape {array.shape}, but {wanted} would be right.')
        return array.tolist()

    def refuse_others(self) -> None:
        if others := sorted(self._arrays.keys() - self._read):
            raise ModelError(
                f"the entries {', '.join(others)} are unknown; only those of format version {VERSION} are read."
            )


class _Common(TypedDict):
    name: str
    input_shape: tuple[int, ...]
    labels: list[str]


def _read_names(entries: _Entries) -> tuple[list[str], _Common]:
    names = cast(list[str], entries.vector("layers", "U", "a vector of layer names"))
    shape = cast(list[int], entries.vector("input_shape", "iu", "a vector of integers"))
    labels = cast(list[str], entries.vector("labels", "U", "a vector of texts")) if "labels" in entries else []
    for index, name in enumerate(names):
        key = f"{index}.kind"
        if key in entries and (kind := entries.text(key)) != "dense":
            raise ModelError(f'layer "{name}" is of kind "{kind}", but only dense layers are read.')
    return names, _Common(name=entries.text("name"), input_shape=tuple(shape), labels=labels)


def _read_float(entries: _Entries) -> FloatNetwork:
    names, common = _read_names(entries)
    return FloatNetwork(layers=[_read_float_dense(entries, index, name) for index, name in enumerate(names)], **common)


def _read_float_dense(entries: _Entries, index: int, name: str) -> FloatDense:
    return FloatDense(
        name=name,
        weights=entries.array(f"{index}.weights", "a float array (K, N)"),
        bias=entries.array(f"{index}.bias", "a float array (N,)"),
        activation=_read_activation(entries, f"{index}.activation"),
    )


def _read_activation(entries: _Entries, key: str) -> Activation:
    if key not in entries:
        return "none"
    array = entries.array(key)
    if array.shape == (2,) and array.dtype.kind in "iuf":
        return (float(array[0]), float(array[1]))
    return cast(Activation, entries.text(key, "none, relu, relu6 or two numbers"))


def _read_quantized(entries: _Entries) -> Network:
    names, common = _read_names(entries)
    return Network(
        layers=[_read_dense(entries, index, name) for index, name in enumerate(names)],
        input_scale=entries.number("input_scale"),
        output_scale=entries.number("output_scale"),
        **common,
    )


def _read_dense(entries: _Entries, index: int, name: str) -> Dense:
    return Dense(
        name=name,
        weights=entries.array(f"{index}.weights", "an int8 array (K, N)"),
        bias=entries.array(f"{index}.bias", "an integer array (N,)"),
        multiplier=entries.array(f"{index}.multiplier", "an integer array (N,)"),
        shift=entries.array(f"{index}.shift", "an integer array (N,)"),
        rounding=cast(Rounding, entries.text(f"{index}.rounding")),
        input_zero_point=entries.integer(f"{index}.input_zero_point"),
        output_zero_point=entries.integer(f"{index}.output_zero_point"),
        minimum=entries.integer(f"{index}.minimum"),
        maximum=entries.integer(f"{index}.maximum"),
        input_dtype=entries.text(f"{index}.input_dtype"),
        output_dtype=entries.text(f"{index}.output_dtype"),
    )


_READERS: Final[dict[str, Callable[[_Entries], Network | FloatNetwork]]] = {
    "celosia-float": _read_float,
    "celosia-quantized": _read_quantized,
}
