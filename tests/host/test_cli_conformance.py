"""celosia conformance: what passes, what fails, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from celosia.host.cli.app import execute
from celosia.host.data import digits_network, load_digits
from celosia.host.models.conv_vectors import read_conv_vectors
from celosia.host.models.npz import write_npz
from celosia.host.quantize import quantize
from celosia.sim.golden.network import tensors

SMALL = ("--rows", "4", "--cols", "4")


def vectors(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A convolution, 2 × 3 with strides, and what it gives."""
    return {
        "input": rng.integers(-128, 128, (2, 6, 7, 3)).astype(np.int8),
        "weights": rng.integers(-128, 128, (5, 2, 3, 3)).astype(np.int8),
        "bias": rng.integers(-1000, 1000, 5),
        "multiplier": rng.integers(2**30, 2**31, 5),
        "shift": np.full(5, -8),
        "stride": np.array([2, 1]),
        "pad": np.array([1, 1]),
        "dilation": np.array([1, 1]),
        "groups": np.array(1),
        "input_offset": np.array(5),
        "output_offset": np.array(-3),
        "output_min": np.array(-128),
        "output_max": np.array(127),
        "expected": np.zeros((2, 4, 7, 5), np.int8),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Vectors that are right and such that are wrong, a network, a float one, and a damaged file."""
    folder = tmp_path_factory.mktemp("conformance")
    arrays = vectors(np.random.default_rng(1))
    right = folder / "vectors" / "right.npz"
    right.parent.mkdir()
    np.savez(right, **arrays)
    read = read_conv_vectors(right)
    arrays["expected"] = tensors(read.network, read.inputs)[-1].astype(np.int8)
    np.savez(right, **arrays)
    arrays["expected"] = arrays["expected"].copy()
    arrays["expected"][1, 2, 3, 4] ^= 1
    np.savez(folder / "wrong.npz", **arrays)
    write_npz(folder / "float.npz", digits_network())
    write_npz(folder / "network.npz", quantize(digits_network(), load_digits("train")[0]).network)
    (folder / "damaged.tflite").write_bytes(b"TFL3")
    return folder


def run(capsys, folder, *options, code):
    assert execute(["conformance", str(folder), *SMALL, *options]) == code
    return capsys.readouterr()


def test_cases(capsys, folder):
    cases = {case["file"]: case for case in json.loads(run(capsys, folder, "--json", code=1).out)["cases"]}
    assert {name: case["passed"] for name, case in cases.items()} == {
        "damaged.tflite": None,
        "float.npz": None,
        "network.npz": True,
        "vectors/right.npz": True,
        "wrong.npz": False,
    }
    right, wrong = cases["vectors/right.npz"]["compared"], cases["wrong.npz"]["compared"]
    assert right["published outputs"] == right["RTL tensors"] == {"count": 280, "wrong": 0}
    assert right["RTL cycles"]["wrong"] == 0 < right["RTL cycles"]["count"]
    assert wrong == right | {"published outputs": {"count": 280, "wrong": 1}}
    (note,) = cases["wrong.npz"]["notes"]
    assert note.startswith("golden model: 1 of 280 differ, the first, element 229, is ")
    assert cases["network.npz"]["inputs"] == 3
    assert "float" in cases["float.npz"]["refused"]
    assert cases["damaged.tflite"]["refused"]


def test_table(capsys, folder, tmp_path):
    shutil.copy(folder / "vectors" / "right.npz", tmp_path)
    out = run(capsys, tmp_path, "--golden-only", code=0).out
    assert "1 passed, 0 failed, 0 refused" in out
    assert "RTL" not in out
    told = run(capsys, folder, "--golden-only", code=1)
    assert "2 passed, 1 failed, 2 refused" in told.out
    assert "celosia: wrong.npz: golden model: 1 of 280 differ" in told.err


def test_nothing_to_run(capsys, tmp_path):
    assert "there are no .npz, .onnx, .tflite files in it" in run(capsys, tmp_path, code=2).err
    assert "there is no such folder" in run(capsys, tmp_path / "none", code=2).err


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("expected", np.zeros((2, 4, 7, 6), np.int8), "expected has the shape (2, 4, 7, 6), but the layer's is"),
        ("weights", np.zeros((5, 2, 3), np.int8), "weights is int8 (5, 2, 3); it must be int8 of 4 axes"),
        ("groups", np.array(7), "groups"),
        ("stride", np.array([0, 1]), "strides"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(capsys, tmp_path, name, value, about):
    arrays = vectors(np.random.default_rng(1))
    np.savez(tmp_path / "bad.npz", **{**arrays, name: value})
    (case,) = json.loads(run(capsys, tmp_path, "--golden-only", "--json", code=0).out)["cases"]
    assert about in case["refused"]
