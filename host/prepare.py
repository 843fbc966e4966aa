"""Models and inputs made ready to run: quantized, checked, in the right shape."""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from celosia.host.binarize import Binarization, binarize
from celosia.host.calibration import calibration_values
from celosia.host.compress import Compression, compress
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.integers import BIPOLAR, container, integer_range
from celosia.host.models.ir import Network
from celosia.host.quantize import Quantization, quantize
from celosia.hw.config import AcceleratorConfig


def prepare(
    model: Network | FloatNetwork,
    inputs: np.ndarray,
    config: AcceleratorConfig,
    *,
    calibration: np.ndarray | None = None,
) -> tuple[Network, np.ndarray]:
    """Turn a model and its inputs into integers.

    Parameters
    ----------
    model : Network or FloatNetwork
        A float network is quantized to the widths of the config; for the sparse engine its zeros count as pruned, and
        its weights are shared; for the binary engine its weights and the activations between its layers become signs.
    inputs : ndarray (n, …)
        Real values; or, for a quantized model without `input_thresholds`, integers of its input type if the array is of
        an integer type.
    config : AcceleratorConfig
    calibration : ndarray (n, …) of real values or None
        Typical inputs that a float network's ranges are taken from; None: the inputs.

    Returns
    -------
    network : Network
    inputs : ndarray of integers, (n, *shape of the first layer's input)

    Raises
    ------
    ModelError
        The inputs do not fit the model, or a float network cannot be turned into such integers.
    """
    values = check_inputs(model, inputs)
    if isinstance(model, FloatNetwork):
        method = _METHODS.get(config.engine_name, _quantize)
        network = method(model, values if calibration is None else calibration, config.engine)
        return network, network.quantize_input(values)
    real = values.dtype.kind == "f" or model.input_thresholds is not None
    integers = model.quantize_input(values) if real else values.astype(container(model.input_dtype))
    return model, model.layer_inputs(integers)


def _quantize(model: FloatNetwork, calibration: np.ndarray, engine: Any) -> Network:
    options = Quantization(
        weight_width=getattr(engine, "weight_width", 8),
        activation_width=getattr(engine, "activation_width", 8),
        signed=getattr(engine, "activation_signed", True),
    )
    return quantize(model, calibration, options).network


def _compress(model: FloatNetwork, calibration: np.ndarray, engine: Any) -> Network:
    options = Compression(
        codebook_width=engine.codebook_width,
        weight_width=engine.weight_width,
        activation_width=engine.activation_width,
        signed=engine.activation_signed,
        accumulator_width=engine.accumulator_width,
    )
    return compress(model, calibration, options).network


def _binarize(model: FloatNetwork, calibration: np.ndarray, engine: Any) -> Network:
    values = calibration_values(model, calibration)
    lowest, highest = float(values.min()), float(values.max())
    if engine.activation_width > 1:
        sign = "" if lowest < 0 else "u"
        return binarize(model, values, Binarization(input_dtype=f"{sign}int{engine.activation_width}"))
    # values that are never negative would all be +1 with a threshold of 0
    return binarize(model, values, Binarization(input_threshold=0.0 if lowest < 0 else highest / 2))


_METHODS: Final[dict[str, Callable[[FloatNetwork, np.ndarray, Any], Network]]] = {
    "sparse": _compress,
    "binary": _binarize,
}
"""How a float network becomes integers, for the engines that take others than :func:`quantize` makes."""


def check_inputs(model: Network | FloatNetwork, inputs: np.ndarray) -> np.ndarray:
    """Return inputs in the model's shape, (n, *input_shape), once they have been checked.

    Raises
    ------
    ModelError
        Their shape or type is wrong, or one of them is NaN, infinite, or out of the range of a quantized model's type.
    """
    values, shape = np.asarray(inputs), model.input_shape
    if values.dtype.kind not in "iuf":
        raise ModelError(f"the inputs are of type {values.dtype}, but numbers are needed.")
    if values.ndim < 2 or not len(values) or math.prod(values.shape[1:]) != math.prod(shape):
        wanted = ", ".join(map(str, shape))
        raise ModelError(f"the inputs have shape {values.shape}, but the model takes (batch, {wanted}).")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ModelError("the inputs contain NaN or infinity, but all must be finite.")
    if isinstance(model, Network) and model.input_thresholds is None and values.dtype.kind != "f":
        low, high = integer_range(model.input_dtype)
        if values.min() < low or values.max() > high:
            raise ModelError(
                f"the inputs reach from {values.min()} to {values.max()}, "
                f"but {model.input_dtype} holds {low} to {high}."
            )
        if model.input_dtype == BIPOLAR and not values.all():
            raise ModelError("the inputs contain integers 0, but bipolar inputs are −1 or +1.")
    return values.reshape(len(values), *shape)
