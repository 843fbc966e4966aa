import math
import re
import sys
from xml.etree import ElementTree

import pytest

from celosia.host.errors import CelosiaError
from celosia.sim.explore.candidate import Candidate
from celosia.sim.explore.plot import check_plot, draw_front, spreads


def texts(path):
    """Return the texts of an SVG picture; lines of a label are texts of their own."""
    root = ElementTree.parse(path).getroot()
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def drawn(tmp_path, outcome):
    draw_front(outcome, tmp_path / "front.svg")
    return texts(tmp_path / "front.svg")


def is_between(told, words):
    """Tell whether words are on neighbouring lines, as labels are wrapped."""
    return " ".join(words.split()) in " ".join(" ".join(told).split())


def candidate(number, level="cycles", **figures):
    return Candidate(number=number, choice={"rows": number}, figures=figures, level=level)


def test_two_objectives(tmp_path, sweep):
    outcome = sweep(300)
    told = drawn(tmp_path, outcome)
    assert {"resnet8 on ulx3s", "latency, µs", "LUT", "best", f"front, {len(outcome.front)}"} <= set(told)
    assert f"{len(outcome.feasible)} estimated" in told
    assert is_between(told, outcome.best.name)
    others = [each for each in outcome.front[1:] if is_between(told, each.name)]
    assert len(others) >= 4
    assert outcome.front[-1] in others
    caption = f"300 candidates, {len(outcome.feasible)} feasible. The best and the front: exact cycles, estimated area"
    assert is_between(told, f"{caption} and clock. Estimator's error of LUT: median 3.1%, 95th percentile 11%.")
    assert is_between(told, "Better is to the left and to the bottom.")


def test_axes_are_logarithmic_if_they_span_much(tmp_path, outcome_of):
    told = drawn(tmp_path, outcome_of([candidate(n, latency_us=10.0**n, luts=500.0 + 100 * (4 - n)) for n in range(5)]))
    assert {"10", "100", "1,000", "10,000"} <= set(told)
    assert {"500", "600", "700", "800", "900"} <= set(told)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 31], True), ([1, 30], False), ([0, 100], False), ([-1, 100], False), ([5, 5], False), ([], False)],
)
def test_spreads(values, expected):
    assert spreads(values) is expected


def test_routed_beside_estimated(tmp_path, sweep):
    outcome = sweep(300, routed=12)
    told = drawn(tmp_path, outcome)
    estimated = sum(each.level == "cycles" and not each.refused for each in outcome.candidates)
    assert {f"{estimated} estimated", "12 routed"} <= set(told)
    assert is_between(told, "The best and the front: routed.")


def test_three_objectives_have_a_colour_bar(tmp_path, sweep):
    told = drawn(tmp_path, sweep(100, "latency_us", "luts", "energy_uj"))
    assert "energy per input, µJ (model)" in told
    assert not is_between(told, "Not drawn")


def test_more_objectives_are_told(tmp_path, sweep):
    told = drawn(tmp_path, sweep(100, "inputs_per_second", "luts", "pes", "cycles", "clock_mhz", routed=9))
    assert is_between(told, "Not drawn: cycles per input, clock, MHz.")
    assert is_between(told, "Better is to the right and to the bottom.")


@pytest.mark.parametrize(
    ("objective", "figures", "expected"),
    [
        ("latency_us", {"luts": 3.0, "pes": 4.0}, "LUT"),
        ("luts", {"pes": 4.0}, "PEs"),
        ("latency_us", {}, "rank"),
    ],
)
def test_one_objective_is_drawn_over_a_size(tmp_path, outcome_of, objective, figures, expected):
    candidates = [
        candidate(number, **{objective: number + 1.0, **{name: value * number for name, value in figures.items()}})
        for number in range(4)
    ]
    told = drawn(tmp_path, outcome_of(candidates, objective))
    assert expected in told
    assert is_between(told, "rows=0")
    assert not any(text.startswith("front,") for text in told)


def test_a_size_that_not_all_have_is_no_axis(tmp_path, outcome_of):
    some = [candidate(0, cycles=1.0, luts=4.0, pes=2.0), candidate(1, cycles=2.0, pes=2.0)]
    assert "rank" in drawn(tmp_path, outcome_of(some, "cycles"))


