from collections.abc import Callable

import numpy as np
import pytest

from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Dense, Network


def _round_shift(product: int, shift: int, rounding: str) -> int:
    """product / 2^shift, rounded once."""
    quotient, rest = divmod(product, 2**shift)
    half = 2**shift // 2 if shift else 1
    tie = {"up": True, "even": quotient % 2 == 1, "away": product >= 0}[rounding]
    return quotient + (rest > half or (rest == half and tie))


def _scale(value: int, multiplier: int, shift: int, rounding: str) -> int:
    if rounding != "double":
        return _round_shift(value * multiplier, 31 - shift, rounding)
    product = (value << max(shift, 0)) * multiplier
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    high = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)  # C's division truncates
    return _round_shift(high, max(-shift, 0), "away")


def _evaluate_dense(layer: Dense, inputs: np.ndarray) -> np.ndarray:
    acc = (inputs.astype(object) - layer.input_zero_point) @ layer.weights.astype(object) + layer.bias.astype(object)
    outputs = np.empty(acc.shape, dtype=np.int64)
    for (row, n), value in np.ndenumerate(acc):
        scaled = _scale(int(value), int(layer.multiplier[n]), int(layer.shift[n]), layer.rounding)
        outputs[row, n] = min(max(scaled + layer.output_zero_point, layer.minimum), layer.maximum)
    return outputs


def _evaluate_compressed(layer: CompressedDense, inputs: np.ndarray) -> np.ndarray:
    acc = inputs.astype(object) @ layer.weights.astype(object) + layer.bias.astype(object)
    outputs = [[(value + (1 << layer.shift >> 1)) // 2**layer.shift for value in row] for row in acc.tolist()]
    return np.clip(outputs, layer.minimum, layer.maximum).astype(np.int64)


_KINDS = {Dense: _evaluate_dense, CompressedDense: _evaluate_compressed}


@pytest.fixture(scope="session")
def evaluate() -> Callable[[Network, np.ndarray], np.ndarray]:
    """Slow, exact evaluation of a network in Python's integers: (batch, K) -> (batch, N) int64."""

    def evaluate_network(network: Network, inputs: np.ndarray) -> np.ndarray:
        values = inputs.reshape(len(inputs), -1)
        for layer in network.layers:
            values = _KINDS[type(layer)](layer, values)
        return values

    return evaluate_network
