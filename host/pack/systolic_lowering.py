"""From layers to products: convolutions are that, dense layers have windows of one pixel, rescaling weights of 1."""

from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.convolution import Conv2d
from celosia.host.models.elementwise import Rescale
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Dense
from celosia.host.models.matrix import IntegerWeights
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.pack.systolic_layout import Layout
from celosia.host.pack.systolic_pool import average_pool, max_pool
from celosia.host.pack.systolic_product import (
    Product,
    Window,
    activation_offset,
    of_ones,
    offsets_of,
    requantized,
    whole,
    window_of,
)
from celosia.hw.systolic.config import SystolicConfig


def product_of(engine: SystolicConfig, layer: Any, source: Layout) -> Product | None:
    """Return what is to be computed for a layer, or None if it is of another kind.

    Parameters
    ----------
    engine : SystolicConfig
    layer : Layer
        Of any kind.
    source : Layout
        How its input lies, in the shape in which the layer takes it.

    Raises
    ------
    CompileError
        Its integers do not fit the engine's widths.
    """
    match layer:
        case Dense():
            product = _dense(engine, layer, source)
        case Conv2d():
            product = _convolution(engine, layer, source)
        case MaxPool2d():
            product = max_pool(engine, layer, source)
        case AveragePool2d():
            product = average_pool(engine, layer, source)
        case Rescale():
            product = _rescale(engine, layer, source)
        case _:
            return None
    _check_sums(engine, product, layer)
    return product


def _weighted(engine: SystolicConfig, layer: Any, window: Window, weights: np.ndarray, **changes: Any) -> Product:
    """Return the product of a layer with weights and parameters for each output."""
    low, high = layer.weight_range
    if low < engine.weight_range[0] or high > engine.weight_range[1]:
        raise CompileError(
            f"layer {layer.name!r} has weights from {low} to {high}; weight_width={engine.weight_width} holds "
            f"{engine.weight_range[0]} to {engine.weight_range[1]}."
        )
    zero_point = layer.input_zero_point + offsets_of(engine, layer)[0]
    positive, negative = layer.weight_sums
    return Product(
        name=layer.name,
        window=window,
        weights=weights,
        bias=layer.bias - zero_point * (positive + negative),
        parts=(whole(window.out_size, weights.shape[3], layer.multiplier, layer.shift),),
        pad_value=zero_point,
        **requantized(engine, layer),
        **changes,
    )


def _dense(engine: SystolicConfig, layer: Dense, source: Layout) -> Product:
    window = Window(in_size=source.grid, out_size=source.grid)
    return _weighted(engine, layer, window, layer.weights[None, None])


def _convolution(engine: SystolicConfig, layer: Conv2d, source: Layout) -> Product:
    window = window_of(layer, source)
    weights = layer.weights.swapaxes(0, 1) if source.exchanged else layer.weights
    if source.cell != (1, 1):
        window, weights = _in_cells(window, weights, source)
    one_to_one = layer.is_depthwise and layer.groups == layer.weights.shape[3]
    return _weighted(engine, layer, window, weights, groups=layer.groups, channelwise=one_to_one)


def _in_cells(window: Window, weights: np.ndarray, source: Layout) -> tuple[Window, np.ndarray]:
    """Return a convolution with strides as one without, over cells of as many pixels."""
    (down, right), (rows, cols, depth, N) = source.cell, weights.shape
    kernel = (-(-rows // down), -(-cols // right))
    padded = np.zeros((kernel[0] * down, kernel[1] * right, depth, N), dtype=weights.dtype)
    padded[:rows, :cols] = weights
    by_cell = padded.reshape(kernel[0], down, kernel[1], right, depth, N).transpose(0, 2, 1, 3, 4, 5)
    cells = Window(
        kernel=kernel,
        padding=(window.padding[0] // down, window.padding[1] // right),
        in_size=source.grid,
        out_size=window.out_size,
    )
    return cells, by_cell.reshape(*kernel, down * right * depth, N)


def _rescale(engine: SystolicConfig, layer: Rescale, source: Layout) -> Product:
    return of_ones(
        layer,
        Window(in_size=source.grid, out_size=source.grid),
        bias=-(layer.input_zero_point + offsets_of(engine, layer)[0]),
        parts=(whole(source.grid, source.shape[-1], layer.multiplier, layer.shift),),
        **requantized(engine, layer),
    )


def _check_sums(engine: SystolicConfig, product: Product, layer: Any) -> None:
    """Refuse sums that the accumulators do not hold.

    Raises
    ------
    CompileError
        A sum or a bias may be out of their range.
    """
    offset = activation_offset(engine, layer.input_dtype)
    low, high = (end + offset for end in integer_range(layer.input_dtype))
    if product.pools:
        least, most = engine.activation_range
    else:
        if isinstance(layer, IntegerWeights):
            positive, negative = layer.weight_sums
        else:  # all weights are 1
            positive, negative = product.weights.sum(axis=(0, 1, 2), dtype=np.int64), np.zeros((), dtype=np.int64)
        ends = positive * low + negative * high, positive * high + negative * low
        least, most = (int(function(end)) for function, end in zip((np.min, np.max), ends, strict=True))
    least, most = min(least, int(product.bias.min())), max(most, int(product.bias.max()))
    limit = 1 << (engine.resolved_accumulator_width - 1)
    if least < -limit or most >= limit:
        raise CompileError(
            f"layer {product.name!r} can reach accumulators or biases from {least} to {most}; "
            f"accumulator_width={engine.resolved_accumulator_width} holds {-limit} to {limit - 1}."
        )
