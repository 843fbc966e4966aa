import importlib
import json

import numpy as np
import pytest

from celosia.host.cli.app import execute
from celosia.host.cli.options import read_config
from celosia.host.cli.products import random_product
from celosia.host.cli.simulate import compile_product
from celosia.host.compile import compile_network
from celosia.host.errors import CelosiaError
from celosia.host.models.ir import Dense
from celosia.sim import reference

SMALL = ["--rows", "4", "--cols", "4"]
KEYS = {
    *("engine", "config_hash", "m", "k", "n", "stall", "seed", "streamed", "iterations", "weights", "bit_exact"),
    *("cycle_exact", "cycles", "causes", "causes_foretold", "utilization", "cycles_per_second", "trace"),
}


def simulate(capsys, m, k, n, *options, code=0):
    sizes = ["--m", str(m), "--k", str(k), "--n", str(n)]
    assert execute(["simulate", *sizes, *SMALL, *options, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("m", "k", "n", "stall", "streamed", "iterations"),
    [
        (1, 1, 1, 0.0, False, 1),
        (30, 20, 17, 0.0, False, 1),
        (30, 20, 17, 0.4, True, 1),
        (300, 40, 9, 0.0, True, 3),  # more inputs than their memory holds
        (7, 130, 80, 0.2, True, 1),  # weights stream, too
    ],
)
def test_exact(capsys, m, k, n, stall, streamed, iterations):
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    report = simulate(capsys, m, k, n, "--stall", str(stall), "--seed", str(seed))
    assert set(report) == KEYS
    assert report["bit_exact"] is report["cycle_exact"] is True, f"seed={seed}"
    assert (report["streamed"], report["iterations"]) == (streamed, iterations)
    assert report["cycles"] == sum(report["causes"].values())
    assert report["utilization"] == pytest.approx(m * k * n / (16 * report["cycles"]))


def test_the_seed_decides(capsys):
    options = ("--stall", "0.5", "--seed")
    cycles = [simulate(capsys, 20, 8, 8, *options, seed)["cycles"] for seed in ("3", "3", "4")]
    assert cycles[0] == cycles[1] != cycles[2]


def test_table(capsys):
    assert execute(["simulate", "--m", "5", "--k", "6", "--n", "7", *SMALL]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ["5 × 6 × 7", "compute", "drain", "utilization", "resident", "1 iteration"])
    assert "NO" not in text


def test_a_difference(capsys, monkeypatch):
    right = reference.predict

    def wrong(program, inputs, **options):
        cycles = right(program, inputs, **options)
        cycles.causes["compute"] += 1
        return cycles

    monkeypatch.setattr(reference, "predict", wrong)
    assert simulate(capsys, 5, 6, 7, code=1)["cycle_exact"] is False
    monkeypatch.setattr(reference, "predict", right)
    golden = reference.golden
    monkeypatch.setattr(reference, "golden", lambda *args: golden(*args) + 1)
    assert simulate(capsys, 5, 6, 7, code=1)["bit_exact"] is False


@pytest.mark.parametrize("options", [{}, {"activation_width": 16, "weight_width": 12}, {"activation_signed": "false"}])
def test_random_products_reach_most_outputs(options):
    config = read_config(rows=4, cols=4, settings=[f"{name}={value}" for name, value in options.items()])
    network, inputs = random_product(config, 50, 64, 64, seed=1)
    outputs = reference.golden(compile_network(network, config, batch=50), inputs)
    layer = network.layers[0]
    assert isinstance(layer, Dense)
    assert np.mean((outputs > layer.minimum) & (outputs < layer.maximum)) > 0.3
    assert len(np.unique(outputs)) > 100


def test_waveform(tmp_path, capsys):
    file = tmp_path / "product.vcd"
    report = simulate(capsys, 3, 4, 4, "--trace", str(file), "--cycles", "0:20")
    assert report["trace"] == str(file)
    assert list(tmp_path.iterdir()) == [file]
    text = file.read_text()
    assert "run_start" in text
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert len(set(times)) == 2 * 20  # two edges a cycle


def test_an_empty_waveform_is_told(tmp_path, capsys):
    options = ["--trace", str(tmp_path / "product.vcd"), "--cycles", "100000:"]
    assert execute(["simulate", "--m", "3", "--k", "4", "--n", "4", *SMALL, *options]) == 0
    assert "ended before cycle 100000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--stall", "1"], "--stall 1.0 must be from 0 to 0.99"),
        (["--stall", "nan"], "--stall nan must be"),
        (["--trace", "a.txt"], "must end in .vcd or .fst"),
        (["--trace", "no/where/a.vcd"], "cannot be written"),
        (["--cycles", "5"], "must be A:B"),
        (["--cycles", "5:5"], "must be A:B"),
        (["--set", "input_depth=4"], "set input_depth=16 or higher"),
    ],
)
def test_bad_input(options, told, capsys):
    assert execute(["simulate", "--m", "3", "--k", "40", "--n", "4", *SMALL, *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_streams_need_half_a_memory():
    config = read_config(rows=4, cols=4, settings=["input_depth=8"])
    network, _ = random_product(config, 1, 32, 4, seed=1)
    assert compile_product(network, config, 1, stream=False).vectors == 1
    with pytest.raises(CelosiaError, match="do not fit half a memory"):
        compile_product(network, config, 1, stream=True)


def test_without_a_compiler(monkeypatch, capsys, tmp_path):
    module = importlib.import_module("celosia.sim.rtl.build")  # the package has a function of this name
    monkeypatch.setattr(module, "find_compiler", lambda: None)
    assert execute(["simulate", "--m", "1", "--k", "2", "--n", "2", "--rows", "2", "--cols", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["bit_exact"] is True
    assert err.count("no C++ compiler") == 1
    assert "Warning" not in err
    options = ["--trace", str(tmp_path / "a.vcd")]
    assert execute(["simulate", "--m", "1", "--k", "2", "--n", "2", *SMALL, *options]) == 2
    assert "no C++ compiler" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tcp", "0", "--stall", "0.5"], "nothing about a product, such as --m, --stall"),
        (["--pty", "--density", "0.3"], "nothing about a product, such as --m, --stall"),
        (["--tcp", "0", "--pty-link", "board"], "--pty-link is about the serial port of --pty, and --tcp has none"),
    ],
)
def test_a_served_accelerator_refuses_what_it_would_ignore(arguments, sentence, capsys):
    assert execute(["simulate", "--rows", "2", "--cols", "2", *arguments]) == 2
    assert sentence in capsys.readouterr().err
