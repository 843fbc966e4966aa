"""Float networks, before quantization: a chain of fully connected layers in float32.

K is the number of inputs of a layer, N the number of its outputs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from celosia.host.models.checks import check_chain, check_matrix, float_array, layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.matrix import MatrixLayer

Activation = Literal["none", "relu", "relu6"] | tuple[float, float]
"""A named activation function, or the range (lowest, highest) that outputs are clamped to."""

_ACTIVATIONS: Final = {"none": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatDense(MatrixLayer):
    """Fully connected layer in float32: ``y = clamp(x @ weights + bias, activation)``.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : ndarray (K, N) of float
        Stored as float32.
    bias : ndarray (N,) of float
        Stored as float32.
    activation : {"none", "relu", "relu6"} or tuple of float
        A name, or the range ``(lowest, highest)`` that the outputs are clamped to; infinities are allowed in the range.

    Raises
    ------
    ModelError
        If a shape is wrong, a value is not finite, or the activation is unknown.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    activation: Activation = "none"

    def __post_init__(self) -> None:
        where = layer_label(self.name)
        weights = float_array(where, "weights", self.weights)
        check_matrix(where, weights)
        object.__setattr__(self, "weights", weights)
        bias = float_array(where, "bias", self.bias)
        if bias.shape != (weights.shape[1],):
            raise ModelError(
                f"{where}: bias has shape {bias.shape}, but {weights.shape[1]} outputs need ({weights.shape[1]},)."
            )
        object.__setattr__(self, "bias", bias)
        if isinstance(self.activation, str):
            if self.activation not in _ACTIVATIONS:
                raise ModelError(
                    f"{where}: activation {self.activation!r} is not none, relu, relu6 or a pair (lowest, highest)."
                )
        elif not (len(self.activation) == 2 and self.activation[0] <= self.activation[1]):
            raise ModelError(f"{where}: activation {self.activation} is not a pair (lowest, highest) in that order.")

    @property
    def bounds(self) -> tuple[float, float]:
        """Range the outputs are clamped to: ``(lowest, highest)``, possibly infinite."""
        return _ACTIVATIONS[self.activation] if isinstance(self.activation, str) else self.activation

    def evaluate(self, values: np.ndarray) -> np.ndarray:
        """Outputs for a batch: float32 (batch, K) -> float32 (batch, N)."""
        lowest, highest = self.bounds
        return np.clip(values @ self.weights + self.bias, np.float32(lowest), np.float32(highest))


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatNetwork:
    """A chain of float layers, before quantization.

    Parameters
    ----------
    name : str
        Name used in reports.
    layers : sequence of FloatDense
        In order; each takes as many values as the one before it gives.
    input_shape : tuple of int
        Shape of one input without the batch axis; taken in C order.
    labels : sequence of str
        Names of the output classes, or empty.

    Raises
    ------
    ModelError
        If the chain does not fit.
    """

    name: str
    layers: Sequence[FloatDense]
    input_shape: tuple[int, ...]
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        shape, labels = check_chain(self.name, self.layers, self.input_shape, self.labels)
        object.__setattr__(self, "input_shape", shape)
        object.__setattr__(self, "labels", labels)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output without the batch axis."""
        return self.layers[-1].output_shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(layer.macs for layer in self.layers)

    def evaluate(self, inputs: npt.ArrayLike) -> np.ndarray:
        """Outputs for a batch: float (batch, ...) with `input_shape` elements each -> float32 (batch, N).

        Raises
        ------
        ModelError
            If the inputs do not fit the network.
        """
        values = self.flatten(inputs)
        for layer in self.layers:
            values = layer.evaluate(values)
        return values

    def flatten(self, inputs: npt.ArrayLike) -> np.ndarray:
        """Inputs as the first layer takes them: float (batch, ...) -> float32 (batch, K).

        Raises
        ------
        ModelError
            If the inputs do not fit the network.
        """
        values = np.asarray(inputs, dtype=np.float32)
        size = math.prod(self.input_shape)
        if values.ndim < 2 or math.prod(values.shape[1:]) != size:
            raise ModelError(f'network "{self.name}": inputs have shape {values.shape}, but it takes (batch, {size}).')
        return values.reshape(len(values), size)
