import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser

import pytest

from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore.candidate import Candidate
from celosia.sim.explore.page import MOST, check_page, write_page
from celosia.sim.explore.page_parts import SCRIPT

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4))
HOSTILE = "</script><img src=x onerror=alert(1)>&amp;\"'<!--"
BROWSER = """
const elements = {};
const find = name => elements[name] ??= {dataset: {}, listeners: {}, textContent: "", scrollIntoView() {},
  addEventListener(event, call) { this.listeners[event] = call; }};
const log = [];
const plot = Object.assign(find("plot"), {data: DATA, on(event, call) { this.listeners[event] = call; }});
const Plotly = {update: (...given) => log.push(given.slice(1))};
const document = {readyState: "complete", getElementById: find,
  addEventListener(event, call) { this[event] = call; }};
const copied = [];
Object.defineProperty(globalThis, "navigator", {value: {clipboard: {
  writeText: text => { copied.push(text); return Promise.resolve(); }}}});
find("data").textContent = EMBEDDED;
SCRIPT
const shown = () => ["chosen", "figures", "command", "config"].map(name => find(name).textContent);
const states = [shown()];
plot.listeners.plotly_click({points: [{customdata: LAST}]});
states.push(shown());
document.click({target: {dataset: {copies: "command"}}});
document.click({target: {dataset: {copies: "config"}}});
document.click({target: {dataset: {shows: "0"}}});
states.push(shown());
find("x").value = "dsps"; find("y").value = "luts";
find("x").listeners.change();
console.log(JSON.stringify({states, copied, log}));
process.exit(0);
"""


