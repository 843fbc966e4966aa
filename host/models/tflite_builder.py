"""The network that a TensorFlow Lite graph is read into, layer by layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from celosia.host.models.arrangement import Reshape
from celosia.host.models.convolution import Conv2d
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Layer, Network

NO_PADDING: Final = (0, 0, 0, 0)
MAX_ELEMENTS: Final = 2**26
"""Most elements of a tensor."""

MAX_CHANNELS: Final = 2**16
"""Most channels of an image."""

MAX_DENSE_OUTPUTS: Final = 2**18
"""Most outputs of all FULLY_CONNECTED operators, each of which takes a while to find a multiplier for."""


@dataclass(frozen=True)
class Grid:
    """Scale (rounded to float32), zero point and type of one activation tensor."""

    scale: float
    zero_point: int
    dtype: str


@dataclass(frozen=True)
class Activation:
    """Activations that flow from one operator to the next.

    Parameters
    ----------
    name : str
        Of the file's tensor.
    tensor : int
        Of the network: 0 is its input, i + 1 the output of layer i.
    shape : tuple of int
        Without the batch axis, and without `padding`; that of the network's tensor may be another one of as many
        elements.
    grid : Grid or None
        None for reals that were never integers.
    padding : tuple of int
        Rows above, columns to the left, rows below, columns to the right that are there, too, and hold the zero point.
    real : bool
        Whether the file has them as floats here.
    """

    name: str
    tensor: int
    shape: tuple[int, ...]
    grid: Grid | None
    padding: tuple[int, int, int, int] = NO_PADDING
    real: bool = False

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Shape with `padding`, which only images (H, W, C) have."""
        if self.padding == NO_PADDING:
            return self.shape
        top, left, bottom, right = self.padding
        return self.shape[0] + top + bottom, self.shape[1] + left + right, *self.shape[2:]


