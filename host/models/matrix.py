"""What layers that multiply by a matrix have in common. K is the number of inputs, N the number of outputs."""

from functools import cached_property
from typing import Any, Protocol

import numpy as np

from celosia.host.models.integers import integer_range, signed_width


class _HasWeights(Protocol):
    @property
    def weights(self) -> np.ndarray: ...


class MatrixLayer:
    """Shapes and work of a layer with `weights` (K, N)."""

    @property
    def input_shape(self: _HasWeights) -> tuple[int]:
        """``(K,)``."""
        return (self.weights.shape[0],)

    @property
    def output_shape(self: _HasWeights) -> tuple[int]:
        """``(N,)``."""
        return (self.weights.shape[1],)

    @property
    def macs(self: _HasWeights) -> int:
        """Multiply-accumulates for one input: K · N."""
        return self.weights.size


class IntegerWeights:
    """Widths of a layer with integer `weights` (…, N), `bias` (N,) of int64, `input_dtype` and `input_zero_point`."""

    @cached_property
    def weight_range(self: Any) -> tuple[int, int]:
        """Smallest and largest weight."""
        return int(self.weights.min()), int(self.weights.max())

    @cached_property
    def weight_sums(self: Any) -> tuple[np.ndarray, np.ndarray]:
        """Sum of the positive and of the negative weights of each output: int64, (N,)."""
        weights = self.weights.reshape(-1, self.weights.shape[-1])
        positive = np.maximum(weights, 0).sum(axis=0, dtype=np.int64)
        return positive, weights.sum(axis=0, dtype=np.int64) - positive

    @property
    def weight_width(self: Any) -> int:
        """Smallest signed width that holds every weight, in bits (at least 2)."""
        return signed_width(*self.weight_range)

    @property
    def product_sums(self: Any) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest sum of products, without the bias, of each output for any inputs: int64, (N,)."""
        smallest, largest = (limit - self.input_zero_point for limit in integer_range(self.input_dtype))
        positive, negative = self.weight_sums
        return positive * smallest + negative * largest, positive * largest + negative * smallest

    @property
    def accumulator_width(self: Any) -> int:
        """Smallest signed width, in bits, that no inputs can overflow in any order of the sum."""
        # zero_point lies in the type, so smallest <= 0 <= largest and adding terms never shrinks these bounds
        least, most = self.product_sums
        least, most = least + np.minimum(self.bias, 0), most + np.maximum(self.bias, 0)
        return signed_width(int(least.min()), int(most.max()))


class IntegerMatrixLayer(IntegerWeights, MatrixLayer):
    """A layer with integer `weights` (K, N), `bias` (N,) of int64, `input_dtype` and `input_zero_point`."""
