"""Two-dimensional convolutions in integers, grouped and depthwise ones included.

K is the number of inputs of an output, N the number of output channels, C that of input channels. Images are (H, W, C).
"""

from dataclasses import dataclass

import numpy as np

from celosia.host.models.checks import frozen, integer, layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.matrix import IntegerWeights
from celosia.host.models.requantization import Rounding, check_requantization, set_integers
from celosia.host.models.window import MAX_SIDE, Pair, WindowLayer


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(WindowLayer, IntegerWeights):
    """Two-dimensional convolution in integers.

    ``acc[y, x, n] = Σ_{i, j, c} (in[y·sy + i·dy − top, x·sx + j·dx − left, g·C/G + c] − input_zero_point) ·
    weights[i, j, c, n] + bias[n]``, where g = n · G // N is the group of output n, G is `groups`, and `in` outside of
    the image is `input_zero_point`; then as :class:`celosia.host.models.ir.Dense`.

    A depthwise convolution is one with as many groups as channels: its weights are (rows, columns, 1, C · depth
    multiplier), and output c · depth multiplier + m is the m-th of channel c. It has no class of its own because
    nothing but the number of groups differs: arithmetic and checks are the same, and an engine that treats it in
    another way asks `is_depthwise`.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : ndarray (kernel rows, kernel columns, C / groups, N), int8
        Symmetric weights (zero point 0).
    input_size : tuple of int
        (H, W) of the input.
    strides, dilations : tuple of int
        Along H and W, 1 or more.
    padding : tuple of int
        Rows above, columns to the left, rows below, columns to the right.
    groups : int
        Divides C and N.
    bias, multiplier, shift, rounding, input_zero_point, output_zero_point, minimum, maximum, input_dtype, output_dtype
        As of :class:`celosia.host.models.ir.Dense`, (N,) where those are.

    Raises
    ------
    ModelError
        If a shape, type or value is outside of what is said above.
    """

    name: str
    weights: np.ndarray
    input_size: Pair
    strides: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    rounding: Rounding
    input_zero_point: int
    output_zero_point: int
    minimum: int
    maximum: int
    input_dtype: str = "int8"
    output_dtype: str = "int8"

    def __post_init__(self) -> None:
        where, weights = layer_label(self.name), np.asarray(self.weights)
        if weights.dtype != np.int8:
            raise ModelError(f"{where}: the weights are {weights.dtype}, but they must be int8.")
        if weights.ndim != 4 or 0 in weights.shape:
            raise ModelError(
                f"{where}: the weights have shape {weights.shape}, but a convolution needs (kernel rows, kernel "
                "columns, C / groups, N)."
            )
        object.__setattr__(self, "weights", frozen(weights, np.int8))
        outputs = weights.shape[3]
        object.__setattr__(self, "groups", integer(where, "groups", self.groups, 1, outputs))
        if outputs % self.groups:
            raise ModelError(f"{where}: {outputs} output channels cannot be shared by {self.groups} groups equally.")
        set_integers(self, "input_size", 2, 1, MAX_SIDE)
        set_integers(self, "dilations", 2, 1, MAX_SIDE)
        self._check_window()
        check_requantization(self, outputs)

    @property
    def kernel(self) -> Pair:
        """(rows, columns)."""
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        return *self.input_size, self.weights.shape[2] * self.groups

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(H, W, N)``."""
        return *self.output_size, self.weights.shape[3]

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel comes from one of several input channels."""
        return self.groups > 1 and self.weights.shape[2] == 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input; padding counts."""
        return self.output_size[0] * self.output_size[1] * self.weights.size
