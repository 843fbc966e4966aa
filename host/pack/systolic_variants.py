"""Which layers of a network are the engine's, and in which ways its images may lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celosia.host.errors import CompileError
from celosia.host.models.arrangement import Reshape
from celosia.host.models.checks import taken_shapes
from celosia.host.models.convolution import Conv2d
from celosia.host.models.ir import Network
from celosia.host.models.softmax import Softmax
from celosia.host.pack.systolic_layout import Layout, Pair, celled, in_order, plain
from celosia.hw.systolic.config import SystolicConfig


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How images lie: exchanged or not, and in which cells the network's input."""

    exchanged: bool = False
    cell: Pair = (1, 1)


def engine_layers(network: Network) -> int:
    """Return how many layers are the engine's: all but a softmax at the end, and what only reshapes its results.

    Raises
    ------
    CompileError
        A softmax is elsewhere, or there is nothing else.
    """
    layers, sources = network.layers, network.all_sources
    count = len(layers)
    while count and isinstance(layers[count - 1], Softmax | Reshape) and sources[count - 1] == (count - 1,):
        count -= 1
    while count < len(layers) and not isinstance(layers[count], Softmax):
        count += 1
    for layer in layers[:count]:
        if isinstance(layer, Softmax):
            raise CompileError(
                f"layer {layer.name!r} is a Softmax that other layers follow; the host computes a softmax, so it must "
                "be the last layer."
            )
    if not count:
        raise CompileError(f"network {network.name!r} has nothing but a softmax; the engine needs a layer before it.")
    return count


def variants(engine: SystolicConfig, network: Network) -> list[Variant]:
    """Return the ways to lay out images, the plain one first."""
    count = engine_layers(network)
    shapes = [shape for layer in network.layers[:count] for shape in (*taken_shapes(layer), layer.output_shape)]
    found = [Variant()]
    if any(len(shape) > 2 for shape in shapes) and not _is_symmetric(network.layers[:count], shapes):
        found.append(Variant(exchanged=True))
    first = only_reader(network, count)
    if isinstance(first, Conv2d) and first.groups == 1 and first.dilations == (1, 1) and max(first.strides) > 1:
        down, right = first.strides
        if down * right * first.weights.shape[2] <= engine.rows:
            found += [
                Variant(exchanged=variant.exchanged, cell=(right, down) if variant.exchanged else (down, right))
                for variant in found
            ]
    return found


def _is_symmetric(layers: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether rows and columns are alike in everything, so that images that lie exchanged take as long."""
    pairs: list[Pair] = [(shape[-3], shape[-2]) for shape in shapes if len(shape) > 2]
    for layer in layers:
        if hasattr(layer, "kernel"):
            top, left, bottom, right = layer.padding
            pairs += [layer.kernel, layer.strides, layer.dilations, (top, left), (bottom, right)]
    return all(rows == cols for rows, cols in pairs)


def only_reader(network: Network, count: int) -> Any:
    """Return the one layer that takes the network's input, maybe in another shape, or None."""
    tensor = 0
    while True:
        readers = [index for index in range(count) if tensor in network.all_sources[index]]
        if len(readers) != 1:
            return None
        layer = network.layers[readers[0]]
        if not isinstance(layer, Reshape):
            return layer
        tensor = readers[0] + 1


def input_layout(engine: SystolicConfig, network: Network, variant: Variant) -> Layout:
    """Return how the network's input lies: in the shape in which the first layer that computes takes it."""
    count = engine_layers(network)
    shape = _input_form(network, count, 0)
    if variant.cell != (1, 1):
        layer = only_reader(network, count)
        padding = layer.padding[1::-1] if variant.exchanged else layer.padding[:2]
        margin = (padding[0] % variant.cell[0], padding[1] % variant.cell[1])
        return celled(shape, variant.cell, margin, engine.rows, exchanged=variant.exchanged)
    return plain(shape, in_order(shape[-1], engine.rows), exchanged=variant.exchanged)


def _input_form(network: Network, count: int, tensor: int) -> tuple[int, ...]:
    """Return the shape in which the input, or what only reshapes it, is taken, or its own if there are several."""
    layers, forms = network.layers, set()
    for index in range(count):
        for source, shape in zip(network.all_sources[index], taken_shapes(layers[index]), strict=True):
            if source == tensor:
                reshapes = isinstance(layers[index], Reshape)
                forms.add(_input_form(network, count, index + 1) if reshapes else shape)
    own: tuple[int, ...] = layers[tensor - 1].output_shape if tensor else taken_shapes(layers[0])[0]
    return forms.pop() if len(forms) == 1 else own
