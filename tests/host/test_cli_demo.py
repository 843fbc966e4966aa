import json
from pathlib import Path

import pytest

from celosia.host.cli import demo
from celosia.host.cli.app import execute
from celosia.host.cli.options import read_config
from celosia.host.data import cnn_network, load_digits
from celosia.host.fit import fit_memories
from celosia.hw.registry import ENGINES
from celosia.sim import reference

FEW = 20
SMALL = ["--rows", "4", "--cols", "4"]
ACCURACY = {  # of the networks on the engines in turn: float, and in integers
    "digits": (432 / 445, 431 / 445),
    "digits-cnn": (None, 442 / 445),
    "digits-lenet": (441 / 445, 441 / 445),
    "digits-binary": (None, 440 / 445),
}
KEYS = {
    *("engine", "accuracy_float", "accuracy_golden", "accuracy_rtl", "bit_exact", "cycle_exact", "cycles_per_image"),
    *("utilization", "causes", "cycles_per_second", "verilog", "images", "config_hash", "cycles", "macs_per_image"),
    *("name", "network", "useful_macs_per_image", "smaller_than_float32"),
}


def run(capsys, folder, *arguments: str, code: int = 0) -> tuple[list[dict], str]:
    """The demo's reports, and what it notes."""
    assert execute(["demo", *arguments, "--json", "--output", str(folder)]) == code
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_json(tmp_path, capsys):
    lines, _ = run(capsys, tmp_path / "out", *SMALL)
    assert [line["engine"] for line in lines] == ["systolic", *ENGINES]
    assert [line["name"] for line in lines] == list(ACCURACY)
    for line in lines:
        assert set(line) == KEYS
        assert line["bit_exact"] is line["cycle_exact"] is True
        assert line["images"] == 445
        assert (line["accuracy_float"], line["accuracy_golden"]) == ACCURACY[line["name"]]
        assert line["accuracy_rtl"] == line["accuracy_golden"]
        config = read_config(line["engine"])
        if line["engine"] == "systolic":  # one that both networks fit
            config = fit_memories(cnn_network(), read_config("systolic", rows=4, cols=4))
        assert line["config_hash"] == config.hash
        assert list(line["causes"]) == list(config.causes)
        assert line["cycles"] == sum(line["causes"].values())
        assert line["cycles_per_image"] == pytest.approx(line["cycles"] / 445)
        useful = 445 * line["useful_macs_per_image"]
        assert useful <= 445 * line["macs_per_image"] or line["engine"] == "binary"  # 4-bit pixels are 4 operations
        assert line["utilization"] == pytest.approx(useful / (config.engine.pe_count * line["cycles"]))
        assert line["cycles_per_second"] > 0
        assert "module accelerator (" in Path(line["verilog"]).read_text()


@pytest.fixture
def few(monkeypatch):
    """Only the last images are read: tests are faster so."""
    monkeypatch.setattr(demo, "load_digits", lambda split: tuple(array[-FEW:] for array in load_digits(split)))


@pytest.mark.usefixtures("few")
def test_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    folder = tmp_path / "out"
    for _ in range(2):  # an earlier demo's folder is replaced
        assert execute(["demo", *SMALL, "--output", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "systolic 4×4" in text
    assert "│ 10 layers │" in " ".join(text.split())
    assert "NO" not in text
    assert text.count("accelerator.v") == 2 * len(ENGINES)
    assert "│ simulated cycles per second" in text  # no line is broken
    assert json.loads((folder / "systolic" / "manifest.json").read_text())["files"] == ["accelerator.v", "lint.vlt"]


@pytest.mark.usefixtures("few")
def test_what_the_engine_cannot_have_is_left_out(tmp_path, capsys):
    arguments = ["--engine", "systolic", *SMALL, "--set", "lookup_tables=0"]
    lines, err = run(capsys, tmp_path / "out", *arguments)
    assert [line["name"] for line in lines] == ["digits"]
    assert "systolic 4×4: the CNN is left out, because layer 'sum' and others like it add tensors" in err


@pytest.mark.usefixtures("few")
def test_a_wrong_output_is_told(tmp_path, capsys, monkeypatch):
    right = reference.golden

    def wrong(program, inputs):
        outputs = right(program, inputs).copy()
        outputs[FEW - 1, 9] ^= 1
        return outputs

    monkeypatch.setattr(reference, "golden", wrong)
    lines, err = run(capsys, tmp_path / "out", "--engine", "systolic", *SMALL, code=1)
    assert [line["bit_exact"] for line in lines] == [False, False]
    assert "systolic 4×4: 1 of 200 outputs differ, first output (9,) of input 19: RTL " in err
    assert "systolic 4×4, CNN: 1 of 200 outputs differ, first output (9,) of input 19: RTL " in err


@pytest.mark.usefixtures("few")
def test_a_wrong_counter_is_told(tmp_path, capsys, monkeypatch):
    right = reference.predict_each

    def wrong(program, inputs):
        cycles = right(program, inputs)
        cycles[0].causes["drain"] += 1
        return cycles

    monkeypatch.setattr(reference, "predict_each", wrong)
    assert execute(["demo", "--engine", "systolic", *SMALL, "--output", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert "NO" in out
    assert "cycles on drain, the cycle model says" in err


@pytest.mark.usefixtures("few")
@pytest.mark.slow
def test_weights_that_stream_are_not_compared(tmp_path, capsys):
    lines, err = run(capsys, tmp_path / "out", "--engine", "systolic", *SMALL, "--set", "weight_depth=600")
    assert [(line["bit_exact"], line["cycle_exact"]) for line in lines] == [(True, None)] * 2
    assert err.count("set weight_depth higher to have every counter compared") == 2


def test_a_folder_of_somebody_else(tmp_path, capsys):
    (tmp_path / "systolic").mkdir()
    (tmp_path / "systolic" / "thesis.tex").write_text("mine")
    assert execute(["demo", "--engine", "systolic", *SMALL, "--output", str(tmp_path)]) == 2
    assert "was not generated by celosia" in capsys.readouterr().err
    assert (tmp_path / "systolic" / "thesis.tex").read_text() == "mine"
