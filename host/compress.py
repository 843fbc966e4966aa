"""Float networks become compressed integer networks: pruned, with shared weights, scaled by powers of two.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149); Huffman coding, its third step, is the packer's. Zero points are 0,
so that activations of zero, of which ReLU makes many, can be skipped as pruned weights are.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from celosia.host.calibration import Grid, calibration_values, choose_symmetric_grid
from celosia.host.cluster import Shared, share_weights
from celosia.host.models.checks import integer, layer_label
from celosia.host.models.compressed import MAX_RIGHT_SHIFT, CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.prune import Retrain, prune
from celosia.host.quantize import LayerScales

_HEADROOM: Final = 2.0
"""Accumulators hold this many times the largest sum of magnitudes seen on the calibration inputs."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How to compress.

    Parameters
    ----------
    density : float, tuple of float, or None
        Share of the weights that stay, in all layers or in each, see :func:`celosia.host.prune.prune`. None: prune
        nothing, what is zero already is what was pruned.
    rounds : int
        Steps in which the density falls to that.
    codebook_width : int or None
        Bits of a code, 2 to 8: at most ``2^codebook_width − 1`` values per layer beside 0. None: no sharing.
    weight_width : int
        Bits of a weight, or of a codebook's value, 4 to 16; the values are symmetric, e.g. −127 to 127 for 8.
    activation_width : int
        Bits of an activation, 8 or 16.
    signed : bool
        Whether activations are two's complement. If not, no calibration input may give a negative activation.
    accumulator_width : int
        Bits of a signed accumulator, 24 to 48. Scales are chosen so that twice the sums of magnitudes seen on the
        calibration inputs fit.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    density: float | tuple[float, ...] | None = None
    rounds: int = 1
    codebook_width: int | None = 4
    weight_width: int = 16
    activation_width: int = 8
    signed: bool = True
    accumulator_width: int = 48

    def __post_init__(self) -> None:
        where = "compression"
        integer(where, "rounds", self.rounds, 1, 1000)
        if self.codebook_width is not None:
            integer(where, "codebook_width", self.codebook_width, 2, 8)
        integer(where, "weight_width", self.weight_width, 4, 16)
        integer(where, "accumulator_width", self.accumulator_width, 24, 48)
        if integer(where, "activation_width", self.activation_width, 8, 16) not in (8, 16):
            raise ModelError(f"{where}: activation_width is {self.activation_width}, but it must be 8 or 16.")

    @property
    def activation_dtype(self) -> str:
        """Type of every activation, e.g. ``int8``."""
        return f"{'' if self.signed else 'u'}int{self.activation_width}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed:
    """A compressed network and how it came about.

    Parameters
    ----------
    network : Network
        Layers of :class:`celosia.host.models.compressed.CompressedDense`.
    pruned : FloatNetwork
        The network after pruning and retraining.
    shared : FloatNetwork
        The same with shared weights: what the integers stand for.
    scales : tuple of LayerScales
        For each layer; `weight_error` is that of the integers against the shared weights.
    """

    network: Network
    pruned: FloatNetwork
    shared: FloatNetwork
    scales: tuple[LayerScales, ...]


