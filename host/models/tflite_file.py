"""What a TensorFlow Lite file holds, as plain Python: the border behind which no offset of the file is followed.

A .tflite file is a FlatBuffer: tables that point at each other with offsets, none of which can be trusted. Here they
are followed once, with limits on every count; whatever that raises becomes one sentence.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tflite

from celosia.host.models.errors import ModelError

MAX_TABLES: Final = 2**14
"""Most tensors, buffers or operators of a file."""

MAX_AXES: Final = 8
MAX_OPERANDS: Final = 256
"""Most inputs or outputs of an operator."""

_MAX_NAME: Final = 120
_SCHEMA_VERSION: Final = 3
_IDENTIFIER: Final = b"TFL3"
_NAME_SLOT: Final = 10
_CUSTOM_CODE_SLOT: Final = 6
_DAMAGES: Final = (struct.error, IndexError, ValueError, OverflowError, TypeError, AttributeError)

_WINDOW: Final = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_DILATIONS: Final = ("DilationHFactor", "DilationWFactor")
OPTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "CONV_2D": ("Conv2DOptions", (*_WINDOW, *_DILATIONS)),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_WINDOW, *_DILATIONS, "DepthMultiplier")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "MAX_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
}
"""Operator → the table of its options and those that are read. Operators that are not here need none."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as the file describes it.

    Parameters
    ----------
    name : str
        Its name, up to 120 characters.
    shape : tuple of int
        With the batch axis.
    type : str
        As in the schema, such as ``INT8``.
    scales : ndarray (S,) of float32, zero_points : ndarray (Z,) of int64
        Empty if it is not quantized.
    axis : int
        What the scales are along, if there are several.
    data : ndarray (bytes,) of uint8, or None
        Its values if they are in the file.
    oddity : str
        What it is besides that and cannot be used, or nothing.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int
    data: np.ndarray | None
    oddity: str = ""


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator: its kind as in the schema, its tensors' numbers (−1: left out), its options; None: it lacks them."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The main subgraph of a file of `size` bytes."""

    size: int
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def parse_file(content: bytes) -> ModelFile:
    """Read the tables of a file.

    Raises
    ------
    ModelError
        If it is no TensorFlow Lite file, damaged, or has more tables than can be read.
    """
    if content[4:8] != _IDENTIFIER:
        raise ModelError("it is damaged or no TensorFlow Lite file: it lacks the identifier TFL3.")
    try:
        return _parse(content)
    except _DAMAGES as error:
        raise ModelError(f"it is damaged: its tables cannot be followed ({type(error).__name__}: {error}).") from None


def _parse(content: bytes) -> ModelFile:
    model = tflite.Model.GetRootAsModel(content, 0)
    if model.Version() != _SCHEMA_VERSION:
        raise ModelError(f"its schema has version {model.Version()}, but only version {_SCHEMA_VERSION} is read.")
    if model.SubgraphsLength() != 1:
        raise ModelError(f"it has {model.SubgraphsLength()} subgraphs, but one would be right.")
    graph: Any = model.Subgraphs(0)
    buffers = _tables("buffers", model.BuffersLength(), model.Buffers, _parse_buffer)
    kinds = _tables("operator codes", model.OperatorCodesLength(), model.OperatorCodes, _parse_kind)
    tensors = _tables("tensors", graph.TensorsLength(), graph.Tensors, lambda table: _parse_tensor(table, buffers))
    operators = _tables(
        "operators", graph.OperatorsLength(), graph.Operators, lambda table: _parse_operator(table, kinds)
    )
    file = ModelFile(len(content), tensors, operators, _numbers(graph, "Inputs"), _numbers(graph, "Outputs"))
    numbers = [*file.inputs, *file.outputs, *(number for each in operators for number in each.inputs + each.outputs)]
    if any(not -1 <= number < len(tensors) for number in numbers) or -1 in file.inputs + file.outputs:
        raise IndexError("a tensor that is used is not there")
    return file


def _tables(what: str, count: int, table: Callable[[int], Any], parse: Callable[[Any], Any]) -> tuple[Any, ...]:
    if count > MAX_TABLES:
        raise ModelError(f"it has {count} {what}, but at most {MAX_TABLES} are read.")
    return tuple(parse(table(index)) for index in range(count))


def _numbers(table: Any, name: str) -> tuple[int, ...]:
    """Return a short vector of integers."""
    count = getattr(table, f"{name}Length")()
    limit = MAX_AXES if name == "Shape" else MAX_OPERANDS
    if count > limit:
        raise ModelError(f"one of its vectors, {name}, has {count} elements, but at most {limit} are read.")
    return tuple(getattr(table, f"{name}AsNumpy")().tolist()) if count else ()


def _text(table: Any, slot: int) -> str:
    """Return a text, of whose length the file may lie."""
    tab = table._tab
    offset = tab.Offset(slot)
    if not offset:
        return ""
    start, count = tab.Vector(offset), min(tab.VectorLen(offset), _MAX_NAME)
    return " ".join(tab.Bytes[start : start + count].decode("utf-8", errors="replace").split())


def _parse_buffer(table: Any) -> tuple[np.ndarray | None, str]:
    if table.Offset() > 1:
        return None, "its values lie outside of the file's tables, as in files of more than 2 GiB"
    return (table.DataAsNumpy() if table.DataLength() else None), ""


def _parse_kind(table: Any) -> str:
    code = max(table.BuiltinCode(), table.DeprecatedBuiltinCode())
    if code == tflite.BuiltinOperator.CUSTOM:
        return f"CUSTOM {_text(table, _CUSTOM_CODE_SLOT)}"
    return str(tflite.BUILTIN_OPCODE2NAME.get(code, f"operator {code}"))


def _parse_tensor(table: Any, buffers: tuple[tuple[np.ndarray | None, str], ...]) -> Tensor:
    quantization = table.Quantization()
    scales, zero_points, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    data, oddity = buffers[table.Buffer()]
    if quantization is not None:
        scales = quantization.ScaleAsNumpy() if quantization.ScaleLength() else scales
        zero_points = quantization.ZeroPointAsNumpy() if quantization.ZeroPointLength() else zero_points
        axis = quantization.QuantizedDimension()
        oddity = "its quantization is of a custom kind" if quantization.DetailsType() else oddity
    if table.Sparsity() is not None:
        oddity = "its values are stored sparsely"
    if table.IsVariable():
        oddity = "it is a variable, which keeps its values from one run to the next"
    return Tensor(
        name=_text(table, _NAME_SLOT),
        shape=_numbers(table, "Shape"),
        type=_TYPES.get(table.Type(), f"type {table.Type()}"),
        scales=scales,
        zero_points=zero_points,
        axis=axis,
        data=data,
        oddity=oddity,
    )


def _parse_operator(table: Any, kinds: tuple[str, ...]) -> Operator:
    kind = kinds[table.OpcodeIndex()]
    return Operator(kind, _numbers(table, "Inputs"), _numbers(table, "Outputs"), _parse_options(table, kind))


def _parse_options(table: Any, kind: str) -> Mapping[str, Any] | None:
    name, fields = OPTIONS.get(kind, ("", ()))
    if not name:
        return {}
    union = table.BuiltinOptions()
    if union is None or table.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, name):
        return None
    options = getattr(tflite, name)()
    options.Init(union.Bytes, union.Pos)
    return {field: getattr(options, field)() for field in fields}


_TYPES: Final[Mapping[int, str]] = {
    code: name for name, code in vars(tflite.TensorType).items() if not name.startswith("_")
}
