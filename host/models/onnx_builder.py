"""The network that an ONNX graph is read into, layer by layer."""

import math
from typing import Final

import numpy as np

from celosia.host.models.arrangement import Reshape
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Layer, Network
from celosia.host.models.onnx_simplify import simplify
from celosia.host.models.onnx_values import Grid, Integers, Reals

MAX_ELEMENTS: Final = 2**26
"""Most elements of all tensors that differ in shape, and of weights that the file does not have."""


class Builder:
    """Layers so far, and which tensors each takes.

    Parameters
    ----------
    name : str
        Of the network.
    input_shape : tuple of int
        In the file, without the batch axis.
    channels_first : bool
        Whether that is (C, H, W), and the network takes (H, W, C).
    """

    def __init__(self, name: str, input_shape: tuple[int, ...], channels_first: bool) -> None:
        self._name = name
        self._input_shape = input_shape
        self.channels_first = channels_first
        self._layers: list[Layer] = []
        self._sources: list[tuple[int, ...]] = []
        self._shapes = [(*input_shape[1:], input_shape[0]) if channels_first else input_shape]
        self._reshaped: dict[tuple[int, tuple[int, ...]], int] = {}
        self._orders: dict[tuple[bool, tuple[int, ...]], np.ndarray] = {}
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}
        self._elements = 0
        self.input_grid: Grid | None = None
        self.input_order = self.image_order(*self._shapes[0]) if channels_first else self.plain_order(input_shape)

    def spend(self, elements: int) -> None:
        """Take note of elements that take memory.

        Raises
        ------
        ModelError
            If all so far are too many.
        """
        self._elements += elements
        if self._elements > MAX_ELEMENTS:
            raise ModelError(f"the tensors so far have more than {MAX_ELEMENTS} elements, the most read")

    def plain_order(self, shape: tuple[int, ...]) -> np.ndarray:
        """The order of a tensor that the network has as the file has it."""
        return self._order(False, shape)

    def image_order(self, height: int, width: int, channels: int) -> np.ndarray:
        """The order (C, H, W) of a tensor (H, W, C)."""
        return self._order(True, (height, width, channels))

    def _order(self, image: bool, shape: tuple[int, ...]) -> np.ndarray:
        if (image, shape) not in self._orders:
            if min(shape, default=1) < 1:
                raise ModelError(f"a tensor has shape {shape}, but every size must be at least 1")
            self.spend(math.prod(shape))
            order = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
            self._orders[image, shape] = order.transpose(2, 0, 1) if image else order
        return self._orders[image, shape]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor in the network."""
        return self._shapes[tensor]

    def unique_name(self, name: str) -> str:
        """A name that no layer has yet, numbered if needed."""
        while True:
            count = self._counts[name] = self._counts.get(name, 0) + 1
            unique = name if count == 1 else f"{name}_{count}"
            if unique not in self._names:
                self._names.add(unique)
                return unique

    def add(self, layer: Layer, *taken: int) -> int:
        """Add a layer that takes tensors, and return the number of its output."""
        self._layers.append(layer)
        self._sources.append(taken)
        self._shapes.append(layer.output_shape)
        return len(self._layers)

    def reshape(self, name: str, tensor: int, shape: tuple[int, ...], grid: Grid) -> int:
        """A tensor in another shape, which a layer gives it if it has not got it."""
        if self._shapes[tensor] == shape:
            return tensor
        if (tensor, shape) not in self._reshaped:
            layer = Reshape(
                name=self.unique_name(f"{name}/reshape"),
                input_shape=self._shapes[tensor],
                output_shape=shape,
                zero_point=grid.zero_point,
                dtype=grid.dtype,
            )
            self._reshaped[tensor, shape] = self.add(layer, tensor)
        return self._reshaped[tensor, shape]

    def image(self, name: str, integers: Integers, grid: Grid) -> int:
        """The tensor (H, W, C) that holds an image (C, H, W).

        Raises
        ------
        ModelError
            If it is no image, or its elements have been put into another order.
        """
        order = integers.order
        if order.ndim != 3:
            raise ModelError(f"it needs images (channels, rows, columns), but its inputs have shape {order.shape}")
        channels, height, width = order.shape
        if not np.array_equal(order, self.image_order(height, width, channels)):
            raise ModelError("its inputs are in another order than the channels-last one that images have here")
        return self.reshape(name, integers.tensor, (height, width, channels), grid)

    def quantize(self, name: str, reals: Reals, grid: Grid) -> Integers:
        """The integers of a grid that reals become, and the layer that gives them, if it takes one.

        Raises
        ------
        ModelError
            If there is no such layer.
        """
        if reals.source is not None:
            tensor = reals.source.close(self, name, grid, reals.bounds)
            return Integers(reals.order, tensor, grid.dtype, grid)
        if reals.clamped:
            raise ModelError("it quantizes a clamped input, but a clamp needs a layer before it")
        if self.input_grid not in (None, grid):
            raise ModelError("it quantizes the network's input a second time and in another way, but once is right")
        self.input_grid = grid
        return Integers(reals.order, 0, grid.dtype, grid)

    def check_grid(self, integers: Integers, grid: Grid) -> Grid:
        """The grid, if it is the one that the integers were made with (or the first that an integer input meets)."""
        known = integers.grid or self.input_grid
        if known is None and integers.dtype == grid.dtype:
            self.input_grid = grid
        elif known != grid:
            raise ModelError("its scale or zero point is not that of the operator before it")
        return grid

    def finish(self, output: Integers) -> Network:
        """The network, whose output is these integers.

        Raises
        ------
        ModelError
            If the layers do not make a network.
        """
        grid = output.grid or self.input_grid
        if not output.tensor:
            raise ModelError("the graph's output does not come from a fully connected layer or a convolution.")
        if grid is None or self.input_grid is None:
            raise ModelError("the graph's input or output has no scale, but both must be quantized.")
        order = output.order
        if not np.array_equal(order.ravel(), np.arange(order.size)):
            raise ModelError("the graph's output is an image with channels first, but it has to be channels last.")
        tensor = self.reshape("output", output.tensor, order.shape, grid) if order.ndim else output.tensor
        layers, sources = simplify(self._layers, self._sources, tensor)
        return Network(
            name=self._name,
            layers=layers,
            input_shape=self._input_shape,
            input_scale=self.input_grid.scale,
            output_scale=grid.scale,
            channels_first=self.channels_first,
            sources=sources,
        )
