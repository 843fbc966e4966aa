"""How a wide product is cut into products of DSP size: which limbs, and which products share a row of the sum."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

LIMB_WIDTH = 17  # bits of an unsigned limb: the largest that a signed 18-bit multiplier takes
MULTIPLIER_LATENCY = 3  # cycles; that of `celosia.hw.multiplier.Multiplier`


@dataclass(frozen=True)
class PartialProduct:
    """Product of the bits `a` of the first operand and `b` of the second, each a (start, end) pair."""

    a: tuple[int, int]
    b: tuple[int, int]
    signed: bool  # whether `a` has the sign of its operand

    @property
    def offset(self) -> int:
        """Weight of the least significant bit, as a power of two."""
        return self.a[0] + self.b[0]

    @property
    def end(self) -> int:
        """One more than the weight of the most significant bit."""
        return self.a[1] + self.b[1]


def partial_products(a_width: int, b_width: int) -> list[PartialProduct]:
    """Cut the product of a signed number of `a_width` bits and an unsigned one of `b_width`."""
    a_starts = range(0, max(a_width - 1, 1), LIMB_WIDTH)  # the top limb has up to 18 bits, as it has the sign
    a_limbs = [(start, a_width if start == a_starts[-1] else start + LIMB_WIDTH) for start in a_starts]
    b_limbs = [(start, min(start + LIMB_WIDTH, b_width)) for start in range(0, b_width, LIMB_WIDTH)]
    return [PartialProduct(a, b, signed=a[1] == a_width) for a in a_limbs for b in b_limbs]


def rows(products: Iterable[PartialProduct]) -> list[list[PartialProduct]]:
    """Put products that lie side by side into one row, which needs no adder; rows and products by rising offset."""
    result: list[list[PartialProduct]] = []
    for product in sorted(products, key=lambda product: product.offset):
        room = [row for row in result if row[-1].end == product.offset and not row[-1].signed]
        if room:
            room[0].append(product)
        else:
            result.append([product])
    return result


@cache
def product_latency(a_width: int, b_width: int) -> int:
    """Return the cycles of the multipliers and of the adder tree that sums the rows in pairs."""
    return MULTIPLIER_LATENCY + (len(rows(partial_products(a_width, b_width))) - 1).bit_length()
