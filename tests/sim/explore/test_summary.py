import pytest

from celosia.sim.explore.candidate import Candidate
from celosia.sim.explore.summary import error_text, front_rows, level_text, reasons, rounded, title_of, why, worded


def candidate(number, level="cycles", *, refused="", **figures):
    return Candidate(number=number, choice={"rows": 2**number}, figures=figures, level=level, refused=refused)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12, "12"),
        (1234567, "1,234,567"),
        (1234.5678, "1,235"),
        (12.345678, "12.35"),
        (0.00012345678, "0.0001235"),
        (-3.25, "-3.25"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (1e300, "1e+300"),
    ],
)
def test_rounded(value, text):
    assert rounded(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_us", 12.5, "latency 12.5 µs"),
        ("luts", 4321.0, "4,321 LUT"),
        ("energy_uj", 3.25, "energy per input 3.25 µJ (model)"),
        ("accuracy", 0.9685, "accuracy 96.9%"),
        ("utilization", 0.5, "utilization 50.0%"),
        ("fmax_mhz", 101.25, "fastest clock 101.2 MHz"),
    ],
)
def test_figures_have_units(name, value, text):
    assert worded(name, value) == text


def test_titles_of_other_figures():
    assert title_of("estimated_luts") == "LUT, estimated"
    assert title_of("some_thing") == "some thing"


def test_why_in_full(outcome_of):
    outcome = outcome_of(
        [
            candidate(0, latency_us=15.0, luts=750.0),
            candidate(1, latency_us=10.0, luts=1000.0),
            candidate(2, latency_us=20.0, luts=1000.0),
            *(candidate(n, refused=f"it needs {n},000 LUT, and the board has 24.") for n in (3, 4, 5)),
            candidate(6, refused="rows are odd."),
        ]
    )
    assert why(outcome).splitlines() == [
        "Of 7 candidates for resnet8 on ulx3s, the best is number 1: rows=2.",
        "Its figures: latency 10 µs, 1,000 LUT.",
        "The next of 2 on the front, number 0, rows=1: latency 15 µs (50% more), 750 LUT (25% less).",
        "4 were refused: 3 × “it needs … LUT, and the board has …”; 1 × “rows are odd”.",
        "How sure its figures are: estimated: latency, LUT (error of LUT: median 3.1%, 95th percentile 11%).",
    ]


def test_measured_figures_are_told_from_others(outcome_of):
    figures = {"cycles": 5.0, "luts": 1100.0, "estimated_luts": 1000.0, "energy_uj": 2.0, "clock_mhz": 50.0}
    names = ("cycles", "luts", "energy_uj", "clock_mhz", "accuracy")
    routed = outcome_of([candidate(0, "route", **figures, accuracy=0.5)], *names)
    told = "exact: cycles per input, accuracy; measured: LUT (estimated before: 1,000), clock"
    assert why(routed).splitlines()[-1] == f"How sure its figures are: {told}; from a model: energy per input."
    errors = {"fmax_mhz": {"median": 0.02, "p95": 0.25}}
    synthesized = outcome_of([candidate(0, "synthesis", luts=2.0, latency_us=1.0)], "latency_us", "luts", errors=errors)
    error = "error of fastest clock: median 2.0%, 95th percentile 25%"
    assert why(synthesized).splitlines()[-1] == (
        f"How sure its figures are: measured: LUT; estimated: latency ({error})."
    )
    assert error_text(synthesized, ["cycles", "luts"]) == ""


def test_errors_that_nobody_knows_are_told(outcome_of):
    outcome = outcome_of([candidate(0, latency_us=1.0)], "latency_us", errors={})
    assert "estimated: latency (errors unknown)." in why(outcome)


def test_a_single_candidate(outcome_of):
    told = why(outcome_of([candidate(3, latency_us=1.0, luts=2.0)])).splitlines()
    assert told[0] == "The only candidate for resnet8 on ulx3s is number 3: rows=8."
    assert told[2] == "It is alone on the front: nothing else is better in any objective."
    assert len(told) == 4


def test_equal_candidates(outcome_of):
    """Of those that are equal in every objective, the one with the fewest PEs is on the front."""
    outcome = outcome_of([candidate(number, latency_us=0.0, luts=2.0, pes=3 - number) for number in range(3)])
    assert [each.number for each in outcome.front] == [2]
    assert "It is alone on the front: nothing else is better in any objective." in why(outcome)


def test_nothing_is_compared_with_zero(outcome_of):
    told = why(outcome_of([candidate(0, cycles=1.0, dsps=3.0), candidate(1, cycles=2.0, dsps=0.0)], "dsps", "cycles"))
    assert "3 DSP blocks (more), 1 cycles per input (50% less)" in told


def test_without_a_board(outcome_of):
    outcome = outcome_of([candidate(0, cycles=1.0)], "cycles", board="")
    assert why(outcome).startswith("The only candidate for resnet8 is")
    assert level_text(outcome, "cycles") == "exact cycles"


def test_nothing_feasible(outcome_of):
    many = [candidate(number, refused=f"{kind} {number}.") for kind in "abbcccddddd" for number in range(2)]
    told = why(outcome_of(many)).splitlines()
    assert told == [
        "None of 22 candidates for resnet8 on ulx3s is feasible.",
        "22 were refused: 10 × “d …”; 6 × “c …”; 4 × “b …”; 2 for other reasons.",
    ]
    assert why(outcome_of([])) == "There are no candidates for resnet8 on ulx3s."
    assert why(outcome_of(many[:1])).splitlines() == [
        "The only candidate for resnet8 on ulx3s is not feasible.",
        "1 was refused because “a 0”.",
    ]


def test_equal_reasons_keep_their_numbers(outcome_of):
    texts = ["too 1,234.5 wide", "too 1,234.5 wide", "too 7 long", "too 8 long", "too 9 long"]
    found = reasons(outcome_of([candidate(n, refused=text) for n, text in enumerate(texts)]))
    assert found == [("too … long", 3), ("too 1,234.5 wide", 2)]


def test_front_rows(sweep):
    outcome = sweep(100)
    header, rows = front_rows(outcome)
    assert header == ["number", "rows", "cols", "weight_depth", "post_lanes", "latency, µs", "LUT", "level"]
    assert [int(row[0]) for row in rows] == [each.number for each in outcome.front]
    assert [row[6] for row in rows] == [f"{each.figures['luts']:,}" for each in outcome.front]
    assert {row[-1] for row in rows} == {"estimated"}
    header, rows = front_rows(outcome, ["brams", "pes"])
    assert header[5:] == ["block RAMs", "PEs", "level"]
    assert {row[5] for row in rows} == {""}
