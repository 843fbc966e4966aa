import csv
import json
import math
import sys

import numpy as np
import pytest
from pyarrow import parquet

from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore.candidate import Candidate
from celosia.sim.explore.tables import check_table, figure_names, write_table

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_every_candidate_as_it_is(tmp_path, sweep):
    outcome = sweep(200, routed=3)
    write_table(outcome, tmp_path / "sweep.csv")
    rows = read_csv(tmp_path / "sweep.csv")
    assert len(rows) == 200
    front = {candidate.number for candidate in outcome.front}
    assert 0 < len(front) <= 3
    assert any(candidate.refused for candidate in outcome.candidates)
    for row, candidate in zip(rows, outcome.candidates, strict=True):
        assert int(row["number"]) == candidate.number
        assert {name: int(row[name]) for name in candidate.choice} == candidate.choice
        known = {name: float(row[name]) for name in figure_names(outcome) if row[name]}
        assert known == candidate.figures
        assert row["level"] == candidate.level
        assert row["on_front"] == ("true" if candidate.number in front else "false")
        assert row["refused"] == candidate.refused
        assert AcceleratorConfig.from_json(json.loads(row["config"])) == candidate.config
        assert row["config_hash"] == candidate.config.hash


def test_columns_are_in_order(tmp_path, sweep):
    write_table(sweep(5), tmp_path / "sweep.csv")
    header = (tmp_path / "sweep.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    choices = ["number", "rows", "cols", "weight_depth", "post_lanes"]
    figures = ["cycles", "latency_us", "inputs_per_second", "pes", "luts", "dsps", "clock_mhz", "energy_uj", "accuracy"]
    assert header == [*choices, *figures, "fmax_mhz", "level", "on_front", "refused", "config_hash", "config"]


def test_parquet_has_what_csv_has(tmp_path, sweep):
    outcome = sweep(200, routed=3)
    write_table(outcome, tmp_path / "sweep.csv")
    write_table(outcome, tmp_path / "sweep.parquet")
    table = parquet.read_table(tmp_path / "sweep.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types["number"] == types["rows"] == "int64"
    assert {types[name] for name in figure_names(outcome)} == {"double"}
    assert types["on_front"] == "bool"
    assert {types[name] for name in ("level", "refused", "config", "config_hash")} == {"string"}
    for cells, row in zip(read_csv(tmp_path / "sweep.csv"), table.to_pylist(), strict=True):
        for name, value in row.items():
            if value is None:
                assert cells[name] == ""
            elif isinstance(value, bool):
                assert cells[name] == str(value).lower()
            else:
                assert type(value)(cells[name]) == value


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        ([1, 2, None], "int64", [1, 2, None]),
        ([np.int64(3), np.int32(4)], "int64", [3, 4]),
        ([True, False], "bool", [True, False]),
        ([1, 2.5], "double", [1.0, 2.5]),
        (["a", "b\n,\"'"], "string", ["a", "b\n,\"'"]),
        ([1, "auto", None], "string", ["1", "auto", None]),
        ([1, True], "string", ["1", "true"]),
        ([1 << 63, 1], "string", [str(1 << 63), "1"]),
        ([(1, 2), 3], "string", ["(1, 2)", "3"]),
        ([None, None], "string", [None, None]),
    ],
)
def test_choices_keep_their_types(tmp_path, outcome_of, values, type_, expected):
    outcome = outcome_of(
        [Candidate(number=number, choice={"knob": value}, refused="no.") for number, value in enumerate(values)]
    )
    for name in ("sweep.parquet", "sweep.csv"):
        write_table(outcome, tmp_path / name)
    table = parquet.read_table(tmp_path / "sweep.parquet")
    assert str(table.schema.field("knob").type) == type_
    assert table["knob"].to_pylist() == expected
    texts = ["" if each is None else str(each).lower() if isinstance(each, bool) else str(each) for each in expected]
    if type_ != "double":
        assert [row["knob"] for row in read_csv(tmp_path / "sweep.csv")] == texts


def test_unknown_is_empty_and_null(tmp_path, outcome_of):
    """An integer beyond 2^53 is a figure, too."""
    known = Candidate(
        number=0,
        choice={"rows": 4},
        config=CONFIG,
        figures={"latency_us": 2.5, "luts": (1 << 60) + 1, "memory_bits": math.inf},
        level="cycles",
    )
    outcome = outcome_of([known, Candidate(number=1, choice={"cols": 2}, refused="no.")])
    for name in ("sweep.parquet", "sweep.csv"):
        write_table(outcome, tmp_path / name)
    first, second = parquet.read_table(tmp_path / "sweep.parquet").to_pylist()
    assert (first["luts"], first["memory_bits"], first["cols"], first["refused"]) == (
        float(1 << 60),
        math.inf,
        None,
        None,
    )
    empty = ["rows", "latency_us", "luts", "memory_bits", "level", "config", "config_hash"]
    assert [second[name] for name in empty] == [None] * 7
    assert [read_csv(tmp_path / "sweep.csv")[1][name] for name in empty] == [""] * 7


def test_a_parameter_named_like_a_figure_has_a_column_of_its_own(tmp_path, outcome_of):
    figures = {"latency_us": 1.0, "luts": 2.0, "pes": 64.0}
    outcome = outcome_of([Candidate(number=0, choice={"pes": 16, "level": 3}, figures=figures, level="cycles")])
    write_table(outcome, tmp_path / "sweep.parquet")
    (row,) = parquet.read_table(tmp_path / "sweep.parquet").to_pylist()
    assert (row["choice_pes"], row["pes"], row["choice_level"], row["level"]) == (16, 64.0, 3, "cycles")


def test_no_candidates_are_a_table(tmp_path, outcome_of):
    for name in ("sweep.parquet", "sweep.csv"):
        write_table(outcome_of([]), tmp_path / name)
    assert parquet.read_table(tmp_path / "sweep.parquet").num_rows == 0
    assert read_csv(tmp_path / "sweep.csv") == []


def test_a_wrong_suffix_is_told(tmp_path, sweep):
    with pytest.raises(CelosiaError, match=r"sweep\.xlsx: tables are \.csv or \.parquet files\.$"):
        write_table(sweep(2), tmp_path / "sweep.xlsx")
    assert not list(tmp_path.iterdir())
    check_table(tmp_path / "SWEEP.CSV")


def test_a_missing_package_is_told(tmp_path, sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CelosiaError, match=r"package pyarrow, .* pip install 'celosia\[explore\]' installs it\.$"):
        write_table(sweep(2), tmp_path / "sweep.parquet")
    write_table(sweep(2), tmp_path / "sweep.csv")


@pytest.mark.parametrize("name", ["sweep.csv", "sweep.parquet"])
def test_a_failed_write_leaves_the_old_table(tmp_path, sweep, monkeypatch, name):
    (tmp_path / name).write_text("old")
    monkeypatch.setattr("celosia.sim.explore.tables._columns", lambda _: {"a": ("int", [1]), "b": ("int", ["x", 2])})
    with pytest.raises(ValueError, match=r"."):
        write_table(sweep(2), tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "old")]
