"""What flows along the edges of an ONNX graph while it is read: constants, integers and reals."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnx
from onnx import numpy_helper

from celosia.host.models.errors import ModelError

MAX_BYTES: Final = 2**30
"""Largest file and largest tensor read, in bytes."""

Bounds = tuple[float, float]
"""Smallest and largest value of reals."""

NO_BOUNDS: Final = (-math.inf, math.inf)

MAX_RANK: Final = 8
"""Most axes of activations, without the batch axis."""

_TYPE_NAMES: Final = "FLOAT DOUBLE FLOAT16 INT4 UINT4 INT8 UINT8 INT16 UINT16 INT32 UINT32 INT64 UINT64 BOOL"
_NUMBER_TYPES: Final = frozenset(getattr(onnx.TensorProto, name) for name in _TYPE_NAMES.split())


@dataclass(frozen=True, eq=False)
class Constant:
    """Values known in the file; `packed` if two are in a byte there, which integers of 4 bits are."""

    array: np.ndarray
    packed: bool = False

    def transpose(self, axes: tuple[int, ...]) -> "Constant":
        """The same with its axes in another order, as of numpy's transpose."""
        return Constant(self.array.transpose(axes))

    def dequantize(self) -> np.ndarray:
        """The values as they are."""
        return self.array


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """Known integers that stand for ``(array − zero_point) · scale``.

    ``scale`` (float32) and ``zero_point`` are vectors with one element, or one for each index along ``axis`` (from 0).
    """

    array: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    def along(self, values: np.ndarray) -> np.ndarray:
        """Scales or zero points in a shape that broadcasts over the array."""
        shape = [1] * self.array.ndim
        if values.size > 1:
            shape[self.axis] = values.size
        return values.reshape(shape)

    def transpose(self, axes: tuple[int, ...]) -> "QuantizedConstant":
        """The same with its axes in another order, as of numpy's transpose."""
        axis = axes.index(self.axis) if self.axis in axes else self.axis
        return QuantizedConstant(self.array.transpose(axes), self.scale, self.zero_point, axis)

    def dequantize(self) -> np.ndarray:
        """The real values, float32."""
        steps = self.array.astype(np.int64) - self.along(self.zero_point).astype(np.int64)
        with np.errstate(over="ignore"):  # the layer refuses what float32 cannot hold
            return steps.astype(np.float32) * self.along(self.scale)


@dataclass(frozen=True)
class Grid:
    """Scale, zero point and type of one activation tensor."""

    scale: float
    zero_point: int
    dtype: str


@dataclass(frozen=True, eq=False)
class Integers:
    """Quantized activations.

    Parameters
    ----------
    order : ndarray of int32, in the file's shape without the batch axis
        Which element of the network's tensor each one is; the network has channels last where the file has them first.
    tensor : int
        Of the network: 0 is its input, i + 1 the output of layer i.
    dtype : str
    grid : Grid or None
        None for integer inputs of the network whose scale nothing has told yet.
    """

    order: np.ndarray
    tensor: int
    dtype: str
    grid: Grid | None


class Source(Protocol):
    """Where reals come from: something that a layer computes, which is not complete before it is quantized."""

    def close(self, builder: Any, name: str, grid: Grid, bounds: Bounds) -> int:
        """Add the layer that computes integers of a grid, clamped to real bounds, and return the network's tensor.

        `name` is that of the operator that quantizes.
        """
        ...


@dataclass(frozen=True, eq=False)
class Reals:
    """Float activations, clamped to `bounds`; `order` as of :class:`Integers`, no `source` for the network's inputs."""

    order: np.ndarray
    source: Source | None
    bounds: Bounds = NO_BOUNDS

    @property
    def clamped(self) -> bool:
        """Whether a Relu or Clip has been applied."""
        return self.bounds != NO_BOUNDS


Value = Constant | QuantizedConstant | Integers | Reals


def read_constant(tensor: Any, folder: str | os.PathLike[str]) -> Constant:
    """Values of a TensorProto, as :func:`read_tensor`."""
    packed = tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
    return Constant(read_tensor(tensor, folder), packed)


def read_tensor(tensor: Any, folder: str | os.PathLike[str]) -> np.ndarray:
    """Values of a TensorProto; `folder` holds the files of tensors kept outside of the model.

    Raises
    ------
    ModelError
        If the tensor is no tensor of numbers, too large, or damaged.
    """
    label = f'tensor "{tensor.name}"'
    if tensor.data_type not in _NUMBER_TYPES:
        known = tensor.data_type in onnx.TensorProto.DataType.values()
        kind = onnx.TensorProto.DataType.Name(tensor.data_type) if known else tensor.data_type
        raise ModelError(f"{label} has type {kind}, but only floats of 16 to 64 bits, integers and booleans are read.")
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) * 8 > MAX_BYTES:
        raise ModelError(f"{label} has shape {tuple(tensor.dims)}, but at most {MAX_BYTES // 8} elements are read.")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        location = Path(folder, next((entry.value for entry in tensor.external_data if entry.key == "location"), ""))
        if location.is_file() and location.stat().st_size > MAX_BYTES:
            raise ModelError(
                f"{label} lies in a file of {location.stat().st_size} bytes, but at most {MAX_BYTES} are read."
            )
    try:
        array = numpy_helper.to_array(tensor, base_dir=os.fspath(folder))
    except Exception as error:  # onnx and numpy raise a dozen types on damaged tensors
        raise ModelError(f"{label} is damaged ({type(error).__name__}: {error}).") from None
    return array.astype(np.uint8 if array.dtype.name == "uint4" else np.int8) if "int4" in array.dtype.name else array
