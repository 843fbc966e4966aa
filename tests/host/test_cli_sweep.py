"""celosia sweep from the command line: what it prints and leaves, and what it refuses."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celosia.host.cli.app import execute
from celosia.host.data import digits_network, load_digits
from celosia.host.models.npz import write_npz
from celosia.host.prepare import prepare
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig

TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
One, 10, 10, 3, 3, 8, 16, 1,
Two, 8, 8, 1, 1, 16, 8, 1,
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small network of integers, in the folder at hand."""
    monkeypatch.chdir(tmp_path)
    config = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4))
    network, _ = prepare(digits_network(), load_digits("train")[0][:64].astype(np.float32), config)
    write_npz(tmp_path / "digits.npz", network)
    return tmp_path / "digits.npz"


def call(*arguments: Any) -> int:
    return execute([str(argument) for argument in arguments])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_front_and_folder(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotly")
    space = ("--vary", "rows=2,4", "--vary", "cols=4..8:4", "--board", "ulx3s-85f")
    assert call("sweep", model, *space, "--output", "out") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "of 4 candidates are on the front: exact cycles, estimated area and clock" in told
    assert "the best is number" in told
    assert "evaluated: 4 cycles" in told
    assert "build it: celosia build - < out/best.json" in told
    made = {path.name for path in Path("out").iterdir()}
    reports = {"front.svg", "front.png", "front.html", "candidates.csv", "candidates.parquet", "best.json"}
    assert made == {*reports, "manifest.json"}
    with open("out/candidates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["rows"], row["cols"]) for row in rows} == {("2", "4"), ("2", "8"), ("4", "4"), ("4", "8")}
    best = json.loads(Path("out/best.json").read_text())
    assert best["board"] == "ulx3s-85f"
    assert best["model"] == str(model)
    assert AcceleratorConfig.from_json(best["config"]).input_depth == 16
    assert "celosia build -" in Path("out/front.html").read_text()
    assert call("sweep", model, *space, "--output", "out") == 2  # it is there already
    assert call("sweep", model, *space, "--output", "out", "--force") == 0
    assert "from the store: 4 cycles" in " ".join(capsys.readouterr().out.split())


def test_best_and_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = ("--vary", "rows=2,4", "--vary", "cols=4,8")
    assert call("sweep", model, *space, "--json") == 0
    front = lines(capsys)
    assert [each["figures"]["cycles"] for each in front] == sorted(each["figures"]["cycles"] for each in front)
    assert call("sweep", model, *space, "--stored", "--best") == 0
    (best,) = lines(capsys)
    assert best["config"] == front[0]["config"]


def test_nothing_feasible(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sweep", model, "--vary", "rows=2,4", "--require", "pes<=1") == 1
    assert "None of 2 candidates" in capsys.readouterr().out
    assert call("sweep", model, "--vary", "rows=2,4", "--require", "pes<=1", "--best") == 2
    assert "None of 2 candidates" in capsys.readouterr().err


def test_memories_are_fitted_unless_they_are_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sweep", model, "--json", "--set", "rows=4", "--set", "weight_depth=4000") == 0
    config = lines(capsys)[0]["config"]
    assert config["weight_depth"] == 4000
    assert config["input_depth"] == 16
    Path("config.json").write_text(json.dumps(config))
    assert call("sweep", model, "--json", "--config", "config.json") == 0
    assert lines(capsys)[0]["config"] == config


def test_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.csv").write_text(TOPOLOGY)
    arguments = (
        "sweep",
        "two.csv",
        "--vary",
        "rows=4,8",
        "--set",
        "cols=8",
        "--json",
        "--compute-report",
        "report.csv",
    )
    assert call(*arguments) == 0
    best = lines(capsys)[0]
    header, *rows = [line.split(", ") for line in Path("report.csv").read_text().splitlines()]
    total = header.index("Total Cycles")
    assert [row[header.index("Layer")] for row in rows] == ["One", "Two"]
    assert sum(int(row[total]) for row in rows) == best["figures"]["cycles"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vary", "rows"], "--vary 'rows' must be NAME=VALUES"),
        (["--vary", "rows=2", "--vary", "rows=4"], "--vary rows is given twice"),
        (["--vary", "simd=8"], "systolic has no parameter 'simd'"),
        (["--vary", "engine=systolic,magic"], "engine 'magic' is unknown"),
        (["--vary", "engine=systolic", "--engine", "binary"], "leave --engine and --config out"),
        (["--objective", "beauty"], "objective 'beauty' is unknown"),
        (["--objective", "luts"], "objective luts is known for a board only"),
        (["--board", "icebreaker"], "no estimates for icebreaker"),
        (["--board", "nowhere"], "nowhere"),
        (["--search", "tpe"], "--search tpe needs --points"),
        (["--route", "3"], "name one with --board"),
        (["--require", "luts=3"], "--require 'luts=3' must be"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no dask scheduler answers there"),
        (["--compute-report", "report.csv"], "--compute-report is of a SCALE-Sim topology"),
        (["--store", "digits.npz"], "cannot be used as a store of results"),
        (["--set", "input_depth=2"], "does not fit the input memory of 2 words; set input_depth=4 or higher"),
        (["--set", "weight_depth=9", "--set", "rows=4", "--board", "ulx3s-85f"], "its weights stream"),
    ],
)
def test_refusals(model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert call("sweep", model, "--best", *arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) <= 3


def test_a_topology_has_no_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.csv").write_text(TOPOLOGY)
    assert call("sweep", "two.csv", "--input", "x.npy") == 2
    assert "a topology has no inputs" in capsys.readouterr().err
