"""Networks of every quantized layer in .npz files: graphs, other shapes, and what is refused."""

import time

import numpy as np
import pytest

from celosia.host.models.arrangement import Concat, Reshape
from celosia.host.models.convolution import Conv2d
from celosia.host.models.elementwise import Add, Rescale
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network
from celosia.host.models.npz import read_npz, write_npz
from celosia.host.models.npz_entries import MAX_SOURCES
from celosia.host.models.npz_layers import _FIELD_READERS, FIELDS, KINDS
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.models.softmax import Softmax
from celosia.sim.golden.network import tensors

SEED = 31


def rng_of(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *numbers])


@pytest.fixture(scope="module")
def every(networks) -> Network:
    """One network with each kind of layer for images, and none at its defaults."""
    made = networks.Builder(rng_of(0), (7, 6, 4))
    image = made.conv(0, 6, (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), groups=2)
    pooled = made.max_pool(image, (2, 3), (1, 2), (1, 1, 0, 2))
    other = made.average_pool(image, (2, 3), (1, 2), (1, 1, 0, 2))
    total = made.add(pooled, other, left_shift=7)
    scaled = made.rescale(other)
    made.alike(total, scaled)
    both = made.concat(scaled, total, scaled)
    flat = made.reshape(both, (int(np.prod(made.shapes[both])),))
    made.softmax(made.dense(flat, 5, "int8"))
    fields = {"output_scale": 0.5, "output_bias": np.arange(5), "labels": list("abcde"), "channels_first": True}
    return Network(
        name="every", layers=made.layers, input_shape=(4, 7, 6), sources=made.sources, input_scale=0.1, **fields
    )


