"""Requantizer lane: accumulator, bias, scale, rounding, zero point and clamp, one result per cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.pipeline import delay
from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.parameters import MULTIPLIER_WIDTH, ROUNDING_WIDTH, SHIFT_WIDTH, rounding_code
from celosia.hw.post.product import WideProduct

GUARD = 23  # position in the product of the lowest bit that a shift can bring next to the result


class _Beat:
    """What goes from one step of shifting to the next: the bits that can still reach the result, and a summary."""

    def __init__(self, width: int, name: str) -> None:
        def register(shape: int, field: str) -> Signal:
            return Signal(shape, name=f"{name}_{field}", reset_less=True)

        self.bits = register(width, "bits")
        self.sign = register(1, "sign")
        self.over = register(1, "over")  # a bit above these differs from the sign
        self.rest = register(1, "rest")  # a bit below these is 1, or 0 with `flip`
        self.flip = register(1, "flip")
        self.tie = register(1, "tie")  # round up when only the guard bit is 1
        self.shift = register(4, "shift")


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

    STEPS = 6  # cycles behind the product: three of shifting, rounding, comparing with the bounds, choosing

    def __init__(self, config: RequantizerConfig) -> None:
        self.config = config
        accumulator = signed(config.accumulator_width)
        output = Shape(config.output_width, config.output_signed)
        self._product = WideProduct(a_width=config.accumulator_width + 1, b_width=MULTIPLIER_WIDTH)
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
        return self._product.latency + self.STEPS

    @property
    def _wanted(self) -> int:
        """Bits left after all shifting: the guard bit, and without its sign any number the clamp must see exactly."""
        return self.config.output_width + 1

    @property
    def dsp_count(self) -> int:
        """DSP blocks of 18 × 18 bits."""
        return self._product.dsp_count

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        """Return the pipeline."""
        m = Module()
        m.submodules.product = product = self._product
        m.d.comb += [product.a.eq(self.acc + self.bias), product.b.eq(self.multiplier)]
        shift = delay(m, self.shift, product.latency, "shift")
        beat = self._align(m, product.product, shift)
        beat = self._step(m, beat, 3, "by_8_and_4")
        beat = self._step(m, beat, 1, "by_2_and_1")
        total = self._round(m, beat)
        over, sign = delay(m, beat.over, 1, "total_over"), delay(m, beat.sign, 1, "total_sign")
        self._clamp(m, total, over, sign, delay(m, self.enable, self.latency - 1, "enable"))
        return m

    def _align(self, m: Module, product: Signal, shift: Value) -> _Beat:
        """Shift right by 8 unless the shift is to the left or none, then by 16; find what will decide the rounding."""
        left, by_16 = shift[5], shift[4]
        end = self._wanted + 15  # bits that can still reach the result after this step
        scaled = Signal(signed(max(len(product) - GUARD, end + 25)), name="scaled")
        sign = product[-1]
        double = self.rounding == rounding_code("double")
        twice = Signal(name="twice")  # a second rounding follows the one at bit 8 of `scaled`
        flip = Signal(name="flip_next")
        m.d.comb += [
            scaled.eq(product >> GUARD),
            twice.eq(double & ~left),
            flip.eq(twice & ~sign),
        ]
        beat = _Beat(end, "aligned")
        # A left shift is followed by shifts of at most 7, so it needs no more than these bits from their own place.
        near = self._wanted + 7
        by_8 = Cat(Mux(left, scaled[:near], scaled[8 : near + 8]), scaled[near + 8 : end + 8])
        dropped = (product[:GUARD].any() | (~left & scaled[:8].any())) & ~twice
        single_tie = (
            double | (self.rounding == rounding_code("up")) | ((self.rounding == rounding_code("away")) & ~sign)
        )
        m.d.sync += [
            beat.bits.eq(Mux(by_16, scaled[24 : end + 24], by_8)),
            beat.sign.eq(sign),
            beat.over.eq(
                Mux(
                    left,
                    _differs(scaled[near:], sign),
                    Mux(by_16, _differs(scaled[end + 24 :], sign), _differs(scaled[end + 8 :], sign)),
                )
            ),
            beat.rest.eq(dropped | (by_16 & _differs(scaled[8:24], flip))),
            beat.flip.eq(flip),
            beat.tie.eq(Mux(twice, scaled[7] ^ flip, single_tie)),
            beat.shift.eq(shift[:4]),
        ]
        return beat

    def _step(self, m: Module, beat: _Beat, high: int, name: str) -> _Beat:
        """Shift right by 2**high and by half that, as two bits of the shift code say."""
        far, near = 1 << high, 1 << (high - 1)
        middle_end, end = self._wanted + far - 1, self._wanted + near - 1
        by_far, by_near = beat.shift[high], beat.shift[high - 1]
        middle = Signal(middle_end, name=f"{name}_middle")
        m.d.comb += middle.eq(Mux(by_far, beat.bits[far:], beat.bits[:middle_end]))
        after = _Beat(end, name)
        m.d.sync += [
            after.bits.eq(Mux(by_near, middle[near:], middle[:end])),
            after.sign.eq(beat.sign),
            after.over.eq(
                beat.over
                | (~by_far & _differs(beat.bits[middle_end:], beat.sign))
                | (~by_near & _differs(middle[end:], beat.sign))
            ),
            after.rest.eq(
                beat.rest
                | (by_far & _differs(beat.bits[:far], beat.flip))
                | (by_near & _differs(middle[:near], beat.flip))
            ),
            after.flip.eq(beat.flip),
            after.tie.eq(beat.tie),
            after.shift.eq(beat.shift),
        ]
        return after

    def _round(self, m: Module, beat: _Beat) -> Signal:
        """Round by the guard bit and the bits below, and add the zero point."""
        guard, floor = beat.bits[0], Cat(beat.bits[1:], beat.sign).as_signed()
        even = self.rounding == rounding_code("even")
        up = Signal(name="up")
        total = Signal(signed(self.config.output_width + 2), name="total", reset_less=True)
        m.d.comb += up.eq(beat.flip ^ ((guard ^ beat.flip) & (beat.rest | beat.tie | (even & floor[0]))))
        m.d.sync += total.eq(floor + self.zero_point + up)
        return total

    def _clamp(self, m: Module, total: Signal, over: Value, sign: Value, enable: Value) -> None:
        """Compare with the bounds, then choose."""
        # The sign of a difference: a comparison's carry would have to leave its chain through two more cells.
        room = Signal(signed(len(total) + 1), name="room_above")
        excess = Signal(signed(len(total) + 1), name="excess_below")
        high, low = Signal(name="too_high", reset_less=True), Signal(name="too_low", reset_less=True)
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


def _differs(bits: Value, reference: Value) -> Value:
    """Return whether any of the bits is not the reference bit."""
    return (bits ^ reference.replicate(len(bits))).any() if len(bits) else Const(0, 1)
