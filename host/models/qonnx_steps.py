"""Operators that work on each value alone: what a QONNX graph has between products.

C is the number of channels, L of levels that a quantizer can give, S of rows of a table.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx

from celosia.host.models.binary import MAX_ACTIVATION_BITS, MAX_THRESHOLDS
from celosia.host.models.errors import ModelError
from celosia.host.models.qonnx_execute import Operator
from celosia.host.models.qonnx_node import Node
from celosia.host.models.qonnx_values import Activations, Affine, Step

_EPSILON: Final = 1e-5  # ONNX's default for BatchNormalization


def add_constant(label: str, values: np.ndarray, taken: Activations) -> Activations:
    """Add real constants, of any shape that broadcasts to the activations', as the Add of ONNX does."""
    vector = taken.by_channel(_finite(values))
    node = onnx.helper.make_node("Add", ["x", "bias"], ["y"])
    add = Operator(node, "", 13)
    return taken.then(Step(label, lambda table: add(table, vector), _affine("Add", 0, [vector])))


def arithmetic(node: Node) -> Activations:
    """Add, Sub, Mul, Div with a constant; Neg, Relu, Clip, Min, Max."""
    taken, kind = node.checked(node.taken), node.message.op_type
    position = node.position
    if position and kind in ("Clip", "Div"):
        raise ModelError("its first input is a constant, but it has to be the activations")
    bounds = kind in ("Clip", "Min", "Max")  # may be infinite
    constants: list[np.ndarray | None] = []
    for index in range(len(node.inputs)):
        value = None if index == position else node.optional(index)
        if value is not None and kind != "Clip":
            value = taken.by_channel(value if bounds else _finite(value))
        if value is not None and (np.isnan(value).any() or (kind == "Div" and not value.all())):
            raise ModelError("it divides by 0" if kind == "Div" else "its constants contain NaN")
        constants.append(value)
    operator = node.operator()

    def run(table: np.ndarray) -> np.ndarray:
        return operator(*[table if index == position else value for index, value in enumerate(constants)])

    others = [value for value in constants if value is not None]
    return taken.then(Step(node.label, run, None if bounds else _affine(kind, position, others)))


def _affine(kind: str, position: int, constants: list[np.ndarray]) -> Affine | None:
    """What an operator does to slope and offset, in float64; None if it is not affine."""
    constant = constants[0].astype(np.float64) if constants else np.zeros(1)
    affine: dict[str, Affine] = {
        "Add": lambda slope, offset: (slope, offset + constant),
        "Mul": lambda slope, offset: (slope * constant, offset * constant),
        "Div": lambda slope, offset: (slope / constant, offset / constant),
        "Neg": lambda slope, offset: (-slope, -offset),
        "Sub": lambda slope, offset: (-slope, constant - offset) if position else (slope, offset - constant),
    }
    return affine.get(kind)


def batch_norm(node: Node, *, axis: int = 1) -> Activations:
    """Batch-norm as it is after training, channels along `axis`."""
    taken = node.activations()
    if node.number("training_mode", 0) != 0 or any(node.message.output[1:]):
        raise ModelError("it is in training mode, but only what is done after training can be used")
    if node.number("spatial", 1) != 1:
        raise ModelError("it is not spatial: it has parameters for each position of an image")
    shape = [1] * taken.index.ndim
    shape[axis] = taken.index.shape[axis]
    given = [node.constant(index).reshape(-1) for index in range(1, 5)]
    if any(value.size != shape[axis] for value in given):
        raise ModelError(f"its parameters have {given[0].size} values, but {shape[axis]} channels need one each")
    vectors = [taken.by_channel(_finite(value).reshape(shape)) for value in given]
    vectors = [np.ascontiguousarray(np.broadcast_to(vector, taken.channels)) for vector in vectors]
    gamma, beta, mean, variance = (vector.astype(np.float64) for vector in vectors)
    if (variance + node.number("epsilon", _EPSILON) <= 0).any():
        raise ModelError(
            f"the variance of channel {np.argmin(variance)} is {variance.min():g}, but none can be below 0"
        )
    factor = gamma / np.sqrt(variance + node.number("epsilon", _EPSILON))
    operator = node.operator()
    return taken.then(
        Step(
            node.label,
            lambda table: operator(table, *vectors),
            lambda slope, offset: (slope * factor, (offset - mean) * factor + beta),
        )
    )


