"""Multipliers that round as onnxruntime's integer kernels do, which multiply in float32.

QLinearConv, QLinearMatMul, QGemm and QLinearGlobalAveragePool (onnxruntime 1.32) give
``clamp(rint(float32(float32(sum) · scale)) + zero_point)``. A product next to a tie can become the tie in float32, and
then goes to the even neighbour, whatever side it was on. The networks that :func:`celosia.host.models.onnx.read_onnx`
gives multiply exactly, and so differ for such sums. Which sums do is known beforehand: both rise with the sum, so they
are equal for every sum that can occur if they step at the same sums. Here multipliers are chosen with which they do,
where there are such.
"""

import dataclasses
from typing import Any, Final

import numpy as np

from celosia.host.models.convolution import Conv2d
from celosia.host.models.ir import Dense, Layer, Network
from celosia.host.models.requantization import MAX_MULTIPLIER

_BEYOND: Final = 2**40
"""More than any sum of 32 bits."""


def round_as_onnxruntime(network: Network) -> tuple[Network, dict[str, np.ndarray]]:
    """Choose multipliers with which layers equal onnxruntime's integer kernels for all inputs, and say where none does.

    That is about layers with weights in a file of QOperator form. onnxruntime adds (QLinearAdd), rescales
    (QLinearConcat) and averages over windows (QLinearAveragePool) in float32 in ways of their own; so it does what is
    between DequantizeLinear and QuantizeLinear, unless it replaces that by these kernels.

    Parameters
    ----------
    network : Network
        As :func:`celosia.host.models.onnx.read_onnx` gives it.

    Returns
    -------
    network : Network
        The same with other multipliers.
    unequal : dict of str to ndarray of int64
        Name of a layer → those of its outputs that keep their multiplier, because none of 31 bits equals float32 for
        every sum that can occur. Of 500 random scales, those were 1 for sums of 12 bits, 14 for 16, 212 for 20.
    """
    layers, unequal = list(network.layers), dict[str, np.ndarray]()
    for index, layer in enumerate(layers):
        if isinstance(layer, Dense | Conv2d):
            layers[index], found = _choose(layer)
            if not found.all():
                unequal[layer.name] = np.flatnonzero(~found)
    return dataclasses.replace(network, layers=layers), unequal


def _choose(layer: Dense | Conv2d) -> tuple[Layer, np.ndarray]:
    """A layer with other multipliers, and for which outputs one was found."""
    least, most = (sums + layer.bias for sums in layer.product_sums)
    narrow = (least >= -(2**31)) & (most < 2**31)  # else onnxruntime's sums overflow
    least, most = np.clip(least, -(2**31), 2**31 - 1), np.clip(most, -(2**31), 2**31 - 1)
    steps = np.arange(layer.minimum + 1, layer.maximum + 1) - layer.output_zero_point
    multiplier, found = nearest_multipliers(layer.multiplier, layer.shift, least, most, steps)
    found &= narrow
    changed: Any = dataclasses.replace(layer, multiplier=np.where(found, multiplier, layer.multiplier))
    return changed, found


def nearest_multipliers(
    multiplier: np.ndarray, shift: np.ndarray, least: np.ndarray, most: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers, nearest to given ones that are float32 scales, that round half to even as float32 does.

    Parameters
    ----------
    multiplier, shift : ndarray (N,) of int64
        multiplier · 2^(shift − 31) is a float32.
    least, most : ndarray (N,) of int64
        Bounds of the sums, of 32 bits.
    steps : ndarray (S,) of int64
        Outputs without their zero point, but for the least.

    Returns
    -------
    multiplier : ndarray (N,) of int64
    found : ndarray (N,) of bool
        Whether it equals float32 for all sums.
    """
    scales = np.ldexp(multiplier.astype(np.float64), shift - 31).astype(np.float32)
    first = _first_sums(scales[:, None], steps)
    # A sum reaches a step if sum · multiplier reaches this bound: the tie below the step if the step is even, which
    # ties go to, else what is behind it.
    kind = np.int64 if shift.min() >= -22 else object  # the bound's bits: those of twice a step, and 30 − shift
    power = np.array([2 ** int(30 - value) for value in shift], kind)[:, None]
    bound = (2 * steps - 1).astype(kind) * power + steps % 2
    least, most = least[:, None], most[:, None]
    reaches, misses = np.maximum(first, least), np.minimum(first - 1, most)
    low, high = _limits(reaches, bound, reaches <= most)
    # not to reach a bound is for the negative sum to reach what is before it
    other_low, other_high = _limits(-misses, 1 - bound, misses >= least)
    low, high = np.maximum(low, other_low), np.minimum(high, other_high)
    found = low <= high
    return np.where(found, np.clip(multiplier, low, np.maximum(low, high)), multiplier), found


def _limits(sums: np.ndarray, bound: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest multiplier with which relevant sums reach their bounds; a sum of 0 always does.

    That is because float32 and all multipliers make 0 of it.
    """
    divisor = np.where(sums == 0, 1, sums)
    low = np.where(relevant & (sums > 0), -(-bound // divisor), 1)
    high = np.where(relevant & (sums < 0), bound // divisor, MAX_MULTIPLIER)
    return (
        np.clip(low.max(axis=1), 1, MAX_MULTIPLIER + 1).astype(np.int64),
        np.clip(high.min(axis=1), 0, MAX_MULTIPLIER).astype(np.int64),
    )


def _first_sums(scales: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the smallest sum from which on float32 gives a step or more: int64 (N, S), by bisection."""
    low = np.full((len(scales), len(steps)), -_BEYOND)  # does not reach the step
    high = np.full_like(low, _BEYOND)
    while (high - low).max() > 1:
        middle = (low + high) >> 1
        reached = np.rint(middle.astype(np.float32) * scales) >= steps
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
