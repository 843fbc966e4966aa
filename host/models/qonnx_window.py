"""Attributes of the operators of a QONNX graph that move a window over an image, or put something around it."""

from typing import Final

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.qonnx_node import Node
from celosia.host.models.qonnx_values import Padding
from celosia.host.models.qonnx_weights import split_weights

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
_ONES: Final = [1, 1]
_AUTOMATIC: Final = ("SAME_UPPER", "SAME_LOWER")


def check_conv(node: Node, *, channels_last: bool = False) -> np.ndarray:
    """Check what a convolution is, whatever its input, and return its weights (kernel rows, kernel columns, C, N).

    Raises
    ------
    ModelError
        If it is not two-dimensional, or dilated or grouped, or its weights are not binarized.
    """
    weights = node.constant(1)
    if weights.ndim != 4:
        raise ModelError(f"its weights have shape {weights.shape}, but only two-dimensional convolutions can be used")
    weights = weights.transpose((1, 2, 3, 0) if channels_last else (2, 3, 1, 0))
    kernel = node.list("kernel_shape")
    if kernel is not None and tuple(kernel) != weights.shape[:2]:
        raise ModelError(f"its kernel_shape {kernel} is not that of its weights, {weights.shape[:2]}")
    if node.number("group", 1) != 1:
        raise ModelError(f"it has {node.number('group', 1)} groups, but only convolutions with 1 can be used")
    _check_dilations(node)
    _pair(node, "strides")
    split_weights(weights)
    return weights


def conv_sides(node: Node, kernel: Pair, size: Pair) -> Sides:
    """Padding of a convolution over an image of `size` (H, W)."""
    mode = node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.list("pads") or [0, 0, 0, 0]
        if len(pads) != 4 or min(pads) < 0:
            raise ModelError(f"its pads are {pads}, but four numbers from 0 on are needed")
        return pads[0], pads[1], pads[2], pads[3]
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode not in _AUTOMATIC:
        raise ModelError(f"its auto_pad {mode!r} is not NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    totals = [
        max((-(-length // stride) - 1) * stride + window - length, 0)
        for length, stride, window in zip(size, strides_of(node), kernel, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    first, last = (small, large) if mode == "SAME_UPPER" else (large, small)
    return first[0], first[1], last[0], last[1]


def strides_of(node: Node) -> Pair:
    """Strides along H and W."""
    return _pair(node, "strides")


def check_pool(node: Node) -> tuple[Pair, Pair]:
    """Kernel and strides of a pool that needs no padding.

    Raises
    ------
    ModelError
        If it is not two-dimensional, or padded, dilated or rounds its size up.
    """
    kernel = node.list("kernel_shape")
    if kernel is None or len(kernel) != 2:
        raise ModelError(f"its kernel_shape is {kernel}, but only two-dimensional pools can be used")
    if any(node.list("pads") or []) or node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ModelError("it pads the image, but only pools whose windows are all inside can be used")
    if node.number("ceil_mode", 0) != 0:
        raise ModelError("it has ceil_mode, but only pools whose windows are all inside can be used")
    _check_dilations(node)
    return _pair(node, "kernel_shape"), _pair(node, "strides")


def explicit_padding(node: Node, dimensions: int, *, channels_last: bool = False) -> Padding:
    """What a Pad puts around an image of `dimensions` axes.

    Raises
    ------
    ModelError
        If it is not a constant around H and W.
    """
    if node.text("mode", "constant") != "constant":
        raise ModelError(f"its mode is {node.text('mode', 'constant')}, but only constant can be used")
    pads = node.list("pads")
    value = np.float32(node.number("value", 0.0))
    if pads is None:
        pads = node.integers(1)
        given = node.optional(2)
        value = np.float32(0) if given is None or not given.size else given.ravel()[0]
    sides = np.zeros((2, dimensions), np.int64)
    axes = node.integers(3) if node.optional(3) is not None else list(range(dimensions))
    if len(pads) != 2 * len(axes) or any(not -dimensions <= axis < dimensions for axis in axes):
        raise ModelError(f"its pads {pads} do not fit an image of {dimensions} axes")
    sides[:, axes] = np.reshape(pads, (2, -1))
    image = slice(1, 3) if channels_last else slice(2, 4)
    around = sides[:, image]
    if dimensions != 4 or sides.min() < 0 or around.sum() != sides.sum() or not np.isfinite(value):
        raise ModelError(f"its pads are {pads} with {value:g}, but only numbers put around H and W can be used")
    return Padding(
        node.label, (int(around[0, 0]), int(around[0, 1]), int(around[1, 0]), int(around[1, 1])), float(value)
    )


def _check_dilations(node: Node) -> None:
    if any(dilation != 1 for dilation in node.list("dilations") or _ONES):
        raise ModelError(f"its dilations are {node.list('dilations')}, but only 1 can be used")


def _pair(node: Node, name: str) -> Pair:
    values = node.list(name) or _ONES
    if len(values) != 2 or min(values) < 1:
        raise ModelError(f"its {name} is {values}, but two numbers from 1 on are needed")
    return values[0], values[1]
