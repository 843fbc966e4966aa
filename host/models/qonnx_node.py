"""One operator of a QONNX graph: checked access to its inputs and attributes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_values import read_tensor
from celosia.host.models.qonnx_execute import QONNX_DOMAIN, Operator
from celosia.host.models.qonnx_values import Activations

CHANNELS_LAST_DOMAIN: Final = "qonnx.custom_op.channels_last"
_OLD_DOMAINS: Final = ("onnx.brevitas", "finn.custom_op.general", "finn")
_INT, _FLOAT, _STRING = onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT, onnx.AttributeProto.STRING

Value = Activations | np.ndarray


def operator_key(node: Any) -> tuple[str, str]:
    """Domain, under its present name, and type of an onnx.NodeProto."""
    domain = QONNX_DOMAIN if node.domain in _OLD_DOMAINS else node.domain
    return ("" if domain == "ai.onnx" else domain), node.op_type


def operator_label(node: Any) -> str:
    """Type and name of an onnx.NodeProto, as errors name it."""
    return f'{node.op_type} "{node.name or node.output[0]}"'


@dataclass(frozen=True, eq=False)
class Node:
    """A node and the values of its inputs; access raises a :class:`ModelError` if something is not as it should be.

    Parameters
    ----------
    message : onnx.NodeProto
    inputs : tuple of Activations, ndarray or None
        Constants are arrays; None for an input that is left out, or that comes from something unsupported.
    opset : int
        Version of the operators of the node's domain.
    folder : Path
        Where tensors kept outside of the model lie.
    """

    message: Any
    inputs: tuple[Value | None, ...]
    opset: int
    folder: Path

    @property
    def name(self) -> str:
        """The node's name, or that of its output."""
        return str(self.message.name or self.message.output[0])

    @property
    def label(self) -> str:
        """Type and name."""
        return operator_label(self.message)

    @property
    def position(self) -> int:
        """Which input the activations are."""
        found = [index for index, value in enumerate(self.inputs) if isinstance(value, Activations)]
        if len(found) != 1:
            raise ModelError("it joins branches, but only a chain of operators can be read")
        return found[0]

    @property
    def taken(self) -> Activations:
        """The activations, which are not the end of the network."""
        value = self.inputs[self.position]
        assert isinstance(value, Activations)
        if value.ended is not None:
            raise ModelError(f"it follows {value.ended}, after which nothing can be computed")
        return value

    def activations(self) -> Activations:
        """The first input: activations of float that nothing was put around."""
        taken = self.taken
        if self.position != 0:
            raise ModelError("its first input is a constant, but it has to be the activations")
        return self.checked(taken)

    def checked(self, taken: Activations) -> Activations:
        """The activations, if they are floats that nothing was put around."""
        if taken.padding is not None:
            raise ModelError(f"it follows {taken.padding.label}, which only a convolution can do")
        if not taken.is_float:
            raise ModelError("it takes integers, but a Cast to float has to come first")
        return taken

    def constant(self, index: int) -> np.ndarray:
        """An input that is a constant."""
        value = self.optional(index)
        if value is None:
            raise ModelError(f"its input {index} is left out, but a constant is needed")
        return value

    def optional(self, index: int) -> np.ndarray | None:
        """An input that is a constant, or None if it is left out."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(value, Activations):
            raise ModelError(f"its input {index} is computed from the graph's input, but a constant is needed")
        return value

    def integers(self, index: int) -> list[int]:
        """An input that is constant integers."""
        array = self.constant(index)
        if array.dtype.kind not in "iu":
            raise ModelError(f"its input {index} is {array.dtype}, but integers are needed")
        return [int(value) for value in array.ravel()]

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        attribute = self.attribute(name)
        if attribute is None:
            return default
        if attribute.type not in (_INT, _FLOAT):
            raise ModelError(f"its attribute {name} is no number")
        return attribute.i if attribute.type == _INT else attribute.f

    def list(self, name: str) -> list[int] | None:
        """An attribute that is integers, or None if it is left out."""
        attribute = self.attribute(name)
        if attribute is None:
            return None
        if attribute.type != onnx.AttributeProto.INTS:
            raise ModelError(f"its attribute {name} is no list of integers")
        return list(attribute.ints)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        attribute = self.attribute(name)
        if attribute is None:
            return default
        if attribute.type != _STRING:
            raise ModelError(f"its attribute {name} is no string")
        return str(attribute.s.decode(errors="replace"))

    def attribute(self, name: str) -> Any:
        """An onnx.AttributeProto, or None."""
        return next((attribute for attribute in self.message.attribute if attribute.name == name), None)

    def operator(self) -> Operator:
        """The operator itself, ready to be executed."""
        domain = operator_key(self.message)[0]
        return Operator(self.message, "" if domain == CHANNELS_LAST_DOMAIN else domain, self.opset)

    def tensor(self) -> np.ndarray | None:
        """Attribute ``value``, if it is a tensor."""
        attribute = self.attribute("value")
        if attribute is None or attribute.type != onnx.AttributeProto.TENSOR:
            return None
        return read_tensor(attribute.t, self.folder)