@pytest.mark.parametrize("objectives", [("latency_us",), ("latency_us", "luts"), ("latency_us", "luts", "pes")])
@pytest.mark.parametrize("count", [1, 3])
def test_equal_candidates(tmp_path, outcome_of, objectives, count):
    told = drawn(
        tmp_path, outcome_of([candidate(n, latency_us=5.0, luts=7.0, pes=0.0) for n in range(count)], *objectives)
    )
    assert is_between(told, "rows=0")
    assert is_between(told, f"{count} candidate{'s' * (count > 1)}, {count} feasible")


def test_candidates_without_the_figures_are_not_drawn(tmp_path, outcome_of):
    candidates = [
        candidate(0, luts=3.0, latency_us=4.0, level="route"),
        candidate(1, luts=3.0, latency_us=math.inf),
        candidate(2, luts=3.0),
    ]
    told = drawn(tmp_path, outcome_of(candidates))
    assert is_between(told, "3 feasible, 1 drawn, as of the others not all is known.")
    assert "1 routed" in told


def test_nothing_feasible(tmp_path, outcome_of):
    told = drawn(tmp_path, outcome_of([Candidate(number=0, choice={}, refused="it is too large."), *[]]))
    assert is_between(told, "The only candidate for resnet8 on ulx3s is not feasible.")
    assert is_between(told, "1 was refused because “it is too large”.")


def test_names_are_no_mathematics(tmp_path, outcome_of):
    """A dollar sign would begin a formula, and one that is wrong would be an error."""
    outcome = outcome_of(
        [Candidate(number=0, choice={"a": "$x^$</svg>&"}, figures={"latency_us": 1, "luts": 2}, level="cycles")],
        workload=r"$\frac$<net>&",
        board="",
    )
    told = drawn(tmp_path, outcome)
    assert r"$\frac$<net>&" in told
    assert "a=$x^$</svg>&" in told


def test_large_clouds_are_pixels(tmp_path, outcome_of):
    sizes = {}
    for count in (2000, 2001):
        candidates = [candidate(n, latency_us=1.0 + n, luts=1.0 + n % 50) for n in range(count)]
        draw_front(outcome_of(candidates), tmp_path / "front.svg")
        sizes[count] = "<image" in (tmp_path / "front.svg").read_text(encoding="utf-8")
    assert sizes == {2000: False, 2001: True}


@pytest.mark.parametrize(
    ("name", "magic"), [("front.svg", b"<?xml"), ("front.PNG", b"\x89PNG"), ("front.pdf", b"%PDF")]
)
def test_equal_outcomes_give_equal_files(tmp_path, sweep, name, magic):
    contents = []
    for _ in range(2):
        draw_front(sweep(40, "latency_us", "luts", "energy_uj", routed=5), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(magic)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_line_goes_the_way_limits_do(tmp_path, outcome_of):
    """Less LUT than a design has means the design below it: steps of what is small are flat to the right of a point."""
    corners = {}
    for name in ("latency_us", "inputs_per_second"):
        sign = 1 if name == "latency_us" else -1
        candidates = [candidate(n, **{name: 20.0 + sign * 10 * n, "luts": 30.0 - 10 * n}) for n in range(3)]
        draw_front(outcome_of(candidates, name, "luts"), tmp_path / "front.svg")
        text = (tmp_path / "front.svg").read_text(encoding="utf-8")
        # The line of the front is the only one of its width.
        path = re.search(r'<path d="([^"]+)"[^>]*stroke: #2a7f62; stroke-width: 1.2', text)[1]
        points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", path)]
        corners[name] = points
    flat_first = {name: points[0][1] == points[1][1] for name, points in corners.items()}
    assert flat_first == {"latency_us": True, "inputs_per_second": False}
    assert len(corners["latency_us"]) == 5


def test_a_wrong_suffix_is_told(tmp_path, sweep):
    with pytest.raises(CelosiaError, match=r"front\.gif: pictures are \.svg, \.png, \.pdf files\.$"):
        draw_front(sweep(2), tmp_path / "front.gif")
    check_plot(tmp_path / "FRONT.SVG")


def test_a_missing_package_is_told(tmp_path, sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        CelosiaError, match=r"drawing needs the package matplotlib, .* 'celosia\[explore\]' installs it"
    ):
        draw_front(sweep(2), tmp_path / "front.svg")
    assert not list(tmp_path.iterdir())
