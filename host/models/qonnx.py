"""QONNX and FINN-ONNX files, and ONNX files with Sign: binarized and few-bit networks.

Sources: QONNX (Pappalardo et al. 2022, arXiv 2206.07527) and its package, whose execution, one operator after the
other, is the reference; FINN (Umuroglu et al. 2017, arXiv 1612.07119).

What is between a matrix product and the next one (batch-norm, clamps, quantizers and so on) becomes integer thresholds.
They are found by executing the very operators of the file, in float32 and with the reference's own implementations, on
every sum that the product can give (where these are too many, on those around each threshold: all operators are
monotone); so they are exact by construction, whatever is rounded on the way.

Where that is not the last word: the reference multiplies matrices of floats. If the scales of weights and activations
are powers of two, as in most such networks, its sums are exact. If they are not, its sums are rounded in an order that
only its kernels know; here they are the exact integer sum times the scales, rounded once to float32. So a sum that is
within a few float32 steps of a threshold can be on its other side in the reference. The same holds for the bias of
Gemm.
"""

import types
from pathlib import Path
from typing import Any, Final

from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network

OPERATORS: Final = frozenset(
    ["BipolarQuant", "FloatQuant", "IntQuant", "MultiThreshold", "Quant", "Sign", "Trunc", "XnorPopcountMatMul"]
)
_DOMAINS: Final = ("qonnx.", "finn", "onnx.brevitas")


def is_binarized(model: Any) -> bool:
    """Whether an onnx.ModelProto has an operator of QONNX or FINN, or a Sign."""
    return any(node.op_type in OPERATORS or str(node.domain).startswith(_DOMAINS) for node in model.graph.node)


def read_qonnx(model: Any, path: Path) -> Network:
    """Read a network for which :func:`is_binarized` is true.

    Parameters
    ----------
    model : onnx.ModelProto
    path : Path
        Where it was read from: gives the network's name and the folder of outside tensors.

    Returns
    -------
    Network
        Of `BinaryDense` and `BinaryConv`. Operators after the last sums that do not change which is the largest
        (Softmax, ArgMax, TopK) are left out.

    Raises
    ------
    ModelError
        If the package ``qonnx`` is missing, or naming everything in the graph that is not supported.
    """
    _check_packages()
    from celosia.host.models.qonnx_graph import GraphReader

    return GraphReader(model, path).read()


def _check_packages() -> tuple[types.ModuleType, ...]:
    try:
        import onnxruntime
        import qonnx
    except ImportError as error:
        raise ModelError(
            f"reading binarized networks from .onnx files needs the package {error.name}, which is missing; "
            "pip install 'celosia[qonnx]' installs it."
        ) from None
    return onnxruntime, qonnx
