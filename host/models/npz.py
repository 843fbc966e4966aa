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
``i.activation``: ``none``, ``relu``, ``relu6`` or two numbers (lowest, highest). ``i.kind`` is ``dense``, and may be
left out.

Layer i of a quantized network has the fields of its class under the same names. ``i.kind`` says which class:

``dense``, or left out: :class:`celosia.host.models.ir.Dense`
    ``i.weights``, ``i.bias``, ``i.multiplier``, ``i.shift``, ``i.rounding``, ``i.input_zero_point``,
    ``i.output_zero_point``, ``i.minimum``, ``i.maximum``, ``i.input_dtype``, ``i.output_dtype``
``compressed``: :class:`celosia.host.models.compressed.CompressedDense`
    ``i.codes`` uint8 (K, N), ``i.codebook`` integers (C,), ``i.bias``, ``i.shift``, ``i.minimum``, ``i.maximum``,
    ``i.input_dtype``, ``i.output_dtype``; without ``i.codebook``, ``i.codes`` are the weights, int8 or int16

A float network by hand::

    np.savez("mlp.npz", **{"format": "celosia-float", "version": 1, "name": "mlp", "input_shape": [64],
                           "layers": ["hidden", "classes"],
                           "0.weights": w0, "0.bias": b0, "0.activation": "relu", "1.weights": w1, "1.bias": b1})
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypedDict, TypeVar, cast

import numpy as np

from celosia.host.files import replacing, write_arrays
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import Activation, FloatDense, FloatNetwork
from celosia.host.models.ir import Dense, Layer, Network, Rounding
from celosia.host.models.npz_entries import Entries, read_arrays

VERSION: Final = 1
_KINDS: Final[dict[type, str]] = {Dense: "dense", FloatDense: "dense", CompressedDense: "compressed"}

_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind) if field.name != "name") for kind in _KINDS
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
        entries = Entries(read_arrays(path))
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
        Every layer must be a Dense, CompressedDense or FloatDense.

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
            raise ModelError(
                f'{os.fspath(path)}: layer "{layer.name}" is a {type(layer).__name__}, '
                "but the format holds dense and compressed layers only."
            )
        entries[f"{index}.kind"] = _KINDS[type(layer)]
        entries |= {f"{index}.{field}": getattr(layer, field) for field in _FIELDS[type(layer)]}
    arrays = {key: np.asarray(value) for key, value in entries.items() if value is not None}
    try:
        with replacing(path) as file:
            write_arrays(file, arrays)
    except OSError as error:
        raise ModelError(f"{os.fspath(path)}: it cannot be written ({error.strerror}).") from None


_AnyLayer = TypeVar("_AnyLayer", bound=Layer | FloatDense)


class _Common(TypedDict):
    name: str
    input_shape: tuple[int, ...]
    labels: list[str]


def _read_names(entries: Entries) -> tuple[list[str], _Common]:
    names = cast(list[str], entries.vector("layers", "U", "a vector of layer names"))
    shape = cast(list[int], entries.vector("input_shape", "iu", "a vector of integers"))
    labels = cast(list[str], entries.vector("labels", "U", "a vector of texts")) if "labels" in entries else []
    return names, _Common(name=entries.text("name"), input_shape=tuple(shape), labels=labels)


def _read_layers(
    entries: Entries, names: list[str], readers: Mapping[str, Callable[[Entries, int, str], _AnyLayer]]
) -> list[_AnyLayer]:
    """Read each layer with the reader of its kind."""
    layers = []
    for index, name in enumerate(names):
        kind = entries.text(key) if (key := f"{index}.kind") in entries else "dense"
        if kind not in readers:
            raise ModelError(f'layer "{name}" is of kind "{kind}", but only {" and ".join(readers)} layers are read.')
        layers.append(readers[kind](entries, index, name))
    return layers


def _read_float(entries: Entries) -> FloatNetwork:
    names, common = _read_names(entries)
    return FloatNetwork(layers=_read_layers(entries, names, {"dense": _read_float_dense}), **common)


def _read_float_dense(entries: Entries, index: int, name: str) -> FloatDense:
    return FloatDense(
        name=name,
        weights=entries.array(f"{index}.weights", "a float array (K, N)"),
        bias=entries.array(f"{index}.bias", "a float array (N,)"),
        activation=_read_activation(entries, f"{index}.activation"),
    )


def _read_activation(entries: Entries, key: str) -> Activation:
    if key not in entries:
        return "none"
    array = entries.array(key)
    if array.shape == (2,) and array.dtype.kind in "iuf":
        return (float(array[0]), float(array[1]))
    return cast(Activation, entries.text(key, "none, relu, relu6 or two numbers"))


def _read_quantized(entries: Entries) -> Network:
    names, common = _read_names(entries)
    return Network(
        layers=_read_layers(entries, names, _QUANTIZED_LAYERS),
        input_scale=entries.number("input_scale"),
        output_scale=entries.number("output_scale"),
        **common,
    )


def _read_dense(entries: Entries, index: int, name: str) -> Dense:
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


def _read_compressed(entries: Entries, index: int, name: str) -> CompressedDense:
    codebook = f"{index}.codebook"
    return CompressedDense(
        name=name,
        codes=entries.array(f"{index}.codes", "a uint8 array (K, N)"),
        codebook=entries.array(codebook) if codebook in entries else None,
        bias=entries.array(f"{index}.bias", "an integer array (N,)"),
        shift=entries.integer(f"{index}.shift"),
        minimum=entries.integer(f"{index}.minimum"),
        maximum=entries.integer(f"{index}.maximum"),
        input_dtype=entries.text(f"{index}.input_dtype"),
        output_dtype=entries.text(f"{index}.output_dtype"),
    )


_QUANTIZED_LAYERS: Final[Mapping[str, Callable[[Entries, int, str], Layer]]] = {
    "dense": _read_dense,
    "compressed": _read_compressed,
}

_READERS: Final[dict[str, Callable[[Entries], Network | FloatNetwork]]] = {
    "celosia-float": _read_float,
    "celosia-quantized": _read_quantized,
}
