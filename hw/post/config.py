"""Configuration of a requantizer lane."""

from dataclasses import dataclass

from celosia.hw.post.limbs import partial_products, product_latency
from celosia.hw.post.parameters import MULTIPLIER_WIDTH

STEPS = 8  # cycles around the product: one to add the bias, three to shift, one each to round, add, compare and choose
MAX_ACCUMULATOR_WIDTH = 48  # bits


@dataclass(frozen=True, kw_only=True)
class RequantizerConfig:
    """Choices for one requantizer lane.

    Parameters
    ----------
    accumulator_width : int
        Bits of an accumulator and of a bias, both signed, 2 to 48.
    output_width : int
        Bits of a result, of the zero point and of the clamp's bounds, 2 to 16.
    output_signed : bool
        Whether these are two's complement.

    Raises
    ------
    ValueError
        A width is out of its range.
    """

    accumulator_width: int = 32
    output_width: int = 8
    output_signed: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.accumulator_width <= MAX_ACCUMULATOR_WIDTH:
            raise ValueError(
                f"accumulator_width={self.accumulator_width} must be from 2 to {MAX_ACCUMULATOR_WIDTH} bits."
            )
        if not 2 <= self.output_width <= 16:
            raise ValueError(f"output_width={self.output_width} must be from 2 to 16 bits.")

    @property
    def output_range(self) -> tuple[int, int]:
        """Smallest and largest result."""
        if self.output_signed:
            return -(1 << (self.output_width - 1)), (1 << (self.output_width - 1)) - 1
        return 0, (1 << self.output_width) - 1

    @property
    def latency(self) -> int:
        """Cycles from a beat to its result."""
        return product_latency(self.accumulator_width + 1, MULTIPLIER_WIDTH) + STEPS

    @property
    def dsp_count(self) -> int:
        """DSP blocks of 18 × 18 bits."""
        return len(partial_products(self.accumulator_width + 1, MULTIPLIER_WIDTH))
