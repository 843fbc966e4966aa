"""Clock rates that a chip's PLL can make of a board's clock: dividers, checked against the data sheets. Pure Python."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from celosia.boards.devices import Family

MHZ: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PllRanges:
    """What a kind of PLL can do; frequencies in Hz, both ends included.

    Parameters
    ----------
    source : str
        Where the ranges are from.
    pin, compare, vco, output : tuple of float
        Of the input, the phase detector's input, the oscillator, and the output.
    reference, feedback : range
        Dividers of the input, and of the oscillator, whose rate is input / reference · feedback.
    outputs : tuple of int
        Dividers from the oscillator to the output.
    """

    source: str
    pin: tuple[float, float]
    compare: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]
    reference: range
    feedback: range
    outputs: tuple[int, ...]


def _mhz(low: float, high: float) -> tuple[float, float]:
    return low * MHZ, high * MHZ


RANGES: Final[dict[Family, PllRanges]] = {
    "ecp5": PllRanges(
        source="EHXPLLL: FPGA-DS-02012, table sysCLOCK PLL timing",
        pin=_mhz(8, 400),
        compare=_mhz(10, 400),
        vco=_mhz(400, 800),
        output=_mhz(3.125, 400),
        reference=range(1, 129),
        feedback=range(1, 81),
        outputs=tuple(range(1, 129)),
    ),
    "ice40": PllRanges(
        source="SB_PLL40, feedback path SIMPLE: FPGA-DS-02008 and FPGA-DS-02029, tables sysCLOCK PLL timing",
        pin=_mhz(10, 133),
        compare=_mhz(10, 133),
        vco=_mhz(533, 1066),
        output=_mhz(16, 275),
        reference=range(1, 17),
        feedback=range(1, 129),
        outputs=tuple(1 << shift for shift in range(1, 7)),
    ),
    "xilinx": PllRanges(
        source="PLLE2 of Artix-7, grade 1L: DS181, table PLL specification",
        pin=_mhz(19, 800),
        compare=_mhz(19, 450),
        vco=_mhz(800, 1600),
        output=_mhz(6.25, 464),
        reference=range(1, 57),
        feedback=range(2, 65),
        outputs=tuple(range(1, 129)),
    ),
}
"""Family → its PLL."""


@dataclass(frozen=True, kw_only=True)
class ClockPlan:
    """How the accelerator's clock is made.

    Parameters
    ----------
    input_hz : float
        Clock rate of the board's clock, Hz.
    reference, feedback, output : int
        Dividers of the PLL, see `PllRanges`; all 0 if the board's clock is used as it is.
    output_hz : Fraction
        Exact rate of the accelerator's clock, Hz.
    vco_hz : Fraction
        Rate of the PLL's oscillator, Hz; 0 without one.
    """

    input_hz: float
    reference: int
    feedback: int
    output: int
    output_hz: Fraction
    vco_hz: Fraction

    @property
    def uses_pll(self) -> bool:
        """Whether there is a PLL at all."""
        return self.output != 0

    @property
    def mhz(self) -> float:
        """Clock rate in MHz."""
        return float(self.output_hz) / MHZ


def plan_clock(family: Family, input_hz: float, wanted_hz: float) -> ClockPlan:
    """Return the fastest clock that is not faster than wanted.

    Of several ways to the same rate, takes the one whose oscillator is nearest to the middle of its range.

    Parameters
    ----------
    family : Family
        Whose PLL is used.
    input_hz, wanted_hz : float
        Clock rates in Hz.

    Raises
    ------
    ValueError
        All rates that can be had are higher, the PLL does not take the input, or more is wanted than both have.
    """
    source = Fraction(input_hz)
    direct = ClockPlan(input_hz=input_hz, reference=0, feedback=0, output=0, output_hz=source, vco_hz=Fraction(0))
    if wanted_hz == input_hz:
        return direct
    highest = max(RANGES[family].output[1], input_hz)
    if wanted_hz > highest:
        raise ValueError(
            f"clock {wanted_hz / MHZ:g} MHz is higher than the {highest / MHZ:g} MHz that the PLL can make."
        )
    middle = sum(RANGES[family].vco) / 2
    plans = [plan for plan in _plans(family, source, Fraction(wanted_hz)) if plan.output_hz <= wanted_hz]
    best = max(plans, key=lambda plan: (plan.output_hz, -abs(plan.vco_hz - middle), -plan.reference), default=None)
    if input_hz < wanted_hz and (best is None or best.output_hz <= source):
        return direct
    if best is None:
        lowest = min([source, *(plan.output_hz for plan in _plans(family, source, Fraction(1)))])
        raise ValueError(
            f"clock {wanted_hz / MHZ:g} MHz is lower than what can be made of {input_hz / MHZ:g} MHz; "
            f"the lowest is {float(lowest) / MHZ:g} MHz."
        )
    return best


def _plans(family: Family, source: Fraction, wanted: Fraction) -> Iterator[ClockPlan]:
    """Return every setting of the oscillator, with the output nearest to what is wanted: lower if that can be had."""
    ranges = RANGES[family]
    if not ranges.pin[0] <= source <= ranges.pin[1]:
        return
    for reference in ranges.reference:
        if not ranges.compare[0] <= source / reference <= ranges.compare[1]:
            continue
        for feedback in ranges.feedback:
            vco = source * feedback / reference
            if not ranges.vco[0] <= vco <= ranges.vco[1]:
                continue
            outputs = [output for output in ranges.outputs if ranges.output[0] <= vco / output <= ranges.output[1]]
            if not outputs:
                continue
            output = next((output for output in outputs if vco <= wanted * output), outputs[-1])
            yield ClockPlan(
                input_hz=float(source),
                reference=reference,
                feedback=feedback,
                output=output,
                output_hz=vco / output,
                vco_hz=vco,
            )
