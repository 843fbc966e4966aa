"""One operator of a TensorFlow Lite graph: checked access to its inputs, constants, options and output."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.tflite_builder import MAX_CHANNELS, NO_PADDING, Activation, Grid, check_elements
from celosia.host.models.tflite_file import Operator, Tensor

_DTYPES: Final = {"INT8": "int8", "UINT8": "uint8"}
_ARRAYS: Final[Mapping[str, Any]] = {"INT8": np.int8, "INT32": np.int32, "INT64": np.int64}
_ACTIVATIONS: Final = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "NONE": (-math.inf, math.inf),
    "RELU": (0.0, math.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
"""Activation function → bounds of the real outputs."""


class Node:
    """An operator and the values of its inputs; access raises a :class:`ModelError` if one is not as it should be.

    Parameters
    ----------
    operator : Operator
    tensors : sequence of Tensor
        All of the graph.
    values : mapping
        Number of a tensor → the activations that it is, for those that are known.
    spend : callable
        Told how many bytes each constant has that is taken.
    """

    def __init__(
        self,
        operator: Operator,
        tensors: tuple[Tensor, ...],
        values: Mapping[int, Activation],
        spend: Callable[[int], None],
    ) -> None:
        self.operator = operator
        self._spend = spend
        self._tensors = tensors
        self._values = values
        if len(operator.outputs) != 1 or operator.outputs[0] < 0:
            raise ModelError(f"it has {len(operator.outputs)} outputs, but one would be right")
        self.output = tensors[operator.outputs[0]]

    def option(self, name: str) -> Any:
        """One of its options."""
        if self.operator.options is None:
            raise ModelError("its options are missing")
        return self.operator.options[name]

    def tensor(self, index: int) -> Tensor:
        """Description of an input."""
        number = self.operator.inputs[index] if index < len(self.operator.inputs) else -1
        if number < 0:
            raise ModelError(f"its input {index} is left out, but it is needed")
        return self._tensors[number]

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.operator.inputs) and self.operator.inputs[index] >= 0

    def value(self, index: int = 0) -> Activation:
        """An input of activations, integers or reals."""
        tensor = self.tensor(index)
        value = self._values.get(self.operator.inputs[index])
        if value is None:
            kind = "a constant" if tensor.data is not None else "used before anything gives it"
            raise ModelError(f'its input {index}, "{tensor.name}", is {kind}, but activations are needed')
        return value

    def activation(self, index: int = 0) -> Activation:
        """An input of int8 activations."""
        value = self.value(index)
        if value.real or value.grid is None or value.grid.dtype != "int8":
            kind = "float32" if value.real else "uint8"
            raise ModelError(f"its input {index} is {kind}, but int8 activations are needed (quantize all operators)")
        return value

    def image(self, index: int = 0) -> Activation:
        """An input of int8 activations (H, W, C)."""
        value = self.activation(index)
        if len(value.shape) != 3:
            raise ModelError(f"its input has shape {(1, *value.shape)}, but (1, H, W, C) is needed")
        if value.shape[2] > MAX_CHANNELS:
            raise ModelError(f"its input has {value.shape[2]} channels, but at most {MAX_CHANNELS} can be used")
        return value

    def array(self, index: int, type_name: str) -> np.ndarray:
        """A constant input of one of the file's types, in its shape."""
        tensor = self.tensor(index)
        if tensor.oddity:
            raise ModelError(f"its input {index} cannot be used: {tensor.oddity}")
        if tensor.data is None or self.operator.inputs[index] in self._values:
            raise ModelError(f'its input {index}, "{tensor.name}", is computed, but it must be a constant')
        if tensor.type != type_name:
            raise ModelError(f"its input {index} is {tensor.type}, but a constant of {type_name} is needed")
        check_elements(tensor.shape)
        size = math.prod(tensor.shape) * np.dtype(_ARRAYS[type_name]).itemsize
        if len(tensor.data) != size:
            raise ModelError(
                f"its input {index} has {len(tensor.data)} bytes, but shape {tensor.shape} of {type_name} takes {size}"
            )
        self._spend(size)
        array: np.ndarray = tensor.data.view(_ARRAYS[type_name]).reshape(tensor.shape)
        return array

    def weights(self, axes: int, channels_axis: int) -> tuple[np.ndarray, np.ndarray]:
        """The int8 weights, input 1, and their scales: one, or one for each output channel.

        Returns
        -------
        weights : ndarray of int8
        scales : ndarray (1,) or (N,) of float32
        """
        tensor, weights = self.tensor(1), self.array(1, "INT8")
        if weights.ndim != axes:
            raise ModelError(f"its weights have shape {weights.shape}, but {axes} axes are needed")
        scales, channels = check_scales(tensor, "weights"), weights.shape[channels_axis]
        if scales.size > 1 and (scales.size != channels or tensor.axis != channels_axis):
            raise ModelError(
                f"its weights have {scales.size} scales along axis {tensor.axis}, but one, or {channels} along axis "
                f"{channels_axis}, are needed"
            )
        if tensor.zero_points.any():
            raise ModelError("its weights have a zero point that is not 0, but only 0 can be used")
        return weights, scales

    def bias(self, outputs: int) -> np.ndarray:
        """The bias, input 2: int64 (N,), zeros if it is left out."""
        if not self.has(2):
            return np.zeros(outputs, np.int64)
        bias = self.array(2, "INT32")
        if bias.size != outputs:
            raise ModelError(f"its bias has shape {bias.shape}, but ({outputs},) is needed")
        return bias.reshape(-1).astype(np.int64)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output without the batch axis, as the file has it."""
        return strip_batch(self.output.shape, "output")

    @property
    def output_grid(self) -> Grid:
        """Grid of an int8 output."""
        grid = read_grid(self.output, "output")
        if grid.dtype != "int8":
            raise ModelError(f"its output is {grid.dtype}, but only int8 can be used")
        return grid

    @property
    def activation_name(self) -> str:
        """Name of the fused activation function."""
        code = self.option("FusedActivationFunction")
        return _ACTIVATIONS[code] if 0 <= code < len(_ACTIVATIONS) else f"function {code}"

    def bounds(self) -> tuple[int, int]:
        """Smallest and largest output that the fused activation function leaves."""
        name = self.activation_name
        if name not in BOUNDS:
            raise ModelError(f"its fused activation {name} is not computed; {', '.join(BOUNDS)} are")
        return integer_bounds(BOUNDS[name], self.output_grid)

    def same_grid(self, value: Activation) -> Grid:
        """The grid of an input, which must be that of the output, too."""
        if value.grid != self.output_grid:
            raise ModelError(
                f"its output has {_describe(self.output_grid)} but an input {_describe(value.grid)}; both must be equal"
            )
        return self.output_grid


def _describe(grid: Grid | None) -> str:
    return "none" if grid is None else f"scale {grid.scale:.9g} and zero point {grid.zero_point}"


def strip_batch(shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    """Return a shape without its batch axis, which must be 1."""
    if len(shape) < 2 or shape[0] != 1:
        raise ModelError(f"its {what} has shape {shape}, but a batch axis of 1 and then one or more axes are needed")
    check_elements(shape)
    return shape[1:]


def check_scales(tensor: Tensor, what: str) -> np.ndarray:
    """Return the scales of a tensor, of which there must be some, positive and finite."""
    if not tensor.scales.size:
        raise ModelError(f"its {what} have no scale, but they must be quantized")
    if not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
        raise ModelError(f"a scale of its {what} is not positive and finite")
    return tensor.scales


def read_grid(tensor: Tensor, what: str) -> Grid:
    """Return the grid of int8 or uint8 activations."""
    if tensor.type not in _DTYPES:
        raise ModelError(f"its {what} is {tensor.type}, but only INT8 can be used (quantize all operators to int8)")
    if tensor.oddity:
        raise ModelError(f"its {what} cannot be used: {tensor.oddity}")
    scales = check_scales(tensor, f"{what}'s values")
    if scales.size != 1 or tensor.zero_points.size > 1:
        raise ModelError(f"its {what} has {scales.size} scales, but activations can have only one")
    zero_point = int(tensor.zero_points[0]) if tensor.zero_points.size else 0
    low, high = integer_range(_DTYPES[tensor.type])
    if not low <= zero_point <= high:
        raise ModelError(f"its {what} has zero point {zero_point}, but {tensor.type} holds {low} to {high}")
    return Grid(float(scales[0]), zero_point, _DTYPES[tensor.type])


def integer_bounds(bounds: tuple[float, float], grid: Grid) -> tuple[int, int]:
    """Bounds of reals as bounds of the integers of a grid: divided in float32, half away from zero."""
    limits = integer_range(grid.dtype)
    result = []
    for bound in bounds:
        with np.errstate(over="ignore"):
            steps = float(np.float32(bound) / np.float32(grid.scale))
        clipped = max(min(steps, 1e9), -1e9)  # beyond any type
        rounded = int(math.copysign(math.floor(abs(clipped) + 0.5), clipped))
        result.append(max(min(rounded + grid.zero_point, limits[1]), limits[0]))
    return result[0], result[1]


def with_padding(value: Activation, padding: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return padding that stands around that of an activation."""
    if value.padding == NO_PADDING:
        return padding
    top, left, bottom, right = (inner + outer for inner, outer in zip(value.padding, padding, strict=True))
    return top, left, bottom, right
