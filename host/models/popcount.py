"""Binarized layers in BNN-PYNQ's form: packed bits, and thresholds on popcounts.

Source: Xilinx/BNN-PYNQ, the hardware library of FINN (Umuroglu et al. 2017, arXiv 1612.07119). A bit 1 stands for +1,
a bit 0 for −1; an output is 1 if ``popcount(XNOR(inputs, weights)) > threshold``.

K is the number of inputs, N the number of outputs.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from celosia.host.models.binary import BinaryDense
from celosia.host.models.checks import layer_label
from celosia.host.models.errors import ModelError

MAX_THRESHOLD: Final = 2**31 - 1
"""Largest magnitude of a popcount's threshold, that of the int32 which BNN-PYNQ keeps it in."""


def dense_from_popcount(name: str, weights: npt.ArrayLike, thresholds: npt.ArrayLike) -> BinaryDense:
    """Return the layer that packed bits and thresholds on popcounts describe.

    The sum of ±1 is ``2 · popcount − K``, so ``popcount > threshold`` is ``sum >= 2 · (threshold + 1) − K``. A
    threshold that every popcount passes, or none, becomes the smallest or 1 more than the largest sum.

    Parameters
    ----------
    name : str
        Name of the layer.
    weights : array_like (N, K / 8) of uint8
        Bit i of byte b is the weight of input ``8 · b + i``.
    thresholds : array_like (N,) of integers
        −2^31 to 2^31 − 1, without a fraction.

    Raises
    ------
    ModelError
        If a shape, type or value is outside of what is said above.
    """
    where = layer_label(name)
    packed, limits = np.asarray(weights), np.asarray(thresholds)
    if packed.dtype != np.uint8 or packed.ndim != 2 or 0 in packed.shape:
        raise ModelError(
            f"{where}: the packed weights are {packed.dtype} of shape {packed.shape}, but uint8 of shape (N, K / 8) is "
            "needed."
        )
    if limits.dtype.kind not in "iu" or limits.shape != (len(packed),):
        raise ModelError(
            f"{where}: the thresholds are {limits.dtype} of shape {limits.shape}, but integers of shape "
            f"({len(packed)},) are needed."
        )
    outside = np.flatnonzero((limits < -MAX_THRESHOLD - 1) | (limits > MAX_THRESHOLD))
    if outside.size:
        raise ModelError(
            f"{where}: threshold {outside[0]} is {limits[outside[0]]}, but it must be from {-MAX_THRESHOLD - 1} to "
            f"{MAX_THRESHOLD}."
        )
    bits = np.unpackbits(packed, axis=1, bitorder="little")
    inputs = bits.shape[1]
    popcounts = np.clip(limits.astype(np.int64) + 1, 0, inputs + 1)  # the smallest that gives 1
    sums = np.minimum(2 * popcounts - inputs, inputs + 1)
    return BinaryDense(name=name, weights=bits.T.astype(np.int8) * 2 - 1, thresholds=sums[:, None])
