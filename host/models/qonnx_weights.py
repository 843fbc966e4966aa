"""Real weights of a product as −1, 0, +1 and one positive factor for each output."""

import numpy as np

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_values import MAX_BYTES


def split_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find ``weights = signs · alpha``.

    Parameters
    ----------
    weights : ndarray (…, N) of float or integers

    Returns
    -------
    signs : ndarray (…, N) of int8
        −1, 0 or +1.
    alpha : ndarray (N,) of float64
        Positive; 1 for an output whose weights are all 0.

    Raises
    ------
    ModelError
        If there are none, or the weights of an output have more than one magnitude, or are not finite.
    """
    if weights.size == 0 or weights.dtype.kind not in "fiu" or weights.size * 8 > MAX_BYTES:
        raise ModelError(f"its weights are {weights.dtype} of shape {weights.shape}, which cannot be used")
    matrix = weights.reshape(-1, weights.shape[-1])
    magnitudes = np.abs(matrix.astype(np.float32 if matrix.dtype != np.float64 else np.float64))
    if not np.isfinite(magnitudes).all():
        raise ModelError("its weights contain NaN or infinity")
    alpha = magnitudes.max(axis=0)
    wrong = ((magnitudes != alpha) & (magnitudes != 0)).any(axis=0)
    if wrong.any():
        output = int(np.argmax(wrong))
        values = np.unique(matrix[:, output])
        raise ModelError(
            f"its weights have {len(values)} different values from {values[0]:g} to {values[-1]:g} in output {output}, "
            "but only ±alpha and 0 with one alpha for each output (binarized or ternary weights) can be used"
        )
    signs = np.sign(weights.astype(np.float64)).astype(np.int8)
    return signs, np.where(alpha == 0, 1.0, alpha).astype(np.float64)
