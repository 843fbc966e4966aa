"""Whole networks, bit-exactly and without an engine: every tensor that their layers make."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from celosia.sim.golden import binary, convolution, elementwise, pooling, softmax, sparse, systolic


def run_concat(layer: Any, *tensors: np.ndarray) -> np.ndarray:  # noqa: ARG001
    """Return tensors (M, …) one after the other along their last axis."""
    return np.concatenate(tensors, axis=-1)


def run_reshape(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return a tensor (M, …) in the shape (M, *output_shape)."""
    return x.reshape(len(x), *layer.output_shape)


LAYERS: Final[Mapping[str, Callable[..., np.ndarray]]] = {
    "Add": elementwise.run_add,
    "AveragePool2d": pooling.run_average,
    "BinaryConv": binary.run_layer,
    "BinaryDense": binary.run_layer,
    "CompressedDense": sparse.exact_outputs,
    "Concat": run_concat,
    "Conv2d": convolution.run_layer,
    "Dense": systolic.run_layer,
    "MaxPool2d": pooling.run_max,
    "Rescale": elementwise.run_rescale,
    "Reshape": run_reshape,
    "Softmax": softmax.run_layer,
}
"""Class of a layer, by name because this folder needs nothing of the host's → what computes it."""


def tensors(
    network: Any, inputs: np.ndarray, computes: Sequence[Callable[..., np.ndarray] | None] | None = None
) -> list[np.ndarray]:
    """Return the inputs of a network and what each of its layers makes of them.

    Parameters
    ----------
    network : celosia.host.models.ir.Network
    inputs : ndarray (M, *shape of the first layer's input), integers of the network's input type
        With channels last.
    computes : sequence of callable or None
        For each layer what computes it from its inputs, where that is not the function of its class in `LAYERS`.

    Returns
    -------
    list of ndarray of int64, one more than the network has layers
        Tensor 0 is the input, tensor i + 1 the output of layer i, (M, *its output_shape).

    Raises
    ------
    TypeError
        If a layer is of a kind that is not known.
    """
    made = [inputs.astype(np.int64)]
    for index, (layer, taken) in enumerate(zip(network.layers, network.all_sources, strict=True)):
        compute = (computes[index] if computes else None) or function_of(layer)
        shapes = getattr(layer, "input_shapes", (layer.input_shape,))
        given = [made[source].reshape(len(inputs), *shape) for source, shape in zip(taken, shapes, strict=True)]
        made.append(compute(*given).reshape(len(inputs), *layer.output_shape))
    return made


def function_of(layer: Any) -> Callable[..., np.ndarray]:
    """Return the function from a layer's inputs (M, …) to its outputs.

    Raises
    ------
    TypeError
        If a layer is of a kind that is not known.
    """
    kind = type(layer).__name__
    if kind not in LAYERS:
        raise TypeError(f"layer {layer.name!r} is a {kind}; the golden model has {', '.join(LAYERS)}.")
    return partial(LAYERS[kind], layer)
