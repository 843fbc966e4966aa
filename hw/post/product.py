"""Exact product of a wide signed number and an unsigned one, from DSP-sized partial products."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.multiplier import Multiplier
from celosia.hw.pipeline import delay
from celosia.hw.post.limbs import PartialProduct, partial_products, product_latency, rows


@dataclass(frozen=True)
class _Term:
    """A summand: `bits` · 2**`offset`."""

    bits: Value
    offset: int


class WideProduct(wiring.Component):
    """Product of a signed number and an unsigned one.

    Both are cut into limbs of 17 bits (the top one of the signed number has up to 18). Each pair of limbs is multiplied
    in one DSP block, and the products are summed in a tree with a register behind every adder.

    Latency: `latency` cycles. Throughput: one product per cycle. No enable, no back-pressure, no reset. The product is
    exact, so it cannot overflow.

    Parameters
    ----------
    a_width : int
        Bits of the signed operand, at least 2.
    b_width : int
        Bits of the unsigned operand, at least 1.
    """

    a: Signal
    b: Signal
    product: Signal

    def __init__(self, *, a_width: int, b_width: int) -> None:
        super().__init__(
            {
                "a": In(signed(a_width)),
                "b": In(unsigned(b_width)),
                "product": Out(signed(a_width + b_width)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the operands to their product."""
        return product_latency(len(self.a), len(self.b))

    def elaborate(self, platform: object) -> Module:
        """Return the multipliers and the adder tree."""
        m = Module()
        level = []
        for row in rows(partial_products(len(self.a), len(self.b))):
            bits = Cat(*(self._multiply(m, partial) for partial in row))
            level.append(_Term(bits.as_signed() if row[-1].signed else bits, row[0].offset))
        depth = 0
        while len(level) > 1:
            depth += 1
            level = self._add_level(m, level, depth)
        m.d.comb += self.product.eq(level[0].bits)
        return m

    def _multiply(self, m: Module, partial: PartialProduct) -> Value:
        a, b = self.a[slice(*partial.a)], self.b[slice(*partial.b)]
        multiplier = Multiplier(a_width=len(a), a_signed=partial.signed, b_width=len(b), b_signed=False)
        m.submodules[f"multiplier_{partial.a[0]}_{partial.b[0]}"] = multiplier
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
        return multiplier.product

    def _add_level(self, m: Module, terms: list[_Term], depth: int) -> list[_Term]:
        """Add pairs, the highest first because they overlap most; one left over waits."""
        rest = list(terms)
        sums: list[_Term] = []
        while len(rest) > 1:
            high, low = rest.pop(), rest.pop()
            sums.append(_Term(self._add(m, high, low, f"sum_{depth}_{len(sums)}"), low.offset))
        sums += [_Term(delay(m, term.bits, 1, f"wait_{depth}"), term.offset) for term in rest]
        return sums[::-1]

    def _add(self, m: Module, high: _Term, low: _Term, name: str) -> Signal:
        """Return the sum one cycle later; the low bits that only one of the two has need no adder."""
        apart = high.offset - low.offset
        total = (low.bits >> apart) + high.bits
        width = min(len(total), len(self.product) - high.offset)
        result = Signal(Shape(apart + width, total.shape().signed), name=name, reset_less=True)
        m.d.sync += result.eq(Cat(low.bits[:apart], total[:width]))
        return result