class Builder:
    """Layers so far, and which tensors each takes.

    Parameters
    ----------
    name : str
        Of the network.
    input_shape : tuple of int
        Without the batch axis.
    input_grid : Grid or None
        Of integer inputs; None: they are reals, which :meth:`quantize_input` makes integers.
    budget : int
        Bytes of constants that layers may hold, those that several operators share counted for each.
    """

    def __init__(self, name: str, input_shape: tuple[int, ...], input_grid: Grid | None, budget: int) -> None:
        self._name = name
        self._shapes = [input_shape]
        self._input_grid = input_grid
        self._input_thresholds: np.ndarray | None = None
        self._layers: list[Layer] = []
        self._sources: list[tuple[int, ...]] = []
        self._arranged: dict[Activation, int] = {}
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}
        self._budget = budget
        self._dense_outputs = 0

    def spend(self, size: int) -> None:
        """Take note of bytes that a layer holds.

        Raises
        ------
        ModelError
            If they are more than a file of this size gives reason for.
        """
        self._budget -= size
        if self._budget < 0:
            raise ModelError("the layers so far hold many times what is in the file, so it is damaged")

    def spend_outputs(self, outputs: int) -> None:
        """Take note of the outputs of a FULLY_CONNECTED.

        Raises
        ------
        ModelError
            If all have too many.
        """
        self._dense_outputs += outputs
        if self._dense_outputs > MAX_DENSE_OUTPUTS:
            raise ModelError(f"all FULLY_CONNECTED so far have more than {MAX_DENSE_OUTPUTS} outputs, the most read")

    def unique_name(self, name: str) -> str:
        """Return a name that no layer has yet, numbered if needed.

        Converters name a tensor after everything that was fused into it, with semicolons between: the first is taken.
        """
        short = name.split(";")[0] or "unnamed"
        while True:
            count = self._counts[short] = self._counts.get(short, 0) + 1
            unique = short if count == 1 else f"{short}_{count}"
            if unique not in self._names:
                self._names.add(unique)
                return unique

    def add(self, layer: Layer, *taken: Activation) -> int:
        """Add a layer that takes activations of exactly its input shapes, and return the number of its output."""
        sources = tuple(self.place(activation) for activation in taken)
        return self._append(layer, sources)

    def _append(self, layer: Layer, sources: tuple[int, ...]) -> int:
        self._layers.append(layer)
        self._sources.append(sources)
        self._shapes.append(layer.output_shape)
        return len(self._layers)

    def assume(self, shape: tuple[int, ...], grid: Grid) -> int:
        """Return a new tensor that an operator would make which cannot be read; no network comes of it any more."""
        check_elements(shape)
        name = self.unique_name("assumed")
        flat = (math.prod(shape),)
        return self._append(
            Reshape(name=name, input_shape=flat, output_shape=shape, zero_point=grid.zero_point, dtype=grid.dtype), (0,)
        )

    def place(self, activation: Activation, flatten: bool = False) -> int:
        """Return the network's tensor that is an activation, padding included; a layer makes it if there is none yet.

        A tensor of any shape counts as one-dimensional, but not with `flatten`.
        """
        if activation in self._arranged:
            return self._arranged[activation]
        tensor, shape, grid = activation.tensor, self._shapes[activation.tensor], activation.grid
        assert grid is not None, "only integers are taken by layers"
        if shape != activation.shape and (flatten or len(activation.shape) > 1):
            name = self.unique_name(f"{activation.name.split(';')[0]}/reshape")
            tensor = self._append(
                Reshape(
                    name=name,
                    input_shape=shape,
                    output_shape=activation.shape,
                    zero_point=grid.zero_point,
                    dtype=grid.dtype,
                ),
                (tensor,),
            )
        if activation.padding != NO_PADDING:
            tensor = self._append(self._padding_layer(activation, grid), (tensor,))
        self._arranged[activation] = tensor
        return tensor

    def _padding_layer(self, activation: Activation, grid: Grid) -> Conv2d:
        """Return the convolution that does nothing but pad: each channel times 1, to the same scale."""
        height, width, channels = activation.shape
        minimum, maximum = integer_range(grid.dtype)
        self.spend(25 * channels)
        return Conv2d(
            name=self.unique_name(activation.name),
            weights=np.ones((1, 1, 1, channels), np.int8),
            input_size=(height, width),
            padding=activation.padding,
            groups=channels,
            bias=np.zeros(channels, np.int64),
            multiplier=np.full(channels, 2**30),
            shift=np.ones(channels, np.int64),
            rounding="double",
            input_zero_point=grid.zero_point,
            output_zero_point=grid.zero_point,
            minimum=minimum,
            maximum=maximum,
            input_dtype=grid.dtype,
            output_dtype=grid.dtype,
        )

    def quantize_input(self, grid: Grid) -> None:
        """Make the network's real inputs integers of a grid.

        Raises
        ------
        ModelError
            If they already are.
        """
        if self._input_grid is not None:
            raise ModelError("it quantizes the network's input a second time, but once is right")
        self._input_grid = grid
        self._input_thresholds = quantize_thresholds(grid)

    def finish(self, output: Activation) -> Network:
        """Return the network, whose output is an activation.

        Raises
        ------
        ModelError
            If the layers do not make a network.
        """
        if output.grid is None or self._input_grid is None:
            raise ModelError("the graph's input is not quantized, but int8 is needed.")
        if self.place(output, flatten=True) != len(self._layers) or not self._layers:
            raise ModelError(f'the graph\'s output "{output.name}" is not what its last operator gives, but must be.')
        return Network(
            name=self._name,
            layers=self._layers,
            input_shape=self._shapes[0],
            input_scale=self._input_grid.scale,
            output_scale=output.grid.scale,
            input_thresholds=self._input_thresholds,
            sources=self._sources,
        )


def quantize_thresholds(grid: Grid) -> np.ndarray:
    """Return the smallest float32 for each integer of a grid but the first that QUANTIZE gives that integer or more.

    TensorFlow Lite's reference divides in float32 and rounds half away from zero, where others round half to even.

    Returns
    -------
    ndarray of float32, (integers of the type − 1,), in rising order
    """
    low, high = integer_range(grid.dtype)
    steps = np.arange(low + 1, high + 1) - grid.zero_point
    scale = np.float32(grid.scale)
    with np.errstate(over="ignore", under="ignore"):
        value = ((steps - 0.5) * np.float64(scale)).astype(np.float32)
        for _ in range(4):
            value = np.nextafter(value, np.float32(-np.inf))
        for _ in range(8):  # the quotient's rounding is off by one step of float32 at most
            quotient = (value / scale).astype(np.float64)
            reached = np.sign(quotient) * np.floor(np.abs(quotient) + 0.5) >= steps
            value = np.where(reached, value, np.nextafter(value, np.float32(np.inf)))
    return value


def check_elements(shape: Sequence[int]) -> None:
    """Refuse shapes that no memory should be spent on."""
    if min(shape, default=1) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"a tensor has shape {tuple(shape)}, but 1 to {MAX_ELEMENTS} elements can be used")
