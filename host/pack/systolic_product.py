"""What the systolic engine is to compute: windows of an image times weights, in the engine's integers.

An image is here as it lies in memory: exchanged, and in cells where pixels are put together.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.integers import integer_range
from celosia.host.pack.systolic_layout import Layout, Pair
from celosia.hw.systolic.config import SystolicConfig

IDENTITY = (1 << 30, 1)
"""Multiplier and shift that leave a sum as it is."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Windows that are moved over an image, (rows, columns) of everything; `padding` is above and to the left."""

    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilations: Pair = (1, 1)
    in_size: Pair
    out_size: Pair

    def exchanged(self) -> "Window":
        """Return the windows of the image with rows and columns exchanged."""
        return Window(**{name: value[::-1] for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Part:
    """A rectangle of the output: rows and columns from the first to behind the last one, and how its sums scale."""

    rows: Pair
    cols: Pair
    multiplier: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """Windows times weights.

    Parameters
    ----------
    name : str
        Name of the layer.
    window : Window
    weights : ndarray (kernel rows, kernel columns, C / groups, N), any integer type
    groups : int
    channelwise : bool
        Whether each output channel comes from the input channel of its number, and no other.
    bias : ndarray of int64, (N,)
        With the zero point of the inputs taken away.
    parts : tuple of Part
        In the order in which they are to be written: later ones overwrite earlier ones.
    rounding : str
    zero_point, minimum, maximum, pad_value : int
        In the engine's integers.
    pools : bool
        Whether the largest of all results of a window is taken, instead of their sum.
    """

    name: str
    window: Window
    weights: np.ndarray
    groups: int = 1
    channelwise: bool = False
    bias: np.ndarray
    parts: tuple[Part, ...]
    rounding: str
    zero_point: int
    minimum: int
    maximum: int
    pad_value: int = 0
    pools: bool = False

    @property
    def channels(self) -> Pair:
        """Input and output channels."""
        return self.weights.shape[2] * self.groups, self.weights.shape[3]


def activation_offset(engine: SystolicConfig, dtype: str) -> int:
    """Return what turns a type's integers into the engine's: 0 where they fit, else the distance of the ranges.

    Raises
    ------
    CompileError
        The type is wider than the engine's activations.
    """
    low, high = integer_range(dtype)
    smallest, largest = engine.activation_range
    if smallest <= low and high <= largest:
        return 0
    if high - low <= largest - smallest:
        return smallest - low
    raise CompileError(
        f"activation_width={engine.activation_width} is too narrow for {dtype} activations; make it wider."
    )


def offsets_of(engine: SystolicConfig, layer: Any) -> Pair:
    """Return the offsets of a layer's inputs and outputs.

    Raises
    ------
    CompileError
        As for `activation_offset`, with the layer's name.
    """
    try:
        return activation_offset(engine, layer.input_dtype), activation_offset(engine, layer.output_dtype)
    except CompileError as error:
        raise CompileError(f"layer {layer.name!r}: {error}") from None


def copy_of(engine: SystolicConfig, name: str, source: Layout, *, in_place: bool) -> Product:
    """Return what copies a tensor: each channel to its lane (`in_place`), or to the lane of its number."""
    smallest, largest = engine.activation_range
    channels = source.shape[-1]
    return Product(
        name=name,
        window=Window(in_size=source.grid, out_size=source.grid),
        weights=np.ones((1, 1, 1, channels), dtype=np.int8),
        groups=channels,
        channelwise=in_place,
        bias=np.zeros(channels, dtype=np.int64),
        parts=(whole(source.grid, channels, *IDENTITY),),
        rounding="up",
        zero_point=0,
        minimum=smallest,
        maximum=largest,
    )


def whole(size: Pair, channels: int, multiplier: Any, shift: Any) -> Part:
    """Return the whole output of that many rows and columns as one part; one multiplier and shift, or (channels,)."""
    return Part(
        rows=(0, size[0]),
        cols=(0, size[1]),
        multiplier=np.broadcast_to(np.asarray(multiplier, dtype=np.int64), channels),
        shift=np.broadcast_to(np.asarray(shift, dtype=np.int64), channels),
    )


def window_of(layer: Any, source: Layout) -> Window:
    """Return the windows of a layer that has some, on its input as it lies."""
    window = Window(
        kernel=layer.kernel,
        strides=layer.strides,
        padding=layer.padding[:2],
        dilations=layer.dilations,
        in_size=layer.input_size,
        out_size=layer.output_size,
    )
    return window.exchanged() if source.exchanged else window


def of_ones(layer: Any, window: Window, *, kernel: Pair = (1, 1), bias: int, **fields: Any) -> Product:
    """Return a product with weights of 1, which leaves channels apart; `fields` are the rest of its members."""
    channels = layer.input_shape[-1]
    return Product(
        name=layer.name,
        window=window,
        weights=np.ones((*kernel, 1, channels), dtype=np.int8),
        groups=channels,
        channelwise=True,
        bias=np.full(channels, bias, dtype=np.int64),
        **fields,
    )


def requantized(engine: SystolicConfig, layer: Any) -> dict[str, Any]:
    """Return the members of a product that say how the sums of a layer are rounded and clamped."""
    offset = offsets_of(engine, layer)[1]
    return {"rounding": layer.rounding, "zero_point": layer.output_zero_point + offset, **clamped(layer, offset)}


def clamped(layer: Any, offset: int) -> dict[str, Any]:
    """Return the clamp of a layer in the engine's integers."""
    return {"minimum": layer.minimum + offset, "maximum": layer.maximum + offset}
