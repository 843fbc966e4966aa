"""The layers of networks in .npz files: their kinds, their fields, and how each is read.

What the entries are is in the docstring of :mod:`celosia.host.models.npz`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from celosia.host.models.arrangement import Concat, Reshape
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.convolution import Conv2d
from celosia.host.models.elementwise import Add, Rescale
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import Activation, FloatDense
from celosia.host.models.ir import Dense
from celosia.host.models.npz_entries import MAX_DIMENSIONS, MAX_SOURCES, Entries
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.models.softmax import Softmax

KINDS: Final[dict[type, str]] = {
    Dense: "dense",
    FloatDense: "dense",
    CompressedDense: "compressed",
    BinaryDense: "binary-dense",
    BinaryConv: "binary-conv",
    Conv2d: "conv",
    MaxPool2d: "max-pool",
    AveragePool2d: "average-pool",
    Add: "add",
    Rescale: "rescale",
    Concat: "concat",
    Reshape: "reshape",
    Softmax: "softmax",
}
"""Class of a layer → what its entry ``kind`` says."""

FIELDS: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind) if field.name != "name") for kind in KINDS
}
"""Class of a layer → its entries. Those of fields that are None are left out."""

FieldReader = Callable[[Entries, str], Any]
"""The entries of a file and the key of one of them, to the value of a field."""


def _array(wanted: str) -> FieldReader:
    return partial(Entries.array, wanted=wanted)


def _integers(count: int) -> FieldReader:
    return partial(Entries.vector, kinds="iu", wanted=f"a vector of {count} integers", most=count)


def _optional(reader: FieldReader) -> FieldReader:
    """Return a reader that gives None where there is no entry."""
    return lambda entries, key: reader(entries, key) if key in entries else None


def _activation(entries: Entries, key: str) -> Activation:
    if key not in entries:
        return "none"
    array = entries.array(key)
    if array.shape == (2,) and array.dtype.kind in "iuf":
        return (float(array[0]), float(array[1]))
    return cast(Activation, entries.text(key, "none, relu, relu6 or two numbers"))


_INTEGER: Final = Entries.integer
_TEXT: Final = Entries.text
_VECTOR: Final = _array("an integer array (N,)")
_SHAPE: Final[FieldReader] = partial(Entries.vector, kinds="iu", wanted="a vector of sizes", most=MAX_DIMENSIONS)

_TYPES: Final[dict[str, FieldReader]] = {"input_dtype": _TEXT, "output_dtype": _TEXT}
_CLAMP: Final[dict[str, FieldReader]] = {"minimum": _INTEGER, "maximum": _INTEGER}
_OUTPUTS: Final[dict[str, FieldReader]] = {"rounding": _TEXT, "output_zero_point": _INTEGER, **_CLAMP, **_TYPES}
_CHANNELS: Final[dict[str, FieldReader]] = {
    "bias": _VECTOR,
    "multiplier": _VECTOR,
    "shift": _VECTOR,
    "input_zero_point": _INTEGER,
    **_OUTPUTS,
}
_THRESHOLDS: Final[dict[str, FieldReader]] = {
    "thresholds": _optional(Entries.array),
    "output_minimum": _optional(_INTEGER),
    **_TYPES,
}
_WINDOW: Final[dict[str, FieldReader]] = {"strides": _integers(2), "padding": _integers(4)}
_SAME: Final[dict[str, FieldReader]] = {"zero_point": _INTEGER, "dtype": _TEXT}
_POOL: Final[dict[str, FieldReader]] = {"input_shape": _integers(3), "kernel": _integers(2)} | _WINDOW | _CLAMP | _SAME

_FIELD_READERS: Final[dict[type, dict[str, FieldReader]]] = {
    FloatDense: {
        "weights": _array("a float array (K, N)"),
        "bias": _array("a float array (N,)"),
        "activation": _activation,
    },
    Dense: {"weights": _array("an int8 array (K, N)"), **_CHANNELS},
    CompressedDense: {
        "codes": _array("a uint8 array (K, N)"),
        "codebook": _optional(Entries.array),
        "bias": _VECTOR,
        "shift": _INTEGER,
        **_CLAMP,
        **_TYPES,
    },
    BinaryDense: {"weights": _array("an integer array (K, N)"), **_THRESHOLDS},
    BinaryConv: {
        "weights": _array("an integer array (kernel rows, kernel columns, C, N)"),
        "input_size": _integers(2),
        **_WINDOW,
        "pad_value": _INTEGER,
        "pool": _integers(2),
        "pool_strides": _integers(2),
        **_THRESHOLDS,
    },
    Conv2d: {
        "weights": _array("an int8 array (kernel rows, kernel columns, C / groups, N)"),
        "input_size": _integers(2),
        **_WINDOW,
        "dilations": _integers(2),
        "groups": _INTEGER,
        **_CHANNELS,
    },
    MaxPool2d: _POOL,
    AveragePool2d: _POOL,
    Add: {
        "shape": _SHAPE,
        "left_shift": _INTEGER,
        "multipliers": _integers(2),
        "shifts": _integers(2),
        "output_multiplier": _INTEGER,
        "output_shift": _INTEGER,
        "input_zero_points": _integers(2),
        **_OUTPUTS,
    },
    Rescale: {
        "shape": _SHAPE,
        "multiplier": _INTEGER,
        "shift": _INTEGER,
        "input_zero_point": _INTEGER,
        **_OUTPUTS,
    },
    Concat: {"input_shapes": Entries.shapes, **_SAME},
    Reshape: {"input_shape": _SHAPE, "output_shape": _SHAPE, **_SAME},
    Softmax: {"shape": _SHAPE, "multiplier": _INTEGER, "shift": _INTEGER, "input_zero_point": _INTEGER},
}
"""Class of a layer → its fields but the name, and how each is read."""

FLOAT_LAYERS: Final[dict[str, type[Any]]] = {"dense": FloatDense}
"""Kind of a float layer → its class."""

QUANTIZED_LAYERS: Final[dict[str, type[Any]]] = {KINDS[each]: each for each in KINDS if each is not FloatDense}
"""Kind of a quantized layer → its class."""


def read_layers(entries: Entries, names: list[str], classes: Mapping[str, type[Any]]) -> list[Any]:
    """Read each layer as one of its class in `classes`, `FLOAT_LAYERS` or `QUANTIZED_LAYERS`.

    Raises
    ------
    ModelError
        If a layer is of another kind, lacks an entry, or has a wrong one.
    """
    layers = []
    for index, name in enumerate(names):
        kind = entries.text(key) if (key := f"{index}.kind") in entries else "dense"
        if kind not in classes:
            known = ", ".join(classes)
            raise ModelError(f'layer "{name}" is of kind "{kind}", but only layers of kind {known} are read.')
        readers = _FIELD_READERS[classes[kind]]
        fields = {field: reader(entries, f"{index}.{field}") for field, reader in readers.items()}
        layers.append(classes[kind](name=name, **fields))
    return layers


def read_sources(entries: Entries, count: int) -> list[list[int]]:
    """Return the tensors that each of `count` layers takes: that before it alone, unless it says otherwise.

    Raises
    ------
    ModelError
        If one is no vector of integers; what is in it is for the network to check.
    """
    keys = [f"{index}.sources" for index in range(count)]
    wanted = "a vector of the numbers of tensors"
    return [
        cast(list[int], entries.vector(key, "iu", wanted, MAX_SOURCES)) if key in entries else [index]
        for index, key in enumerate(keys)
    ]


def layer_entries(index: int, layer: Any, taken: tuple[int, ...]) -> dict[str, object]:
    """Return the entries of layer `index`, which takes the tensors `taken`; values None need no entry.

    Raises
    ------
    ModelError
        If the layer is of a class that the format does not know, or takes too many tensors.
    """
    if type(layer) not in KINDS:
        known = ", ".join(each.__name__ for each in KINDS)
        raise ModelError(f'layer "{layer.name}" is a {type(layer).__name__}, but the format holds only {known}.')
    if len(taken) > MAX_SOURCES:
        raise ModelError(
            f'layer "{layer.name}" takes {len(taken)} tensors, but the format holds at most {MAX_SOURCES}.'
        )
    entries: dict[str, object] = {f"{index}.kind": KINDS[type(layer)]}
    entries |= {f"{index}.{field}": getattr(layer, field) for field in FIELDS[type(layer)]}
    return entries | {f"{index}.sources": None if taken == (index,) else taken}