def compress(
    network: FloatNetwork,
    calibration: npt.ArrayLike,
    options: Compression | None = None,
    *,
    retrain: Retrain | None = None,
) -> Compressed:
    """Prune a float network, share its weights, and turn it into integers.

    Parameters
    ----------
    network : FloatNetwork
    calibration : array_like of float (samples, ...)
        Typical inputs, `input_shape` elements each; at least one.
    options : Compression, optional
        Density and widths; when left out, nothing is pruned, codes have 4 bits, weights 16, activations 8, signed.
    retrain : callable, optional
        Trains between the rounds of pruning, see :data:`celosia.host.prune.Retrain`.

    Returns
    -------
    Compressed

    Raises
    ------
    ModelError
        If the calibration inputs do not fit the network, are empty or not finite, or negative where activations are
        unsigned; if the accumulators are too narrow for a layer; or for the reasons of
        :func:`celosia.host.prune.prune`.
    """
    options = options or Compression()
    values = calibration_values(network, calibration)
    pruned = network
    if options.density is not None:
        pruned = prune(network, options.density, rounds=options.rounds, retrain=retrain)
    grid = first = choose_symmetric_grid("the calibration inputs", values, options.activation_dtype)
    layers, floats, scales = [], [], []
    for layer in pruned.layers:
        shared = None if options.codebook_width is None else share_weights(layer.weights, options.codebook_width)
        floats.append(layer if shared is None else replace(layer, weights=shared.weights))
        compressed, report, grid = _scale_layer(floats[-1], shared, grid, values, options)
        values = floats[-1].evaluate(values)
        layers.append(compressed)
        scales.append(report)
    integers = Network(
        name=network.name,
        layers=layers,
        input_shape=network.input_shape,
        input_scale=first.scale,
        output_scale=grid.scale,
        labels=network.labels,
    )
    return Compressed(network=integers, pruned=pruned, shared=replace(pruned, layers=floats), scales=tuple(scales))


def _scale_layer(
    layer: FloatDense, shared: Shared | None, inputs: Grid, values: np.ndarray, options: Compression
) -> tuple[CompressedDense, LayerScales, Grid]:
    """One layer in integers, its scales, and the grid of its outputs, from its calibration inputs `values`."""
    where, dtype = layer_label(layer.name), options.activation_dtype
    limit = 2 ** (options.weight_width - 1) - 1
    largest = float(np.abs(layer.weights).max()) * inputs.scale
    grid = choose_symmetric_grid(
        f"the outputs of {where}", layer.evaluate(values), dtype, smallest_scale=largest / limit
    )
    sums = np.abs(values) @ np.abs(layer.weights) + np.abs(layer.bias)
    shift = _choose_shift(where, largest / grid.scale, float(sums.max()) / grid.scale, options)
    weight_scale = grid.scale / inputs.scale / 2**shift
    levels = layer.weights if shared is None else shared.centroids
    integers = np.rint(levels / weight_scale).astype(np.int16)
    codes, codebook = (integers, None) if shared is None else _merge_equal(shared.codes, integers)
    minimum, maximum = map(grid.quantize_bound, layer.bounds)
    compressed = CompressedDense(
        name=layer.name,
        codes=codes,
        codebook=codebook,
        bias=np.rint(layer.bias.astype(np.float64) * 2**shift / grid.scale).astype(np.int64),
        shift=shift,
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
        weight_scales=np.full(layer.weights.shape[1], weight_scale),
        weight_error=float(np.abs(integers * weight_scale - levels).max(initial=0.0)),
    )
    return compressed, report, grid


def _choose_shift(where: str, weight: float, total: float, options: Compression) -> int:
    """Largest shift for which the largest weight and the largest sum of magnitudes fit, both given for a shift of 0."""
    weight_limit, sum_limit = (2 ** (width - 1) - 1 for width in (options.weight_width, options.accumulator_width))
    for shift in range(MAX_RIGHT_SHIFT, -1, -1):
        if np.rint(weight * 2**shift) <= weight_limit and _HEADROOM * total * 2**shift <= sum_limit:
            return shift
    raise ModelError(
        f"{where}: its sums reach {total:.6g} steps of its outputs, which is too much for accumulators of "
        f"{options.accumulator_width} bits; wider ones would be right."
    )


def _merge_equal(codes: np.ndarray, integers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes and codebook, value 0 first, in which centroids that are equal as integers share a code."""
    values = np.unique(integers[integers != 0]).astype(np.int64)
    table = np.where(integers == 0, 0, 1 + np.searchsorted(values, integers))
    codebook = np.concatenate(([0], values if values.size else [0]))  # a codebook has two values or more
    return np.append(0, table).astype(np.uint8)[codes], codebook