@pytest.fixture(scope="module")
def entries(every, tmp_path_factory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("npz") / "every.npz"
    write_npz(path, every)
    with np.load(path) as arrays:
        return dict(arrays)


INDEX = {"conv": 0, "max-pool": 1, "average-pool": 2, "add": 3, "rescale": 4, "concat": 5, "reshape": 6, "softmax": 8}
"""Kind → number of the layer of that kind in `every`."""


def save(path, entries) -> None:
    np.savez(path, **{key: value for key, value in entries.items() if value is not None})


def refused(path, words: str) -> str:
    with pytest.raises(ModelError, match=words) as caught:
        read_npz(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert len(sentence) < 20_000
    return sentence


def equal(a: object, b: object) -> bool:
    return type(a) is type(b) and np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype  # type: ignore[arg-type]


def assert_same(a: Network, b: Network) -> None:
    for field in ("name", "input_shape", "input_scale", "output_scale", "output_bias", "channels_first", "labels"):
        assert equal(getattr(a, field), getattr(b, field)), field
    assert a.sources == b.sources
    for x, y in zip(a.layers, b.layers, strict=True):
        assert (type(x), x.name) == (type(y), y.name)
        for field in FIELDS[type(x)]:
            assert getattr(x, field) == getattr(y, field) if field == "input_shapes" else True
            assert equal(getattr(x, field), getattr(y, field)), f"{x.name}.{field}"


def round_trip(path, network: Network) -> Network:
    write_npz(path, network)
    first = path.read_bytes()
    read = read_npz(path)
    assert isinstance(read, Network)
    assert_same(read, network)
    write_npz(path, read)
    assert path.read_bytes() == first
    return read


def test_every_class_has_a_reader_of_every_field():
    assert set(_FIELD_READERS) == set(KINDS)
    for kind, readers in _FIELD_READERS.items():
        assert sorted(readers) == sorted(FIELDS[kind])


def test_every_kind_of_layer(every, entries, tmp_path):
    kinds = {Conv2d, MaxPool2d, AveragePool2d, Add, Rescale, Concat, Reshape, Softmax}
    assert kinds < {type(layer) for layer in every.layers}
    assert {kind: str(entries[f"{index}.kind"]) for kind, index in INDEX.items()} == {kind: kind for kind in INDEX}
    read = round_trip(tmp_path / "every.npz", every)
    inputs = every.layer_inputs(rng_of(1).integers(-128, 128, (3, 4, 7, 6)))
    for a, b in zip(tensors(every, inputs), tensors(read, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_layers_that_take_something_else_have_sources(every, entries):
    assert every.sources is not None
    others = [index for index, taken in enumerate(every.sources) if taken != (index,)]
    assert sorted(key for key in entries if key.endswith(".sources")) == [f"{index}.sources" for index in others]
    assert [entries[f"{index}.sources"].tolist() for index in others] == [[1], [2, 3], [3], [5, 4, 5]]


@pytest.mark.parametrize("case", range(60))
def test_random_networks(networks, case, tmp_path):
    rng = rng_of(2, case)
    made = networks.random_network(rng, int(rng.integers(2, 9)), adds=bool(case % 3))
    round_trip(tmp_path / "network.npz", made.network())


@pytest.mark.parametrize("case", range(3))
def test_random_layers(networks, case, tmp_path):
    for number, kind in enumerate(networks.KINDS):
        made = networks.random_layer(rng_of(3, case, number), kind, 4, 4)
        round_trip(tmp_path / "network.npz", made.network())


@pytest.mark.parametrize("kind", INDEX)
def test_every_field_is_needed(entries, kind, tmp_path):
    index = INDEX[kind]
    fields = [key for key in entries if key.startswith(f"{index}.") and not key.endswith((".kind", ".sources"))]
    assert fields
    for key in fields:
        save(tmp_path / "bad.npz", entries | {key: None})
        refused(tmp_path / "bad.npz", f'the entry "{key}" is missing; .* would be right')
    save(tmp_path / "bad.npz", entries | {f"{index}.gain": 1})
    refused(tmp_path / "bad.npz", f"the entries {index}.gain are unknown")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"3.sources": [4, 3]}, "one of its sources is 4, but it must be from 0 to 3"),  # its own output
        ({"1.sources": [9]}, "one of its sources is 9, but it must be from 0 to 1"),
        ({"0.sources": [1]}, "one of its sources is 1, but it must be from 0 to 0"),
        ({"3.sources": [-1, 3]}, "one of its sources is -1"),
        ({"3.sources": np.array([2**64 - 1, 3], np.uint64)}, "one of its sources is 18446744073709551615"),
        ({"3.sources": np.array([], int)}, r"it takes 2 tensors, but its sources are \[\]"),
        ({"3.sources": [2, 3, 3]}, r"it takes 2 tensors, but its sources are \[2, 3, 3\]"),
        ({"3.sources": None}, r"it takes 2 tensors, but its sources are \[3\]"),
        ({"2.sources": [0]}, r"it takes shape .*, but the input has shape \(7, 6, 4\)"),
        (
            {"3.sources": 2},
            r'"3.sources" is int64 of shape \(\), but a vector of the numbers of tensors would be right',
        ),
        ({"3.sources": [2.0, 3.0]}, "a vector of the numbers of tensors would be right"),
        ({"3.sources": [[2, 3]]}, "a vector of the numbers of tensors would be right"),
        ({"3.sources": np.zeros(10**6, int)}, "a vector of the numbers of tensors with at most 1024 elements"),
        ({"9.sources": [9]}, "entries 9.sources are unknown"),
        ({"sources": [0]}, "entries sources are unknown"),
        ({"layers": np.full(2**20 + 1, "a")}, "a vector of layer names with at most 1048576 elements would be right"),
        ({"input_shape": np.ones(65, int)}, "a vector of integers with at most 64 elements would be right"),
        ({"0.kind": "convolution"}, 'of kind "convolution", but only layers of kind dense, compressed, binary-dense, '),
        ({"0.kind": "dense"}, r"layer \"layer0\": the weights have shape|entries .* are unknown"),
        ({"0.weights": np.ones((3, 2, 2, 6))}, "the weights are float64, but they must be int8"),
        ({"0.weights": np.ones((3, 2, 2, 6), np.int16)}, "the weights are int16, but they must be int8"),
        ({"0.groups": 4}, "6 output channels cannot be shared by 4 groups equally"),
        ({"0.groups": [2]}, "one integer would be right"),
        ({"0.input_size": [7, 2**40]}, "input_size is 1099511627776, but it must be from 1 to 32768"),
        ({"0.padding": [1, 0, 2]}, "4 integers are needed"),
        ({"0.padding": np.zeros(10**6, int)}, "a vector of 4 integers with at most 4 elements would be right"),
        ({"0.dilations": [1.0, 2.0]}, "a vector of 2 integers would be right"),
        ({"0.shift": 3}, r"shift has shape \(\), but 6 outputs need \(6,\)"),
        ({"0.multiplier": np.full(6, 2**63, np.uint64)}, r"multiplier\[0\] is 9223372036854775808"),
        ({"0.rounding": "down"}, "rounding 'down' is not one of"),
        ({"1.kernel": [2]}, "2 integers are needed"),
        ({"1.input_shape": [4, 5]}, "3 integers are needed"),
        ({"1.dtype": "float32"}, "'float32' is not an activation type"),
        ({"1.zero_point": -129}, "zero_point is -129"),
        ({"2.padding": [2, 1, 0, 2]}, "must be less than the kernel"),
        ({"3.shape": np.ones(65, int)}, "a vector of sizes with at most 64 elements would be right"),
        ({"3.shape": np.array([], int)}, "a tuple of one or more sizes is needed"),
        ({"3.shape": [2**31]}, "a size of shape is 2147483648"),
        ({"3.shifts": [-40, 0]}, "shifts is -40"),
        ({"4.multiplier": np.ones(6, int)}, "one integer would be right"),
        ({"5.input_shapes": [4, 2, 6]}, "a matrix of integers, one shape in each row, would be right"),
        ({"5.input_shapes": np.ones((3, 3))}, "a matrix of integers, one shape in each row, would be right"),
        ({"5.input_shapes": np.ones((1, 3), int)}, "two or more shapes are needed"),
        ({"5.input_shapes": np.ones((3, 0), int)}, "differ in more than their last size"),
        ({"5.input_shapes": np.zeros((3, 3), int)}, "a size of input_shapes is 0"),
        ({"5.input_shapes": np.ones((10**5, 10), int)}, "at most 1024 shapes of 64 sizes would be right"),
        ({"6.output_shape": [7]}, r"cannot become \(7,\)"),
        ({"6.output_shape": [2**31 - 1] * 20}, "which has another number of elements"),
        ({"8.shift": 32}, "shift is 32"),
        ({"8.multiplier": 1.5}, "one integer would be right"),
        ({"channels_first": None}, r"it takes shape \(7, 6, 4\), but the input has shape \(4, 7, 6\)"),
        ({"labels": ["a"]}, "1 labels for 5 outputs"),
    ],
)
def test_a_wrong_entry_is_named(entries, changes, words, tmp_path):
    save(tmp_path / "bad.npz", entries | changes)
    refused(tmp_path / "bad.npz", words)


