"""Layers that compute each element for itself, in integers: another scale, and the sum of two tensors."""

from dataclasses import dataclass
from typing import Any, Final

from celosia.host.models.integers import activation_range
from celosia.host.models.requantization import (
    MAX_MULTIPLIER,
    MAX_SHIFT,
    MIN_SHIFT,
    Rounding,
    check_outputs,
    check_rounding,
    set_integer,
    set_integers,
    set_shape,
)

MAX_LEFT_SHIFT: Final = 20
"""Bits that inputs of an addition are shifted to the left, at most: 20 for 8 bits in TensorFlow Lite."""


class _Elementwise:
    """Shapes and work of a layer whose inputs and output have the same `shape`."""

    @property
    def input_shape(self: Any) -> tuple[int, ...]:
        """`shape`."""
        shape: tuple[int, ...] = self.shape
        return shape

    @property
    def output_shape(self: Any) -> tuple[int, ...]:
        """`shape`."""
        shape: tuple[int, ...] = self.shape
        return shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input: none, these count no multiplications of requantization."""
        return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescale(_Elementwise):
    """Integers of one scale and zero point to those of another; activation functions are in the clamp.

    ``y = clamp(round((x − input_zero_point) · multiplier · 2^(shift − 31)) + output_zero_point, minimum, maximum)``.
    TensorFlow Lite's QUANTIZE between integers, RELU and its relatives.

    Parameters
    ----------
    name : str
        Name of the layer.
    shape : tuple of int
        Of the input and the output.
    multiplier, shift : int
        As of :class:`celosia.host.models.ir.Dense`, one for all.
    rounding, input_zero_point, output_zero_point, minimum, maximum, input_dtype, output_dtype
        As of :class:`celosia.host.models.ir.Dense`.

    Raises
    ------
    ModelError
        If a value is outside of what is said above.
    """

    name: str
    shape: tuple[int, ...]
    multiplier: int
    shift: int
    rounding: Rounding
    input_zero_point: int
    output_zero_point: int
    minimum: int
    maximum: int
    input_dtype: str = "int8"
    output_dtype: str = "int8"

    def __post_init__(self) -> None:
        set_shape(self, "shape")
        set_integer(self, "multiplier", 0, MAX_MULTIPLIER)
        set_integer(self, "shift", MIN_SHIFT, MAX_SHIFT)
        check_rounding(self)
        set_integer(self, "input_zero_point", *activation_range(self.input_dtype))
        check_outputs(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(_Elementwise):
    """Sum of two tensors of different scales, each rounded to a common one first.

    ``t[i] = round(((x[i] − input_zero_points[i]) · 2^left_shift) · multipliers[i] · 2^(shifts[i] − 31))``, then
    ``y = clamp(round((t[0] + t[1]) · output_multiplier · 2^(output_shift − 31)) + output_zero_point, minimum,
    maximum)``. TensorFlow Lite's ADD: the common scale is 2^−left_shift times twice the larger input scale.

    Parameters
    ----------
    name : str
        Name of the layer.
    shape : tuple of int
        Of both inputs and the output.
    left_shift : int
        0 to 20.
    multipliers, shifts : tuple of int
        Of both inputs; shifts −31 to 0.
    output_multiplier, output_shift : int
        Of the sum; shift −31 to 0.
    rounding : {"double", "away", "even", "up"}
        Of all three.
    input_zero_points : tuple of int
        Of both inputs.
    output_zero_point, minimum, maximum : int
        As of :class:`celosia.host.models.ir.Dense`.
    input_dtype, output_dtype : str
        Types of the activations, of 8 bits at most.

    Raises
    ------
    ModelError
        If a value is outside of what is said above.
    """

    name: str
    shape: tuple[int, ...]
    left_shift: int = MAX_LEFT_SHIFT
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    output_multiplier: int
    output_shift: int
    rounding: Rounding
    input_zero_points: tuple[int, int]
    output_zero_point: int
    minimum: int
    maximum: int
    input_dtype: str = "int8"
    output_dtype: str = "int8"

    def __post_init__(self) -> None:
        set_shape(self, "shape")
        set_integer(self, "left_shift", 0, MAX_LEFT_SHIFT)
        set_integers(self, "multipliers", 2, 0, MAX_MULTIPLIER)
        set_integers(self, "shifts", 2, MIN_SHIFT, 0)
        set_integer(self, "output_multiplier", 0, MAX_MULTIPLIER)
        set_integer(self, "output_shift", MIN_SHIFT, 0)
        check_rounding(self)
        set_integers(self, "input_zero_points", 2, *activation_range(self.input_dtype))
        check_outputs(self)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """`shape`, twice."""
        return self.shape, self.shape

    @property
    def input_zero_point(self) -> int:
        """Zero point of the first input."""
        return self.input_zero_points[0]
