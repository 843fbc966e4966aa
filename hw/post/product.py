"""Exact product of a wide signed number and an unsigned one, from DSP-sized partial products."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.pipeline import delay
from celosia.hw.systolic.multiplier import Multiplier

LIMB_WIDTH = 17  # bits of an unsigned limb: the largest that signed 18-bit multipliers take


@dataclass(frozen=True)
class _Term:
    """A summand: its bits stand for `bits` · 2**`offset`."""

    bits: Value
    offset: int

    @property
    def end(self) -> int:
        return self.offset + len(self.bits)

    @property
    def signed(self) -> bool:
        return self.bits.shape().signed


def limbs(width: int) -> list[tuple[int, int]]:
    """Return (start, end) of the limbs of a number, least significant first; the last may have one bit more."""
    starts = range(0, max(width - 1, 1), LIMB_WIDTH)
    return [(start, min(start + LIMB_WIDTH, width) if start != starts[-1] else width) for start in starts]


class WideProduct(wiring.Component):
    """Product of a signed number and an unsigned one.

    Both are cut into limbs of 17 bits (the top one of the signed number has up to 18). Each pair of limbs is multiplied
    in one DSP block, and the products are summed in a tree with a register behind every adder.

    Latency: `latency` cycles. Throughput: one product per cycle. No enable, no back-pressure, no reset. The product is
    exact, so it cannot overflow.

    Parameters
    ----------
    a_width : int
        Bits of the signed operand, 2 to 69.
    b_width : int
        Bits of the unsigned operand, 1 to 34.
    """

    a: Signal
    b: Signal
    product: Signal

    def __init__(self, *, a_width: int, b_width: int) -> None:
        self._a_limbs = limbs(a_width)
        self._b_limbs = [(start, min(start + LIMB_WIDTH, b_width)) for start in range(0, b_width, LIMB_WIDTH)]
        super().__init__(
            {
                "a": In(signed(a_width)),
                "b": In(unsigned(b_width)),
                "product": Out(signed(a_width + b_width)),
            }
        )

    @property
    def dsp_count(self) -> int:
        """DSP blocks of 18 × 18 bits."""
        return len(self._a_limbs) * len(self._b_limbs)

    @property
    def latency(self) -> int:
        """Cycles from the operands to their product."""
        return Multiplier.LATENCY + (len(self._rows(self._shapes())) - 1).bit_length()

    def _shapes(self) -> list[_Term]:
        """Partial products as placeholders of their widths, to count the rows before there is a module."""
        return [
            _Term(Signal(Shape(a_end - a_start + b_end - b_start, a_end == len(self.a))), a_start + b_start)
            for a_start, a_end in self._a_limbs
            for b_start, b_end in self._b_limbs
        ]

    @staticmethod
    def _rows(terms: list[_Term]) -> list[list[_Term]]:
        """Put terms that do not overlap into one row, so that they need no adder between them."""
        rows: list[list[_Term]] = []
        for term in sorted(terms, key=lambda term: term.offset):
            room = [row for row in rows if row[-1].end == term.offset and not row[-1].signed]
            if room:
                room[0].append(term)
            else:
                rows.append([term])
        return rows

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        """Return the multipliers and the adder tree."""
        m = Module()
        level = [
            _Term(_join(row), row[0].offset)
            for row in sorted(self._rows(self._partial_products(m)), key=lambda row: row[0].offset)
        ]
        depth = 0
        while len(level) > 1:
            depth += 1
            level = self._add_level(m, level, depth)
        m.d.comb += self.product.eq(level[0].bits)
        return m

    def _partial_products(self, m: Module) -> list[_Term]:
        terms = []
        for i, (a_start, a_end) in enumerate(self._a_limbs):
            for j, (b_start, b_end) in enumerate(self._b_limbs):
                top = a_end == len(self.a)
                multiplier = Multiplier(a_width=a_end - a_start, a_signed=top, b_width=b_end - b_start, b_signed=False)
                m.submodules[f"multiplier_{i}_{j}"] = multiplier
                m.d.comb += [multiplier.a.eq(self.a[a_start:a_end]), multiplier.b.eq(self.b[b_start:b_end])]
                terms.append(_Term(multiplier.product, a_start + b_start))
        return terms

    def _add_level(self, m: Module, terms: list[_Term], depth: int) -> list[_Term]:
        """Add pairs, the highest first because they overlap most; one left over waits."""
        sums: list[_Term] = []
        rest = list(terms)
        while len(rest) > 1:
            high, low = rest.pop(), rest.pop()
            name = f"sum_{depth}_{len(sums)}"
            sums.append(_Term(self._add(m, high, low, name), low.offset))
        sums += [_Term(delay(m, term.bits, 1, f"wait_{depth}"), term.offset) for term in rest]
        return sums[::-1]

    def _add(self, m: Module, high: _Term, low: _Term, name: str) -> Signal:
        apart = high.offset - low.offset
        both_signed = high.signed or low.signed
        total = (low.bits >> apart) + high.bits
        width = min(len(total), len(self.product) - high.offset)
        result = Signal(Shape(apart + width, both_signed), name=name, reset_less=True)
        m.d.sync += result.eq(Cat(low.bits[:apart], total[:width]))
        return result


def _join(row: list[_Term]) -> Value:
    """Return the terms of a row side by side, as one number."""
    joined = Cat(*(term.bits for term in row))
    return joined.as_signed() if row[-1].signed else joined
