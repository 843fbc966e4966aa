"""The operators of a QONNX graph that make, move or end layers."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import onnx

from celosia.host.models.errors import ModelError
from celosia.host.models.integers import BIPOLAR
from celosia.host.models.qonnx_chain import Chain, image_size
from celosia.host.models.qonnx_chain import channels_first as image_index
from celosia.host.models.qonnx_execute import QONNX_DOMAIN
from celosia.host.models.qonnx_input import GraphInput
from celosia.host.models.qonnx_node import CHANNELS_LAST_DOMAIN, Node
from celosia.host.models.qonnx_steps import QUANTIZERS, STEPS, add_constant, batch_norm
from celosia.host.models.qonnx_values import Activations, Padding, Pool, Step, last_quantizer
from celosia.host.models.qonnx_weights import split_weights
from celosia.host.models.qonnx_window import check_conv, check_pool, conv_sides, explicit_padding, strides_of

_TO_FIRST: Final = (0, 3, 1, 2)
_TO_LAST: Final = (0, 2, 3, 1)


def _conv(chain: Chain, node: Node, *, channels_last: bool = False) -> Activations:
    taken = node.taken
    if node.position != 0 or not taken.is_float:
        raise ModelError("its first input has to be activations of float")
    weights = check_conv(node, channels_last=channels_last)
    if channels_last:
        taken = taken.arranged(taken.index.transpose(_TO_FIRST)) if taken.index.ndim == 4 else taken
    size = image_size(taken, weights.shape[2])
    sides = conv_sides(node, (weights.shape[0], weights.shape[1]), size)
    pad = Padding(node.label, sides, 0.0)
    if taken.padding is not None:
        if any(sides):
            raise ModelError(f"it pads what {taken.padding.label} has padded already")
        pad = taken.padding
    opened = chain.conv(node.name, node.label, taken, weights, strides_of(node), pad)
    if channels_last:
        opened = opened.arranged(opened.index.transpose(_TO_LAST))
    return _with_bias(opened, node, 1.0, axis=-1 if channels_last else 1)


def _with_bias(opened: Activations, node: Node, factor: float, *, axis: int) -> Activations:
    bias = node.optional(2)
    if bias is None:
        return opened
    if axis != -1:  # a vector, one for each channel
        bias = bias.reshape([-1 if index == axis else 1 for index in range(opened.index.ndim)])
    return add_constant(node.label, (bias * np.float32(factor)).astype(np.float32), opened)


def _matmul(chain: Chain, node: Node) -> Activations:
    weights = _matrix(node)
    return chain.dense(node.name, node.label, node.activations(), weights)


def _matrix(node: Node) -> np.ndarray:
    """The constant matrix of a product, which is checked."""
    weights = node.constant(1)
    if weights.ndim != 2:
        raise ModelError(f"its weights have shape {weights.shape}, but a matrix is needed")
    weights = weights.T if node.message.op_type == "Gemm" and node.number("transB", 0) else weights
    split_weights(weights)
    return weights


def _gemm(chain: Chain, node: Node) -> Activations:
    if node.number("transA", 0) != 0:
        raise ModelError("only transA = 0 can be used")
    opened = chain.dense(node.name, node.label, node.activations(), _matrix(node))
    return _with_bias(_scaled(opened, node.number("alpha", 1.0), 0.0), node, node.number("beta", 1.0), axis=-1)


def _scaled(opened: Activations, factor: float, constant: float) -> Activations:
    """Multiply all real sums of a product, and add to them."""
    product = opened.source
    assert not isinstance(product, GraphInput)
    if not factor or not np.isfinite(factor):
        raise ModelError(f"its alpha is {factor:g}, but it has to be finite and not 0")
    changed = dataclasses.replace(product, gain=product.gain * factor, constant=product.constant * factor + constant)
    return dataclasses.replace(opened, source=changed)


def _xnor_popcount(chain: Chain, node: Node) -> Activations:
    """Matrices of 0 for −1 and 1 for +1: counts of equal ones, half the sum of ±1 and K."""
    taken, weights = node.activations(), node.constant(1)
    if weights.ndim != 2 or ((weights != 0) & (weights != 1)).any():
        raise ModelError("its weights are no matrix of 0 and 1")
    step = Step("−1 and +1 of 0 and 1", lambda table: table * np.float32(2) - np.float32(1))
    opened = chain.dense(node.name, node.label, taken.then(step), weights * 2 - 1)
    product = opened.source
    assert not isinstance(product, GraphInput)
    if product.grid.dtype != BIPOLAR or product.grid.scale != 1.0:
        raise ModelError("its inputs are not 0 and 1")
    return _scaled(opened, 0.5, len(weights) / 2)


def _max_pool(chain: Chain, node: Node, *, channels_last: bool = False) -> Activations:  # noqa: ARG001
    taken = node.activations()
    kernel, strides = check_pool(node)
    if isinstance(taken.source, GraphInput) or taken.source.geometry is None:
        raise ModelError("it does not follow a convolution, but only a convolution's outputs can be pooled")
    if any(isinstance(step, Pool) for step in taken.steps):
        raise ModelError("it pools what is pooled already, but one pool for each convolution is the most")
    if channels_last and taken.index.ndim == 4:
        taken = taken.arranged(taken.index.transpose(_TO_FIRST))
    height, width = image_size(taken, taken.channels)
    size = (height - kernel[0]) // strides[0] + 1, (width - kernel[1]) // strides[1] + 1
    if min(size) < 1:
        raise ModelError(f"its window {kernel} is larger than the image {(height, width)}")
    index = image_index(*size, taken.channels)
    pooled = taken.arranged(index.transpose(_TO_LAST) if channels_last else index)
    return pooled.then(Pool(node.label, kernel, strides))


def _pad(_: Chain, node: Node) -> Activations:
    taken = node.activations()
    if isinstance(taken.source, GraphInput) and taken.source.dtype is None and last_quantizer(taken.steps) is None:
        raise ModelError("it pads inputs that are not quantized, but only quantized images can be padded")
    return dataclasses.replace(taken, padding=explicit_padding(node, taken.index.ndim))


def _move(node: Node, change: Callable[[np.ndarray], np.ndarray]) -> Activations:
    """Move the elements of activations, which may be the end of the network."""
    value = node.inputs[node.position]
    assert isinstance(value, Activations)
    if value.padding is not None:
        raise ModelError(f"it follows {value.padding.label}, which only a convolution can do")
    if value.ended is not None:
        return value
    if node.position != 0:
        raise ModelError("its first input is a constant, but it has to be the activations")
    try:
        return value.arranged(change(value.index))
    except (ValueError, IndexError, OverflowError) as error:
        raise ModelError(f"it does not fit activations of shape {value.index.shape} ({error})") from None


def _reshape(chain: Chain, node: Node) -> Activations:
    target = node.integers(1)
    if node.number("allowzero", 0) != 0 and 0 in target:
        raise ModelError("it has allowzero and a size of 0")
    if target and chain.batch > 1 and target[0] > 0:
        if target[0] != chain.batch:
            raise ModelError(f"it makes {target[0]} of a batch of {chain.batch}")
        target[0] = 1

    def change(index: np.ndarray) -> np.ndarray:
        return index.reshape([index.shape[axis] if size == 0 else size for axis, size in enumerate(target)])

    return _move(node, change)


def _flatten(_: Chain, node: Node) -> Activations:
    axis = int(node.number("axis", 1))
    return _move(node, lambda index: index.reshape(int(np.prod(index.shape[:axis])), -1))


def _axes(node: Node) -> list[int]:
    listed = node.list("axes")
    return listed if listed is not None else node.integers(1)


def _squeeze(_: Chain, node: Node) -> Activations:
    given = node.list("axes") is not None or node.optional(1) is not None
    return _move(node, lambda index: index.squeeze(tuple(_axes(node)) if given else tuple(range(1, index.ndim))))


def _unsqueeze(_: Chain, node: Node) -> Activations:
    return _move(node, lambda index: np.expand_dims(index, tuple(_axes(node))))


def _transpose(_: Chain, node: Node) -> Activations:
    return _move(node, lambda index: index.transpose(node.list("perm")))


def _identity(_: Chain, node: Node) -> Activations:
    if node.message.op_type == "Dropout":
        training = node.optional(2)
        if training is not None and training.any():
            raise ModelError("it is in training mode, but only what is done after training can be used")
    return _move(node, lambda index: index)


def _cast(_: Chain, node: Node) -> Activations:
    moved = _move(node, lambda index: index)
    if moved.ended is None and node.number("to", 0) != onnx.TensorProto.FLOAT:
        raise ModelError("it does not cast to float32, but activations have to be")
    return dataclasses.replace(moved, is_float=True)


def _end(_: Chain, node: Node) -> Activations:
    """Softmax, LogSoftmax, ArgMax and TopK: which output is the largest is seen on the outputs before them, too."""
    moved = _move(node, lambda index: index)
    kind = node.message.op_type
    axis = int(node.number("axis", {"ArgMax": 0}.get(kind, -1)))
    if kind == "TopK":
        k = node.integers(1) if len(node.inputs) > 1 else [int(node.number("k", 0))]
        if k != [1] or node.number("largest", 1) != 1:
            raise ModelError("only the largest one, k = 1, can be used")
    if node.number("select_last_index", 0) != 0:
        raise ModelError("of equal outputs it takes the last one, but only the first one can be used")
    shape = moved.index.shape
    if not -len(shape) <= axis < len(shape) or shape[axis] != moved.index.size:
        raise ModelError(f"its axis {axis} is not that of the outputs, whose shape is {shape}")
    return dataclasses.replace(moved, ended=moved.ended or node.label)


Handler = Callable[[Chain, Node], Activations]


def _step(function: Callable[[Node], Activations]) -> Handler:
    return lambda _, node: function(node)


OPERATORS: Final[dict[tuple[str, str], Handler]] = {
    **{("", kind): _step(function) for kind, function in STEPS.items()},
    **{(QONNX_DOMAIN, kind): _step(function) for kind, function in QUANTIZERS.items()},
    ("", "ArgMax"): _end,
    ("", "Cast"): _cast,
    ("", "Conv"): _conv,
    ("", "Dropout"): _identity,
    ("", "Flatten"): _flatten,
    ("", "Gemm"): _gemm,
    ("", "Identity"): _identity,
    ("", "LogSoftmax"): _end,
    ("", "MatMul"): _matmul,
    ("", "MaxPool"): _max_pool,
    ("", "Pad"): _pad,
    ("", "Reshape"): _reshape,
    ("", "Softmax"): _end,
    ("", "Squeeze"): _squeeze,
    ("", "TopK"): _end,
    ("", "Transpose"): _transpose,
    ("", "Unsqueeze"): _unsqueeze,
    (QONNX_DOMAIN, "MaxPoolNHWC"): partial(_max_pool, channels_last=True),
    (QONNX_DOMAIN, "XnorPopcountMatMul"): _xnor_popcount,
    (CHANNELS_LAST_DOMAIN, "BatchNormalization"): _step(partial(batch_norm, axis=-1)),
    (CHANNELS_LAST_DOMAIN, "Conv"): partial(_conv, channels_last=True),
    (CHANNELS_LAST_DOMAIN, "MaxPool"): partial(_max_pool, channels_last=True),
}
"""Domain and type of each operator that activations can go through."""

CHECKS: Final[dict[tuple[str, str], Callable[[Node], object]]] = {
    ("", "Conv"): check_conv,
    ("", "Gemm"): _matrix,
    ("", "MatMul"): _matrix,
    ("", "MaxPool"): check_pool,
    (CHANNELS_LAST_DOMAIN, "Conv"): partial(check_conv, channels_last=True),
}
"""What is wrong with an operator whatever its activations, which may come from something unsupported."""

_POOLS: Final = "averages are no binarized values; a MaxPool after a convolution can be used"
REASONS: Final = {
    ("", "AveragePool"): _POOLS,
    ("", "GlobalAveragePool"): _POOLS,
    ("", "ReduceMean"): _POOLS,
    (QONNX_DOMAIN, "QuantAvgPool2d"): _POOLS,
    (QONNX_DOMAIN, "Trunc"): "only averages need it, which are no binarized values",
    (QONNX_DOMAIN, "Im2Col"): "convolutions have to be read before they are lowered to matrix products",
    ("", "Where"): "Sign or BipolarQuant can be used in its place",
}
"""Why some operators are not supported."""
