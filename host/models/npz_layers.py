"""The layers of networks in .npz files: their kinds, their fields, and how each is read.

What the entries are is in the docstring of :mod:`celosia.host.models.npz`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import Activation, FloatDense
from celosia.host.models.ir import Dense, Layer
from celosia.host.models.npz_entries import Entries
from celosia.host.models.requantization import Rounding

KINDS: Final[dict[type, str]] = {
    Dense: "dense",
    FloatDense: "dense",
    CompressedDense: "compressed",
    BinaryDense: "binary-dense",
    BinaryConv: "binary-conv",
}
"""Class of a layer → what its entry ``kind`` says."""

FIELDS: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind) if field.name != "name") for kind in KINDS
}
"""Class of a layer → its entries. Those of fields that are None are left out."""

AnyLayer = TypeVar("AnyLayer", bound=Layer | FloatDense)
Readers = Mapping[str, Callable[[Entries, int, str], AnyLayer]]


def read_layers(entries: Entries, names: list[str], readers: Readers[AnyLayer]) -> list[AnyLayer]:
    """Read each layer with the reader of its kind, `FLOAT_LAYERS` or `QUANTIZED_LAYERS`.

    Raises
    ------
    ModelError
        If a layer is of another kind, lacks an entry, or has a wrong one.
    """
    layers = []
    for index, name in enumerate(names):
        kind = entries.text(key) if (key := f"{index}.kind") in entries else "dense"
        if kind not in readers:
            known = ", ".join(readers)
            raise ModelError(f'layer "{name}" is of kind "{kind}", but only layers of kind {known} are read.')
        layers.append(readers[kind](entries, index, name))
    return layers


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


def _read_binary_dense(entries: Entries, index: int, name: str) -> BinaryDense:
    weights = entries.array(f"{index}.weights", "an integer array (K, N)")
    return BinaryDense(name=name, weights=weights, **_read_outputs(entries, index))


def _read_binary_conv(entries: Entries, index: int, name: str) -> BinaryConv:
    def integers(field: str, count: int) -> Any:
        return tuple(entries.vector(f"{index}.{field}", "iu", f"a vector of {count} integers"))

    return BinaryConv(
        name=name,
        weights=entries.array(f"{index}.weights", "an integer array (kernel rows, kernel columns, C, N)"),
        input_size=integers("input_size", 2),
        strides=integers("strides", 2),
        padding=integers("padding", 4),
        pad_value=entries.integer(f"{index}.pad_value"),
        pool=integers("pool", 2),
        pool_strides=integers("pool_strides", 2),
        **_read_outputs(entries, index),
    )


def _read_outputs(entries: Entries, index: int) -> dict[str, Any]:
    """Thresholds and types, which all binarized layers have."""
    thresholds, minimum = f"{index}.thresholds", f"{index}.output_minimum"
    return {
        "thresholds": entries.array(thresholds) if thresholds in entries else None,
        "input_dtype": entries.text(f"{index}.input_dtype"),
        "output_dtype": entries.text(f"{index}.output_dtype"),
        "output_minimum": entries.integer(minimum) if minimum in entries else None,
    }


FLOAT_LAYERS: Final[Readers[FloatDense]] = {"dense": _read_float_dense}
"""Kind of a float layer → its reader."""

QUANTIZED_LAYERS: Final[Readers[Layer]] = {
    "dense": _read_dense,
    "compressed": _read_compressed,
    "binary-dense": _read_binary_dense,
    "binary-conv": _read_binary_conv,
}
"""Kind of a quantized layer → its reader."""
