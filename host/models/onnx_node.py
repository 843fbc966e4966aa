"""One operator of an ONNX graph: checked access to its inputs and attributes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_values import Constant, Grid, Integers, QuantizedConstant, Reals, Value, read_tensor

_ACTIVATION_TYPES = {
    getattr(onnx.TensorProto, name): name.lower() for name in ("INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16")
}


@dataclass(frozen=True, eq=False)
class Node:
    """A node and the values of its inputs; access raises a :class:`ModelError` if something is not as it should be.

    Parameters
    ----------
    message : onnx.NodeProto
    inputs : tuple of Value or None
        None for an optional input that is left out.
    folder : Path
        Where tensors kept outside of the model lie.
    """

    message: Any
    inputs: tuple[Value | None, ...]
    folder: Path

    @property
    def name(self) -> str:
        """The node's name, or that of its output."""
        return self.message.name or self.message.output[0]

    def get(self, index: int) -> Value | None:
        """An input, or None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def reals(self, index: int = 0) -> Reals:
        """An input of float activations."""
        value = self.get(index)
        if not isinstance(value, Reals):
            raise ModelError(f"its input {index} is {_describe(value)}, but float activations are needed")
        return value

    def integers(self) -> Integers:
        """The first input, quantized activations."""
        value = self.get(0)
        if not isinstance(value, Integers):
            raise ModelError(f"its input 0 is {_describe(value)}, but quantized activations are needed")
        return value

    def activations(self) -> Integers | Reals:
        """The first input, activations of either kind."""
        return self.integers() if isinstance(self.get(0), Integers) else self.reals()

    def constant(self, index: int) -> Constant | QuantizedConstant:
        """A constant input, quantized or not."""
        value = self.get(index)
        if not isinstance(value, Constant | QuantizedConstant):
            raise ModelError(f"its input {index} is {_describe(value)}, but a constant is needed")
        return value

    def array(self, index: int, kinds: str) -> np.ndarray:
        """A constant input whose dtype is of one of numpy's `kinds`."""
        value = self.get(index)
        if not isinstance(value, Constant) or value.array.dtype.kind not in kinds:
            raise ModelError(f"its input {index} is {_describe(value)}, but a constant of another type is needed")
        return value.array

    def scales(self, index: int) -> np.ndarray:
        """A constant input of positive float32 scales, one-dimensional."""
        scales = self.array(index, "f").astype(np.float32).reshape(-1)
        if not (scales.size and np.isfinite(scales).all() and (scales > 0).all()):
            raise ModelError("a scale is not positive and finite")
        return scales

    def zero_points(self, index: int, dtype: np.dtype) -> np.ndarray:
        """A constant input of integers, one-dimensional; a 0 of type `dtype` if it is left out."""
        if self.get(index) is None:
            return np.zeros(1, dtype)
        return self.array(index, "iu").reshape(-1)

    def grid(self, index: int, dtype: str = "uint8") -> Grid:
        """Scale and zero point of a whole tensor, at `index` and the next input; `dtype` if there is no zero point."""
        scales = self.scales(index)
        zero_points = self.zero_points(index + 1, np.dtype(dtype))
        if scales.size != 1 or zero_points.size != 1:
            raise ModelError(f"its activations have {scales.size} scales, but only one can be used")
        return Grid(float(scales[0]), int(zero_points[0]), zero_points.dtype.name)

    def output_dtype(self) -> str:
        """The type that QuantizeLinear without a zero point gives."""
        kind = self.number("output_dtype", 0) or onnx.TensorProto.UINT8
        if kind not in _ACTIVATION_TYPES or "4" in _ACTIVATION_TYPES[kind]:
            raise ModelError(f"its output_dtype {kind} is not int8, uint8, int16 or uint16")
        return _ACTIVATION_TYPES[kind]

    def dequantize_constant(self) -> QuantizedConstant:
        """The first input, constant integers, with the scales and zero points that follow it."""
        array = self.array(0, "iu")
        self._refuse_blocks()
        constant = QuantizedConstant(
            array, self.scales(1), self.zero_points(2, array.dtype), int(self.number("axis", 1))
        )
        return self._check_scales(constant)

    def quantize_constant(self) -> Constant:
        """The first input, constant floats, as integers."""
        array = self.array(0, "f").astype(np.float32)
        self._refuse_blocks()
        zero_points = self.zero_points(2, np.dtype(self.output_dtype()))
        constant = self._check_scales(
            QuantizedConstant(array, self.scales(1), zero_points, int(self.number("axis", 1)))
        )
        limits = np.iinfo(zero_points.dtype)
        with np.errstate(over="ignore"):  # a quotient beyond float32 saturates like any other
            steps = np.rint(array / constant.along(constant.scale)).astype(np.float64) + constant.along(zero_points)
        return Constant(np.clip(steps, limits.min, limits.max).astype(zero_points.dtype))

    def number(self, name: str, default: float) -> float:
        """An attribute that is an integer or a float."""
        attribute = self._attribute(name)
        if attribute is None:
            return default
        if attribute.type == onnx.AttributeProto.INT:
            return attribute.i
        if attribute.type == onnx.AttributeProto.FLOAT:
            return attribute.f
        raise ModelError(f"its attribute {name} is no number")

    def bound(self, index: int, name: str, default: float) -> float:
        """A bound of Clip: an input, else an attribute."""
        if self.get(index) is None:
            return self.number(name, default)
        value = self.constant(index)
        array = value.dequantize() if isinstance(value, QuantizedConstant) else value.array
        if array.size != 1:
            raise ModelError(f"its {name} has {array.size} values, but one is needed")
        return float(array.reshape(-1)[0])

    def permutation(self) -> list[int]:
        """Attribute ``perm``, empty if left out."""
        attribute = self._attribute("perm")
        return [] if attribute is None else list(attribute.ints)

    def tensor(self) -> np.ndarray:
        """Attribute ``value``, a tensor."""
        attribute = self._attribute("value")
        if attribute is None or attribute.type != onnx.AttributeProto.TENSOR:
            raise ModelError("only constants given as a tensor can be used")
        return read_tensor(attribute.t, self.folder)

    def _attribute(self, name: str) -> Any:
        return next((attribute for attribute in self.message.attribute if attribute.name == name), None)

    def _refuse_blocks(self) -> None:
        if self.number("block_size", 0) != 0:
            raise ModelError("it has a scale for each block, but only one for each output or for all can be used")

    def _check_scales(self, constant: QuantizedConstant) -> QuantizedConstant:
        """The constant with an axis from 0, if its scales and zero points fit its shape."""
        shape, sizes = constant.array.shape, {constant.scale.size, constant.zero_point.size}
        axis = constant.axis + len(shape) if constant.axis < 0 else constant.axis
        if sizes != {1} and not (0 <= axis < len(shape) and sizes <= {1, shape[axis]}):
            raise ModelError(f"its scales and zero points do not fit shape {shape} along axis {constant.axis}")
        return QuantizedConstant(constant.array, constant.scale, constant.zero_point, axis)


def _describe(value: Value | None) -> str:
    if value is None:
        return "left out"
    if isinstance(value, Constant):
        return f"a constant of {value.array.dtype}"
    return {QuantizedConstant: "quantized constants", Integers: "quantized activations", Reals: "float activations"}[
        type(value)
    ]