class Page(HTMLParser):
    """The elements of a page, and what is in its scripts, cells and the like."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.inside = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        self.inside.append((f"/{tag}", {}, []))

    def handle_data(self, data):
        if self.inside:
            self.inside[-1][2].append(data)

    def texts(self, tag, **attributes):
        return [
            "".join(parts) for name, given, parts in self.inside if name == tag and attributes.items() <= given.items()
        ]

    @property
    def data(self):
        (text,) = self.texts("script", id="data")
        return json.loads(text)

    @property
    def plot_script(self):
        (text,) = [text for text in self.texts("script") if "Plotly.newPlot(" in text and len(text) < 1_000_000]
        return text

    @property
    def traces(self):
        text = self.plot_script
        start = text.index("[", text.index("Plotly.newPlot("))
        return json.JSONDecoder().raw_decode(text, start)[0]


def command(candidate):
    return f"celosia build - <<< '{candidate.number}' && echo <b> \"{HOSTILE}\""


def written(tmp_path, outcome):
    write_page(outcome, tmp_path / "sweep.html", command)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.html"]
    return Page((tmp_path / "sweep.html").read_text(encoding="utf-8"))


def test_points_have_commands_configs_and_figures(tmp_path, sweep):
    outcome = sweep(150, routed=9)
    page = written(tmp_path, outcome)
    points = page.data["points"]
    fine = {f"Number {each.number}: {each.name}": each for each in outcome.candidates if not each.refused}
    assert {point["title"] for point in points} == set(fine)
    for point in points:
        candidate = fine[point["title"]]
        assert point["command"] == command(candidate)
        assert AcceleratorConfig.from_json(point["config"]) == candidate.config
        assert point["figures"] == candidate.figures
        assert point["shown"].startswith("routed; " if candidate.level == "route" else "estimated; ")
    assert len(points) == len(fine)


def test_traces_are_the_clouds_the_front_and_the_best(tmp_path, sweep):
    outcome = sweep(150, routed=9)
    page = written(tmp_path, outcome)
    points, traces = page.data["points"], page.traces
    front = outcome.front
    estimated = sum(each.level == "cycles" and not each.refused for each in outcome.candidates)
    expected = [f"{estimated} estimated", f"{9 - len(front)} routed", f"front, {len(front)}", "best"]
    assert [trace["name"] for trace in traces] == [name for name in expected if not name.startswith("0 ")]
    for trace in traces:
        shown = [points[place] for place in trace["customdata"]]
        assert trace["x"] == [point["figures"]["latency_us"] for point in shown]
        assert trace["y"] == [point["figures"]["luts"] for point in shown]
    assert [points[place]["title"] for place in traces[-2]["customdata"]] == [
        f"Number {each.number}: {each.name}" for each in front
    ]
    assert traces[-1]["customdata"] == [0]


def test_hovering_tells_the_choice_the_level_and_rounded_figures(tmp_path, outcome_of):
    figures = {"latency_us": 12.345678, "luts": 1234567.0, "fmax_mhz": 99.98765, "accuracy": 0.9}
    page = written(tmp_path, outcome_of([Candidate(number=0, choice={"rows": 4}, figures=figures, level="synthesis")]))
    told = ["<b>rows=4</b>", "synthesized", "latency, µs: 12.35", "LUT: 1,234,567", "accuracy: 0.9"]
    assert page.traces[-1]["hovertext"] == ["<br>".join([*told, "fastest clock, MHz: 99.99"])]


def test_all_figures_can_be_chosen(tmp_path, sweep):
    page = written(tmp_path, sweep(50))
    names = {given["value"] for tag, given in page.tags if tag == "option"}
    assert names == set(page.data["axes"]) >= {"latency_us", "luts", "fmax_mhz", "accuracy", "pes"}
    assert [given["value"] for tag, given in page.tags if tag == "option" and "selected" in given] == [
        "latency_us",
        "luts",
    ]
    assert page.data["axes"]["latency_us"] == {"title": "latency, µs", "type": "log"}
    assert page.data["axes"]["accuracy"]["type"] == "linear"


def test_the_front_is_a_table(tmp_path, sweep):
    outcome = sweep(100)
    page = written(tmp_path, outcome)
    buttons = [given["data-shows"] for tag, given in page.tags if tag == "button" and "data-shows" in given]
    assert buttons == [str(place) for place in range(len(outcome.front))]
    assert page.texts("td").count("estimated") == len(outcome.front)
    assert {f"{each.figures['luts']:,}" for each in outcome.front} <= set(page.texts("td"))


def test_no_network_is_needed(tmp_path, sweep):
    page = written(tmp_path, sweep(20))
    assert not [tag for tag, _ in page.tags if tag in ("link", "img", "iframe")]
    assert not [given for tag, given in page.tags if tag == "script" and "src" in given]
    assert max(map(len, page.texts("script"))) > 1_000_000  # Plotly itself


def test_hostile_names_are_text(tmp_path, outcome_of):
    candidates = [
        Candidate(
            number=n,
            choice={HOSTILE: HOSTILE},
            config=CONFIG,
            figures={"cycles": 1.0, "pes": n, HOSTILE: 5},
            level="cycles",
        )
        for n in range(2)
    ] + [Candidate(number=2, choice={}, refused=f"{HOSTILE} is wrong.")]
    page = written(tmp_path, outcome_of(candidates, "pes", "cycles", workload=HOSTILE, board=HOSTILE))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"img", "b"}
    assert sum(tag == "script" for tag, _ in page.tags) == written_scripts(tmp_path, outcome_of)
    assert page.texts("title") == page.texts("h1") == [f"{HOSTILE} on {HOSTILE}"]
    assert any(f"because “{HOSTILE} is wrong”" in text for text in page.texts("p"))
    assert HOSTILE in page.texts("td") + page.texts("th")
    assert page.data["points"][0]["command"] == command(candidates[0])
    assert page.traces[-1]["hovertext"][0].startswith(f"<b>{escape(f'{HOSTILE}={HOSTILE}', quote=False)}</b><br>")
    assert page.data["axes"][HOSTILE]["title"] == escape(HOSTILE, quote=False)


def written_scripts(tmp_path, outcome_of):
    """Return how many scripts a page has about a candidate without any names."""
    folder = tmp_path / "plain"
    folder.mkdir()
    figures = {"cycles": 1.0, "pes": 1}
    plain = outcome_of(
        [Candidate(number=0, choice={}, config=CONFIG, figures=figures, level="cycles")], "pes", "cycles"
    )
    return sum(tag == "script" for tag, _ in written(folder, plain).tags)


def test_large_sweeps_are_sampled_evenly(tmp_path, outcome_of):
    """A front of 10, 12 more of the last level, and far too many others."""
    others = [Candidate(number=n, choice={}, figures={"cycles": 1.0, "pes": n}, level="cycles") for n in range(11_000)]
    front = [
        Candidate(number=11_000 + n, choice={}, figures={"cycles": 9.0 - n, "pes": n}, level="route") for n in range(10)
    ]
    last = [
        Candidate(number=11_010 + n, choice={}, figures={"cycles": 50.0, "pes": n}, level="route") for n in range(12)
    ]
    page = written(tmp_path, outcome_of([*others, *front, *last], "cycles", "pes", board=""))
    shown = {int(re.match(r"Number (\d+)", point["title"])[1]) for point in page.data["points"]}
    assert len(shown) == MOST + 10
    assert shown >= set(range(11_000, 11_022))
    sampled = sorted(shown - set(range(11_000, 11_022)))
    assert {after - before for before, after in itertools.pairwise(sampled)} == {2, 3}
    assert sampled[-1] > 10_990
    note = f"The front and an even sample of {MOST:,} of the other 11,012 candidates are shown."
    assert note in page.texts("p")


def test_a_small_sweep_says_nothing_of_samples(tmp_path, sweep):
    assert not any("sample" in text for text in written(tmp_path, sweep(20)).texts("p"))


def test_nothing_feasible(tmp_path, outcome_of):
    page = written(tmp_path, outcome_of([Candidate(number=0, choice={}, refused="it is too large.")]))
    assert "1 was refused because “it is too large”." in page.texts("p")
    assert not [tag for tag, _ in page.tags if tag in ("script", "select", "table")]


@pytest.mark.parametrize(
    ("figures", "x"), [({"luts": 3.0, "pes": 4.0}, "luts"), ({"dsps": 1.0}, "dsps"), ({}, "cycles")]
)
def test_one_objective_and_one_candidate(tmp_path, outcome_of, figures, x):
    figures = {"cycles": 7.0} | figures
    only = Candidate(number=0, choice={"rows": 4}, config=CONFIG, figures=figures, level="cycles")
    trace = written(tmp_path, outcome_of([only], "cycles")).traces[-1]
    assert (trace["x"], trace["y"]) == ([figures[x]], [7.0])


def test_infinite_figures_are_no_points(tmp_path, outcome_of):
    """JSON has no infinity."""
    figures = {"cycles": 1.0, "pes": 1.0, "energy_uj": math.inf}
    only = Candidate(number=0, choice={}, config=CONFIG, figures=figures, level="cycles")
    other = Candidate(
        number=1, choice={}, config=CONFIG, figures=figures | {"energy_uj": 1, "cycles": 2}, level="cycles"
    )
    page = written(tmp_path, outcome_of([only, other], "energy_uj", "cycles"))
    assert page.data["points"][1]["figures"]["energy_uj"] is None
    assert page.traces[-2]["x"] == [1.0, None]
    assert page.data["axes"]["energy_uj"]["type"] == "linear"


def test_equal_outcomes_give_equal_pages(tmp_path, sweep):
    contents = set()
    for _ in range(2):
        write_page(sweep(30), tmp_path / "sweep.html", command)
        contents.add((tmp_path / "sweep.html").read_bytes())
    assert len(contents) == 1


def test_plotly_knows_all_of_the_figure(tmp_path, sweep, monkeypatch):
    import plotly.io

    write = plotly.io.to_html
    monkeypatch.setattr(plotly.io, "to_html", lambda figure, **options: write(figure, **(options | {"validate": True})))
    assert len(written(tmp_path, sweep(30, routed=4)).traces) >= 3


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_clicks_buttons_and_choices(tmp_path, sweep):
    """The script of the page runs, with just as much of a browser as it needs."""
    page = written(tmp_path, sweep(40, routed=4))
    points, traces = page.data["points"], page.traces
    assert SCRIPT.replace("{plot_id}", "plot").strip() in page.plot_script
    parts = {
        "DATA": json.dumps(traces),
        "EMBEDDED": json.dumps(json.dumps(page.data)),
        "LAST": str(len(points) - 1),
        "SCRIPT": SCRIPT.replace("{plot_id}", "plot"),
    }
    code = re.sub("|".join(rf"\b{name}\b" for name in parts), lambda match: parts[match[0]], BROWSER)
    answer = subprocess.run(["node", "-"], input=code, capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(answer.stdout)

    def shown(point):
        return [point["title"], point["shown"], point["command"], point["config"]]

    states = [[*state[:3], json.loads(state[3])] for state in told["states"]]
    assert states == [shown(points[0]), shown(points[-1]), shown(points[0])]
    assert told["copied"] == [points[-1]["command"], told["states"][1][3]]
    ((values, layout),) = told["log"]
    for axis, name in (("x", "dsps"), ("y", "luts")):
        expected = [[points[place]["figures"][name] for place in trace["customdata"]] for trace in traces]
        assert values[axis] == expected
        assert layout[f"{axis}axis.title.text"] == page.data["axes"][name]["title"]
        assert layout[f"{axis}axis.type"] == page.data["axes"][name]["type"]


def test_a_wrong_suffix_is_told(tmp_path, sweep):
    with pytest.raises(CelosiaError, match=r"sweep\.pdf: pages are \.html or \.htm files\.$"):
        write_page(sweep(2), tmp_path / "sweep.pdf", command)
    check_page(tmp_path / "SWEEP.HTML")


def test_a_missing_package_is_told(tmp_path, sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    with pytest.raises(CelosiaError, match=r"a page needs the package plotly, .* 'celosia\[explore\]' installs it\.$"):
        write_page(sweep(2), tmp_path / "sweep.html", command)
    assert not list(tmp_path.iterdir())
