"""ONNX operators that change nothing but shapes: the order of elements is followed, so that no layer is needed.

Each function takes the builder and a node and returns the value of the node's first output. Shapes in the file have the
batch axis in front, which has to stay there.
"""

import dataclasses
import math

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_builder import Builder
from celosia.host.models.onnx_node import Node
from celosia.host.models.onnx_values import MAX_RANK, Constant, Integers, QuantizedConstant, Reals, Value


def _shaped(values: Integers | Reals, shape: tuple[int, ...]) -> Value:
    if len(shape) > MAX_RANK:
        raise ModelError(f"its output has {len(shape) + 1} axes, but at most {MAX_RANK + 1} can be used")
    return dataclasses.replace(values, order=values.order.reshape(shape))


def read_reshape(_: Builder, node: Node) -> Value:
    """Give each input another shape of as many elements."""
    values = node.activations()
    old, size = values.order.shape, values.order.size
    sizes = node.array(1, "i").reshape(-1).tolist()
    wanted = f"its shape is {sizes[:8]}, but the batch axis and then sizes of {size} elements in all are needed"
    if not sizes or sizes[0] not in (-1, 0, 1, node.batch) or (0 in sizes and node.integer("allowzero", 0)):
        raise ModelError(wanted)
    # 0 copies an axis, -1, once, takes what is left
    shape = [old[axis] if copied == 0 and axis < len(old) else copied for axis, copied in enumerate(sizes[1:])]
    if -1 in shape and sizes[0] != -1:
        known = -math.prod(shape)
        if known > 0 and size % known == 0:
            shape[shape.index(-1)] = size // known
    if min(shape, default=1) < 1 or math.prod(shape) != size:
        raise ModelError(wanted)
    return _shaped(values, tuple(shape))


def read_flatten(_: Builder, node: Node) -> Value:
    """Flatten each input."""
    values = node.activations()
    if node.integer("axis", 1) not in (1, -values.order.ndim):
        raise ModelError("only axis = 1 can be used")
    return _shaped(values, (values.order.size,))


def read_squeeze(_: Builder, node: Node) -> Value:
    """Leave out axes of size 1."""
    values = node.activations()
    axes = node.axes(values.order.ndim + 1)
    if not axes or 0 in axes or any(values.order.shape[axis - 1] != 1 for axis in axes):
        raise ModelError(f"its axes are {axes}, but only ones of size 1 behind the batch axis can be left out")
    return _shaped(values, tuple(size for axis, size in enumerate(values.order.shape, 1) if axis not in axes))


def read_unsqueeze(_: Builder, node: Node) -> Value:
    """Put axes of size 1 in."""
    values = node.activations()
    given = node.numbers("axes") or ([] if node.get(1) is None else node.array(1, "i").reshape(-1).tolist())
    if len(given) > MAX_RANK:
        raise ModelError(f"it puts in {len(given)} axes, but at most {MAX_RANK} can be used")
    axes = node.axes(values.order.ndim + 1 + len(given))
    if not axes or 0 in axes:
        raise ModelError(f"its axes are {axes}, but only ones behind the batch axis can be put in")
    shape = list(values.order.shape)
    for axis in axes:
        shape.insert(axis - 1, 1)
    return _shaped(values, tuple(shape))


def read_transpose(_: Builder, node: Node) -> Value:
    """Transpose a constant matrix, or the axes of each input."""
    value, permutation = node.get(0), node.numbers("perm")
    if isinstance(value, Constant | QuantizedConstant):
        if value.array.ndim != 2 or permutation not in (None, [], [1, 0]):
            raise ModelError("only constant matrices can be transposed")
        return value.transpose((1, 0))
    values = node.activations()
    if permutation is None or sorted(permutation) != list(range(values.order.ndim + 1)) or permutation[0] != 0:
        raise ModelError(f"its perm is {permutation}, but all axes, the batch axis in front, are needed")
    return dataclasses.replace(values, order=np.transpose(values.order, [axis - 1 for axis in permutation[1:]]))
