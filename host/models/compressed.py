"""Dense layers as Deep Compression leaves them: pruned, their weights shared through a codebook.

Source: Han, Mao and Dally 2016, arXiv 1510.00149. K is the number of inputs of a layer, N the number of its outputs,
C the number of values in its codebook.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from celosia.host.models.checks import check_matrix, check_range, frozen, integer, integer_vector, layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.matrix import IntegerMatrixLayer
from celosia.host.models.requantization import BIAS_BITS

MAX_CODES: Final = 256
MAX_RIGHT_SHIFT: Final = 47
_DTYPES: Final = ("int8", "int16", "uint8", "uint16")


@dataclass(frozen=True, kw_only=True, eq=False)
class CompressedDense(IntegerMatrixLayer):
    """Fully connected layer in integers, most of its weights zero, its output scaled by a power of two.

    ``acc[n] = Σ_k x[k] · weights[k, n] + bias[n]`` and
    ``y[n] = clamp(floor((acc[n] + (1 << shift >> 1)) / 2^shift), minimum, maximum)``: rounded once, ties towards +∞.
    Zero points are 0, so that an input of 0 adds nothing and can be skipped. Activation functions are in the clamp.

    Parameters
    ----------
    name : str
        Name of the layer.
    codes : ndarray (K, N), uint8; without a codebook int8 or int16
        Which value of the codebook each weight has; without a codebook the weights themselves, stored as int16.
    codebook : ndarray (C,) of any integer type, or None
        2 to 256 values within int16; value 0 is 0. Stored as int64.
    bias : ndarray (N,), any integer type
        In units of the accumulator; within 48 bits, signed. Stored as int64.
    shift : int
        0 to 47, to the right.
    minimum, maximum : int
        Clamp of the output, within `output_dtype`.
    input_dtype, output_dtype : {"int8", "int16", "uint8", "uint16"}
        Types of the activations.

    Raises
    ------
    ModelError
        If a shape, type or value is outside of what is said above.
    """

    name: str
    codes: np.ndarray
    codebook: np.ndarray | None
    bias: np.ndarray
    shift: int
    minimum: int
    maximum: int
    input_dtype: str = "int8"
    output_dtype: str = "int8"

    def __post_init__(self) -> None:
        where = layer_label(self.name)
        self._check_codes(where)
        bias = integer_vector(where, "bias", self.bias, self.codes.shape[1])
        check_range(where, "bias", bias, -(2 ** (BIAS_BITS - 1)), 2 ** (BIAS_BITS - 1) - 1)
        object.__setattr__(self, "bias", bias)
        for dtype in (self.input_dtype, self.output_dtype):
            if dtype not in _DTYPES:
                raise ModelError(f"{where}: dtype {dtype!r} is not one of {', '.join(_DTYPES)}.")
        for field, (smallest, largest) in (
            ("shift", (0, MAX_RIGHT_SHIFT)),
            ("minimum", integer_range(self.output_dtype)),
            ("maximum", integer_range(self.output_dtype)),
        ):
            object.__setattr__(self, field, integer(where, field, getattr(self, field), smallest, largest))
        if self.minimum > self.maximum:
            raise ModelError(f"{where}: minimum {self.minimum} is above maximum {self.maximum}; it must not be.")

    def _check_codes(self, where: str) -> None:
        codes = np.asarray(self.codes)
        allowed = ("int8", "int16") if self.codebook is None else ("uint8",)
        if codes.dtype.name not in allowed:
            kind = "without a codebook" if self.codebook is None else "with a codebook"
            raise ModelError(f"{where}: the codes are {codes.dtype}, but {kind} they must be {' or '.join(allowed)}.")
        check_matrix(where, codes)
        object.__setattr__(self, "codes", frozen(codes, np.int16 if self.codebook is None else np.uint8))
        if self.codebook is None:
            return
        size = np.size(self.codebook)
        if np.ndim(self.codebook) != 1 or not 2 <= size <= MAX_CODES:
            raise ModelError(
                f"{where}: the codebook has shape {np.shape(self.codebook)}, but 2 to {MAX_CODES} values are needed."
            )
        codebook = integer_vector(where, "codebook", self.codebook, size)
        check_range(where, "codebook", codebook, *integer_range("int16"))
        if codebook[0]:
            raise ModelError(f"{where}: codebook[0] is {codebook[0]}, but it must be 0, the value of pruned weights.")
        if codes.max() >= size:
            raise ModelError(f"{where}: a code is {codes.max()}, but a codebook of {size} values ends at {size - 1}.")
        object.__setattr__(self, "codebook", codebook)

    @property
    def input_zero_point(self) -> int:
        """The input integer that stands for 0.0: 0."""
        return 0

    @property
    def output_zero_point(self) -> int:
        """The output integer that stands for 0.0: 0."""
        return 0

    @property
    def weights(self) -> np.ndarray:
        """The weights that the codes stand for: int16 (K, N), read-only."""
        return self._weights

    @cached_property
    def _weights(self) -> np.ndarray:
        if self.codebook is None:
            return self.codes
        return frozen(self.codebook.astype(np.int16)[self.codes], np.int16)

    @cached_property
    def nonzeros(self) -> int:
        """Codes that are not 0."""
        return int(np.count_nonzero(self.codes))

    @property
    def density(self) -> float:
        """Share of the codes that are not 0."""
        return self.nonzeros / self.codes.size
