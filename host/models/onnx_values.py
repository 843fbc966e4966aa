"""What flows along the edges of an ONNX graph while it is read: constants, integers and reals."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

from celosia.host.models.errors import ModelError

MAX_BYTES: Final = 2**30
"""Largest file and largest tensor read, in bytes."""

_TYPE_NAMES: Final = "FLOAT DOUBLE FLOAT16 INT4 UINT4 INT8 UINT8 INT16 UINT16 INT32 UINT32 INT64 UINT64"
_NUMBER_TYPES: Final = frozenset(getattr(onnx.TensorProto, name) for name in _TYPE_NAMES.split())


@dataclass(frozen=True, eq=False)
class Constant:
    """Values known in the file."""

    array: np.ndarray


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
    """Quantized activations, `shape` without the batch axis; no `grid` for an integer input that nothing used yet."""

    shape: tuple[int, ...]
    dtype: str
    grid: Grid | None


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product whose layer is not complete: bias, clamp or output scale may still follow."""

    name: str
    weights: Constant | QuantizedConstant
    transposed: bool
    bias: Constant | QuantizedConstant | None


@dataclass(frozen=True, eq=False)
class Reals:
    """Float activations, `shape` without the batch axis, clamped to `bounds`.

    `grid` is that of the integers they, or the inputs of `product`, were dequantized from. They are `refused` if they
    come from an operator that has been reported as unsupported.
    """

    shape: tuple[int, ...]
    grid: Grid | None
    product: Product | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    refused: bool = False

    @property
    def clamped(self) -> bool:
        """Whether a Relu or Clip has been applied."""
        return self.bounds != (-math.inf, math.inf)


Value = Constant | QuantizedConstant | Integers | Reals


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
        raise ModelError(f"{label} has type {kind}, but only floats of 16 to 64 bits and integers are read.")
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
