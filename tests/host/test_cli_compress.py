"""celosia compress, and what celosia schedule and celosia run make of its file."""

import json
from pathlib import Path

import numpy as np
import pytest

from celosia.host.cli.app import execute
from celosia.host.data import digits_network, load_digits
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.models.npz import read_npz, write_npz

SMALL = ["--set", "pes=4", "--set", "accumulator_rows=32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compress")
    write_npz(folder / "mlp.npz", digits_network())
    for split, name in (("train", "typical"), ("test", "images")):
        images, labels = load_digits(split)
        np.save(folder / f"{name}.npy", images.astype(np.float32))
        np.save(folder / f"{name}_labels.npy", labels)
    return folder


def compress(folder: Path, *options: str, code: int = 0) -> None:
    files = [str(folder / "mlp.npz"), "--calibration", str(folder / "typical.npy")]
    assert execute(["compress", *files, *options]) == code


def test_report_and_file(folder, capsys):
    out = str(folder / "small.npz")
    accuracy = ["--input", str(folder / "images.npy"), "--labels", str(folder / "images_labels.npy")]
    compress(folder, "--density", "0.5", "--output", out, *accuracy, "--json")
    report = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in report["layers"]] == ["hidden1", "hidden2", "classes", "total"]
    assert report["layers"][-1]["density"] == pytest.approx(0.5, abs=0.001)
    assert report["accuracy"]["float"] == pytest.approx(432 / 445)
    assert list(report["accuracy"]) == ["float", "pruned", "shared", "integers"]
    network = read_npz(out)
    assert isinstance(network, Network)
    assert all(isinstance(layer, CompressedDense) and len(layer.codebook) <= 16 for layer in network.layers)

    run = ["run", out, "--engine", "sparse", "--input", str(folder / "images.npy"), *SMALL]
    assert execute([*run, "--labels", str(folder / "images_labels.npy"), "--golden-only", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["accuracy"] == report["accuracy"]["integers"]
    assert 0 < again["utilization"] < 1


def test_table(folder, capsys):
    compress(folder, "--quality", "0.5", "--output", str(folder / "quality.npz"))
    text = capsys.readouterr().out
    assert all(word in text for word in ("hidden1", "64 × 48", "→", "smaller"))


@pytest.mark.slow
def test_schedule(folder, capsys):
    out = str(folder / "scheduled.npz")
    compress(folder, "--density", "0.3", "--output", out)
    capsys.readouterr()
    options = ["--input", str(folder / "images.npy"), *SMALL, "--set", "group=2"]
    assert execute(["schedule", out, *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    choices = {row["choice"]: row for row in report["choices"]}
    assert choices["all: EIE's"]["cycles"] > choices["as chosen"]["cycles"]
    assert choices["as chosen"]["padding"] == 0
    assert {layer["group"] for layer in report["layers"]} == {2}
    assert execute(["schedule", out, *options]) == 0
    assert "rows in turn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--density", "2", "--output", "OUT.npz"], "density is 2.0, but it must be from 0 to 1"),
        (["--density", "0.5", "--quality", "1", "--output", "OUT.npz"], "exclude each other"),
        (["--codebook", "9", "--output", "OUT.npz"], "codebook_width"),
        (["--output", "OUT.txt"], "must end in .npz"),
        (["--output", "no/where.npz"], "cannot be written"),
        (["--input", "IN.npy", "--output", "OUT.npz"], "belong together"),
    ],
)
def test_bad_input(folder, options, told, capsys, tmp_path):
    compress(folder, *(each.replace("OUT", str(tmp_path / "out")) for each in options), code=2)
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_is_refused(folder, capsys):
    out = str(folder / "once.npz")
    compress(folder, "--output", out)
    capsys.readouterr()
    assert execute(["compress", out, "--calibration", str(folder / "typical.npy"), "--output", out]) == 2
    assert "it is quantized already" in capsys.readouterr().err


def test_a_dense_network_on_the_sparse_engine_is_refused(folder, capsys):
    from celosia.host.quantize import quantize

    images = np.load(folder / "typical.npy")
    write_npz(folder / "quantized.npz", quantize(digits_network(), images).network)
    run = ["run", str(folder / "quantized.npz"), "--engine", "sparse", "--input", str(folder / "images.npy")]
    assert execute([*run, "--golden-only"]) == 2
    assert "the sparse engine takes compressed layers" in capsys.readouterr().err
