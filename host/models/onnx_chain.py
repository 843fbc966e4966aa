"""The chain of layers that an ONNX graph is read into, one matrix product at a time."""

import dataclasses
import itertools
import math

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Dense, Network
from celosia.host.models.onnx_layers import build_dense, build_float_dense, check_sizes, integer_bounds
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_values import Constant, Grid, Integers, Product, QuantizedConstant, Reals, Value


class TwiceRoundedError(ModelError):
    """Something would round a second time; reading can go on with `value`, to find what else is wrong."""

    def __init__(self, sentence: str, value: Value) -> None:
        super().__init__(sentence)
        self.value = value


class Chain:
    """Layers so far.

    A matrix product opens a layer, which a bias and a clamp may follow; quantizing it (or, in a float network, the next
    product or the end) closes it.
    """

    def __init__(self) -> None:
        self._layers: list[Dense] = []
        self._float_layers: list[FloatDense] = []
        self._input_grid: Grid | None = None

    def quantize(self, reals: Reals, grid: Grid) -> Integers:
        """Activations that QuantizeLinear gives: closes the open layer, or notes the grid of the network's input."""
        integers = Integers(reals.shape, grid.dtype, grid)
        if reals.product is not None:
            if reals.grid is None:
                raise ModelError("it quantizes a layer whose inputs are not quantized")
            self._layers.append(build_dense(reals.product, reals.grid, grid, reals.bounds))
        elif reals.grid is None:
            if reals.clamped:
                raise ModelError("it quantizes a clamped input, but a clamp needs a layer before it")
            self._input_grid = grid
        elif reals.grid != grid and not reals.refused:
            raise TwiceRoundedError(
                "quantizing values again with another scale rounds twice (asymmetric activations, the default of "
                "onnxruntime's quantizers, avoid that)",
                integers,
            )
        else:
            self._clamp(reals, grid)
        return integers

    def open(self, node: Node, transposed: bool, bias: Constant | QuantizedConstant | None) -> Reals:
        """A float matrix product: input 0 by input 1."""
        reals, weights = node.reals(), node.constant(1)
        if reals.product is not None:
            if reals.grid is not None:
                raise ModelError("the output of the layer before it is not quantized")
            self._float_layers.append(build_float_dense(reals.product, reals.bounds))
        elif reals.clamped:
            raise ModelError("its inputs are clamped without a layer before that")
        outputs = check_sizes(reals.shape, weights.array, transposed)
        return Reals((outputs,), reals.grid, Product(self._layer_name(node), weights, transposed, bias))

    def integer_layer(self, node: Node, grid: Grid, transposed: bool, bias: Constant | None) -> Integers:
        """A quantized matrix product: inputs 0 to 5 are values, scale and zero point of both factors."""
        integers = node.integers()
        inputs = self.check_grid(integers, node.grid(1))
        array = node.array(3, "iu")
        outputs = check_sizes(integers.shape, array, transposed)
        weights = QuantizedConstant(array, node.scales(4), node.zero_points(5, array.dtype), 0 if transposed else 1)
        product = Product(self._layer_name(node), weights, transposed, bias)
        self._layers.append(build_dense(product, inputs, grid, (-math.inf, math.inf)))
        return Integers((outputs,), grid.dtype, grid)

    def check_grid(self, integers: Integers, grid: Grid) -> Grid:
        """The grid, if it is the one that the integers were made with (or the first that an integer input meets)."""
        if integers.grid is None and integers.dtype == grid.dtype:
            self._input_grid = grid
        elif integers.grid != grid:
            raise ModelError("its scale or zero point is not that of the operator before it")
        return grid

    def finish(self, output: Value | None, name: str, shape: tuple[int, ...]) -> Network | FloatNetwork:
        """The network, whose output is the graph's and whose inputs have `shape`."""
        if isinstance(output, Reals) and output.grid is None and output.product is not None:
            self._float_layers.append(build_float_dense(output.product, output.bounds))
            return FloatNetwork(name=name, layers=self._float_layers, input_shape=shape)
        if not self._layers or not isinstance(output, Reals | Integers):
            raise ModelError("the graph's output does not come from a fully connected layer, but it has to.")
        if isinstance(output, Reals) and (output.product or output.clamped):
            raise ModelError("the last layer's output is not quantized, but every layer's must be.")
        if output.grid is None or self._input_grid is None:
            raise ModelError("the graph's input or output has no scale, but both must be quantized.")
        return Network(
            name=name,
            layers=self._layers,
            input_shape=shape,
            input_scale=self._input_grid.scale,
            output_scale=output.grid.scale,
        )

    def _clamp(self, reals: Reals, grid: Grid) -> None:
        """Clamp the integers of the last layer: exact, because they are on the grid."""
        minimum, maximum = integer_bounds(reals.bounds, grid)
        if not self._layers and (minimum, maximum) != integer_range(grid.dtype):
            raise ModelError("it clamps the network's input, but a clamp needs a layer before it")
        if self._layers:
            last = self._layers[-1]
            lowest, highest = (int(np.clip(bound, minimum, maximum)) for bound in (last.minimum, last.maximum))
            self._layers[-1] = dataclasses.replace(last, minimum=lowest, maximum=highest)

    def _layer_name(self, node: Node) -> str:
        names = {layer.name for layer in self._layers} | {layer.name for layer in self._float_layers}
        suffixes = itertools.chain([""], (f"_{count}" for count in itertools.count(2)))
        return next(name for suffix in suffixes if (name := node.name + suffix) not in names)
