"""Executes one operator of an ONNX graph as the reference does: QONNX's own in qonnx, all others in onnxruntime."""

import warnings
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from qonnx.custom_op.registry import getCustomOp

from celosia.host.models.errors import ModelError

QONNX_DOMAIN: Final = "qonnx.custom_op.general"
_IR_VERSION: Final = 8
_ERRORS_ONLY: Final = 3


class Operator:
    """One operator, ready to be executed on arrays of any size.

    Parameters
    ----------
    node : onnx.NodeProto
        Its names of inputs and outputs do not matter, but an empty one means an input that is left out.
    domain : str
        ``""`` or :data:`QONNX_DOMAIN`.
    opset : int
        Version of the operators of that domain.
    """

    def __init__(self, node: Any, domain: str, opset: int) -> None:
        self._node = onnx.NodeProto()
        self._node.CopyFrom(node)
        self._node.domain = domain
        self._node.ClearField("input")
        self._node.input.extend(f"x{index}" if name else "" for index, name in enumerate(node.input))
        self._node.ClearField("output")
        self._node.output.append("y")  # no operator with more than one output that counts is executed
        self._opset = opset
        self._session: Any = None

    def __call__(self, *inputs: np.ndarray | None) -> np.ndarray:
        """Return the first output; an input that is left out is None.

        Raises
        ------
        ModelError
            If the operator cannot be executed.
        """
        given = {
            name: value for name, value in zip(self._node.input, inputs, strict=True) if name and value is not None
        }
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = self._run_qonnx(given) if self._node.domain else self._run_onnx(given)
        except Exception as error:  # both packages raise whatever comes to them
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise ModelError(f"it cannot be executed ({type(error).__name__}: {reason[:200]})") from None
        return np.asarray(result)

    def _run_qonnx(self, given: dict[str, np.ndarray]) -> Any:
        context: dict[str, Any] = dict(given)
        getCustomOp(self._node, onnx_opset_version=self._opset).execute_node(context, onnx.GraphProto())
        return context["y"]

    def _run_onnx(self, given: dict[str, np.ndarray]) -> Any:
        if self._session is None:
            self._session = self._open(given)
        return self._session.run(None, given)[0]

    def _open(self, given: dict[str, np.ndarray]) -> Any:
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)
            for name, value in given.items()
        ]
        output = onnx.ValueInfoProto(name="y")  # its type is inferred
        graph = helper.make_graph([self._node], "operator", inputs, [output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=_IR_VERSION)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # would print what is wrong, and try the same again
        )
