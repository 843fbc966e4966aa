"""Follows a QONNX graph from its input to its output: computes constants, and collects binarized layers on the way."""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network
from celosia.host.models.onnx_values import MAX_BYTES, read_tensor
from celosia.host.models.problems import Problems
from celosia.host.models.qonnx_chain import Chain
from celosia.host.models.qonnx_execute import QONNX_DOMAIN
from celosia.host.models.qonnx_input import GraphInput
from celosia.host.models.qonnx_node import CHANNELS_LAST_DOMAIN, Node, Value, operator_key, operator_label
from celosia.host.models.qonnx_operators import CHECKS, OPERATORS, REASONS
from celosia.host.models.qonnx_values import MAX_ELEMENTS, Activations

_MIN_OPSET: Final = 7
_INTEGER_INPUTS: Final = {onnx.TensorProto.INT8: "int8", onnx.TensorProto.UINT8: "uint8"}
_ANNOTATIONS: Final = {"BIPOLAR": "bipolar", "BINARY": "uint1"} | {
    f"{kind}{width}": f"{kind}{width}".lower() for kind in ("INT", "UINT") for width in range(2, 9)
}
_BROADCAST: Final = frozenset(
    ("", kind)
    for kind in (
        *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul"),
        *("Not", "Or", "Pow", "Sub", "Where"),
    )
) | {(QONNX_DOMAIN, kind) for kind in ("BipolarQuant", "IntQuant", "Quant")}
_CONSTANT: Final = _BROADCAST | {
    ("", kind)
    for kind in (
        *("Abs", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant", "Exp", "Flatten", "Floor"),
        *("Gather", "Identity", "Neg", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape"),
        *("Round", "Shape", "Sign", "Slice", "Sqrt", "Squeeze", "Transpose", "Unsqueeze"),
    )
}
"""Operators that are computed if all their inputs are constants; the first ones broadcast them."""


class GraphReader:
    """Reads one model.

    Parameters
    ----------
    model : onnx.ModelProto
    path : Path
        Where it was read from: gives the network's name and the folder of outside tensors.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self._graph = model.graph
        self._opsets = {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}
        self._folder = path.parent
        self._name = path.stem
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._values: dict[str, Value | None] = {}  # None: the result of something unsupported
        self._used: set[str] = set()
        self._problems = Problems()
        self._chain = Chain()

    def read(self) -> Network:
        """Read the graph.

        Raises
        ------
        ModelError
            Naming everything unsupported.
        """
        if self._opsets.get("", _MIN_OPSET) < _MIN_OPSET:
            raise ModelError(f"the model uses opset {self._opsets['']}, but {_MIN_OPSET} or newer is needed.")
        self._read_input()
        if len(self._graph.output) != 1:
            raise ModelError(f"the graph has {len(self._graph.output)} outputs, but one would be right.")
        for node in self._graph.node:
            self._read_node(node)
        if self._problems:
            supported = ", ".join(sorted({name for _, name in OPERATORS}))
            raise ModelError(self._problems.sentence(f"chains of {supported}"))
        try:
            output = self._take(self._graph.output[0].name)
            if not isinstance(output, Activations):
                raise ModelError("the graph's output does not depend on its input")
            return self._chain.finish(output, self._name)
        except ModelError as error:
            raise ModelError(f"{str(error).rstrip('.')}.") from None

    def _read_input(self) -> None:
        inputs = [value for value in self._graph.input if value.name not in self._initializers]
        if len(inputs) != 1:
            raise ModelError(f"the graph has {len(inputs)} inputs, but one would be right.")
        name, tensor = inputs[0].name, inputs[0].type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in tensor.shape.dim]
        if len(sizes) < 2 or min(sizes[1:]) < 1 or math.prod(sizes[1:]) > MAX_ELEMENTS:
            raise ModelError(
                f'the input "{name}" needs a batch axis and then fixed sizes, {MAX_ELEMENTS} elements at most, but its '
                f"shape is {sizes}."
            )
        if tensor.elem_type != onnx.TensorProto.FLOAT and tensor.elem_type not in _INTEGER_INPUTS:
            raise ModelError(
                f'the input "{name}" has element type {tensor.elem_type}, but float32, int8 or uint8 is read.'
            )
        is_float = tensor.elem_type == onnx.TensorProto.FLOAT
        dtype = self._annotated(name) if is_float else _INTEGER_INPUTS[tensor.elem_type]
        shape = tuple(sizes[1:])
        index = np.arange(math.prod(shape)).reshape(1, *shape)
        self._chain.batch = max(sizes[0], 1)
        self._values[name] = Activations(index, 1, GraphInput(shape, dtype, is_float), is_float=is_float)

    def _annotated(self, name: str) -> str | None:
        """The type of integers that FINN's annotation says a tensor of float holds."""
        entries = [
            entry.value
            for annotation in self._graph.quantization_annotation
            if annotation.tensor_name == name
            for entry in annotation.quant_parameter_tensor_names
            if entry.key == "finn_datatype"
        ]
        return _ANNOTATIONS.get(entries[0]) if entries else None

    def _read_node(self, node: Any) -> None:
        if not all(isinstance(text, str) for text in (node.name, node.op_type, *node.input, *node.output)):
            raise ModelError("the name of an operator or tensor is no UTF-8 text, so the file is damaged.")
        if not node.output:
            raise ModelError(f'the operator {node.op_type} "{node.name}" has no output, so the file is damaged.')
        self._values.update(dict.fromkeys(node.output, None))
        try:
            value = self._evaluate(node)
        except ModelError as error:
            self._problems.add(error, operator_label(node))
            return
        if value is None:
            return
        kept = node.output if isinstance(value, Activations) and value.ended else node.output[:1]
        self._values.update(dict.fromkeys(kept, value))

    def _evaluate(self, node: Any) -> Value | None:
        """The first output; None if something unsupported that has been reported keeps it from being known."""
        key = operator_key(node)
        domain = key[0]
        inputs = tuple(self._take(name, looked_at=key == ("", "Shape")) if name else None for name in node.input)
        own: dict[str, int] = {"": _MIN_OPSET} | self._opsets
        # what works on channels last does what ONNX's own operators do
        opset = own[""] if domain in ("", CHANNELS_LAST_DOMAIN) else own.get(domain, own.get(node.domain, 1))
        view = Node(node, inputs, opset, self._folder)
        missing = {index for index, name in enumerate(node.input) if name and inputs[index] is None}
        if not missing and not any(isinstance(value, Activations) for value in inputs):
            return self._compute(view, key)
        if key == ("", "Shape") and not missing:
            return _shape(view, self._chain.batch)
        if missing and key in _CONSTANT - OPERATORS.keys():
            return None
        if key not in OPERATORS:
            raise ModelError(REASONS.get(key, "no supported operator"))
        if missing:
            if missing == {0} and key in CHECKS:
                CHECKS[key](view)
            return None
        return OPERATORS[key](self._chain, view)

    def _compute(self, node: Node, key: tuple[str, str]) -> np.ndarray:
        """An operator on constants only."""
        if key not in _CONSTANT or (not node.inputs and key[1] != "Constant"):
            raise ModelError("no supported operator on constants")
        if any(attribute.HasField("g") for attribute in node.message.attribute):
            raise ModelError("it has graphs inside of it")
        arrays = [value for value in node.inputs if isinstance(value, np.ndarray)]
        if key in _BROADCAST:
            try:
                shape = np.broadcast_shapes(*(array.shape for array in arrays))
            except ValueError:
                raise ModelError("its constants do not fit each other") from None
            if math.prod(shape) * 8 > MAX_BYTES:
                raise ModelError(f"it makes a constant of shape {shape}, which is too large")
        given = node.tensor() if key[1] == "Constant" else None
        result = given if given is not None else node.operator()(*node.inputs)  # type: ignore[arg-type]
        if result.dtype.kind not in "fiub":
            raise ModelError(f"it makes a constant of {result.dtype}, but numbers are needed")
        return result

    def _take(self, name: str, *, looked_at: bool = False) -> Value | None:
        """The value of a tensor; activations can be taken once only, because the network is a chain."""
        if name in self._initializers and name not in self._values:
            self._values[name] = read_tensor(self._initializers[name], self._folder)
        if name not in self._values:
            raise ModelError(f'the tensor "{name}" is used before anything defines it')
        value = self._values[name]
        if isinstance(value, Activations) and not looked_at:
            if name in self._used:
                raise ModelError(f'"{name}" is used more than once, but branches cannot be read')
            self._used.add(name)
        return value


def _shape(node: Node, batch: int) -> np.ndarray:
    value = node.inputs[0]
    assert isinstance(value, Activations)
    if value.padding is not None:
        raise ModelError(f"it follows {value.padding.label}, which only a convolution can do")
    shape = np.array([batch, *value.index.shape[1:]], np.int64)
    end = node.number("end", len(shape))
    return shape[int(node.number("start", 0)) : int(end)]
