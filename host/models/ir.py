"""Quantized networks as Celosia sees them: integer layers, most often a chain.

Readers and the quantizer produce them, the compiler consumes them. Arrays inside are read-only.
A new kind of layer is a new frozen dataclass with the members of :class:`Layer`; networks accept it as it is.

Notation: K is the number of inputs of a dense layer, N the number of its outputs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from celosia.host.models.checks import (
    ChainLink,
    check_chain,
    check_matrix,
    check_sources,
    float_array,
    frozen,
    layer_label,
)
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import BIPOLAR, container, integer_range, quantize_values
from celosia.host.models.matrix import IntegerMatrixLayer
from celosia.host.models.requantization import Rounding, check_requantization


class Layer(ChainLink, Protocol):
    """What every quantized layer tells the network and the compiler.

    Shapes are without the batch axis; a one-dimensional input takes the elements of any shape in C order. A layer of
    several inputs, all of one type, also has their `input_shapes` and `input_zero_points`.
    """

    @property
    def input_dtype(self) -> str:
        """Type of the inputs, see :func:`integer_range`."""
        ...

    @property
    def output_dtype(self) -> str:
        """Type of the outputs, see :func:`integer_range`."""
        ...

    @property
    def input_zero_point(self) -> int:
        """The input integer that stands for 0.0."""
        ...

    @property
    def output_zero_point(self) -> int:
        """The output integer that stands for 0.0."""
        ...

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(IntegerMatrixLayer):
    """Fully connected layer in integers.

    ``acc[n] = Σ_k (x[k] − input_zero_point) · weights[k, n] + bias[n]`` and
    ``y[n] = clamp(round(acc[n] · multiplier[n] · 2^(shift[n] − 31)) + output_zero_point, minimum, maximum)``,
    the arithmetic of TensorFlow Lite (Jacob et al. 2018, arXiv 1712.05877). Activation functions are in the clamp.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : ndarray (K, N), int8 or int16
        Symmetric weights (zero point 0) of any width up to their type's.
    bias : ndarray (N,), any integer type
        In units of the accumulator; within 48 bits, signed. Stored as int64.
    multiplier : ndarray (N,), any integer type
        0 to 2^31 − 1, normally at least 2^30. Stored as int64.
    shift : ndarray (N,), any integer type
        −31 to 7; positive is to the left. Stored as int64.
    rounding : {"double", "away", "even", "up"}
        How the scaled accumulator is rounded.
    input_zero_point, output_zero_point : int
        The integers that stand for 0.0; within their types.
    minimum, maximum : int
        Clamp of the output, within `output_dtype`.
    input_dtype, output_dtype : str
        Types of the activations, see :func:`integer_range`.

    Raises
    ------
    ModelError
        If a shape, type or value is outside of what is said above.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    rounding: Rounding
    input_zero_point: int
    output_zero_point: int
    minimum: int
    maximum: int
    input_dtype: str = "int8"
    output_dtype: str = "int8"

    def __post_init__(self) -> None:
        where = layer_label(self.name)
        weights = np.asarray(self.weights)
        if weights.dtype not in (np.dtype(np.int8), np.dtype(np.int16)):
            raise ModelError(f"{where}: the weights are {weights.dtype}, but they must be int8 or int16.")
        check_matrix(where, weights)
        object.__setattr__(self, "weights", frozen(weights, weights.dtype))
        check_requantization(self, weights.shape[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Quantized layers: a chain, or a graph without cycles.

    Parameters
    ----------
    name : str
        Name used in reports.
    layers : sequence of Layer
        In order; each takes what the one before it, or those that `sources` names, give: equal dtype, zero point and
        shape (a layer with a one-dimensional input takes the elements of any shape in C order).
    input_shape : tuple of int
        Shape of one input without the batch axis.
    input_scale, output_scale : float
        Real value of one integer step, rounded to float32; the zero points are those of the first and last layer. An
        output scale may also be an array (N,), one for each output.
    output_bias : float or ndarray (N,)
        Real value of an output whose integer is its zero point, rounded to float32.
    input_thresholds : ndarray (T,) of float or None
        How real inputs become integers, instead of a scale: an input is the smallest integer of its type plus 1 (for
        bipolar inputs 2) for each threshold that it reaches. In rising order, stored as float32.
    channels_first : bool
        Whether inputs are given as (C, H, W), which is then `input_shape`, to a first layer that takes (H, W, C).
    labels : sequence of str
        Names of the output classes, or empty.
    sources : sequence of tuple of int, or None
        For each layer, the tensors that it takes: 0 is the network's input, i + 1 the output of layer i. Every tensor
        but the last, which is the network's output, is taken by at least one layer. None: a chain; stored as None if
        it is one.

    Raises
    ------
    ModelError
        If the layers do not fit or a value is out of range.
    """

    name: str
    layers: Sequence[Layer]
    input_shape: tuple[int, ...]
    input_scale: float = 1.0
    output_scale: float | np.ndarray = 1.0
    output_bias: float | np.ndarray = 0.0
    input_thresholds: np.ndarray | None = None
    channels_first: bool = False
    labels: Sequence[str] = ()
    sources: Sequence[tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "sources", check_sources(self.name, self.layers, self.sources))
        if self.channels_first and len(self.input_shape) != 3:
            raise ModelError(f'network "{self.name}": inputs of shape {self.input_shape} have no channels first.')
        chain_shape = self._channels_last(self.input_shape)
        shape, labels = check_chain(self.name, self.layers, chain_shape, self.labels, self.sources)
        object.__setattr__(self, "input_shape", (shape[2], *shape[:2]) if self.channels_first else shape)
        object.__setattr__(self, "labels", labels)
        self._check_scales()
        if self.input_thresholds is not None:
            object.__setattr__(self, "input_thresholds", self._check_input_thresholds())
        for taken, layer in zip(self.all_sources, self.layers, strict=True):
            self._check_edges(taken, layer)

    def _check_edges(self, taken: tuple[int, ...], layer: Layer) -> None:
        zero_points = getattr(layer, "input_zero_points", (layer.input_zero_point,))
        for source, zero_point in zip(taken, zero_points, strict=True):
            if source == 0:
                giver, offer = "the network's input", (self.input_dtype, self.input_zero_point)
            else:
                before = self.layers[source - 1]
                giver, offer = f'layer "{before.name}"', (before.output_dtype, before.output_zero_point)
            need = (layer.input_dtype, zero_point)
            if offer != need:
                raise ModelError(
                    f"{layer_label(layer.name)}: it takes {need[0]} with zero point {need[1]}, but {giver} gives "
                    f"{offer[0]} with zero point {offer[1]}; both must be equal."
                )

    def _channels_last(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[1:], shape[0]) if self.channels_first else shape

    def _check_scales(self) -> None:
        where, outputs = f'network "{self.name}"', math.prod(self.output_shape)
        for field, shapes in (
            ("input_scale", [()]),
            ("output_scale", [(), (outputs,)]),
            ("output_bias", [(), (outputs,)]),
        ):
            given = getattr(self, field)
            values = float_array(where, field, given)
            if values.shape not in shapes:
                raise ModelError(f"{where}: {field} has shape {values.shape}, but {shapes[-1]} is needed.")
            if field == "input_scale" and values <= 0:
                raise ModelError(f"{where}: {field} is {given}, but it must be positive and finite.")
            if field == "output_scale" and not values.all():
                raise ModelError(f"{where}: {field} is {given}, but it must not be 0.")
            object.__setattr__(self, field, values if values.ndim else float(values))

    def _check_input_thresholds(self) -> np.ndarray:
        where, (low, high) = f'network "{self.name}"', integer_range(self.input_dtype)
        given = np.asarray(self.input_thresholds)
        most = (high - low) // self.input_step
        if given.ndim != 1 or given.dtype.kind not in "iuf" or np.isnan(given).any() or (given[1:] < given[:-1]).any():
            raise ModelError(f"{where}: input_thresholds must be numbers (T,) in rising order.")
        with np.errstate(over="ignore"):  # what float32 cannot hold is never reached, or always
            thresholds = given.astype(np.float32)
        if not 1 <= len(thresholds) <= most:
            raise ModelError(
                f"{where}: it has {len(thresholds)} input_thresholds, but {self.input_dtype} inputs take 1 to {most}."
            )
        return frozen(thresholds, np.float32)

    @property
    def all_sources(self) -> tuple[tuple[int, ...], ...]:
        """For each layer the tensors that it takes, as `sources`, also of a chain."""
        return tuple((index,) for index in range(len(self.layers))) if self.sources is None else tuple(self.sources)

    @property
    def input_dtype(self) -> str:
        """Type of the inputs."""
        return self.layers[0].input_dtype

    @property
    def input_step(self) -> int:
        """Distance of two neighbouring inputs: 2 if they are −1 and +1, else 1."""
        return 2 if self.input_dtype == BIPOLAR else 1

    @property
    def input_zero_point(self) -> int:
        """The input integer that stands for 0.0."""
        return self.layers[0].input_zero_point

    @property
    def output_dtype(self) -> str:
        """Type of the outputs."""
        return self.layers[-1].output_dtype

    @property
    def output_zero_point(self) -> int:
        """The output integer that stands for 0.0."""
        return self.layers[-1].output_zero_point

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output without the batch axis."""
        return self.layers[-1].output_shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(layer.macs for layer in self.layers)

    def quantize_input(self, values: npt.ArrayLike) -> np.ndarray:
        """Real inputs to integers: float (..., any shape) -> ``container(input_dtype)``, same shape.

        Without `input_thresholds`, bipolar inputs are −1 below 0 and else +1.

        Raises
        ------
        ModelError
            If a value is not finite.
        """
        if self.input_thresholds is None and self.input_dtype != BIPOLAR:
            return quantize_values(values, self.input_scale, self.input_zero_point, self.input_dtype)
        thresholds = np.zeros(1, np.float32) if self.input_thresholds is None else self.input_thresholds
        given = np.asarray(values)
        with np.errstate(over="ignore"):  # what float32 cannot hold saturates like any other
            real = given.astype(np.float32)
        if not np.isfinite(given).all():
            raise ModelError("the values to quantize contain NaN or infinity; only finite values have an integer.")
        steps = np.searchsorted(thresholds, real.ravel(), side="right").reshape(real.shape)
        return (integer_range(self.input_dtype)[0] + self.input_step * steps).astype(container(self.input_dtype))

    def layer_inputs(self, values: np.ndarray) -> np.ndarray:
        """Return integer inputs (n, *input_shape) as the first layer takes them: with channels last."""
        return np.moveaxis(values, 1, -1) if self.channels_first else values

    def dequantize_output(self, values: npt.ArrayLike) -> np.ndarray:
        """Integer outputs to real ones: ``(value − zero_point) · scale + bias`` as float32, same shape.

        Computed in float64 and rounded once.
        """
        steps = np.asarray(values).astype(np.float64) - self.output_zero_point
        shape = (-1, *self.output_shape) if steps.ndim > len(self.output_shape) else self.output_shape
        scale, bias = (
            each.astype(np.float64).reshape(self.output_shape) if isinstance(each, np.ndarray) else each
            for each in (self.output_scale, self.output_bias)
        )
        return (steps.reshape(shape) * scale + bias).astype(np.float32).reshape(steps.shape)