def quantize(node: Node) -> Activations:
    """Quant and IntQuant."""
    taken = node.activations()
    scale, zero_point, width = (taken.by_channel(_finite(node.constant(index))) for index in (1, 2, 3))
    _positive(scale)
    bits = float(width[0])
    if width.size != 1 or bits != int(bits) or not 1 <= bits <= MAX_ACTIVATION_BITS:
        raise ModelError(f"it quantizes to {bits:g} bits, but 1 to {MAX_ACTIVATION_BITS} can be used")
    signed, narrow = node.number("signed", 1) != 0, node.number("narrow", 0) != 0
    if signed and bits == 1:
        integers = np.array([-1.0, 1.0])
    elif signed:
        integers = np.arange(-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1))
    else:
        integers = np.arange(0, 2**bits - narrow)
    levels = (integers.astype(np.float32)[:, None] - zero_point) * scale  # as qonnx computes them
    return _quantizer(node, taken, [scale, zero_point, width], levels)


def bipolar(node: Node) -> Activations:
    """BipolarQuant."""
    taken = node.activations()
    scale = taken.by_channel(_finite(node.constant(1)))
    _positive(scale)
    return _quantizer(node, taken, [scale], np.array([[-1.0], [1.0]], np.float32) * scale)


def sign(node: Node) -> Activations:
    """ONNX's Sign, which is 0 for 0."""
    return _quantizer(node, node.activations(), [], np.array([[-1.0], [0.0], [1.0]]))


def multi_threshold(node: Node) -> Activations:
    """FINN's MultiThreshold."""
    taken, thresholds = node.activations(), _finite(node.constant(1))
    if thresholds.ndim != 2 or not 1 <= thresholds.shape[1] <= MAX_THRESHOLDS:
        raise ModelError(f"its thresholds have shape {thresholds.shape}, but (C, 1 to {MAX_THRESHOLDS}) is needed")
    layout = node.text("data_layout", "") or {2: "NC", 3: "NWC", 4: "NCHW"}.get(taken.index.ndim, "NC")
    axis = layout.index("C") if "C" in layout else 1
    if axis >= taken.index.ndim:
        raise ModelError(f"its layout {layout} does not fit activations of shape {taken.index.shape}")
    if len(thresholds) != 1:
        if len(thresholds) != taken.index.shape[axis]:
            raise ModelError(f"it has {len(thresholds)} rows of thresholds for {taken.index.shape[axis]} channels")
        shape = [1] * taken.index.ndim
        shape[axis] = -1
        thresholds = np.stack([taken.by_channel(column.reshape(shape)) for column in thresholds.T], axis=1)
    scale, bias = node.number("out_scale", 1.0), node.number("out_bias", 0.0)
    _finite(np.array([scale, bias]))
    _positive(np.array([scale]))
    levels = np.float32(scale) * np.arange(thresholds.shape[1] + 1, dtype=np.float32) + np.float32(bias)
    # a table has channels along its axis 1, as the layout NC says
    return _quantizer(node, taken, [thresholds], levels[:, None], {"data_layout"}, work=1 + thresholds.shape[1] // 8)


def _quantizer(
    node: Node,
    taken: Activations,
    constants: list[np.ndarray],
    levels: np.ndarray,
    without: frozenset[str] | set[str] = frozenset(),
    *,
    work: int = 2,
) -> Activations:
    message = onnx.NodeProto()
    message.CopyFrom(node.message)
    message.ClearField("attribute")
    message.attribute.extend(each for each in node.message.attribute if each.name not in without)
    operator = Node(message, node.inputs, node.opset, node.folder).operator()
    return taken.then(
        Step(node.label, lambda table: operator(table, *constants), levels=levels.astype(np.float32), work=work)
    )


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ModelError("its parameters contain NaN, infinity or no numbers, but all must be finite")
    return values


def _positive(scale: np.ndarray) -> None:
    if (scale <= 0).any():
        raise ModelError(f"its scale is {scale.min():g}, but it must be positive")


STEPS: Final[dict[str, Callable[[Node], Any]]] = {
    "Add": arithmetic,
    "BatchNormalization": batch_norm,
    "Clip": arithmetic,
    "Div": arithmetic,
    "Max": arithmetic,
    "Min": arithmetic,
    "Mul": arithmetic,
    "Neg": arithmetic,
    "Relu": arithmetic,
    "Sign": sign,
    "Sub": arithmetic,
}
"""ONNX's own."""

QUANTIZERS: Final[dict[str, Callable[[Node], Any]]] = {
    "BipolarQuant": bipolar,
    "IntQuant": quantize,
    "MultiThreshold": multi_threshold,
    "Quant": quantize,
}
"""QONNX's and FINN's."""
