"""Follows an ONNX graph from its input to its output and has each operator add to the network."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.models.onnx_attributes import check_attributes
from celosia.host.models.onnx_builder import MAX_ELEMENTS, Builder
from celosia.host.models.onnx_integer_operators import INTEGER_OPERATORS
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_operators import OPERATORS, RefusedError
from celosia.host.models.onnx_sources import Dequantized, FloatProduct
from celosia.host.models.onnx_values import MAX_RANK, Integers, Reals, Value, read_constant
from celosia.host.models.problems import Problems

_MIN_OPSET: Final = 7
_INPUT_TYPES: Final = {
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.UINT16: "uint16",
}
_ALL: Final = {**OPERATORS, **INTEGER_OPERATORS}
_IMAGE_OPERATORS: Final = ("Conv", "Pool", "ReduceMean")
_PASSIVE: Final = ("QuantizeLinear", "DequantizeLinear", "Identity")
_TO_CHANNELS_FIRST: Final = [0, 3, 1, 2]  # attribute perm of Transpose
_FUNCTION: Final = "functions other than clamps are not computed (Relu and Clip are)"
_MUL: Final = "two tensors of activations are not multiplied"
_SHAPE: Final = "shapes are not computed (onnxruntime.quantization.quant_pre_process makes them constants)"
_SOFTMAX: Final = "it is not computed in integers (leave it out: the largest input gives the largest output)"

REASONS: Final[Mapping[tuple[str, str], str]] = {
    ("", "BatchNormalization"): "it is not computed (onnxruntime.quantization.quant_pre_process makes it part of Conv)",
    ("", "ConvInteger"): "dynamic quantization is not read (onnxruntime.quantization.quantize_static is)",
    ("", "ConvTranspose"): "transposed convolutions are not computed (Conv is read)",
    ("", "DynamicQuantizeLinear"): "dynamic quantization is not read (onnxruntime.quantization.quantize_static is)",
    ("", "HardSwish"): _FUNCTION,
    ("", "LeakyRelu"): _FUNCTION,
    ("", "MatMulInteger"): "dynamic quantization is not read (onnxruntime.quantization.quantize_static is)",
    ("", "Mul"): _MUL,
    ("", "Shape"): _SHAPE,
    ("", "Sigmoid"): _FUNCTION,
    ("", "Softmax"): _SOFTMAX,
    ("", "Tanh"): _FUNCTION,
    ("com.microsoft", "QLinearLeakyRelu"): _FUNCTION,
    ("com.microsoft", "QLinearMul"): _MUL,
    ("com.microsoft", "QLinearSigmoid"): _FUNCTION,
    ("com.microsoft", "QLinearSoftmax"): _SOFTMAX,
}
"""Why some well-known operators cannot be read, and what to do."""


class GraphReader:
    """Reads one model.

    Parameters
    ----------
    model : onnx.ModelProto
    path : Path
        Where it was read from: gives the network's name and the folder of outside tensors.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self._model = model
        self._graph = model.graph
        self._folder = path.parent
        self._name = path.stem
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._values: dict[str, Value | None] = {}  # None: the result of something unsupported
        self._batch = 0
        self._problems = Problems()

    def read(self) -> Network | FloatNetwork:
        """Read the graph.

        Raises
        ------
        ModelError
            Naming everything unsupported.
        """
        self._check_opset()
        for node in self._graph.node:
            names = node.name, node.op_type, node.domain, *node.input, *node.output
            if not all(isinstance(text, str) for text in names):
                raise ModelError("the name of an operator or tensor is no UTF-8 text, so the file is damaged.")
        if len(self._initializers) != len(self._graph.initializer):
            raise ModelError("two of its constants have one name, so the file is damaged.")
        builder = self._read_input()
        if len(self._graph.output) != 1:
            raise ModelError(f"the graph has {len(self._graph.output)} outputs, but one would be right.")
        for node in self._graph.node:
            self._read_node(builder, node)
        output = None if self._problems else self._take(self._graph.output[0].name)
        if self._problems:
            supported = ", ".join(sorted({name for _, name in _ALL}))
            raise ModelError(self._problems.sentence(supported))
        return self._finish(builder, output)

    def _check_opset(self) -> None:
        for opset in self._model.opset_import:
            if opset.domain in ("", "ai.onnx") and opset.version < _MIN_OPSET:
                raise ModelError(f"the model uses opset {opset.version}, but {_MIN_OPSET} or newer is needed.")
        if not self._graph.node:
            raise ModelError("it holds no graph with operators, so it is damaged or no ONNX model.")

    def _read_input(self) -> Builder:
        inputs = [value for value in self._graph.input if value.name not in self._initializers]
        if len(inputs) != 1:
            raise ModelError(f"the graph has {len(inputs)} inputs, but one would be right.")
        name, tensor = inputs[0].name, inputs[0].type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in tensor.shape.dim]
        if len(sizes) < 2 or min(sizes[1:]) < 1:
            raise ModelError(f'the input "{name}" needs a batch axis and then fixed sizes, but its shape is {sizes}.')
        shape = tuple(sizes[1:])
        if len(shape) > MAX_RANK or math.prod(shape) > MAX_ELEMENTS:
            raise ModelError(
                f'the input "{name}" has shape {sizes[:9]}, but at most {MAX_ELEMENTS} elements along {MAX_RANK} axes '
                "are read."
            )
        self._batch = max(sizes[0], 0)
        builder = Builder(self._name, shape, self._is_channels_first(name, len(shape)))
        if tensor.elem_type == onnx.TensorProto.FLOAT:
            self._values[name] = Reals(builder.input_order, None)
        elif tensor.elem_type in _INPUT_TYPES:
            self._values[name] = Integers(builder.input_order, 0, _INPUT_TYPES[tensor.elem_type], None)
        else:
            raise ModelError(f'the input "{name}" has element type {tensor.elem_type}, but float32 or int8 is read.')
        return builder

    def _is_channels_first(self, name: str, rank: int) -> bool:
        """Whether the inputs are images with channels first: they are, unless Transpose is there to make them so."""
        if rank != 3 or not any(node.op_type.endswith(_IMAGE_OPERATORS) for node in self._graph.node):
            return False
        names = {name}
        for node in self._graph.node:
            if node.input and node.input[0] in names:
                if node.op_type not in _PASSIVE:
                    return not any(list(attribute.ints) == _TO_CHANNELS_FIRST for attribute in node.attribute)
                names.update(node.output)
        return True

    def _read_node(self, builder: Builder, node: Any) -> None:
        if not node.output or not node.output[0]:
            raise ModelError(f'the operator {node.op_type} "{node.name}" has no output, so the file is damaged.')
        for name in filter(None, node.output):
            if name in self._values or name in self._initializers:
                raise ModelError(f'the tensor "{name}" is defined twice, so the file is damaged.')
            self._values[name] = None
        key = (node.domain if node.domain != "ai.onnx" else "", node.op_type)
        operator = _ALL.get(key)
        if operator is None:
            self._report(node, REASONS.get(key, "no supported operator"))
            return
        try:
            check_attributes(node)
            inputs = [self._take(name) if name else None for name in node.input]
            if not any(value is None and name for value, name in zip(inputs, node.input, strict=True)):
                given = Node(node, tuple(inputs), self._folder, self._batch)
                self._values[node.output[0]] = operator(builder, given)
        except RefusedError as error:
            self._report(node, str(error))
            self._values[node.output[0]] = error.value
        except ModelError as error:
            self._report(node, str(error))

    def _report(self, node: Any, reason: str) -> None:
        self._problems.add(reason, f'{node.op_type} "{node.name or node.output[0]}"')

    def _take(self, name: str) -> Value | None:
        """The value of a tensor."""
        if name in self._initializers and name not in self._values:
            self._values[name] = read_constant(self._initializers[name], self._folder)
        if name not in self._values:
            raise ModelError(f'the tensor "{name}" is used before anything defines it')
        return self._values[name]

    def _finish(self, builder: Builder, output: Value | None) -> Network | FloatNetwork:
        if isinstance(output, Integers):
            return builder.finish(output)
        if not isinstance(output, Reals) or output.source is None:
            raise ModelError("the graph's output does not come from a fully connected layer or a convolution.")
        if isinstance(output.source, FloatProduct):
            if builder.channels_first:
                raise ModelError("it has operators on images, but its output is float and not computed from them.")
            layers = output.source.complete(output.bounds)
            return FloatNetwork(name=self._name, layers=layers, input_shape=builder.shape(0))
        if not isinstance(output.source, Dequantized) or output.clamped:
            raise ModelError("the last layer's output is not quantized, but every layer's must be.")
        return builder.finish(
            Integers(output.order, output.source.integers.tensor, output.source.grid.dtype, output.source.grid)
        )
