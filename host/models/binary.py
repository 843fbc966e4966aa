"""Binarized layers and their relatives: weights of one bit or ternary, activations of 1 to 8 bits.

Sources: BinaryNet (Courbariaux et al. 2016, arXiv 1602.02830), XNOR-Net (Rastegari et al. 2016, arXiv 1603.05279),
FINN (Umuroglu et al. 2017, arXiv 1612.07119), YodaNN (Andri et al. 2016, arXiv 1606.05487).

K is the number of inputs of an output, N the number of outputs or output channels, C that of input channels, T the
number of thresholds of an output. Images are (H, W, C).
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from celosia.host.models.checks import check_matrix, check_range, frozen, integer, layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import BIPOLAR, SUM, integer_range
from celosia.host.models.matrix import MatrixLayer
from celosia.host.models.requantization import set_integers
from celosia.host.models.window import Pair, window_places

MAX_ACTIVATION_BITS: Final = 8
MAX_IMAGE_SIDE: Final = 4096
MAX_THRESHOLDS: Final = 2**MAX_ACTIVATION_BITS - 1
INPUT_DTYPES: Final = (
    BIPOLAR,
    *(f"uint{width}" for width in range(1, MAX_ACTIVATION_BITS + 1)),
    *(f"int{width}" for width in range(2, MAX_ACTIVATION_BITS + 1)),
)
"""Types of activations that binarized layers take."""


class _Fields(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def weights(self) -> np.ndarray: ...
    @property
    def thresholds(self) -> np.ndarray | None: ...
    @property
    def input_dtype(self) -> str: ...
    @property
    def output_dtype(self) -> str: ...
    @property
    def output_minimum(self) -> int | None: ...


class BinaryLayer:
    """What both kinds of binarized layers have: weights of ±1 or of −1, 0, +1, thresholds or none, and types."""

    def _check_binary(self: _Fields) -> None:
        """Check and freeze weights (…, N), thresholds (N, T) and types."""
        where = layer_label(self.name)
        weights = np.asarray(self.weights)
        if weights.dtype.kind not in "iu":
            raise ModelError(f"{where}: the weights are {weights.dtype}, but they must be integers −1, 0 or +1.")
        wrong = np.argwhere((weights < -1) | (weights > 1))
        if len(wrong):
            index = tuple(wrong[0].tolist())
            raise ModelError(
                f"{where}: weights{list(index)} is {weights[index]}, but binarized weights are −1 or +1, "
                "ternary ones −1, 0 or +1."
            )
        object.__setattr__(self, "weights", frozen(weights, np.int8))
        if self.input_dtype not in INPUT_DTYPES:
            raise ModelError(
                f"{where}: inputs of type {self.input_dtype!r} are not supported; bipolar, uint1 to uint8 and int2 to "
                "int8 are."
            )
        if self.thresholds is None:
            if self.output_dtype != SUM or self.output_minimum is not None:
                raise ModelError(f"{where}: without thresholds its outputs are sums, whose type is {SUM}.")
            return
        _check_outputs(self, where)

    @property
    def input_zero_point(self) -> int:
        """The input integer that stands for 0.0: 0."""
        return 0

    @property
    def output_zero_point(self) -> int:
        """The output integer that stands for 0.0: 0."""
        return 0

    @property
    def is_ternary(self: _Fields) -> bool:
        """Whether some weights are 0."""
        return not self.weights.all()

    @property
    def output_step(self: _Fields) -> int:
        """Distance of two neighbouring outputs: 2 if they are −1 and +1, else 1."""
        return 2 if self.output_dtype == BIPOLAR else 1


def _check_outputs(layer: _Fields, where: str) -> None:
    outputs = layer.weights.shape[-1]
    thresholds = np.asarray(layer.thresholds)
    if thresholds.dtype.kind not in "iu":
        raise ModelError(f"{where}: the thresholds are {thresholds.dtype}, but they must be integers.")
    if thresholds.ndim != 2 or len(thresholds) != outputs or not 1 <= thresholds.shape[1] <= MAX_THRESHOLDS:
        raise ModelError(
            f"{where}: the thresholds have shape {thresholds.shape}, but {outputs} outputs need ({outputs}, T), "
            f"T from 1 to {MAX_THRESHOLDS}."
        )
    smallest, largest = integer_range(SUM)
    for index in range(thresholds.shape[1]):
        check_range(where, f"thresholds[:, {index}]", thresholds[:, index], smallest, largest)
    falling = np.argwhere(np.diff(thresholds.astype(np.int64), axis=1) < 0)
    if len(falling):
        raise ModelError(f"{where}: the thresholds of output {falling[0][0]} fall, but they must be in rising order.")
    object.__setattr__(layer, "thresholds", frozen(thresholds, np.int64))
    if layer.output_dtype not in INPUT_DTYPES:
        raise ModelError(
            f"{where}: outputs of type {layer.output_dtype!r} are not supported; bipolar, uint1 to uint8 and int2 to "
            f"int8 are, and {SUM} without thresholds."
        )
    low, high = integer_range(layer.output_dtype)
    minimum = low if layer.output_minimum is None else layer.output_minimum
    object.__setattr__(layer, "output_minimum", integer(where, "output_minimum", minimum, low, high))
    steps = 2 if layer.output_dtype == BIPOLAR else 1
    most = minimum + steps * thresholds.shape[1]
    if most > high:
        raise ModelError(
            f"{where}: {thresholds.shape[1]} thresholds from {minimum} on reach {most}, but {layer.output_dtype} "
            f"ends at {high}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class BinaryDense(BinaryLayer, MatrixLayer):
    """Fully connected layer with weights of ±1, or ternary.

    ``acc[n] = Σ_k x[k] · weights[k, n]``; with thresholds
    ``y[n] = output_minimum + step · Σ_t (acc[n] >= thresholds[n, t])``, where the step is 2 for bipolar outputs and
    else 1; without thresholds ``y[n] = acc[n]``. Batch-norm, sign and every rising quantizer are such thresholds; a
    falling one is, with the weights of its output negated.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : ndarray (K, N), any integer type
        All −1 or +1; or −1, 0 and +1. Stored as int8.
    thresholds : ndarray (N, T) of any integer type, or None
        In rising order, within 32 bits; T is 1 for bipolar outputs. Stored as int64. None: the outputs are the sums.
    input_dtype : str
        ``bipolar`` (−1 and +1), ``uint1`` to ``uint8``, or ``int2`` to ``int8``.
    output_dtype : str
        The same; ``int32`` without thresholds.
    output_minimum : int or None
        The output below all thresholds; None: the smallest of its type.

    Raises
    ------
    ModelError
        If a shape, type or value is outside of what is said above.
    """

    name: str
    weights: np.ndarray
    thresholds: np.ndarray | None = None
    input_dtype: str = BIPOLAR
    output_dtype: str = BIPOLAR
    output_minimum: int | None = None

    def __post_init__(self) -> None:
        check_matrix(layer_label(self.name), np.asarray(self.weights))
        self._check_binary()


@dataclass(frozen=True, kw_only=True, eq=False)
class BinaryConv(BinaryLayer):
    """Two-dimensional convolution with weights of ±1, or ternary; thresholds; then max pooling.

    ``acc[y, x, n] = Σ_{i, j, c} in[y·sy + i − top, x·sx + j − left, c] · weights[i, j, c, n]``, where `in` outside of
    the image is `pad_value`; then thresholds as in :class:`BinaryDense`; then the maximum over windows of `pool`, which
    are all inside.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : ndarray (kernel rows, kernel columns, C, N), any integer type
        All −1 or +1; or −1, 0 and +1. Stored as int8.
    input_size : tuple of int
        (H, W) of the input.
    strides : tuple of int
        Along H and W, 1 or more.
    padding : tuple of int
        Rows above, columns to the left, rows below, columns to the right; each less than the kernel.
    pad_value : int
        What is there: 0 for any type, also bipolar; or a value of the inputs' type, such as −1.
    pool, pool_strides : tuple of int
        Window of the max pooling, and its strides; None: those of the window.
    thresholds, input_dtype, output_dtype, output_minimum
        As in :class:`BinaryDense`, for each channel. Without thresholds there is no pooling.

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
    pad_value: int = 0
    pool: Pair = (1, 1)
    pool_strides: Pair | None = None
    thresholds: np.ndarray | None = None
    input_dtype: str = BIPOLAR
    output_dtype: str = BIPOLAR
    output_minimum: int | None = None

    def __post_init__(self) -> None:
        where = layer_label(self.name)
        shape = np.shape(self.weights)
        if len(shape) != 4 or 0 in shape:
            raise ModelError(
                f"{where}: the weights have shape {shape}, but a convolution needs (kernel rows, kernel columns, C, N)."
            )
        self._check_binary()
        if self.pool_strides is None:
            object.__setattr__(self, "pool_strides", self.pool)
        for name, count, smallest in (("input_size", 2, 1), ("strides", 2, 1), ("padding", 4, 0)):
            set_integers(self, name, count, smallest, MAX_IMAGE_SIDE)
        for name in ("pool", "pool_strides"):
            set_integers(self, name, 2, 1, MAX_IMAGE_SIDE)
        if any(pad >= side for pad, side in zip(self.padding, [*self.kernel, *self.kernel], strict=True)):
            raise ModelError(f"{where}: padding {self.padding} must be less than the kernel, {self.kernel}.")
        self._check_pad_value(where)
        if self.thresholds is None and (self.pool, self.pool_strides) != ((1, 1), (1, 1)):
            raise ModelError(f"{where}: it pools sums, but only outputs of thresholds can be pooled.")
        for what, sides in (("kernel", self.conv_size), ("pool window", self.output_shape[:2])):
            if min(sides) < 1:
                raise ModelError(f"{where}: its {what} is larger than the image that it is moved over.")

    def _check_pad_value(self, where: str) -> None:
        low, high = integer_range(self.input_dtype)
        value = integer(where, "pad_value", self.pad_value, min(low, 0), high)
        object.__setattr__(self, "pad_value", value)

    @property
    def kernel(self) -> Pair:
        """(rows, columns)."""
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        return *self.input_size, self.weights.shape[2]

    @property
    def conv_size(self) -> Pair:
        """(H, W) before pooling."""
        return window_places(self.input_size, self.kernel, self.strides, self.padding)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(H, W, N)``."""
        assert self.pool_strides is not None
        return *window_places(self.conv_size, self.pool, self.pool_strides), self.weights.shape[3]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input; padding counts, what no pool window looks at does not."""
        height, width, _ = self.output_shape
        return height * width * self.pool[0] * self.pool[1] * self.weights.size


def as_conv(layer: BinaryDense | BinaryConv, image: tuple[int, ...] | None = None) -> BinaryConv:
    """Return a dense layer as the convolution that it is: one window, as large as the image.

    Parameters
    ----------
    layer : BinaryDense or BinaryConv
        A convolution is returned as it is.
    image : tuple of int or None
        (H, W, C) of the layer's input, K elements in C order; None: (1, 1, K).
    """
    if isinstance(layer, BinaryConv):
        return layer
    height, width, channels = image or (1, 1, layer.weights.shape[0])
    return BinaryConv(
        name=layer.name,
        weights=layer.weights.reshape(height, width, channels, -1),
        input_size=(height, width),
        thresholds=layer.thresholds,
        input_dtype=layer.input_dtype,
        output_dtype=layer.output_dtype,
        output_minimum=layer.output_minimum,
    )
