"""Attributes of ONNX operators that are known: one that is not could change what the operator means."""

from collections.abc import Mapping
from typing import Any, Final

from celosia.host.models.errors import ModelError

_WINDOW: Final = "auto_pad kernel_shape pads strides"
_CONV: Final = f"{_WINDOW} dilations group"
_POOL: Final = f"{_WINDOW} dilations ceil_mode"

_KNOWN: Final[Mapping[str, str]] = {
    "AveragePool": f"{_POOL} count_include_pad",
    "Clip": "min max",
    "Concat": "axis",
    "Constant": "sparse_value value value_float value_floats value_int value_ints value_string value_strings",
    "Conv": _CONV,
    "DequantizeLinear": "axis block_size output_dtype",
    "Dropout": "ratio seed",
    "Flatten": "axis",
    "Gemm": "alpha beta transA transB",
    "MaxPool": f"{_POOL} storage_order",
    "QGemm": "alpha transA transB",
    "QLinearAveragePool": f"{_WINDOW} ceil_mode channels_last count_include_pad",
    "QLinearConcat": "axis",
    "QLinearConv": _CONV,
    "QLinearGlobalAveragePool": "channels_last",
    "QuantizeLinear": "axis block_size output_dtype precision saturate",
    "ReduceMean": "axes keepdims noop_with_empty_axes",
    "Reshape": "allowzero",
    "Squeeze": "axes",
    "Transpose": "perm",
    "Unsqueeze": "axes",
}
"""Operator that can be read → names of its attributes, none if it is not here."""


def check_attributes(message: Any) -> None:
    """Refuse attributes of an onnx.NodeProto that are not known, or there twice.

    Raises
    ------
    ModelError
        Naming the first one.
    """
    known = _KNOWN.get(message.op_type, "").split()
    seen = set[str]()
    for attribute in message.attribute:
        if attribute.name not in known:
            raise ModelError(f"its attribute {attribute.name!r} is not known")
        if attribute.name in seen:
            raise ModelError(f"its attribute {attribute.name!r} is there twice")
        seen.add(attribute.name)
