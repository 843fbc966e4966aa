from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper


def save(path: Path, nodes, arrays, shape=("batch", 20), **options) -> Path:
    """A graph from x to y; `arrays` are its initializers."""
    elem_type = options.get("elem_type", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", elem_type, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", options.get("opset", 17)), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def save_graph() -> Callable[..., Path]:
    """Writes an ONNX model of one graph."""
    return save


@pytest.fixture(scope="session")
def seven_bit_weights() -> bool:
    """Whether onnxruntime's sums are exact for weights of seven bits only, as on x86 processors without VNNI.

    There its kernels add pairs of products in 16 bits, which saturate.
    """
    product = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "graph",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 4]),
            helper.make_tensor_value_info("b", TensorProto.INT8, [4, 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1])],
    )
    model = helper.make_model(product, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (total,) = session.run(None, {"a": np.full((1, 4), 255, np.uint8), "b": np.full((4, 1), 127, np.int8)})
    return total.item() != 4 * 255 * 127
