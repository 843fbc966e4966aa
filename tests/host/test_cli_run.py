import json
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.cli.app import execute
from celosia.host.data import digits_network, load_digits
from celosia.host.models.ir import Dense, Network
from celosia.host.models.npz import write_npz
from celosia.host.quantize import quantize
from celosia.sim import reference
from celosia.sim.golden.systolic import run_layer

SMALL = ["--rows", "4", "--cols", "4"]
COUNT = 30  # images
PICTURES = (".svg", ".png", ".pdf", ".bmp")
KEYS = {
    *("model", "engine", "config_hash", "inputs", "iterations", "bit_exact", "cycle_exact", "accuracy", "top1"),
    *("cycles", "cycles_per_input", "clock_mhz", "microseconds_per_input", "utilization", "causes", "layers", "output"),
    *("tensors", "picture"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    images, labels = (array[:COUNT] for array in load_digits())
    network = quantize(digits_network(), load_digits("train")[0]).network
    integers = network.quantize_input(images)
    write_npz(folder / "float.npz", digits_network())
    write_npz(folder / "quantized.npz", network)
    rng = np.random.default_rng(1)
    wide = Dense(  # its weights do not fit
        name="wide",
        weights=rng.integers(-128, 128, (128, 80)).astype(np.int8),
        bias=np.zeros(80, np.int64),
        multiplier=np.full(80, 1 << 30),
        shift=np.full(80, -10),
        rounding="even",
        input_zero_point=0,
        output_zero_point=0,
        minimum=-128,
        maximum=127,
    )
    write_npz(folder / "wide.npz", Network(name="wide", layers=[wide], input_shape=(128,)))
    arrays = {
        "images": images,
        "train": load_digits("train")[0],
        "labels": labels,
        "integers": integers,
        "wide": rng.integers(-128, 128, (9, 128)),
        "nan": np.where(np.arange(64) == 5, np.nan, images),
        "short": images[:, :10],
        "one": images[0],
        "none": images[:0],
        "big": integers.astype(int) + 200,
        "texts": np.array([["a"] * 64]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "damaged.npy").write_bytes(b"\x93NUMPY")
    np.savez(folder / "several.npz", a=images, b=labels)
    return SimpleNamespace(folder=folder, network=network, integers=integers, labels=labels)


def run(files, capsys, *arguments, code=0):
    paths = [
        str(files.folder / name) if name.endswith((".npz", ".npy", ".onnx", *PICTURES)) else name for name in arguments
    ]
    assert execute(["run", *paths, *SMALL]) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    return SimpleNamespace(out=out, err=err, report=json.loads(out) if "--json" in arguments and not code else None)


@pytest.mark.parametrize("part", ["accelerator", "core"])
def test_quantized(files, capsys, part):
    options = ("--input", "integers.npy", "--labels", "labels.npy", "--output", "out.npy", "--part", part, "--json")
    report = run(files, capsys, "quantized.npz", *options).report
    assert set(report) == KEYS
    assert report["bit_exact"] is report["cycle_exact"] is True
    golden = files.integers
    for layer in files.network.layers:
        golden = run_layer(layer, golden)
    outputs = np.load(files.folder / "out.npy")
    assert outputs.dtype == np.int8
    assert np.array_equal(outputs, golden)
    assert report["top1"] == golden.argmax(axis=1).tolist()
    assert report["accuracy"] == np.mean(golden.argmax(axis=1) == files.labels)
    assert report["cycles"] == sum(report["causes"].values()) == sum(layer["cycles"] for layer in report["layers"])
    assert [(layer["k"], layer["n"]) for layer in report["layers"]] == [(64, 48), (48, 32), (32, 10)]
    assert all("resident" in layer["weights"] for layer in report["layers"])


def test_float(files, capsys):
    options = ("--input", "images.npy", "--calibration", "train.npy", "--output", "out.npy", "--clock", "50", "--json")
    report = run(files, capsys, "float.npz", *options).report
    assert report["bit_exact"] is report["cycle_exact"] is True
    assert report["accuracy"] is None
    assert report["microseconds_per_input"] == report["cycles_per_input"] / 50
    outputs = np.load(files.folder / "out.npy")
    assert outputs.dtype == np.float32
    real = digits_network().evaluate(np.load(files.folder / "images.npy"))
    assert np.abs(outputs - real).max() < 0.1 * np.abs(real).max()


def test_golden_only_tells_the_same_cycles(files, capsys):
    options = ("quantized.npz", "--input", "integers.npy", "--json")
    with_rtl = run(files, capsys, *options).report
    without = run(files, capsys, *options, "--golden-only").report
    assert without["bit_exact"] is without["cycle_exact"] is None
    for key in ("cycles", "causes", "top1", "layers", "utilization"):
        assert with_rtl[key] == without[key]


def test_streamed_weights(files, capsys):
    options = ("wide.npz", "--input", "wide.npy", "--set", "weight_depth=2048", "--json")
    link = run(files, capsys, *options).report
    core = run(files, capsys, *options, "--part", "core").report
    assert (link["bit_exact"], link["cycle_exact"]) == (True, None)
    assert (core["bit_exact"], core["cycle_exact"]) == (True, True)
    assert "streamed" in link["layers"][0]["weights"]
    text = " ".join(run(files, capsys, *options[:-1]).out.split())
    assert "--part core compares every counter" in text


def test_memories_are_as_large_as_the_network_needs(files, capsys):
    result = run(files, capsys, "wide.npz", "--input", "wide.npy", "--json")
    assert "needs larger memories than the default: weight_depth=" in result.err
    assert "resident" in result.report["layers"][0]["weights"]
    assert result.report["cycle_exact"] is True


def test_check_compares_every_tensor(files, capsys):
    options = ("quantized.npz", "--input", "integers.npy", "--check")
    report = run(files, capsys, *options, "--json").report
    count = len(files.integers)
    assert [(t["index"], t["shape"], t["elements"], t["wrong"]) for t in report["tensors"]] == [
        (1, [48], 48 * count, 0),
        (2, [32], 32 * count, 0),
        (3, [10], 10 * count, 0),
    ]
    assert "every element of every tensor does" in run(files, capsys, *options).out
    assert "leave one of them out" in run(files, capsys, *options, "--golden-only", code=2).err


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_picture(files, capsys, suffix):
    options = ("quantized.npz", "--input", "integers.npy", "--golden-only", "--picture", f"layers.{suffix}")
    assert run(files, capsys, *options, "--json").report["picture"].endswith(f"layers.{suffix}")
    content = (files.folder / f"layers.{suffix}").read_bytes()
    assert content[:64].lstrip().startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix])


def test_picture_of_another_kind(files, capsys):
    options = ("quantized.npz", "--input", "integers.npy", "--golden-only", "--picture", "layers.bmp")
    assert "layers.bmp: pictures are .svg, .png, .pdf files." in run(files, capsys, *options, code=2).err


def test_tables(files, capsys):
    text = run(files, capsys, "quantized.npz", "--input", "integers.npy", "--labels", "labels.npy").out
    assert all(word in text for word in ["accuracy", "× 64 × 48", "compute", "top-1", "100 MHz", "resident"])
    assert "NO" not in text


def test_a_difference(files, capsys, monkeypatch):
    right = reference.golden
    monkeypatch.setattr(reference, "golden", lambda *args: right(*args) + 1)
    answer = run(files, capsys, "quantized.npz", "--input", "integers.npy", code=1)
    assert "300 of 300 outputs differ" in answer.err
    assert "the core alone gives the golden model's outputs" in answer.err  # it is the golden model that was changed
    assert "NO" in answer.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.npz", "--input", "images.npy"), "nowhere.npz: there is no such file"),
        (("images.npy", "--input", "images.npy"), "'.npy' names no model format"),
        (("float.npz", "--input", "nowhere.npy"), "nowhere.npy: No such file"),
        (("float.npz", "--input", "nan.npy"), "nan.npy: the inputs contain NaN or infinity"),
        (("quantized.npz", "--input", "nan.npy"), "nan.npy: the inputs contain NaN or infinity"),
        (("float.npz", "--input", "images.npy", "--calibration", "nan.npy"), "nan.npy: the inputs contain NaN"),
        (
            ("float.npz", "--input", "short.npy"),
            "short.npy: the inputs have shape (30, 10), but the model takes (batch, 64)",
        ),
        (("float.npz", "--input", "one.npy"), "one.npy: the inputs have shape (64,)"),
        (("float.npz", "--input", "none.npy"), "none.npy: the inputs have shape (0, 64)"),
        (("float.npz", "--input", "texts.npy"), "texts.npy: the inputs are of type <U1"),
        (("quantized.npz", "--input", "big.npy"), "but int8 holds -128 to 127"),
        (("float.npz", "--input", "damaged.npy"), "damaged.npy: it is no .npy file of numbers"),
        (("float.npz", "--input", "several.npz"), "several.npz: it holds several arrays"),
        (("float.npz", "--input", "images.npy", "--labels", "images.npy"), "30 inputs need integers (30,)"),
        (("float.npz", "--input", "images.npy", "--output", "no/where/out.npy"), "cannot be written"),
        (("float.npz", "--input", "images.npy", "--clock", "0"), "--clock 0.0 must be a positive number"),
        (("float.npz", "--input", "images.npy", "--clock", "nan"), "--clock nan must be a positive number"),
        (
            ("quantized.npz", "--input", "integers.npy", "--set", "activation_width=4"),
            "activation_width=4 is too narrow",
        ),
        (("quantized.npz", "--input", "integers.npy", "--set", "parameter_depth=2"), "set parameter_depth higher"),
    ],
)
def test_bad_input(files, capsys, arguments, told):
    answer = run(files, capsys, *arguments, code=2)
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert told in answer.err


def test_an_unsupported_operator(files, capsys):
    onnx = pytest.importorskip("onnx")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 64]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Softplus", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph), files.folder / "softplus.onnx")
    answer = run(files, capsys, "softplus.onnx", "--input", "images.npy", code=2)
    assert "Softplus" in answer.err
    assert "softplus.onnx" in answer.err


def test_an_interrupted_run_leaves_the_old_output(files, capsys, monkeypatch):
    (files.folder / "kept.npy").write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("celosia.host.cli.run.np.save", interrupted)
    options = ("--input", "integers.npy", "--output", "kept.npy", "--golden-only")
    run(files, capsys, "quantized.npz", *options, code=130)
    assert (files.folder / "kept.npy").read_bytes() == b"old"
    assert not list(files.folder.glob(".*"))
