"""Layers that compute nothing but arrange: tensors one after the other along their channels, and other shapes."""

import math
from dataclasses import dataclass
from typing import Any

from celosia.host.models.checks import integer, layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import activation_range
from celosia.host.models.requantization import set_integer, set_shape


class _Arrangement:
    """Types and work of a layer whose outputs are its inputs: with `dtype` and `zero_point`."""

    @property
    def input_dtype(self: Any) -> str:
        """Type of the inputs."""
        dtype: str = self.dtype
        return dtype

    @property
    def output_dtype(self: Any) -> str:
        """Type of the outputs."""
        dtype: str = self.dtype
        return dtype

    @property
    def input_zero_point(self: Any) -> int:
        """The integer that stands for 0.0."""
        zero_point: int = self.zero_point
        return zero_point

    @property
    def output_zero_point(self: Any) -> int:
        """The integer that stands for 0.0."""
        zero_point: int = self.zero_point
        return zero_point

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input: none."""
        return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(_Arrangement):
    """Tensors of one scale and zero point, one after the other along the last axis.

    Parameters
    ----------
    name : str
        Name of the layer.
    input_shapes : tuple of tuple of int
        Of the inputs, two or more; equal but for the last size.
    zero_point : int
        The integer that stands for 0.0, in all of them.
    dtype : str
        Type of the activations.

    Raises
    ------
    ModelError
        If a value is outside of what is said above.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    zero_point: int
    dtype: str = "int8"

    def __post_init__(self) -> None:
        where, given = layer_label(self.name), self.input_shapes
        if not isinstance(given, tuple | list) or len(given) < 2 or not all(isinstance(s, tuple | list) for s in given):
            raise ModelError(f"{where}: input_shapes is {given!r}, but two or more shapes are needed.")
        shapes = tuple(tuple(integer(where, "a size of input_shapes", size, 1, 2**31 - 1) for size in s) for s in given)
        if not shapes[0] or any(shape[:-1] != shapes[0][:-1] or len(shape) != len(shapes[0]) for shape in shapes):
            raise ModelError(f"{where}: shapes {shapes} differ in more than their last size.")
        object.__setattr__(self, "input_shapes", shapes)
        set_integer(self, "zero_point", *activation_range(self.dtype))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return self.input_shapes[0]

    @property
    def input_zero_points(self) -> tuple[int, ...]:
        """`zero_point`, for each input."""
        return (self.zero_point,) * len(self.input_shapes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """That of the inputs, with the sum of their last sizes."""
        return *self.input_shapes[0][:-1], sum(shape[-1] for shape in self.input_shapes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(_Arrangement):
    """The same integers in another shape, in C order.

    Parameters
    ----------
    name : str
        Name of the layer.
    input_shape, output_shape : tuple of int
        Of as many elements.
    zero_point : int
        The integer that stands for 0.0.
    dtype : str
        Type of the activations.

    Raises
    ------
    ModelError
        If a value is outside of what is said above.
    """

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    zero_point: int
    dtype: str = "int8"

    def __post_init__(self) -> None:
        set_shape(self, "input_shape")
        set_shape(self, "output_shape")
        if math.prod(self.input_shape) != math.prod(self.output_shape):
            raise ModelError(
                f"{layer_label(self.name)}: shape {self.input_shape} cannot become {self.output_shape}, which has "
                "another number of elements."
            )
        set_integer(self, "zero_point", *activation_range(self.dtype))
