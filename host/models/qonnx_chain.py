"""The chain of binarized layers that a QONNX graph is read into, one product at a time.

K is the number of weights of an output, N the number of outputs.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.models.qonnx_fold import fold
from celosia.host.models.qonnx_grid import Grid
from celosia.host.models.qonnx_input import GraphInput, quantize_input
from celosia.host.models.qonnx_product import Geometry, Product, conv_size
from celosia.host.models.qonnx_values import Activations, Padding, Pool, Step, last_quantizer
from celosia.host.models.qonnx_weights import split_weights


@dataclass(frozen=True, eq=False)
class _Signal:
    """Integers that a product takes, and which channels (C,) of them are complements."""

    grid: Grid
    complement: np.ndarray

    @property
    def mirror(self) -> int:
        """An integer and its complement together."""
        return self.grid.minimum + self.grid.maximum


class Chain:
    """Layers so far.

    A product opens a layer, other operators follow it, and the next product, or the end, closes it.

    Parameters
    ----------
    batch : int
        Inputs at a time that the file has fixed; 1 if it has not.
    """

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self._layers: list[BinaryDense | BinaryConv] = []
        self._input_shape: tuple[int, ...] = ()
        self._channels_first = False
        self._input_thresholds: np.ndarray | None = None

    def dense(self, name: str, label: str, taken: Activations, weights: np.ndarray) -> Activations:
        """Open a fully connected layer with real weights (K, N), K in the order of the activations."""
        signs, alpha = split_weights(weights)
        if any(size != 1 for size in taken.index.shape[:-1]) or taken.index.shape[-1] != len(signs):
            raise ModelError(f"its weights {signs.shape} do not fit activations of shape {taken.index.shape}")
        signal = self._close(taken)
        order = taken.index.ravel()
        negated = signal.complement[order % len(signal.complement)]
        constant = signs.sum(axis=0, dtype=np.int64)
        mirrored = signal.mirror * signs[negated].sum(axis=0, dtype=np.int64)
        rows = np.empty_like(signs)
        rows[order] = np.where(negated[:, None], -signs, signs)
        product = _product(self._unused(name), label, rows, alpha, signal.grid, mirrored, constant, None)
        index = np.arange(product.outputs).reshape(*taken.index.shape[:-1], product.outputs)
        return Activations(index, product.outputs, product)

    def conv(
        self, name: str, label: str, taken: Activations, weights: np.ndarray, strides: tuple[int, int], pad: Padding
    ) -> Activations:
        """Open a convolution with real weights (kernel rows, kernel columns, C, N); `taken` is channels first."""
        signs, alpha = split_weights(weights)
        size = image_size(taken, signs.shape[2])
        height, width = conv_size(signs.shape, size, strides, pad.sides)
        signal = self._close(taken)
        if isinstance(taken.source, GraphInput):
            self._channels_first = _is_channels_first(taken.index)
            self._input_shape = taken.index.shape[1:] if self._channels_first else (*size, signs.shape[2])
        elif isinstance(self._layers[-1], BinaryDense):
            raise ModelError("it takes an image made of the outputs of a fully connected layer, which cannot be used")
        geometry = Geometry(size, strides, pad.sides, _pad_value(signal, pad))
        negated = np.broadcast_to(signal.complement, signs.shape[2])
        constant = signs.sum(axis=(0, 1, 2), dtype=np.int64)
        mirrored = signal.mirror * signs[:, :, negated].sum(axis=(0, 1, 2), dtype=np.int64)
        turned = np.where(negated[:, None], -signs, signs)
        product = _product(self._unused(name), label, turned, alpha, signal.grid, mirrored, constant, geometry)
        return Activations(channels_first(height, width, product.outputs), product.outputs, product)

    def finish(self, output: Activations, name: str) -> Network:
        """The network with this output.

        Raises
        ------
        ModelError
            If the output is not that of a layer, or neither quantized nor affine in the sums.
        """
        product = output.source
        if isinstance(product, GraphInput):
            raise ModelError("the graph has no matrix product or convolution")
        if not np.array_equal(output.index.ravel(), np.arange(output.index.size)):
            raise ModelError("the graph's output is an image with channels first, but it has to be channels last")
        if output.padding is not None:
            raise ModelError("the graph's output is padded")
        scale: np.ndarray | float
        offset: np.ndarray | float
        if last_quantizer(output.steps) is not None:
            signal = self._close(output)
            if signal.complement.any():
                raise ModelError(
                    f"{product.label}: what is pooled at the end of the graph falls with what is computed from it in "
                    f"output {np.argmax(signal.complement)}, which can be undone only in a next layer"
                )
            scale, offset = signal.grid.scale, signal.grid.offset
        else:
            self._append(product, weights=product.weights, output_dtype="int32")
            scale, offset = (_spread(values, output.index.size) for values in _affine(product, output.steps))
        return Network(
            name=name,
            layers=self._layers,
            input_shape=self._input_shape,
            input_thresholds=self._input_thresholds,
            output_scale=scale,
            output_bias=offset,
            channels_first=self._channels_first,
        )

    def _unused(self, name: str) -> str:
        """The name, with a number if a layer has it already."""
        names = {layer.name for layer in self._layers}
        suffixes = itertools.chain([""], (f"_{count}" for count in itertools.count(2)))
        return next(name + suffix for suffix in suffixes if name + suffix not in names)

    def _close(self, taken: Activations) -> _Signal:
        """Close what the activations come from."""
        if isinstance(taken.source, GraphInput):
            grid, self._input_thresholds = quantize_input(taken.source, taken.steps)
            self._input_shape = taken.source.shape
            return _Signal(grid, np.zeros(1, bool))
        try:
            folded = fold(taken.source, taken.steps)
            pools = [step for step in taken.steps if isinstance(step, Pool)]
            fields = {"pool": pools[0].kernel, "pool_strides": pools[0].strides} if pools else {}
            self._append(
                taken.source,
                weights=taken.source.weights * folded.orientation,
                thresholds=folded.thresholds,
                output_dtype=folded.grid.dtype,
                output_minimum=folded.grid.minimum,
                **fields,
            )
        except ModelError as error:
            raise ModelError(f"{error} (between {taken.source.label} and it)".replace(". (", " (")) from None
        return _Signal(folded.grid, folded.complement)

    def _append(self, product: Product, **fields: object) -> None:
        self._layers.append(product.layer(**fields))  # type: ignore[arg-type]


def channels_first(height: int, width: int, channels: int) -> np.ndarray:
    """Places, with channels last, of the elements of an image with channels first: (1, C, H, W) of int64."""
    return np.arange(height * width * channels).reshape(1, height, width, channels).transpose(0, 3, 1, 2)


def image_size(taken: Activations, channels: int) -> tuple[int, int]:
    """(H, W) of activations that are an image (1, C, H, W), unchanged since the layer that they come from.

    Raises
    ------
    ModelError
        If they are none, or have other channels.
    """
    shape = taken.index.shape
    if len(shape) != 4 or shape[1] != channels:
        raise ModelError(f"it needs images of {channels} channels, but takes activations of shape {shape}")
    size = (shape[2], shape[3])
    same = np.array_equal(taken.index, channels_first(*size, channels))
    if isinstance(taken.source, GraphInput):
        same = same or _is_channels_first(taken.index)
    elif channels != taken.channels:
        same = False
    if not same:
        raise ModelError("its images are transposed or reshaped in a way that cannot be used")
    return size


def _is_channels_first(index: np.ndarray) -> bool:
    return np.array_equal(index.ravel(), np.arange(index.size))


def _product(
    name: str,
    label: str,
    weights: np.ndarray,
    alpha: np.ndarray,
    grid: Grid,
    mirrored: np.ndarray,
    constant: np.ndarray,
    geometry: Geometry | None,
) -> Product:
    """A product; `mirrored` is what complements of its inputs add to a sum, `constant` the sum of its weights."""
    gain = alpha * grid.scale
    return Product(name, label, weights, gain, gain * mirrored + alpha * (grid.offset * constant), grid, geometry)


def _pad_value(signal: _Signal, pad: Padding) -> int:
    """The integer that stands for what is around the image."""
    if not any(pad.sides):
        return 0
    value = signal.grid.integer_of(pad.value)
    low, high = integer_range(signal.grid.dtype)
    if value is None or not min(low, 0) <= value <= high:
        raise ModelError(f"its padding of {pad.value:g} is not among the integers that its inputs can be")
    if signal.complement.any() and signal.mirror != 2 * value:
        raise ModelError(
            f"its padding of {pad.value:g} cannot be used, because channel {np.argmax(signal.complement)} of its "
            "inputs falls with the sums that were pooled, so it comes as its complement"
        )
    return value


def _affine(product: Product, steps: tuple[Step | Pool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of real outputs from integer sums, (N,) of float64 each."""
    slope, offset = product.gain, product.constant
    for step in steps:
        if isinstance(step, Pool):
            raise ModelError(f"{step.label} pools sums that nothing quantizes, which cannot be used")
        if step.affine is None:
            raise ModelError(
                f"{step.label} changes the graph's outputs in a way that is not affine, and nothing quantizes them"
            )
        slope, offset = step.affine(slope, offset)
    if not slope.all():
        raise ModelError(f"{product.label}: output {np.argmin(slope != 0)} is multiplied by 0")
    return np.broadcast_to(slope, product.outputs), np.broadcast_to(offset, product.outputs)


def _spread(values: np.ndarray, size: int) -> np.ndarray | float:
    """One value for each of `size` outputs, channels last; a single one if they are equal."""
    return float(values[0]) if (values == values[0]).all() else np.tile(values, math.ceil(size / len(values)))
