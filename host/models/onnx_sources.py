"""Where the reals of an ONNX graph come from: each source knows the layer that computes it, once it is quantized."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from celosia.host.models.arrangement import Concat
from celosia.host.models.elementwise import Add, Rescale
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense
from celosia.host.models.integers import integer_range
from celosia.host.models.onnx_addition import exact_addition
from celosia.host.models.onnx_builder import Builder
from celosia.host.models.onnx_layers import (
    Weights,
    build_average,
    build_conv,
    build_dense,
    build_float_dense,
    integer_bounds,
    scale_multipliers,
)
from celosia.host.models.onnx_values import Bounds, Grid, Integers, QuantizedConstant, Reals
from celosia.host.models.onnx_window import Window


@dataclass(frozen=True, eq=False)
class Dequantized:
    """Integers of a tensor, of which one step is `grid`'s scale."""

    integers: Integers
    grid: Grid

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:
        """Add nothing if the integers stay as they are, else a Rescale."""
        minimum, maximum = integer_bounds(bounds, grid)
        if grid == self.grid and (minimum, maximum) == integer_range(grid.dtype):
            return self.integers.tensor
        multiplier, shift = rescaling(name, self.grid, grid)
        layer = Rescale(
            name=builder.unique_name(name),
            shape=builder.shape(self.integers.tensor),
            multiplier=multiplier,
            shift=shift,
            rounding="even",
            input_zero_point=self.grid.zero_point,
            output_zero_point=grid.zero_point,
            minimum=minimum,
            maximum=maximum,
            input_dtype=self.grid.dtype,
            output_dtype=grid.dtype,
        )
        return builder.add(layer, self.integers.tensor)


@dataclass(frozen=True, eq=False)
class FloatProduct:
    """A fully connected layer of a float network, after `layers`; weights (K, N)."""

    name: str
    layers: tuple[FloatDense, ...]
    weights: Weights
    bias: Weights | None = None

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:  # noqa: ARG002
        """Refuse."""
        raise ModelError("it quantizes a layer whose inputs are not quantized")

    def complete(self, bounds: Bounds) -> tuple[FloatDense, ...]:
        """The layers up to this one, which clamps to `bounds`."""
        return *self.layers, build_float_dense(self.name, self.weights, self.bias, bounds)


@dataclass(frozen=True, eq=False)
class Product:
    """A fully connected layer; weights (K, N), K in the order of the network's tensor."""

    name: str
    integers: Integers
    grid: Grid
    weights: QuantizedConstant
    bias: Weights | None = None

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:  # noqa: ARG002
        """Add the layer."""
        layer = build_dense(builder.unique_name(self.name), self.weights, self.bias, self.grid, grid, bounds)
        return builder.add(layer, self.integers.tensor)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of tensor (H, W, C); weights (kernel rows, kernel columns, C / groups, N)."""

    name: str
    tensor: int
    grid: Grid
    weights: QuantizedConstant
    window: Window
    groups: int
    bias: Weights | None = None

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:  # noqa: ARG002
        """Add the layer."""
        layer = build_conv(
            builder.unique_name(self.name), self.weights, self.bias, self.window, self.groups, self.grid, grid, bounds
        )
        return builder.add(layer, self.tensor)


@dataclass(frozen=True, eq=False)
class Average:
    """Averages over windows of tensor (H, W, C)."""

    name: str
    tensor: int
    grid: Grid
    window: Window
    channels: int

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:  # noqa: ARG002
        """Add a depthwise convolution."""
        layer = build_average(builder.unique_name(self.name), self.window, self.channels, self.grid, grid, bounds)
        return builder.add(layer, self.tensor)


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of two tensors of the same shape and order."""

    name: str
    first: Dequantized
    second: Dequantized

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:  # noqa: ARG002
        """Add the layer; one tensor is given the other's shape in the network, if they differ in it."""
        minimum, maximum = integer_bounds(bounds, grid)
        shape = builder.shape(self.first.integers.tensor)
        layer = Add(
            name=builder.unique_name(self.name),
            shape=shape,
            input_zero_points=(self.first.grid.zero_point, self.second.grid.zero_point),
            output_zero_point=grid.zero_point,
            minimum=minimum,
            maximum=maximum,
            input_dtype=self.first.grid.dtype,
            output_dtype=grid.dtype,
            **exact_addition(self.first.grid, self.second.grid, grid, minimum, maximum),
        )
        second = builder.reshape(self.name, self.second.integers.tensor, shape, self.second.grid)
        return builder.add(layer, self.first.integers.tensor, second)


@dataclass(frozen=True, eq=False)
class Joined:
    """Tensors one after the other along their channels, each of a shape in the network, and clamped."""

    name: str
    parts: tuple[Dequantized, ...]
    shapes: tuple[tuple[int, ...], ...]
    bounds: tuple[Bounds, ...]

    def close(self, builder: Builder, name: str, grid: Grid, bounds: Bounds) -> int:  # noqa: ARG002
        """Quantize each part alike, and add the layer."""
        tensors = []
        for part, shape, (low, high) in zip(self.parts, self.shapes, self.bounds, strict=True):
            both = min(max(low, bounds[0]), bounds[1]), min(max(high, bounds[0]), bounds[1])
            tensor = part.close(builder, f"{self.name}/rescale", grid, both)
            tensors.append(builder.reshape(self.name, tensor, shape, grid))
        layer = Concat(
            name=builder.unique_name(self.name),
            input_shapes=self.shapes,
            zero_point=grid.zero_point,
            dtype=grid.dtype,
        )
        return builder.add(layer, *tensors)


def rescaling(name: str, inputs: Grid, outputs: Grid) -> tuple[int, int]:
    """Multiplier and shift from one grid to another; the scale is a float32 quotient."""
    with np.errstate(over="ignore", under="ignore"):  # what float32 cannot hold is refused by the next function
        scale = np.float32(inputs.scale) / np.float32(outputs.scale)
    multiplier, shift = scale_multipliers(name, np.array([scale], np.float32))
    return int(multiplier[0]), int(shift[0])


def dequantized(reals: Reals) -> Dequantized:
    """The source of reals that a layer can take.

    Raises
    ------
    ModelError
        If they are not simply integers that were dequantized.
    """
    if reals.source is None or isinstance(reals.source, FloatProduct):
        raise ModelError(
            "its inputs are float, but only fully connected networks are read in float "
            "(onnxruntime.quantization.quantize_static quantizes others)"
        )
    if not isinstance(reals.source, Dequantized):
        raise ModelError("the output of the layer before it is not quantized")
    if reals.clamped:
        raise ModelError("its inputs are clamped without a layer before that, or without being quantized after it")
    # reals that were only given another shape or order since are those of the same source
    integers = dataclasses.replace(reals.source.integers, order=reals.order)
    return Dequantized(integers, reals.source.grid)
