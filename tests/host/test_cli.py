"""The command line as a whole: help, version, list, errors, notices, Ctrl-C."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from celosia.host.cli.app import app, execute
from celosia.host.cli.listing import parameters_of
from celosia.host.cli.options import read_config
from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES
from celosia.hw.systolic.config import SystolicConfig

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    *("demo", "run", "compress", "schedule", "simulate", "conformance", "generate"),
    *("device", "build", "sweep", "program", "boards", "list"),
]


def test_commands():
    assert [command.name for command in app.registered_commands] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_exit_codes(command, capsys):
    assert execute([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"celosia {command}" in text.partition("Examples:")[2]
    assert "130 interrupted" in text


def test_nothing_asked_shows_help(capsys):
    assert execute([]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


def test_entry_point():
    command = [sys.executable, "-m", "celosia.host.cli", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / ".src", check=True)
    assert answer.stdout.startswith("celosia ")
    assert answer.stderr == ""
    command[-1] = "--nonsense"
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / ".src", check=False)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("celosia: No such option: --nonsense")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "nonsense"),
        (["run", "model.npz"], "'celosia run --help'"),
        (["simulate", "--m", "0", "--k", "1", "--n", "1"], "--m"),
        (["demo", "--rows", "65"], "rows=65 must be a whole number from 1 to 64"),
        (["demo", "--set", "weight_depth"], "NAME=VALUE"),
        (["demo", "--set", "weight_depth=many"], "number, true, false or none"),
        (["demo", "--set", "nonsense=1"], "no parameter 'nonsense'"),
        (["demo", "--config", "nowhere.json"], "nowhere.json: No such file"),
    ],
)
def test_errors_are_one_sentence(arguments, told, capsys):
    assert execute(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("celosia: ")
    assert err.count("\n") == 1
    assert err.endswith(".\n")
    assert told in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "it is no JSON, .* in line 1"),
        ("[]", "it holds a JSON list"),
        ('{"engine": "nonsense"}', "engine 'nonsense' is unknown"),
        ('{"systolic": 4}', "'systolic' must be a JSON object"),
        ('{"systolic": {"rows": 4}}', "lacks 'cols'"),
        ('{"systolic": {"rows": 4, "cols": "4"}}', "cols='4' must be a whole number"),
        ('{"systolic": {"rows": 4, "cols": 4, "colour": 1}}', "key 'colour' is unknown"),
        ('{"systolic": {"rows": 4, "cols": 4}, "depth": 1}', "key 'depth' is unknown"),
    ],
)
def test_a_bad_config_file_is_named(tmp_path, text, told):
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(CelosiaError, match=f"config.json: .*{told}"):
        read_config(file=file)


def test_a_config_file_and_single_values(tmp_path):
    file = tmp_path / "config.json"
    config = read_config("systolic", rows=4, cols=8, settings=["weight_depth=512", "accumulator_width=none"])
    assert isinstance(config.engine, SystolicConfig)
    assert (config.engine.rows, config.engine.cols, config.weight_depth) == (4, 8, 512)
    file.write_text(json.dumps(config.to_json()))
    assert read_config(file=file) == config
    changed = read_config(file=file, cols=4, settings=["activation_signed=false"])
    assert isinstance(changed.engine, SystolicConfig)
    assert (changed.engine.rows, changed.engine.cols, changed.weight_depth) == (4, 4, 512)
    assert changed.engine.activation_signed is False
    file.write_text("\x00\xff" * 3, encoding="latin-1")
    with pytest.raises(CelosiaError, match="it is no text"):
        read_config(file=file)


def test_list(capsys):
    assert execute(["list", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["engine"] for line in lines] == list(ENGINES)
    for line in lines:
        config = AcceleratorConfig.from_json(line["config"])
        assert config.hash == line["config_hash"]
        assert [memory["name"] for memory in line["memories"]] == [memory.name for memory in config.memories]
    assert execute(["list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in [*ENGINES, "weight_depth", "packet_words"])


@pytest.mark.parametrize("config", [AcceleratorConfig, *(engine.config for engine in ENGINES.values())])
def test_every_parameter_is_explained(config):
    for parameter in parameters_of(config):
        assert parameter["type"], parameter
        assert len(parameter["meaning"]) > 10, parameter
        assert parameter["name"] not in parameter["meaning"].split()[:1], parameter


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("celosia.host.cli.listing.describe_engine", interrupted)
    assert execute(["list"]) == 130
    assert capsys.readouterr().err == "celosia: interrupted.\n"


def test_other_errors_keep_their_traceback(monkeypatch):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setattr("celosia.host.cli.listing.describe_engine", broken)
    with pytest.raises(ZeroDivisionError):
        execute(["list"])


def test_traceback_on_request(monkeypatch):
    monkeypatch.setenv("CELOSIA_TRACEBACK", "1")
    with pytest.raises(CelosiaError):
        execute(["demo", "--set", "x"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "there is not enough memory"),
        (PermissionError(13, "Permission denied", "a.npy"), "a.npy: Permission denied."),
    ],
)
def test_errors_of_the_system(monkeypatch, capsys, error, told):
    def broken(_):
        raise error

    monkeypatch.setattr("celosia.host.cli.listing.describe_engine", broken)
    assert execute(["list"]) == 2
    assert told in capsys.readouterr().err
