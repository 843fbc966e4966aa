"""Float networks become binarized networks: weights of one bit or ternary, activations −1 and +1 between the layers.

Sources: XNOR-Net (Rastegari et al. 2016, arXiv 1603.05279) for the scales of binary weights, Ternary Weight Networks
(Li, Zhang and Liu 2016, arXiv 1605.04711) for ternary ones. Nothing is trained here: a network that was not trained for
it loses most of what it knew.

K is the number of inputs of a layer, N the number of its outputs.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from celosia.host.calibration import calibration_values, choose_symmetric_grid
from celosia.host.models.binary import INPUT_DTYPES, BinaryDense
from celosia.host.models.checks import layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.integers import BIPOLAR, SUM, integer_range
from celosia.host.models.ir import Network

_TERNARY_CUT: Final = 0.7
"""Weights of at most this share of the mean magnitude become 0 (Li, Zhang and Liu 2016, equation 6)."""

_SMALLEST_SCALE: Final = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Binarization:
    """How to binarize.

    Parameters
    ----------
    input_dtype : str
        Type of the network's inputs: ``bipolar``, ``uint1`` to ``uint8``, or ``int2`` to ``int8``.
    input_threshold : float
        Bipolar inputs are +1 from this real value on, and below it −1. 0 for other types.
    ternary : bool
        Whether small weights become 0.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    input_dtype: str = BIPOLAR
    input_threshold: float = 0.0
    ternary: bool = False

    def __post_init__(self) -> None:
        where = "binarization"
        if self.input_dtype not in INPUT_DTYPES:
            raise ModelError(
                f"{where}: input_dtype is {self.input_dtype!r}, but it must be bipolar, uint1 to uint8 or int2 to int8."
            )
        if not math.isfinite(self.input_threshold):
            raise ModelError(f"{where}: input_threshold is {self.input_threshold}, but it must be finite.")
        if self.input_threshold and self.input_dtype != BIPOLAR:
            raise ModelError(
                f"{where}: input_threshold is {self.input_threshold}, but only bipolar inputs have one; it must be 0 "
                f"for {self.input_dtype}."
            )


def binarize(network: FloatNetwork, calibration: npt.ArrayLike, options: Binarization | None = None) -> Network:
    """Binarize the weights of a float network, and the activations between its layers.

    The weights of output n become ``alpha[n] · sign(w[k, n])``, where ``alpha[n] = mean_k |w[k, n]|`` and sign(0) = +1;
    or ternary: 0 where ``|w| <= 0.7 · mean_k |w[k, n]|``, and alpha the mean of those that stay. Whatever activation
    function follows a layer, its outputs become the sign of ``alpha · acc + bias``, which is a threshold on the integer
    sums; see :func:`sign_layer`. Outputs of the last layer stay sums, with alpha as scale and with the layer's bias.

    Inputs are quantized linearly to the calibration's range, with zero point 0; bipolar ones stand for
    ``input_threshold ± mean |x − input_threshold|``, the mean over the calibration inputs.

    Parameters
    ----------
    network : FloatNetwork
        Its last layer has no activation function.
    calibration : array_like of float (samples, ...)
        Typical inputs, `input_shape` elements each; at least one.
    options : Binarization, optional
        Bipolar inputs from 0 on, binary weights when left out.

    Returns
    -------
    Network
        Layers of :class:`celosia.host.models.binary.BinaryDense`.

    Raises
    ------
    ModelError
        If the calibration inputs do not fit the network, are empty or not finite, or negative where the inputs' type is
        unsigned; or if the last layer has an activation function.
    """
    options = options or Binarization()
    last = network.layers[-1]
    if last.bounds != (-math.inf, math.inf):
        raise ModelError(
            f"{layer_label(last.name)}: it ends in the activation {last.activation!r}, but the outputs of a binarized "
            "network are sums; a last layer without an activation would be right."
        )
    dtype, scale, offset = options.input_dtype, *_input_values(network, calibration, options)
    input_scale, hidden = scale, []
    for layer in network.layers[:-1]:
        weights, factor, bias = _binarize_dense(layer, scale, offset, ternary=options.ternary)
        hidden.append(sign_layer(layer.name, weights, factor, bias, input_dtype=dtype))
        dtype, scale, offset = BIPOLAR, 1.0, 0.0
    weights, factor, bias = _binarize_dense(last, scale, offset, ternary=options.ternary)
    return Network(
        name=network.name,
        layers=[*hidden, BinaryDense(name=last.name, weights=weights, input_dtype=dtype, output_dtype=SUM)],
        input_shape=network.input_shape,
        input_scale=input_scale,
        output_scale=np.maximum(factor, _SMALLEST_SCALE),  # 0 is no scale
        output_bias=bias,
        input_thresholds=np.array([options.input_threshold]) if options.input_threshold else None,
        labels=network.labels,
    )


