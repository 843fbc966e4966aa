"""Layers that a network does not need: those that nothing takes, and clamps that the layer before can do."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from celosia.host.models.elementwise import Rescale
from celosia.host.models.ir import Layer

Sources = tuple[int, ...]


def simplify(layers: Sequence[Layer], sources: Sequence[Sources], output: int) -> tuple[list[Layer], list[Sources]]:
    """The layers that an output needs, and the tensors each takes.

    Parameters
    ----------
    layers : sequence of Layer
    sources : sequence of tuple of int
        Tensors that each takes: 0 is the network's input, i + 1 the output of layer i.
    output : int
        The tensor that is wanted.

    Returns
    -------
    layers, sources
        As before; the output of the last layer is the one that is wanted.
    """
    layers = list(layers)
    needed, uses = _needed(sources, output)
    same = list(range(len(layers) + 1))  # the tensor that each is, where a layer that only clamped is gone
    for index in needed:
        before = same[sources[index][0]]
        if before and _only_clamps(layers[index]) and uses[before] == 1 and hasattr(layers[before - 1], "minimum"):
            clamp, giver = layers[index], layers[before - 1]
            bounds = (int(np.clip(bound, clamp.minimum, clamp.maximum)) for bound in (giver.minimum, giver.maximum))  # type: ignore[attr-defined]
            layers[before - 1] = _with_bounds(giver, *bounds)
            same[index + 1] = before
            uses[before] = uses[index + 1]
    kept = [index for index in needed if same[index + 1] == index + 1]
    number = {0: 0} | {index + 1: place + 1 for place, index in enumerate(kept)}
    renumbered = [tuple(number[same[source]] for source in sources[index]) for index in kept]
    return [layers[index] for index in kept], renumbered


def _needed(sources: Sequence[Sources], output: int) -> tuple[list[int], dict[int, int]]:
    """Layers that an output needs, in order, and how often each tensor is taken by them or is the output."""
    uses = {output: 1}
    needed = []
    for index in range(output - 1, -1, -1):
        if index + 1 in uses:
            needed.append(index)
            for source in sources[index]:
                uses[source] = uses.get(source, 0) + 1
    return needed[::-1], uses


def _only_clamps(layer: Any) -> bool:
    """Whether a layer gives the integers that it takes, but for the clamp."""
    return (
        isinstance(layer, Rescale)
        and (layer.multiplier, layer.shift) == (2**30, 1)
        and layer.input_zero_point == layer.output_zero_point
        and layer.input_dtype == layer.output_dtype
    )


def _with_bounds(layer: Any, minimum: int, maximum: int) -> Layer:
    clamped: Layer = dataclasses.replace(layer, minimum=minimum, maximum=maximum)
    return clamped
