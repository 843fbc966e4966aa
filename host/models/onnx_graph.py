"""Follows an ONNX graph from its input to its output and collects the layers on the way."""

from pathlib import Path
from typing import Any, Final

import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.models.onnx_chain import Chain, TwiceRoundedError
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_operators import OPERATORS, REASONS
from celosia.host.models.onnx_values import Constant, Integers, Reals, Value, read_tensor
from celosia.host.models.problems import Problems

_MIN_OPSET: Final = 7
_INPUT_TYPES: Final = {
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.UINT16: "uint16",
}


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
        self._used: set[str] = set()
        self._chain = Chain()
        self._problems = Problems()

    def read(self) -> Network | FloatNetwork:
        """Read the graph.

        Raises
        ------
        ModelError
            Naming everything unsupported.
        """
        self._check_opset()
        shape = self._read_input()
        if len(self._graph.output) != 1:
            raise ModelError(f"the graph has {len(self._graph.output)} outputs, but one would be right.")
        for node in self._graph.node:
            self._read_node(node)
        output = None if self._problems else self._take(self._graph.output[0].name)
        if self._problems:
            supported = ", ".join(sorted({name for _, name in OPERATORS}))
            raise ModelError(self._problems.sentence(f"chains of {supported}"))
        return self._chain.finish(output, self._name, shape)

    def _check_opset(self) -> None:
        for opset in self._model.opset_import:
            if opset.domain in ("", "ai.onnx") and opset.version < _MIN_OPSET:
                raise ModelError(f"the model uses opset {opset.version}, but {_MIN_OPSET} or newer is needed.")
        if not self._graph.node:
            raise ModelError("it holds no graph with operators, so it is damaged or no ONNX model.")

    def _read_input(self) -> tuple[int, ...]:
        inputs = [value for value in self._graph.input if value.name not in self._initializers]
        if len(inputs) != 1:
            raise ModelError(f"the graph has {len(inputs)} inputs, but one would be right.")
        tensor = inputs[0].type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in tensor.shape.dim]
        if len(sizes) < 2 or min(sizes[1:]) < 1:
            raise ModelError(
                f'the input "{inputs[0].name}" needs a batch axis and then fixed sizes, but its shape is {sizes}.'
            )
        shape = tuple(sizes[1:])
        if tensor.elem_type == onnx.TensorProto.FLOAT:
            self._values[inputs[0].name] = Reals(shape, None)
        elif tensor.elem_type in _INPUT_TYPES:
            self._values[inputs[0].name] = Integers(shape, _INPUT_TYPES[tensor.elem_type], None)
        else:
            raise ModelError(
                f'the input "{inputs[0].name}" has element type {tensor.elem_type}, but float32 or int8 is read.'
            )
        return shape

    def _read_node(self, node: Any) -> None:
        if not all(isinstance(text, str) for text in (node.name, node.op_type, *node.input, *node.output)):
            raise ModelError("the name of an operator or tensor is no UTF-8 text, so the file is damaged.")
        if not node.output:
            raise ModelError(f'the operator {node.op_type} "{node.name}" has no output, so the file is damaged.')
        self._values.update(dict.fromkeys(node.output, None))
        key = (node.domain if node.domain != "ai.onnx" else "", node.op_type)
        operator = OPERATORS.get(key)
        if operator is None:
            self._report(node, REASONS.get(key, "no supported operator"))
            return
        try:
            inputs = [self._take(name) if name else None for name in node.input]
            if not any(value is None and name for value, name in zip(inputs, node.input, strict=True)):
                self._values[node.output[0]] = operator(self._chain, Node(node, tuple(inputs), self._folder))
        except TwiceRoundedError as error:
            self._report(node, str(error))
            self._values[node.output[0]] = error.value
        except ModelError as error:
            self._report(node, str(error))

    def _report(self, node: Any, reason: str) -> None:
        self._problems.add(reason, f'{node.op_type} "{node.name or node.output[0]}"')

    def _take(self, name: str) -> Value | None:
        """The value of a tensor; activations can be taken once only, because the network is a chain."""
        if name in self._initializers and name not in self._values:
            self._values[name] = Constant(read_tensor(self._initializers[name], self._folder))
        if name not in self._values:
            raise ModelError(f'the tensor "{name}" is used before anything defines it')
        value = self._values[name]
        if isinstance(value, Integers | Reals):
            if name in self._used:
                raise ModelError(f'"{name}" is used more than once, but branches cannot be read')
            self._used.add(name)
        return value
