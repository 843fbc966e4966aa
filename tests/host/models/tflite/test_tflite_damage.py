"""Damaged, hostile and enormous files: one sentence or a network, never a crash, a hang or much memory."""

import resource
import sys
import time
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from celosia.host.models import tflite as reader
from celosia.host.models import tflite_file
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network
from celosia.host.models.tflite import read_tflite
from celosia.sim.golden.network import tensors

SEED = 31
SECONDS = 5.0  # for a file; what takes milliseconds otherwise
MEMORY = 400 * 2**20  # bytes that reading files of 100 kB may add


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One of: cut off, bytes, words or offsets changed, a part moved, repeated or zeroed."""
    damaged = np.frombuffer(content, np.uint8).copy()
    kind = int(rng.integers(7))
    # tables are at the end of converters' files, weights before: both get their share
    place = (
        rng.integers(len(damaged) - 16)
        if rng.random() < 0.3
        else len(damaged) - 16 - rng.integers(min(12000, len(damaged) - 16))
    )
    if kind == 0:
        return content[: rng.integers(len(content))]
    if kind == 1:
        positions = rng.integers(max(0, place - 4000), len(damaged), size=rng.integers(1, 30))
        damaged[positions] = rng.integers(256, size=len(positions))
    elif kind == 2:
        word = int(rng.choice([0, 1, 2, 3, 4, 2**31 - 1, 2**31, 2**32 - 1, 2**16, 2**20, len(content)]))
        damaged[place // 4 * 4 :][:4] = np.frombuffer(word.to_bytes(4, "little"), np.uint8)
    elif kind == 3:
        damaged[place // 4 * 4 :][:4] = np.frombuffer(int(rng.integers(2**32)).to_bytes(4, "little"), np.uint8)
    elif kind == 4:
        length = int(rng.integers(4, 200))
        source = int(rng.integers(len(damaged) - length))
        part = damaged[source : source + length].copy()
        damaged[place : place + length] = part[: len(damaged[place : place + length])]
    elif kind == 5:
        damaged[place : place + int(rng.integers(1, 64))] = 0
    else:
        position = place // 4 * 4  # a number that is only a little off: another shape, stride, tensor or type
        word = int.from_bytes(damaged[position : position + 4].tobytes(), "little") + int(rng.integers(-2, 3))
        damaged[position : position + 4] = np.frombuffer((word % 2**32).to_bytes(4, "little"), np.uint8)
    return damaged.tobytes()


def survive(path: Path) -> Network | None:
    """The network, or None if it is refused as it should be."""
    start, network, sentence = time.perf_counter(), None, f"{path}: "
    try:
        network = read_tflite(path)
    except ModelError as error:
        sentence = str(error)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert time.perf_counter() - start < SECONDS
    return network


def fuzz(tflite, contents: list[bytes], folder: Path, count: int, seed: int) -> tuple[int, int]:
    """How many of the mutations were refused, and how many were read and computed like LiteRT."""
    path, refused, equal = folder / "bad.tflite", 0, 0
    for trial in range(count):
        rng = np.random.default_rng([seed, trial])
        path.write_bytes(mutate(contents[trial % len(contents)], rng))
        network = survive(path)
        if network is None:
            refused += 1
            continue
        values = rng.integers(-128, 128, (1, *network.input_shape)).astype(np.int8)
        if network.macs > 10**8 or network.input_dtype != "int8":
            continue
        golden = tensors(network, values)[-1].reshape(-1)
        try:
            expected = tflite.Reference(path).run(values).reshape(-1)
        except (RuntimeError, ValueError):
            continue  # LiteRT checks more than is needed, such as offsets that nothing uses
        assert np.array_equal(golden, expected), f"seed {seed}, trial {trial}: read, but computed another way"
        equal += 1
    return refused, equal


def used_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.fixture(scope="module")
def contents(published) -> list[bytes]:
    return [published(name).read_bytes() for name in ("resnet8", "kws", "ad")]


def test_mutations(tflite, contents, tmp_path):
    before = used_memory()
    refused, equal = fuzz(tflite, contents, tmp_path, 240, SEED)
    assert refused > 60
    assert equal > 20
    assert used_memory() - before < MEMORY


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_mutations(tflite, contents, tmp_path, part):
    before = used_memory()
    refused, equal = fuzz(tflite, contents, tmp_path, 1000, SEED + 1 + part)
    assert refused > 250
    assert equal > 80
    assert used_memory() - before < MEMORY


def test_every_prefix_of_the_tables(contents, tmp_path):
    path = tmp_path / "cut.tflite"
    for content in contents[1:2]:
        for length in [*range(64), *range(64, len(content), 499)]:
            path.write_bytes(content[:length])
            assert survive(path) is None


def small(tflite):
    graph = tflite.Graph()
    x, y = graph.input((1, 4)), graph.tensor((1, 3))
    graph.dense(x, np.ones((3, 4)), y)
    return graph


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_tflite(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_none(tmp_path, monkeypatch):
    assert "there is no such file" in refusal(tmp_path / "none.tflite")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)
    path = tmp_path / "text.tflite"
    for content in (b"", b"not", b"not a model at all, but a text"):
        path.write_bytes(content)
        assert "damaged or no TensorFlow Lite file" in refusal(path)
    path.write_bytes(b"\x00\x00\x00\x00TFL3")
    assert "is damaged" in refusal(path)
    monkeypatch.setitem(sys.modules, "tflite", None)
    assert "pip install 'celosia[tflite]'" in refusal(path)


def test_sizes_are_limited(tflite, tmp_path, monkeypatch):
    path = small(tflite).save(tmp_path / "m.tflite")
    monkeypatch.setattr(reader, "MAX_BYTES", 100)
    assert "but at most 100 are read" in refusal(path)
    monkeypatch.undo()
    with path.open("r+b") as file:
        file.truncate(2**30 + 1)  # a hole, which takes no room
    assert "at most 1073741824 are read" in refusal(path)


def test_counts_are_limited(tflite, tmp_path, monkeypatch):
    path = small(tflite).save(tmp_path / "m.tflite")
    monkeypatch.setattr(tflite_file, "MAX_TABLES", 2)
    assert "buffers, but at most 2 are read" in refusal(path)
    monkeypatch.undo()
    graph = small(tflite)
    graph.graph.tensors[0].shape = [1] * 9
    assert "Shape, has 9 elements, but at most 8 are read" in refusal(graph.save(path))
    graph = small(tflite)
    graph.graph.operators[0].inputs = [0] * 257
    assert "Inputs, has 257 elements" in refusal(graph.save(path))


@pytest.mark.parametrize("shape", [[2**20, 2**20], [3, -4], [0, 4], [2**31 - 1, 4], [3, 5]])
def test_shapes_of_constants_are_not_trusted(tflite, tmp_path, shape):
    graph = small(tflite)
    graph.graph.tensors[2].shape = shape
    assert "unsupported: FULLY_CONNECTED" in refusal(graph.save(tmp_path / "m.tflite"))


@pytest.mark.parametrize("shape", [[1, 2**31 - 1], [1, 2**20, 2**20, 2**20], [1, 0], [1, -1], [1], [], [2, 4]])
def test_shapes_of_inputs_are_not_trusted(tflite, tmp_path, shape):
    graph = small(tflite)
    graph.graph.tensors[0].shape = shape
    assert 'the graph\'s input "x" cannot be used' in refusal(graph.save(tmp_path / "m.tflite"))


def test_cycles(tflite, tmp_path):
    """Operators that take what comes later, what they give themselves, or give what there is already."""
    graph = tflite.Graph()
    x = graph.input((1, 4))
    a, b = graph.tensor((1, 4)), graph.tensor((1, 4))
    graph.add("ADD", [x, b], a, "AddOptions")
    graph.add("RELU", [a], b)
    assert '"t2", is used before anything gives it' in refusal(graph.save(tmp_path / "cycle.tflite"))
    graph = tflite.Graph()
    x, a = graph.input((1, 4)), graph.tensor((1, 4))
    graph.add("ADD", [x, a], a, "AddOptions")
    assert "used before anything gives it" in refusal(graph.save(tmp_path / "self.tflite"))
    graph = tflite.Graph()
    x, a = graph.input((1, 4)), graph.tensor((1, 4))
    graph.add("RELU", [x], a)
    graph.add("RELU6", [x], a)
    assert 'it gives "t1", which has a value before' in refusal(graph.save(tmp_path / "twice.tflite"))
    graph = tflite.Graph()
    x = graph.input((1, 4))
    graph.add("RELU", [x], x)
    assert 'it gives "x", which has a value before' in refusal(graph.save(tmp_path / "input.tflite"))


def test_many_operators_of_one_name(tflite, tmp_path):
    """Names are made unique without comparing each with all others."""
    graph = tflite.Graph()
    last = graph.input((1, 4))
    for _ in range(3000):
        after = graph.tensor((1, 4), name="same")
        last = graph.add("RELU", [last], after)
    network = survive(graph.save(tmp_path / "long.tflite"))
    assert network is not None
    assert len({layer.name for layer in network.layers}) == 3000


def test_names_are_cut_and_may_be_no_text(tflite, tmp_path):
    for name in (b"\xff\xfe" * 50, b"a" * 100_000, b"\n;\n", b""):
        graph = small(tflite)
        graph.graph.tensors[1].name = name
        builder = flatbuffers.Builder(1024)
        builder.Finish(graph.model.Pack(builder), b"TFL3")
        (tmp_path / "name.tflite").write_bytes(bytes(builder.Output()))
        network = survive(tmp_path / "name.tflite")
        assert network is not None
        assert 0 < len(network.layers[0].name) <= 120


def test_constants_that_many_operators_share(tflite, tmp_path):
    """A small file whose layers would fill the memory."""
    graph = tflite.Graph()
    last = graph.input((1, 1024))
    weights = graph.constant(np.ones((1024, 1024), np.int8), 0.01)
    for _ in range(500):
        last = graph.add("FULLY_CONNECTED", [last, weights], graph.tensor((1, 1024)), "FullyConnectedOptions")
    before = used_memory()
    assert "the layers so far hold many times what is in the file" in refusal(graph.save(tmp_path / "shared.tflite"))
    assert used_memory() - before < MEMORY


def test_layers_whose_weights_are_not_in_the_file(tflite, tmp_path):
    graph = tflite.Graph()
    x, axes = graph.input((1, 4096, 1024, 4)), graph.constant(np.array([1, 2], np.int32))
    for _ in range(500):
        graph.add("MEAN", [x, axes], graph.tensor((1, 4)), "ReducerOptions", keepDims=False)
    before = used_memory()
    assert "the layers so far hold many times what is in the file" in refusal(graph.save(tmp_path / "means.tflite"))
    assert used_memory() - before < MEMORY
    graph = tflite.Graph()
    x, y = graph.input((1, 2, 2, 2**20)), graph.tensor((1, 3, 2, 2**20))
    amounts = graph.constant(np.array([[0, 0], [0, 1], [0, 0], [0, 0]], np.int32))
    graph.add("PAD", [x, amounts], y)
    assert "its input has 1048576 channels, but at most 65536" in refusal(graph.save(tmp_path / "pad.tflite"))


def test_a_dense_layer_of_very_many_outputs(tflite, tmp_path):
    """Each finds its multiplier quickly, also where the nearest is wrong; together they are limited."""
    rng, count = np.random.default_rng(SEED), 20_000
    graph = tflite.Graph()
    x, y = graph.input((1, 2), 0.7, 1), graph.tensor((1, count), 0.3)
    graph.dense(x, rng.integers(-127, 128, (count, 2)), y, 2.0 ** rng.uniform(-13, -8, count))
    network = survive(graph.save(tmp_path / "wide.tflite"))
    assert network is not None
    graph = tflite.Graph()
    x, y = graph.input((1, 1), 0.7, 1), graph.tensor((1, 300_000), 0.3)
    graph.dense(x, np.ones((300_000, 1)), y, 0.01)
    assert "have more than 262144 outputs" in refusal(graph.save(tmp_path / "wider.tflite"))
