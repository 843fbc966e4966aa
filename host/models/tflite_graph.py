"""Goes through the operators of a TensorFlow Lite graph, in their order, and collects layers and all that is wrong."""

import dataclasses
from collections.abc import Mapping
from typing import Final

from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network
from celosia.host.models.problems import Problems
from celosia.host.models.tflite_builder import Activation, Builder
from celosia.host.models.tflite_file import ModelFile, Operator, Tensor
from celosia.host.models.tflite_node import Node, read_grid, strip_batch
from celosia.host.models.tflite_operators import OPERATORS, REASONS

_SHARING: Final = 2  # times that layers may hold what is in the file
_EXTRA: Final = 2**24  # bytes that they may hold besides: weights of 1 of means and padding


class GraphReader:
    """Reads one graph.

    Parameters
    ----------
    file : ModelFile
    name : str
        Of the network.
    """

    def __init__(self, file: ModelFile, name: str) -> None:
        self._file = file
        self._name = name
        self._values: dict[int, Activation] = {}
        self._unknown: set[int] = set()  # given by something unsupported
        self._problems = Problems()

    def read(self) -> Network:
        """Read the graph.

        Raises
        ------
        ModelError
            Naming everything unsupported.
        """
        builder = self._read_input()
        for operator in self._file.operators:
            self._read_operator(builder, operator)
        outputs = self._file.outputs
        if len(outputs) != 1:
            raise ModelError(f"the graph has {len(outputs)} outputs, but one would be right.")
        if self._problems:
            raise ModelError(self._problems.sentence(f"{', '.join(OPERATORS)}, in int8"))
        if outputs[0] not in self._values:
            raise ModelError(f'nothing gives the graph\'s output "{self._file.tensors[outputs[0]].name}".')
        network = builder.finish(self._values[outputs[0]])
        self._values[outputs[0]] = dataclasses.replace(self._values[outputs[0]], tensor=len(network.layers))
        return network

    @property
    def places(self) -> Mapping[int, int]:
        """Number of a tensor in the file → that in the network, of all activations that are integers in both."""
        return {
            number: value.tensor
            for number, value in self._values.items()
            if not value.real and value.full_shape == value.shape
        }

    def _read_input(self) -> Builder:
        inputs = self._file.inputs
        if len(inputs) != 1:
            raise ModelError(f"the graph has {len(inputs)} inputs, but one would be right.")
        tensor = self._file.tensors[inputs[0]]
        try:
            shape = strip_batch(tensor.shape, "input")
            real = tensor.type == "FLOAT32"
            grid = None if real else read_grid(tensor, "input")
        except ModelError as error:
            raise ModelError(f'the graph\'s input "{tensor.name}" cannot be used: {error}.') from None
        self._values[inputs[0]] = Activation(tensor.name, 0, shape, grid, real=real)
        return Builder(self._name, shape, grid, _SHARING * self._file.size + _EXTRA)

    def _read_operator(self, builder: Builder, operator: Operator) -> None:
        reader = OPERATORS.get(operator.kind)
        try:
            for number in operator.outputs:
                if number in self._values or number in self._unknown or self._file.tensors[number].data is not None:
                    raise ModelError(f'it gives "{self._file.tensors[number].name}", which has a value before')
            if reader is None:
                raise ModelError(REASONS.get(operator.kind, "no supported operator"))
            if self._unknown.isdisjoint(operator.inputs):
                node = Node(operator, self._file.tensors, self._values, builder.spend)
                self._values[operator.outputs[0]] = reader(builder, node)
            else:
                self._unknown.update(operator.outputs)
        except ModelError as error:
            self._report(operator, str(error))
            for number in operator.outputs:
                self._assume(builder, number, self._file.tensors[number])

    def _assume(self, builder: Builder, number: int, tensor: Tensor) -> None:
        """Take an output of what cannot be read for what the file says of it, to find what else is wrong."""
        if number < 0 or number in self._values:
            return
        try:
            shape, grid = strip_batch(tensor.shape, "output"), read_grid(tensor, "output")
            value = Activation(tensor.name, builder.assume(shape, grid), shape, grid)
        except ModelError:
            self._unknown.add(number)
        else:
            self._values[number] = value

    def _report(self, operator: Operator, reason: str) -> None:
        names = [self._file.tensors[number].name for number in operator.outputs if number >= 0]
        short = names[0].split(";")[0] if names else ""
        # the layer's name, which its own checks put in front, is there already
        reason = reason.split(": ", 1)[1] if reason.startswith("layer ") and ": " in reason else reason
        self._problems.add(reason, f'{operator.kind} "{short}"')