def _input_values(network: FloatNetwork, calibration: npt.ArrayLike, options: Binarization) -> tuple[float, float]:
    """Real value of one step of the inputs' integers, and of the integer 0."""
    values = calibration_values(network, calibration)
    if options.input_dtype != BIPOLAR:
        return choose_symmetric_grid("the calibration inputs", values, options.input_dtype).scale, 0.0
    distance = np.abs(values.astype(np.float64) - options.input_threshold).mean()
    return float(np.float32(max(distance, _SMALLEST_SCALE))), options.input_threshold


def _binarize_dense(
    layer: FloatDense, scale: float, offset: float, *, ternary: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights int8 (K, N), and what makes real outputs of their sums: factors and biases, float64 (N,)."""
    weights, alpha = binary_weights(layer.weights, ternary=ternary)
    bias = layer.bias.astype(np.float64) + alpha * offset * weights.sum(axis=0, dtype=np.int64)
    return weights, alpha * scale, bias


def binary_weights(weights: np.ndarray, *, ternary: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Real weights as signs and a scale for each output, see :func:`binarize`.

    Parameters
    ----------
    weights : ndarray (K, N) of float
    ternary : bool
        Whether small weights become 0.

    Returns
    -------
    signs : ndarray (K, N) of int8
        −1 and +1; −1, 0 and +1 if ternary.
    alpha : ndarray (N,) of float64
        At least 0.
    """
    signs = np.where(weights >= 0, 1, -1).astype(np.int8)
    magnitudes = np.abs(weights.astype(np.float64))
    means = magnitudes.mean(axis=0)
    if not ternary:
        return signs, means
    kept = magnitudes > _TERNARY_CUT * means
    return signs * kept, (magnitudes * kept).sum(axis=0) / np.maximum(kept.sum(axis=0), 1)


def sign_layer(name: str, weights: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, input_dtype: str) -> BinaryDense:
    """Return the layer that gives the sign of ``scale · acc + bias``, +1 for 0, as exact integer thresholds.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : ndarray (K, N) of integers
        −1, 0 and +1. The layer has them negated where the scale is negative.
    scale, bias : ndarray (N,) of float64
        Finite. Batch-norm has ``gamma / std`` and ``beta − gamma · mean / std``.
    input_dtype : str
        Type of the inputs.

    Returns
    -------
    BinaryDense
        Each threshold is the smallest sum of its output for which ``scale · acc + bias >= 0``, computed in float64 as
        it stands; where no inputs reach it, the largest possible sum plus 1, where all do, the smallest.
    """
    weights = np.where(scale < 0, -weights, weights)
    smallest, largest = integer_range(input_dtype)
    positive, negative = (weights > 0).sum(axis=0), (weights < 0).sum(axis=0)
    low = positive * smallest - negative * largest
    high = positive * largest - negative * smallest + 1
    thresholds = _smallest_reaching(np.abs(scale), bias, low, high)
    return BinaryDense(name=name, weights=weights, thresholds=thresholds[:, None], input_dtype=input_dtype)


def _smallest_reaching(scale: np.ndarray, bias: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the smallest integers from low to high − 1 with ``scale · integer + bias >= 0``, else high."""
    # a search by halves, because float64's rounding keeps the order of sums, but not that of a division by the scale
    while (low < high).any():
        middle = (low + high) // 2
        reached = scale * middle + bias >= 0
        low, high = np.where(reached | (low == high), low, middle + 1), np.where(reached & (low < high), middle, high)
    return low
