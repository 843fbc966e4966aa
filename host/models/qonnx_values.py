"""What flows along the edges of a QONNX graph while it is read, besides constants: activations.

S is a number of sums (or inputs), C that of the channels of what the activations come from.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from celosia.host.models.errors import ModelError

if TYPE_CHECKING:
    from celosia.host.models.qonnx_input import GraphInput
    from celosia.host.models.qonnx_product import Product

MAX_ELEMENTS: Final = 2**24
"""Largest tensor of activations that is read, without the batch axis."""

Affine = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes slope and offset (C,) of the values so far, as float64, to those after an operator."""


@dataclass(frozen=True, eq=False)
class Step:
    """An operator that works on each value alone, and is monotone.

    Parameters
    ----------
    label : str
        Type and name of the operator.
    run : callable
        The operator itself on a table (S, C) of float32.
    affine : callable or None
        What it does to slope and offset; None if it is not affine.
    levels : ndarray (L, 1) or (L, C) of float32 or None
        Every value that it can give, in rising order, if it is a quantizer.
    work : int
        Elements that it needs for each of the table.
    """

    label: str
    run: Callable[[np.ndarray], np.ndarray]
    affine: Affine | None = None
    levels: np.ndarray | None = None
    work: int = 1


@dataclass(frozen=True)
class Pool:
    """The maximum over windows, of a convolution's outputs."""

    label: str
    kernel: tuple[int, int]
    strides: tuple[int, int]


@dataclass(frozen=True)
class Padding:
    """Rows above, columns to the left, rows below, columns to the right, filled with a real value."""

    label: str
    sides: tuple[int, int, int, int]
    value: float


@dataclass(frozen=True, eq=False)
class Activations:
    """Real activations: the outputs of a source, in some order, with operators applied.

    Parameters
    ----------
    index : ndarray (1, …) of int64, the shape of the tensor with a batch of one
        The element of the source's output that each element was, in C order with channels last.
    channels : int
        Channels of the source; element i has channel ``i % channels``. 1 for the graph's input.
    source : Product or GraphInput
    steps : tuple of Step and Pool
        Since the source.
    padding : Padding or None
        Put around the image after all that.
    is_float : bool
        Whether the tensor's elements are floats; only the graph's input may be integers.
    ended : str or None
        The operator, if any, after which there are no activations, but choices of a class or its probability.
    """

    index: np.ndarray
    channels: int
    source: "Product | GraphInput"
    steps: tuple[Step | Pool, ...] = ()
    padding: Padding | None = None
    is_float: bool = True
    ended: str | None = None

    def then(self, step: Step | Pool) -> "Activations":
        """With one more operator."""
        return dataclasses.replace(self, steps=(*self.steps, step))

    def arranged(self, index: np.ndarray) -> "Activations":
        """With elements in another order or shape.

        Raises
        ------
        ModelError
            If the batch is not the first axis any more.
        """
        if index.ndim == 0 or index.shape[0] != 1:
            raise ModelError(f"it moves the batch axis: a batch of one would get shape {index.shape}")
        return dataclasses.replace(self, index=index)

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Constants (any shape that broadcasts to the tensor's) as (C,), or (1,) if there is but one.

        Raises
        ------
        ModelError
            If elements of one channel have different ones.
        """
        if values.size == 1 and values.ndim <= self.index.ndim:
            return values.reshape(1)
        try:
            spread = np.broadcast_to(values, self.index.shape)
        except ValueError:
            raise ModelError(
                f"its constant of shape {values.shape} does not fit activations of shape {self.index.shape}"
            ) from None
        channel = self.index % self.channels
        result = np.zeros(self.channels, values.dtype)
        result[channel] = spread
        if not np.array_equal(result[channel], spread, equal_nan=True):
            what = "pixel or channel of the input" if self.channels == 1 else "position in an image"
            raise ModelError(f"it has other constants for each {what}, which cannot be used")
        return result


def run_steps(steps: Iterable[Step | Pool], table: np.ndarray) -> np.ndarray:
    """Apply operators to a table (S, C) of float32, one after the other; pools are left out.

    Raises
    ------
    ModelError
        If one of them cannot be executed, or gives NaN or no float32.
    """
    for step in steps:
        if isinstance(step, Step):
            shape = table.shape
            table = step.run(table)
            if table.dtype != np.float32 or table.shape != shape or np.isnan(table).any():
                raise ModelError(
                    f"{step.label} makes {table.dtype} of shape {table.shape} of a table {shape}, or NaN, "
                    "but numbers in float32 are needed"
                )
    return table


def last_quantizer(steps: tuple[Step | Pool, ...]) -> int | None:
    """Index of the last quantizer, or None."""
    found = [index for index, step in enumerate(steps) if isinstance(step, Step) and step.levels is not None]
    return found[-1] if found else None


def reached_levels(steps: tuple[Step | Pool, ...], channels: int) -> np.ndarray:
    """Return what the last quantizer and the operators after it can give: (L,) of float32, rising, none twice.

    Raises
    ------
    ModelError
        If there is no quantizer, or channels differ.
    """
    quantizer = last_quantizer(steps)
    if quantizer is None:
        raise ModelError(
            "its inputs are not quantized, but a BipolarQuant, Quant, MultiThreshold or Sign has to be before it"
        )
    step = steps[quantizer]
    assert isinstance(step, Step)
    assert step.levels is not None
    table = np.ascontiguousarray(np.broadcast_to(step.levels, (len(step.levels), channels)))
    values = run_steps(steps[quantizer + 1 :], table)
    if (values != values[:, :1]).any():
        raise ModelError(
            f"its inputs have another scale or offset for each channel after {step.label}, but only one can be used"
        )
    return np.unique(values[:, 0])
