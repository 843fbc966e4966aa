"""Float networks become integer networks, after training.

Weights are symmetric with one scale per output channel, activations asymmetric with one scale per tensor, taken from
the range seen on calibration inputs; biases are integers in accumulator units. This is the scheme of TensorFlow Lite
(Jacob et al. 2018, arXiv 1712.05877), for any width from 2 to 16 bits.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from celosia.host.calibration import Grid, calibration_values, choose_grid
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import MAX_BITS
from celosia.host.models.ir import Dense, Network
from celosia.host.models.requantization import MIN_SHIFT, ROUNDINGS, Rounding

_MAX_BIAS: Final = 2.0**30
"""Largest bias, in accumulator units: leaves half of a 32-bit accumulator to the products."""

_MAX_SCALE: Final = 64.0
"""Largest factor from accumulator to output; more would only add zero bits to the output."""


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How to quantize.

    Parameters
    ----------
    weight_width : int
        Bits of a weight, 2 to 16; the values are symmetric, e.g. −127 to 127 for 8.
    activation_width : int
        Bits of an activation, 2 to 16.
    signed : bool
        Whether activations are two's complement (``int8``) or not (``uint8``).
    per_channel : bool
        One weight scale per output channel, or one per layer.
    rounding : {"double", "away", "even", "up"}
        How the hardware rounds, see :class:`celosia.host.models.ir.Dense`.

    Raises
    ------
    ModelError
        If a width or the rounding is out of range.
    """

    weight_width: int = 8
    activation_width: int = 8
    signed: bool = True
    per_channel: bool = True
    rounding: Rounding = "double"

    def __post_init__(self) -> None:
        for field in ("weight_width", "activation_width"):
            width = getattr(self, field)
            if not (isinstance(width, int) and 2 <= width <= MAX_BITS):
                raise ModelError(f"{field} is {width!r}, but it must be an integer from 2 to {MAX_BITS} bits.")
        if self.rounding not in ROUNDINGS:
            raise ModelError(f"rounding {self.rounding!r} is not one of {', '.join(ROUNDINGS)}.")

    @property
    def activation_dtype(self) -> str:
        """Type of every activation, e.g. ``int8``."""
        return f"{'' if self.signed else 'u'}int{self.activation_width}"


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerScales:
    """What one layer was quantized with.

    Parameters
    ----------
    name : str
        Name of the layer.
    input_scale, output_scale : float
        Real value of one step of the activations.
    output_range : tuple of float
        Smallest and largest output on the calibration inputs, 0 included.
    weight_scales : ndarray (N,) of float64
        Real value of one step of each output channel's weights.
    weight_error : float
        Largest difference between a weight and its quantized value, in real units.
    """

    name: str
    input_scale: float
    output_scale: float
    output_range: tuple[float, float]
    weight_scales: np.ndarray
    weight_error: float


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedNetwork:
    """A quantized network and the scales of its layers, in order."""

    network: Network
    scales: tuple[LayerScales, ...]


def quantize_multiplier(scales: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scales as the fixed-point numbers ``multiplier · 2^(shift − 31)``, as TensorFlow Lite's QuantizeMultiplier.

    Parameters
    ----------
    scales : array_like of float
        Factors, at least 0 and finite, taken in float64.

    Returns
    -------
    multiplier : ndarray of int64, the shape of `scales`
        2^30 to 2^31 − 1, or 0 for factors that round to nothing (below 2^−32).
    shift : ndarray of int64, the shape of `scales`
        Positive is to the left.

    Raises
    ------
    ModelError
        If a scale is negative, NaN or infinite.
    """
    values = np.asarray(scales, dtype=np.float64)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ModelError("a scale is negative, NaN or infinite, but it must be a finite number of at least 0.")
    fraction, shift = np.frexp(values)
    # fraction · 2^31 is exact in float64 and positive, so floor(x + 0.5) rounds ties away from zero
    multiplier = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    shift = shift.astype(np.int64)
    carry = multiplier == 2**31
    multiplier, shift = np.where(carry, 2**30, multiplier), np.where(carry, shift + 1, shift)
    underflow = shift < MIN_SHIFT
    return np.where(underflow, 0, multiplier), np.where(underflow, 0, shift)


def quantize(
    network: FloatNetwork, calibration: npt.ArrayLike, options: Quantization | None = None
) -> QuantizedNetwork:
    """Quantize a float network with the ranges seen on calibration inputs.

    Parameters
    ----------
    network : FloatNetwork
    calibration : array_like of float (samples, ...)
        Typical inputs, `input_shape` elements each; at least one.
    options : Quantization, optional
        Widths and rounding; 8 bits, signed, per channel when left out.

    Returns
    -------
    QuantizedNetwork

    Raises
    ------
    ModelError
        If the calibration inputs do not fit the network, are empty or not finite.
    """
    options = options or Quantization()
    values = calibration_values(network, calibration)
    grid = first = choose_grid(values, options.activation_dtype)
    layers, scales = [], []
    for layer in network.layers:
        values = layer.evaluate(values)
        dense, report, grid = _quantize_dense(layer, grid, values, options)
        layers.append(dense)
        scales.append(report)
    quantized = Network(
        name=network.name,
        layers=layers,
        input_shape=network.input_shape,
        input_scale=first.scale,
        output_scale=grid.scale,
        labels=network.labels,
    )
    return QuantizedNetwork(network=quantized, scales=tuple(scales))


def _quantize_dense(
    layer: FloatDense, inputs: Grid, outputs: np.ndarray, options: Quantization
) -> tuple[Dense, LayerScales, Grid]:
    """One layer in integers, its scales, and the grid of its outputs."""
    weight_scales = _choose_weight_scales(layer, inputs, options)
    accumulator_scales = inputs.scale * weight_scales
    dtype = options.activation_dtype
    grid = choose_grid(outputs, dtype, smallest_scale=float(accumulator_scales.max()) / _MAX_SCALE)
    limit = 2 ** (options.weight_width - 1) - 1
    weights = np.clip(np.rint(layer.weights / weight_scales), -limit, limit)
    multiplier, shift = quantize_multiplier(accumulator_scales / grid.scale)
    minimum, maximum = map(grid.quantize_bound, layer.bounds)
    dense = Dense(
        name=layer.name,
        weights=weights.astype(np.int8 if options.weight_width <= 8 else np.int16),
        bias=np.rint(layer.bias / accumulator_scales).astype(np.int64),
        multiplier=multiplier,
        shift=shift,
        rounding=options.rounding,
        input_zero_point=inputs.zero_point,
        output_zero_point=grid.zero_point,
        minimum=minimum,
        maximum=maximum,
        input_dtype=dtype,
        output_dtype=dtype,
    )
    report = LayerScales(
        name=layer.name,
        input_scale=inputs.scale,
        output_scale=grid.scale,
        output_range=(grid.lowest, grid.highest),
        weight_scales=weight_scales,
        weight_error=float(np.abs(weights * weight_scales - layer.weights).max()),
    )
    return dense, report, grid


def _choose_weight_scales(layer: FloatDense, inputs: Grid, options: Quantization) -> np.ndarray:
    """Real value of one weight step per channel, large enough that the bias stays within its range."""
    largest = np.abs(layer.weights.astype(np.float64)).max(axis=0) / (2 ** (options.weight_width - 1) - 1)
    scales = np.maximum(largest, np.abs(layer.bias.astype(np.float64)) / (inputs.scale * _MAX_BIAS))
    if not options.per_channel:
        scales = np.full_like(scales, scales.max())
    return np.where(scales > 0, scales, 1.0)  # a channel of zeros: any scale represents it
