"""Requantizer lane: accumulator, bias, scale, rounding, zero point and clamp, one result per cycle."""

from dataclasses import dataclass, fields

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.pipeline import delay
from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.parameters import MULTIPLIER_WIDTH, ROUNDING_WIDTH, SHIFT_WIDTH, rounding_code
from celosia.hw.post.product import WideProduct

GUARD = 23  # position in the product of the lowest bit that a shift can bring next to the result


@dataclass(frozen=True)
class _Beat:
    """What goes from one shift to the next: the bits that can still reach the result, and a summary of the others.

    The summary is a few bits wide, to be put together in the next cycle: that keeps wide ORs off the critical path.
    """

    bits: Value
    sign: Value
    over: Value  # any of it: a bit above these differs from the sign
    rest: Value  # any of it: a bit below these differs from `flip`, or a tie goes up
    flip: Value
    shift: Value  # the shifts still to come, in the low bits

    def registered(self, m: Module, name: str) -> "_Beat":
        """Return the same one cycle later."""
        return _Beat(**{f.name: _register(m, getattr(self, f.name), f"{name}_{f.name}") for f in fields(self)})


class Requantizer(wiring.Component):
    """One lane of clamp(round((acc + bias) · multiplier · 2**(shift - 31)) + zero_point, minimum, maximum).

    Equal to `celosia.sim.golden.requantize.requantize` for every input, in all rounding modes.

    One right shifter serves left and right shifts and all modes: the product's bits from 23 up are shifted in four
    steps while dropped low bits gather into one sticky bit and dropped high bits into one overflow bit. Only as many
    bits go on from step to step as can still reach the result. Double rounding needs no second adder: with H the
    product's upper part, g the bit below it, and `guard` and `rest` the bits that the second rounding drops from H,

    * H < 0 is rounded up if guard and (rest or g), else
    * H is rounded up if guard or (rest is all ones and g): `flip` inverts the bits, so that the sticky bit sees zeros.

    Latency: `latency` cycles. Throughput: one result per cycle. No enable, no back-pressure, no reset. Results that do
    not fit are clamped, never wrapped.

    Ports
    -----
    acc, bias, multiplier, shift, enable : per beat
        `shift` is a code of `celosia.hw.post.parameters.shift_code`. The result of a beat without `enable` is 0.
    rounding, zero_point, minimum, maximum : per layer
        Held from the first beat to the last result. `rounding` is a code of `parameters.rounding_code`; `minimum` must
        not exceed `maximum`.
    result
        `latency` cycles behind its beat.

    Parameters
    ----------
    config : RequantizerConfig
    """

    acc: Signal
    bias: Signal
    multiplier: Signal
    shift: Signal
    enable: Signal
    rounding: Signal
    zero_point: Signal
    minimum: Signal
    maximum: Signal
    result: Signal

    def __init__(self, config: RequantizerConfig) -> None:
        self.config = config
        accumulator = signed(config.accumulator_width)
        output = Shape(config.output_width, config.output_signed)
        super().__init__(
            {
                "acc": In(accumulator),
                "bias": In(accumulator),
                "multiplier": In(MULTIPLIER_WIDTH),
                "shift": In(SHIFT_WIDTH),
                "enable": In(1),
                "rounding": In(ROUNDING_WIDTH),
                "zero_point": In(output),
                "minimum": In(output),
                "maximum": In(output),
                "result": Out(output),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its result."""
        return self.config.latency

    @property
    def _wanted(self) -> int:
        """Bits left after all shifting: the guard bit, and without its sign any number the clamp must see exactly."""
        return self.config.output_width + 1

    def elaborate(self, platform: object) -> Module:
        """Return the pipeline."""
        m = Module()
        sum_width = self.config.accumulator_width + 1
        m.submodules.product = product = WideProduct(a_width=sum_width, b_width=MULTIPLIER_WIDTH)
        biased = Signal(signed(sum_width), name="biased", reset_less=True)
        m.d.sync += biased.eq(self.acc + self.bias)
        m.d.comb += [product.a.eq(biased), product.b.eq(delay(m, self.multiplier, 1, "multiplier"))]
        shift = delay(m, self.shift, 1 + product.latency, "shift")
        beat = self._align(m, product.product, shift).registered(m, "aligned")
        beat = self._shift(m, beat, (16, 8)).registered(m, "coarse")
        beat = self._shift(m, beat, (4, 2)).registered(m, "fine")
        beat = self._shift(m, beat, (1,))
        total, over, sign = self._add_zero_point(m, beat, self._round(m, beat))
        self._clamp(m, total, over, sign, delay(m, self.enable, self.latency - 1, "enable"))
        return m

    def _align(self, m: Module, product: Signal, shift: Value) -> _Beat:
        """Shift right by 8 unless the shift is to the left or none; find what will decide the rounding."""
        scaled = Signal(signed(len(product) - GUARD), name="scaled")
        double, left, sign = self.rounding == rounding_code("double"), shift[5], product[-1]
        twice = Signal(name="twice")  # a second rounding follows the one at bit 8 of `scaled`
        flip = Signal(name="flip")
        m.d.comb += [scaled.eq(product >> GUARD), twice.eq(double & ~left), flip.eq(twice & ~sign)]
        # At most 7 more bits follow on a left shift: it needs no more than these bits from their own place.
        near = self._wanted + 7
        wide = _extended(scaled, near + 8)
        once_up = double | (self.rounding == rounding_code("up")) | ((self.rounding == rounding_code("away")) & ~sign)
        half = GUARD // 2
        dropped = [product[:half].any(), product[half:GUARD].any(), ~left & scaled[:8].any()]
        return _Beat(
            bits=Cat(Mux(left, wide[:near], wide[8 : near + 8]), wide[near + 8 :]),
            sign=sign,
            # A left shift leaves the other bits above to the shifts by 16 and 8, which it does not make.
            over=Cat(left & _differs(wide[start : start + 4], sign) for start in (near, near + 4)),
            rest=Cat(Mux(twice, scaled[7] ^ flip, once_up), *(~twice & bit for bit in dropped)),
            flip=flip,
            shift=shift[:5],
        )

    def _shift(self, m: Module, beat: _Beat, amounts: tuple[int, ...]) -> _Beat:
        """Shift right by any of the powers of two in `amounts`, highest first; keep what later ones can bring down."""
        unit = amounts[-1]
        width = self._wanted + unit - 1
        low = unit.bit_length() - 1
        code = beat.shift[low:]
        chunks = (1 << len(amounts)) - 1
        before = _extended(beat.bits, width + chunks * unit, beat.sign)
        bits = before[: width + chunks * unit]
        for amount in amounts:
            shifted = Signal(width + amount - unit, name=f"after_{amount}")
            m.d.comb += shifted.eq(Mux(beat.shift[amount.bit_length() - 1], bits[amount:], bits[: len(shifted)]))
            bits = shifted
        # Flat, beside the shifter instead of along it: chunk k is dropped by shifts beyond k units.
        over = [beat.over.any(), _differs(before[width + chunks * unit :], beat.sign)]
        rest = [beat.rest.any()]
        for chunk in range(chunks):
            start = chunk * unit
            rest.append((code > chunk) & _differs(before[start : start + unit], beat.flip))
            over.append((code <= chunk) & _differs(before[width + start : width + start + unit], beat.sign))
        return _Beat(bits, beat.sign, Cat(*over), Cat(*rest), beat.flip, beat.shift[:low])

    def _round(self, m: Module, beat: _Beat) -> Signal:
        """Return whether to round up, one cycle later."""
        guard, odd = beat.bits[0], beat.bits[1]
        even = self.rounding == rounding_code("even")
        return _register(m, beat.flip ^ ((guard ^ beat.flip) & (beat.rest.any() | (even & odd))), "up")

    def _add_zero_point(self, m: Module, beat: _Beat, up: Signal) -> tuple[Signal, Signal, Signal]:
        """Return the sum, and the overflow and the sign that go with it, two cycles later."""
        floor = _register(m, Cat(beat.bits[1:], beat.sign), "floor")
        total = Signal(signed(self.config.output_width + 2), name="total", reset_less=True)
        zero_point = Signal(signed(len(total)), name="zero_point_wide")
        m.d.comb += zero_point.eq(self.zero_point)
        # One bit more in front makes `up` the carry into a single adder.
        raised = Cat(Const(1, 1), floor).as_signed() + Cat(up, zero_point).as_signed()
        m.d.sync += total.eq(raised >> 1)
        over = _register(m, beat.over.any(), "floor_over")
        return total, _register(m, over, "total_over"), _register(m, floor[-1], "total_sign")

    def _clamp(self, m: Module, total: Signal, over: Value, sign: Value, enable: Value) -> None:
        """Compare with the bounds, then choose."""
        # The sign of a difference: a comparison's carry would have to leave its chain through two more cells.
        room = Signal(signed(len(total) + 1), name="room_above")
        excess = Signal(signed(len(total) + 1), name="excess_below")
        high = Signal(name="too_high", reset_less=True)
        low = Signal(name="too_low", reset_less=True)
        inside = delay(m, total[: self.config.output_width], 1, "inside")
        result = Signal(self.result.shape(), name="clamped", reset_less=True)
        m.d.comb += [room.eq(self.maximum - total), excess.eq(total - self.minimum), self.result.eq(result)]
        m.d.sync += [
            high.eq(Mux(over, ~sign, room[-1])),
            low.eq(Mux(over, sign, excess[-1])),
            result.eq(Mux(high, self.maximum, Mux(low, self.minimum, inside))),
        ]
        with m.If(~enable):
            m.d.sync += result.eq(0)


def _register(m: Module, value: Value, name: str) -> Signal:
    register = Signal(len(value), name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register


def _extended(bits: Value, width: int, sign: Value | None = None) -> Value:
    """Return at least `width` bits, by repeating the sign: as given, else the highest bit."""
    above = bits[-1] if sign is None else sign
    return Cat(bits, above.replicate(max(0, width - len(bits))))


def _differs(bits: Value, reference: Value) -> Value:
    """Return whether any of the bits is not the reference bit."""
    return (bits ^ reference.replicate(len(bits))).any() if len(bits) else Const(0, 1)
