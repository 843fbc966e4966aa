"""One operator of an ONNX graph: checked access to its inputs and attributes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_values import Constant, Grid, Integers, QuantizedConstant, Reals, Value, read_constant

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
    batch : int
        Size of the batch axis, 0 if it is open.
    """

    message: Any
    inputs: tuple[Value | None, ...]
    folder: Path
    batch: int = 0

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

    def integers(self, index: int = 0) -> Integers:
        """An input of quantized activations."""
        value = self.get(index)
        if not isinstance(value, Integers):
            raise ModelError(f"its input {index} is {_describe(value)}, but quantized activations are needed")
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

    def weights(self, index: int) -> Constant | QuantizedConstant:
        """A constant input of reals, quantized or not."""
        value = self.constant(index)
        if isinstance(value, Constant) and value.array.dtype.kind != "f":
            raise ModelError(f"its input {index} is {_describe(value)}, but reals are needed")
        return value

    def bias(self, index: int) -> Constant | QuantizedConstant | None:
        """As :meth:`weights`, None if it is left out."""
        return None if self.get(index) is None else self.weights(index)

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
        self._refuse_packed(index + 1)
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
        zero_points = self.zero_points(2, array.dtype)
        if zero_points.dtype != array.dtype:
            raise ModelError(f"its values are {array.dtype}, but their zero points {zero_points.dtype}")
        constant = QuantizedConstant(array, self.scales(1), zero_points, self.integer("axis", 1))
        return self._check_scales(constant)

    def quantize_constant(self) -> Constant:
        """The first input, constant floats, as integers."""
        array = self.array(0, "f").astype(np.float32)
        self._refuse_blocks()
        self._refuse_packed(2)
        zero_points = self.zero_points(2, np.dtype(self.output_dtype()))
        constant = self._check_scales(QuantizedConstant(array, self.scales(1), zero_points, self.integer("axis", 1)))
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

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        value = self.number(name, default)
        if not isinstance(value, int):
            raise ModelError(f"its attribute {name} is {value}, but an integer is needed")
        return value

    def numbers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers, None if it is left out."""
        attribute = self._attribute(name)
        if attribute is None:
            return None
        if attribute.type != onnx.AttributeProto.INTS:
            raise ModelError(f"its attribute {name} is no list of integers")
        return list(attribute.ints)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        attribute = self._attribute(name)
        if attribute is None:
            return default
        if attribute.type != onnx.AttributeProto.STRING:
            raise ModelError(f"its attribute {name} is no text")
        return bytes(attribute.s).decode("utf-8", "replace")

    def axes(self, rank: int) -> list[int] | None:
        """Attribute ``axes``, or the input 1 that newer opsets have: each from 0; None if left out.

        `rank` is that of what the axes are of, with the batch axis.
        """
        given = self.numbers("axes")
        if given is None and self.get(1) is not None:
            given = self.array(1, "i").reshape(-1).tolist()
        if given is None:
            return None
        axes = sorted(axis + rank if axis < 0 else axis for axis in given)
        if len(set(axes)) != len(axes) or not all(0 <= axis < rank for axis in axes):
            raise ModelError(f"its axes are {given[:8]}, but different ones of {rank} are needed")
        return axes

    def refuse_further_outputs(self) -> None:
        """Refuse outputs but the first."""
        if any(self.message.output[1:]):
            raise ModelError("it has more than one output, but only the first can be used")

    def tensor(self) -> Constant:
        """Attribute ``value``, a tensor."""
        attribute = self._attribute("value")
        if attribute is None or attribute.type != onnx.AttributeProto.TENSOR:
            raise ModelError("only constants given as a tensor can be used")
        return read_constant(attribute.t, self.folder)

    def _attribute(self, name: str) -> Any:
        return next((attribute for attribute in self.message.attribute if attribute.name == name), None)

    def _refuse_packed(self, index: int) -> None:
        """Refuse to quantize to the 4 bits of a zero point: nothing else says the type."""
        value = self.get(index)
        if isinstance(value, Constant) and value.packed:
            raise ModelError("it quantizes to 4 bits, but 8 or 16 are needed (weights of 4 bits are read)")

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
