"""A matrix product or convolution while a QONNX graph is read: from integers to exact integer sums to real sums.

K is the number of weights of an output, N the number of outputs or output channels, S a number of sums.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.errors import ModelError
from celosia.host.models.qonnx_grid import Grid
from celosia.host.models.qonnx_values import MAX_ELEMENTS

_EXACT_FLOAT32: Final = 2**24  # float32 holds every integer up to here


def conv_size(
    weights: tuple[int, ...], image: tuple[int, int], strides: tuple[int, int], padding: tuple[int, int, int, int]
) -> tuple[int, int]:
    """(H, W) of the outputs of a convolution with weights of shape (kernel rows, kernel columns, C, N).

    Raises
    ------
    ModelError
        If it does not fit, or gives too many outputs.
    """
    (rows, columns), (top, left, bottom, right) = weights[:2], padding
    if max(top, bottom) >= rows or max(left, right) >= columns:
        raise ModelError(f"its padding {padding} is not less than its kernel {weights[:2]}")
    height = (image[0] + top + bottom - rows) // strides[0] + 1
    width = (image[1] + left + right - columns) // strides[1] + 1
    if min(height, width) < 1:
        raise ModelError(f"its kernel {weights[:2]} is larger than the image {image} that it is moved over")
    if height * width * weights[3] > MAX_ELEMENTS:
        raise ModelError(f"it has {height * width * weights[3]} outputs, but {MAX_ELEMENTS} are the most")
    return height, width


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its input; arguments of :class:`BinaryConv`."""

    input_size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    pad_value: int


@dataclass(frozen=True, eq=False)
class Product:
    """A product whose operators are still being collected.

    Parameters
    ----------
    name : str
        Name of the layer.
    label : str
        Type and name of the operator.
    weights : ndarray (K, N) or (kernel rows, kernel columns, C, N) of int8
        −1, 0 and +1.
    gain, constant : ndarray (N,) of float64
        The real sum is ``gain · sum + constant``.
    grid : Grid
        Of the inputs.
    geometry : Geometry or None
        None for a fully connected layer.
    """

    name: str
    label: str
    weights: np.ndarray
    gain: np.ndarray
    constant: np.ndarray
    grid: Grid
    geometry: Geometry | None

    def __post_init__(self) -> None:
        low, high = self.bounds()
        if max(-low.min(), high.max()) > _EXACT_FLOAT32:
            raise ModelError(
                f"its sums reach from {low.min()} to {high.max()}, but float32, in which the file's operators work, "
                f"holds all integers only up to {_EXACT_FLOAT32}"
            )

    @property
    def outputs(self) -> int:
        """N."""
        return self.weights.shape[-1]

    @property
    def step(self) -> int:
        """Distance of neighbouring sums: 2 for inputs of −1 and +1 only."""
        padded = self.geometry is not None and any(self.geometry.padding) and self.geometry.pad_value == 0
        return 1 if padded else self.grid.step

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest sum of each output, (N,) of int64."""
        low, high = self.grid.minimum, self.grid.maximum
        if self.geometry is not None and any(self.geometry.padding):
            low, high = min(low, self.geometry.pad_value), max(high, self.geometry.pad_value)
        matrix = self.weights.reshape(-1, self.outputs)
        rising = (matrix > 0).sum(axis=0, dtype=np.int64)
        falling = (matrix < 0).sum(axis=0, dtype=np.int64)
        return rising * low - falling * high, rising * high - falling * low

    def sums(self) -> np.ndarray:
        """Every sum that an output can have, rising, (S,) of int64; for some outputs they may be more than that."""
        low, high = self.bounds()
        same = self.step == 1 or len(np.unique(low % 2)) == 1  # whether all are odd, or all even
        return np.arange(low.min(), high.max() + 1, self.step if same else 1)

    def is_reachable(self, sums: np.ndarray) -> np.ndarray:
        """Which of these sums each output can have: (S,) -> (S, N) of bool."""
        low, high = self.bounds()
        column = sums[:, None]
        return (column >= low) & (column <= high) & ((column - low) % self.step == 0)

    def real_sums(self, sums: np.ndarray) -> np.ndarray:
        """Real sums, rounded once: (S, 1) or (S, N) -> (S, N) of float32."""
        return (self.gain * sums + self.constant).astype(np.float32)

    def layer(self, weights: np.ndarray, **fields: Any) -> BinaryDense | BinaryConv:
        """The layer with these weights; `fields` are further arguments of its class.

        Raises
        ------
        ModelError
            If the layer refuses them.
        """
        fields |= {"name": self.name, "weights": weights, "input_dtype": self.grid.dtype}
        if self.geometry is None:
            return BinaryDense(**fields)
        return BinaryConv(
            input_size=self.geometry.input_size,
            strides=self.geometry.strides,
            padding=self.geometry.padding,
            pad_value=self.geometry.pad_value,
            **fields,
        )
