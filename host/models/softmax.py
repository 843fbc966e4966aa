"""Softmax in integers, as TensorFlow Lite's fixed-point reference computes it; meant for the host."""

import math
from dataclasses import dataclass
from typing import Final

from celosia.host.models.checks import layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import activation_range
from celosia.host.models.requantization import MAX_MULTIPLIER, set_integer, set_shape

DIFFERENCE_BITS: Final = 5
"""Integer bits of the fixed-point numbers (Q5.26) that differences from the largest input become."""

MAX_CLASSES: Final = 2**12 - 1
"""Most inputs of a softmax: the sum of their exponentials has 12 integer bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax:
    """Softmax over the last axis: int8 to int8 of scale 1/256 and zero point −128.

    Each difference from the largest input, times `multiplier` · 2^(shift − 31), is a fixed-point number Q5.26, whose
    exponential is computed in int32 as gemmlowp does; those below −31, or below `smallest_difference` before, count as
    0.0. :mod:`celosia.sim.golden.softmax` has the steps.

    Parameters
    ----------
    name : str
        Name of the layer.
    shape : tuple of int
        Of the input and the output; the last size is at most 4095.
    multiplier : int
        2^30 to 2^31 − 1.
    shift : int
        0 to 31, to the left.
    input_zero_point : int
        The integer that stands for 0.0; it makes no difference.

    Raises
    ------
    ModelError
        If a value is outside of what is said above.
    """

    name: str
    shape: tuple[int, ...]
    multiplier: int
    shift: int
    input_zero_point: int

    def __post_init__(self) -> None:
        set_shape(self, "shape")
        if self.shape[-1] > MAX_CLASSES:
            raise ModelError(
                f"{layer_label(self.name)}: {self.shape[-1]} values are too many for a softmax in 32 bits; at most "
                f"{MAX_CLASSES} can be used."
            )
        set_integer(self, "multiplier", 2**30, MAX_MULTIPLIER)
        set_integer(self, "shift", 0, 31)
        set_integer(self, "input_zero_point", *activation_range(self.input_dtype))

    @property
    def smallest_difference(self) -> int:
        """Differences below this one give an exponential of 0."""
        fraction_bits = 31 - DIFFERENCE_BITS
        return -math.floor((2**DIFFERENCE_BITS - 1) * 2**fraction_bits / 2**self.shift)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`shape`."""
        return self.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """`shape`."""
        return self.shape

    @property
    def input_dtype(self) -> str:
        """Type of the inputs."""
        return "int8"

    @property
    def output_dtype(self) -> str:
        """Type of the outputs."""
        return "int8"

    @property
    def output_zero_point(self) -> int:
        """The integer that stands for 0.0."""
        return -128

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input: none."""
        return 0
