"""Clock plans against the tools that come with place and route, and against the data sheets' ranges."""

import itertools
from dataclasses import replace

import pytest

from celosia.boards.clock_generator import filter_range
from celosia.boards.clocks import MHZ, RANGES, plan_clock

INPUTS = (12, 25, 100)
WANTED = (12, 24.5, 50, 75.3)


@pytest.mark.parametrize(
    ("wanted", "made", "divr", "divf", "divq", "filter_"),
    # `icepll -i 12 -o WANTED` of Project IceStorm
    [(48, 48, 0, 63, 4, 1), (24, 24, 0, 63, 5, 1), (20, 19.875, 0, 52, 5, 1), (60, 60, 0, 79, 4, 1)],
)
def test_ice40_as_icepll(wanted, made, divr, divf, divq, filter_):
    plan = plan_clock("ice40", 12e6, wanted * MHZ)
    assert plan.mhz == made
    assert (plan.reference - 1, plan.feedback - 1, plan.output) == (divr, divf, 1 << divq)
    assert filter_range(plan) == filter_


@pytest.mark.parametrize(
    ("compared", "expected"), [(12, 1), (17, 2), (25, 2), (26, 3), (44, 4), (66, 5), (100, 5), (101, 6)]
)
def test_filter_range_as_icepll(compared, expected):
    plan = replace(plan_clock("ice40", 12e6, 48e6), input_hz=compared * MHZ)
    assert filter_range(plan) == expected


@pytest.mark.parametrize(
    ("source", "wanted", "reference", "feedback", "output", "vco"),
    [  # by hand: source / reference · feedback = vco; vco / output is the clock
        (25, 50, 1, 24, 12, 600),
        (100, 60, 1, 6, 10, 600),
        (48, 50, 2, 25, 12, 600),
        (25, 75, 1, 24, 8, 600),
    ],
)
def test_ecp5_by_hand(source, wanted, reference, feedback, output, vco):
    plan = plan_clock("ecp5", source * MHZ, wanted * MHZ)
    assert (plan.reference, plan.feedback, plan.output) == (reference, feedback, output)
    assert (plan.vco_hz, plan.output_hz) == (vco * MHZ, wanted * MHZ)


@pytest.mark.parametrize(("family", "source", "wanted"), [*itertools.product(RANGES, INPUTS, WANTED)])
def test_within_ranges_and_never_faster(family, source, wanted):
    try:
        plan = plan_clock(family, source * MHZ, wanted * MHZ)
    except ValueError as error:
        assert "is lower than what can be made of" in str(error)  # noqa: PT017
        return
    assert plan.output_hz <= wanted * MHZ
    if not plan.uses_pll:
        assert plan.output_hz == source * MHZ
        return
    ranges = RANGES[family]
    assert plan.output_hz == plan.vco_hz / plan.output
    assert plan.vco_hz * plan.reference == source * MHZ * plan.feedback
    assert ranges.vco[0] <= plan.vco_hz <= ranges.vco[1]
    assert ranges.output[0] <= plan.output_hz <= ranges.output[1]
    assert ranges.compare[0] <= source * MHZ / plan.reference <= ranges.compare[1]
    assert plan.reference in ranges.reference
    assert plan.feedback in ranges.feedback
    assert plan.output in ranges.outputs


def test_the_boards_own_clock_needs_no_pll():
    assert not plan_clock("ice40", 12e6, 12e6).uses_pll
    assert not plan_clock("ice40", 12e6, 15e6).uses_pll  # a PLL makes 16 MHz and more


def test_too_slow_is_one_sentence():
    with pytest.raises(ValueError, match=r"^clock 2 MHz is lower than what can be made of 25 MHz; the lowest"):
        plan_clock("ecp5", 25e6, 2e6)


def test_too_fast_is_one_sentence():
    assert plan_clock("ecp5", 25e6, 400e6).output_hz == 400e6
    with pytest.raises(ValueError, match=r"^clock 1e\+09 MHz is higher than the 400 MHz that the PLL can make\.$"):
        plan_clock("ecp5", 25e6, 1e15)