@pytest.mark.parametrize("code", [0xFFFFFFFF, 0x110000, 0xD800])
@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_that_are_none(entries, code, order, tmp_path):
    for shape in ((), (9,)):
        text = np.full(shape or 1, code, f"{order}u4").view(f"{order}U1").reshape(shape)
        save(tmp_path / "bad.npz", entries | {"layers" if shape else "0.rounding": text})
        refused(tmp_path / "bad.npz", f"contains {code:#x}, which is no character")


def test_texts_that_are_long(entries, tmp_path):
    save(tmp_path / "bad.npz", entries | {"name": "x" * 10**6})
    refused(tmp_path / "bad.npz", "texts of 1000000 characters; at most 65536 are read")


def test_a_layer_of_more_tensors_than_can_be_read(tmp_path):
    for count in (MAX_SOURCES, MAX_SOURCES + 1):
        layer = Concat(name="all", input_shapes=((1,),) * count, zero_point=0)
        network = Network(name="n", layers=[layer], input_shape=(1,), sources=[(0,) * count])
        path = tmp_path / f"{count}.npz"
        if count <= MAX_SOURCES:
            round_trip(path, network)
            continue
        with pytest.raises(ModelError, match='layer "all" takes 1025 tensors, but the format holds at most 1024'):
            write_npz(path, network)
        assert not path.exists()


def _other(rng: np.random.Generator, array: np.ndarray) -> np.ndarray | None:
    """Something else in the place of an entry."""
    match rng.integers(9):
        case 0:
            return None
        case 1:
            return np.asarray(rng.choice([0, -1, 1, 7, 2**31, -(2**63), 2**62]))
        case 2:
            return np.asarray(rng.choice(["", "int8", "uint3", "bipolar", "int32", "even", "conv", "dense", "a\nb"]))
        case 3:
            return rng.integers(-(2**40), 2**40, rng.integers(0, 4, rng.integers(0, 4)))
        case 4:
            return array.astype(
                rng.choice(["U2"] if array.dtype.kind == "U" else ["f4", "u8", "i2", "U8", ">i8", "f2"])
            )
        case 5:
            return array[..., None] if rng.random() < 0.5 else array.ravel()
        case 6:
            return array.ravel()[: rng.integers(array.size + 1)]
        case 7 if array.dtype.kind in "iuf":
            return np.full(array.shape, rng.choice([np.nan, np.inf, 1e300, -0.0]))
        case _ if array.dtype.kind in "iu" and array.size:
            changed = array.copy()
            changed.ravel()[rng.integers(array.size)] += rng.choice([-1, 1, 2, 100]).astype(array.dtype)
            return changed
    return array.T


@pytest.mark.parametrize("part", range(4))
def test_changed_entries_give_a_sentence_or_a_network(entries, part, tmp_path):
    """Files that are whole, but say something else."""
    rng, path = rng_of(4, part), tmp_path / "bad.npz"
    begin, read, keys, sentences = time.perf_counter(), 0, list(entries), []
    for _ in range(150):
        changes = {}
        for key in rng.choice(keys, rng.integers(1, 3), replace=False):
            with np.errstate(all="ignore"):
                changes[str(key)] = _other(rng, entries[key])
        save(path, entries | changes)
        try:
            network = read_npz(path)
        except ModelError as error:
            sentences.append(str(error))
            continue
        assert isinstance(network, Network)
        write_npz(tmp_path / "again.npz", network)
        read += 1
    assert all(each.startswith(f"{path}: ") and "\n" not in each and len(each) < 20_000 for each in sentences)
    assert 3 < read < 75, f"{read} of 150 were read"
    assert time.perf_counter() - begin < 60


def test_bytes_that_are_damaged(every, tmp_path):
    good, path, rng = tmp_path / "good.npz", tmp_path / "bad.npz", rng_of(5)
    write_npz(good, every)
    content = good.read_bytes()
    sentences, read = [], 0
    for trial in range(300):
        damaged = bytearray(content)
        if trial % 2:
            damaged = damaged[: rng.integers(len(content))]
        else:
            for position in rng.integers(len(content), size=rng.integers(1, 8)):
                damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_npz(path)
            read += 1
        except ModelError as error:
            sentences.append(str(error))
    assert all(each.startswith(f"{path}: ") and "\n" not in each for each in sentences)
    assert read < 60
