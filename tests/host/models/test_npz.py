import dataclasses
import zipfile

import numpy as np
import pytest

from celosia.host.compress import Compression, compress
from celosia.host.data import digits_network, load_digits
from celosia.host.models import npz_entries, read_model
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.ir import Dense, Network
from celosia.host.models.npz import read_npz, write_npz
from celosia.host.models.npz_layers import FIELDS
from celosia.host.quantize import Quantization, quantize

FLOAT = {
    "format": "celosia-float",
    "version": 1,
    "name": "mlp",
    "input_shape": [2],
    "layers": ["hidden", "classes"],
    "0.weights": np.ones((2, 3)),
    "0.bias": np.zeros(3),
    "0.activation": [-1.0, 1.0],
    "1.weights": np.ones((3, 1), order="F"),
    "1.bias": np.zeros(1),
}


@pytest.fixture(scope="module")
def networks():
    digits = digits_network()
    images, _ = load_digits("train")
    clipped = FloatNetwork(
        name="clip",
        layers=[FloatDense(name="fc", weights=np.eye(4)[:, :3], bias=np.ones(3), activation=(-1, np.inf))],
        input_shape=(2, 2),
    )
    wide = quantize(digits, images, Quantization(weight_width=12, activation_width=16)).network
    compressed = compress(digits, images, Compression(density=0.3)).network
    direct = compress(digits, images, Compression(density=0.3, codebook_width=None, activation_width=16)).network
    mixed = Network(name="mixed", layers=[*quantized_to_zero(), compressed.layers[1]], input_shape=(64,))
    return {
        "float": digits,
        "quantized": quantize(digits, images).network,
        "wide": wide,
        "clipped": clipped,
        "compressed": compressed,
        "direct": direct,
        "mixed": mixed,
        "binary": binarized(),
        "binary-dense": Network(name="sums", layers=[binary_dense()], input_shape=(2, 3), output_bias=np.zeros(5)),
    }


def binary_conv(**changes) -> BinaryConv:
    """A layer with no field at its default."""
    fields = {
        "name": "conv",
        "weights": np.resize([1, -1, -1, 0, 1, 1, -1], (3, 2, 2, 4)),
        "input_size": (7, 6),
        "strides": (2, 1),
        "padding": (1, 0, 2, 1),
        "pad_value": 3,
        "pool": (2, 3),
        "pool_strides": (1, 2),
        "thresholds": np.sort(np.resize([5, -7, 0, 3, 2], (4, 2))),
        "input_dtype": "uint2",
        "output_dtype": "int3",
        "output_minimum": -1,
    }
    return BinaryConv(**(fields | changes))


def binary_dense(**changes) -> BinaryDense:
    return BinaryDense(**({"name": "sums", "weights": np.ones((6, 5), int), "output_dtype": "int32"} | changes))


def binarized() -> Network:
    """Both kinds of binarized layers and every optional member of a network."""
    conv = binary_conv()
    size = int(np.prod(conv.output_shape))
    sums = binary_dense(weights=np.resize([1, -1, -1], (size, 3)), input_dtype="int3")
    return Network(
        name="binarized",
        layers=[conv, sums],
        input_shape=(2, 7, 6),
        output_scale=np.array([0.5, -0.25, 3]),
        output_bias=1.5,
        input_thresholds=np.array([-0.5, 0.1]),
        channels_first=True,
        labels=["a", "b", "c"],
    )


def quantized_to_zero() -> list[Dense]:
    """A dense layer that gives what a compressed one takes."""
    return [
        Dense(
            name="first",
            weights=np.ones((64, 48), np.int8),
            bias=np.zeros(48, int),
            multiplier=np.full(48, 2**30),
            shift=np.zeros(48, int),
            rounding="up",
            input_zero_point=3,
            output_zero_point=0,
            minimum=0,
            maximum=127,
        )
    ]


def same(a, b) -> bool:
    if [layer.name for layer in a.layers] != [layer.name for layer in b.layers]:
        return False
    if type(a) is not type(b):
        return False
    return all(
        np.array_equal(getattr(a, field.name), getattr(b, field.name))
        and type(getattr(a, field.name)) is type(getattr(b, field.name))
        for field in dataclasses.fields(a)
        if field.name != "layers"
    ) and all(
        np.array_equal(getattr(x, field), getattr(y, field))
        and np.asarray(getattr(x, field)).dtype == np.asarray(getattr(y, field)).dtype
        for x, y in zip(a.layers, b.layers, strict=True)
        for field in FIELDS[type(x)]
    )


@pytest.mark.parametrize(
    "kind",
    ["float", "quantized", "wide", "clipped", "compressed", "direct", "mixed", "binary", "binary-dense"],
)
def test_what_is_written_is_read(networks, kind, tmp_path):
    path = tmp_path / "network.NPZ"
    write_npz(path, networks[kind])
    assert same(read_model(path), networks[kind])
    first = path.read_bytes()
    write_npz(path, networks[kind])
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_by_hand(tmp_path):
    np.savez(tmp_path / "mlp.npz", **FLOAT)
    network = read_npz(tmp_path / "mlp.npz")
    assert isinstance(network, FloatNetwork)
    assert network.evaluate([[0.25, 0.5], [5, 5]]).tolist() == [[2.25], [3.0]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": None}, '"format" is missing'),
        ({"format": "tflite"}, 'format is "tflite", but only celosia-float'),
        ({"version": 2}, "version is 2, but this program reads version 1"),
        ({"version": 1.5}, "one integer would be right"),
        ({"name": None}, '"name" is missing'),
        ({"name": 3}, "one text would be right"),
        ({"input_shape": [3]}, r'layer "hidden": it takes shape \(2,\)'),
        ({"input_shape": 2}, "a vector of integers"),
        ({"layers": [1, 2]}, "a vector of layer names"),
        ({"layers": ["hidden", "classes", "more"]}, '"2.weights" is missing'),
        ({"layers": ["hidden"]}, "entries 1.bias, 1.weights are unknown"),
        ({"0.kind": "conv"}, 'layer "hidden" is of kind "conv", but only layers of kind dense are read'),
        ({"0.kind": "binary-dense"}, 'layer "hidden" is of kind "binary-dense"'),
        ({"0.weights": None}, '"0.weights" is missing'),
        ({"0.weights": np.full((2, 3), np.nan)}, 'layer "hidden": weights contains NaN'),
        ({"0.weights": np.ones((2, 4))}, 'layer "hidden": bias has shape'),
        ({"0.bias": np.zeros(3, dtype=bool)}, "has dtype bool, but only"),
        ({"0.bias": np.array([b"a", b"b", b"c"])}, "only integers, floats and texts"),
        ({"0.activation": "tanh"}, "activation 'tanh'"),
        ({"0.activation": [1.0]}, "none, relu, relu6 or two numbers"),
        ({"0.activaton": "relu"}, "entries 0.activaton are unknown"),
        ({"labels": ["a", "b"]}, "2 labels for 1 outputs"),
        ({"labels": [1.0]}, "a vector of texts"),
    ],
)
def test_a_wrong_entry_is_named(changes, words, tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, **{key: value for key, value in (FLOAT | changes).items() if value is not None})
    with pytest.raises(ModelError, match=words) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", sorted(FIELDS[Dense]))
def test_every_field_of_a_quantized_layer_is_needed(networks, field, tmp_path):
    path = tmp_path / "network.npz"
    write_npz(path, networks["quantized"])
    with np.load(path) as arrays:
        np.savez(path, **{key: value for key, value in arrays.items() if key != f"1.{field}"})
    with pytest.raises(ModelError, match=f'"1.{field}" is missing'):
        read_npz(path)


@pytest.mark.parametrize("field", sorted(set(FIELDS[CompressedDense]) - {"codebook"}))
def test_every_field_of_a_compressed_layer_is_needed(networks, field, tmp_path):
    path = tmp_path / "network.npz"
    write_npz(path, networks["compressed"])
    with np.load(path) as arrays:
        assert arrays["1.kind"] == "compressed"
        np.savez(path, **{key: value for key, value in arrays.items() if key != f"1.{field}"})
    with pytest.raises(ModelError, match=f'"1.{field}" is missing'):
        read_npz(path)


def test_codebooks_are_left_out_and_missed(networks, tmp_path):
    write_npz(tmp_path / "direct.npz", networks["direct"])
    with np.load(tmp_path / "direct.npz") as arrays:
        assert "0.codebook" not in arrays
    write_npz(tmp_path / "network.npz", networks["compressed"])
    with np.load(tmp_path / "network.npz") as arrays:
        entries = dict(arrays)
    for changes, words in (
        ({"0.codebook": None}, "without a codebook they must be int8 or int16"),
        ({"0.kind": None}, '"0.weights" is missing'),
        ({"0.kind": "sparse"}, 'is of kind "sparse", but only layers of kind dense, compressed, binary-dense, '),
        ({"0.codebook": np.arange(3)}, "a codebook of 3 values ends at 2"),
        ({"0.shift": np.zeros(48, int)}, "one integer would be right"),
        ({"0.multiplier": np.ones(48, int)}, "entries 0.multiplier are unknown"),
    ):
        np.savez(tmp_path / "bad.npz", **{k: v for k, v in (entries | changes).items() if v is not None})
        with pytest.raises(ModelError, match=words) as caught:
            read_npz(tmp_path / "bad.npz")
        assert str(caught.value).startswith(f"{tmp_path / 'bad.npz'}: ")


@pytest.mark.parametrize("field", sorted(set(FIELDS[BinaryConv]) - {"thresholds", "output_minimum"}))
def test_every_field_of_a_binarized_convolution_is_needed(networks, field, tmp_path):
    path = tmp_path / "network.npz"
    write_npz(path, networks["binary"])
    with np.load(path) as arrays:
        assert (arrays["0.kind"], arrays["1.kind"]) == ("binary-conv", "binary-dense")
        np.savez(path, **{key: value for key, value in arrays.items() if key != f"0.{field}"})
    with pytest.raises(ModelError, match=f'"0.{field}" is missing'):
        read_npz(path)


def test_binarized_layers_by_hand(tmp_path):
    path = tmp_path / "by_hand.npz"
    entries = {
        "format": "celosia-quantized",
        "version": 1,
        "name": "by hand",
        "input_shape": [2],
        "layers": ["hidden", "classes"],
        "input_scale": 1,
        "output_scale": 0.5,
        "0.kind": "binary-dense",
        "0.weights": [[1, -1, 1], [-1, -1, 1]],
        "0.thresholds": [[0], [1], [-2]],
        "0.input_dtype": "uint3",
        "0.output_dtype": "bipolar",
        "1.kind": "binary-dense",
        "1.weights": [[1], [0], [-1]],
        "1.input_dtype": "bipolar",
        "1.output_dtype": "int32",
    }
    np.savez(path, **entries)
    network = read_npz(path)
    assert isinstance(network, Network)
    first, last = network.layers
    assert isinstance(first, BinaryDense)
    assert isinstance(last, BinaryDense)
    assert (first.output_minimum, last.output_minimum) == (-1, None)
    assert (first.weights.dtype, last.thresholds, last.is_ternary) == (np.int8, None, True)
    assert (network.output_scale, network.output_bias, network.channels_first) == (0.5, 0.0, False)
    assert network.input_thresholds is None


def test_members_that_say_nothing_are_left_out(networks, tmp_path):
    write_npz(tmp_path / "network.npz", networks["quantized"])
    with np.load(tmp_path / "network.npz") as arrays:
        assert not {"output_bias", "input_thresholds", "channels_first"} & set(arrays)
    write_npz(tmp_path / "network.npz", networks["binary-dense"])
    with np.load(tmp_path / "network.npz") as arrays:
        assert arrays["output_bias"].tolist() == [0] * 5  # an array, which is not the number 0
        assert not {"0.thresholds", "0.output_minimum"} & set(arrays)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_scale": "1"}, '"output_scale" is .* but one number or an array of numbers would be right'),
        ({"output_scale": np.ones(2)}, r"output_scale has shape \(2,\), but \(3,\) is needed"),
        ({"output_scale": [1.0, 0.0, 1.0]}, "must not be 0"),
        ({"output_bias": np.ones((3, 1))}, r"output_bias has shape \(3, 1\)"),
        ({"output_bias": np.full(3, np.nan)}, "output_bias contains NaN"),
        ({"output_bias": 1e300}, "output_bias contains NaN or infinity"),
        ({"input_thresholds": "a"}, '"input_thresholds" is .* numbers would be right'),
        ({"input_thresholds": 0.5}, "in rising order"),
        ({"input_thresholds": [0.5, np.nan]}, "in rising order"),
        ({"input_thresholds": [0.5, 0.25]}, "in rising order"),
        ({"input_thresholds": np.zeros(4)}, "4 input_thresholds, but uint2 inputs take 1 to 3"),
        ({"channels_first": 2}, '"channels_first" is 2, but 0 or 1 would be right'),
        ({"channels_first": [1]}, "one integer would be right"),
        ({"channels_first": "yes"}, "one integer would be right"),
        ({"channels_first": 0}, r'layer "conv": it takes shape \(7, 6, 2\), but the input has shape \(2, 7, 6\)'),
        ({"channel_first": 1}, "entries channel_first are unknown"),
        ({"0.weights": np.ones((3, 2, 2, 4))}, "float64, but they must be integers −1, 0 or \\+1"),
        ({"0.weights": np.full((3, 2, 2, 4), 2)}, r"weights\[0, 0, 0, 0\] is 2"),
        ({"0.weights": np.full((3, 2, 2, 4), 2**64 - 1, np.uint64)}, "is 18446744073709551615"),
        ({"0.weights": np.ones((3, 2))}, r"needs \(kernel rows, kernel columns, C, N\)"),
        ({"0.weights": np.ones((0, 2, 2, 4), int)}, r"needs \(kernel rows"),
        ({"1.weights": np.ones((3, 2), int)}, 'layer "sums": it takes shape'),
        ({"0.input_size": [7]}, "2 integers are needed"),
        ({"0.input_size": 7}, "a vector of 2 integers would be right"),
        ({"0.input_size": [7.0, 6.0]}, "a vector of 2 integers would be right"),
        ({"0.input_size": [7, 2**62]}, "input_size is 4611686018427387904, but it must be from 1 to 4096"),
        ({"0.strides": [0, 1]}, "strides is 0"),
        ({"0.padding": [3, 0, 2, 1]}, "must be less than the kernel"),
        ({"0.padding": [-1, 0, 2, 1]}, "padding is -1"),
        ({"0.pad_value": 4}, "pad_value is 4, but it must be from 0 to 3"),
        ({"0.pool": [9, 9]}, "pool window is larger than the image"),
        ({"0.pool_strides": []}, "2 integers are needed"),
        ({"0.thresholds": np.zeros((4, 2))}, "thresholds are float64"),
        ({"0.thresholds": [[2, 1]] * 4}, "the thresholds of output 0 fall"),
        ({"0.thresholds": np.full((4, 1), 2**64 - 1, np.uint64)}, "is 18446744073709551615"),
        ({"0.thresholds": None}, "without thresholds its outputs are sums"),
        ({"0.output_minimum": 4}, "output_minimum is 4"),
        ({"0.output_minimum": 3}, "2 thresholds from 3 on reach 5"),
        ({"0.output_dtype": "int32"}, "outputs of type 'int32'"),
        ({"0.input_dtype": "uint9"}, "inputs of type 'uint9'"),
        ({"1.input_dtype": "bipolar"}, "it takes bipolar with zero point 0, but"),
        ({"0.bias": np.zeros(4)}, "entries 0.bias are unknown"),
    ],
)
def test_a_wrong_entry_of_a_binarized_network_is_named(networks, changes, words, tmp_path):
    write_npz(tmp_path / "network.npz", networks["binary"])
    with np.load(tmp_path / "network.npz") as arrays:
        entries = dict(arrays)
    np.savez(tmp_path / "bad.npz", **{k: v for k, v in (entries | changes).items() if v is not None})
    with pytest.raises(ModelError, match=words) as caught:
        read_npz(tmp_path / "bad.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.npz'}: ")
    assert "\n" not in str(caught.value)


def test_weights_of_one_bit_make_a_small_file(tmp_path):
    weights = np.random.default_rng(10).choice([-1, 1], (512, 512))
    layer = BinaryDense(name="fc", weights=weights, output_dtype="int32")
    write_npz(tmp_path / "network.npz", Network(name="net", layers=[layer], input_shape=(512,)))
    assert (tmp_path / "network.npz").stat().st_size < 0.17 * weights.size


def test_a_sparse_layer_makes_a_small_file(tmp_path):
    rng = np.random.default_rng(9)
    codes = (rng.integers(1, 16, (1000, 1000)) * (rng.random((1000, 1000)) < 0.1)).astype(np.uint8)
    layer = CompressedDense(
        name="fc",
        codes=codes,
        codebook=np.arange(16),
        bias=np.zeros(1000, int),
        shift=0,
        minimum=-128,
        maximum=127,
    )
    write_npz(tmp_path / "network.npz", Network(name="net", layers=[layer], input_shape=(1000,)))
    assert (tmp_path / "network.npz").stat().st_size < 0.15 * codes.size


def test_no_pickles(tmp_path):
    np.savez(tmp_path / "bad.npz", allow_pickle=True, **(FLOAT | {"0.bias": np.array([print, 1, 2], dtype=object)}))
    with pytest.raises(ModelError, match="has dtype object, but only"):
        read_npz(tmp_path / "bad.npz")


def npy(header: str) -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"), "needs 8000000000000"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }") + bytes(8), "shape"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), "shape"),
        (npy("{'descr': '<f0', 'fortran_order': False, 'shape': (1,), }"), "no .npy array"),
        (npy("{'descr': '<f8'"), "no .npy array"),
        (npy("(" * 100), "no .npy array"),
        (b"", "no .npy array"),
    ],
)
def test_headers_are_not_trusted(content, words, tmp_path):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("format.npy", content)
    with pytest.raises(ModelError, match=words):
        read_npz(path)


def test_a_large_file_is_refused_unopened(tmp_path, monkeypatch):
    path = tmp_path / "large.npz"
    np.savez_compressed(path, **FLOAT)
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    monkeypatch.setattr(npz_entries, "MAX_BYTES", size)
    read_npz(path)
    monkeypatch.setattr(npz_entries, "MAX_BYTES", size - 1)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(ModelError, match=f"take {size} bytes, but at most {size - 1} are read"):
        read_npz(path)


@pytest.mark.parametrize("kind", ["quantized", "compressed", "binary"])
def test_damaged_files_give_one_sentence(networks, kind, tmp_path):
    good = tmp_path / "good.npz"
    write_npz(good, networks[kind])
    content = good.read_bytes()
    seed = 20
    rng = np.random.default_rng(seed)
    path = tmp_path / "bad.npz"
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
            read += 1  # the byte was one that nothing depends on
        except ModelError as error:
            sentences.append(str(error))
    assert all(sentence.startswith(f"{path}: ") and "\n" not in sentence for sentence in sentences), f"seed {seed}"
    assert read < 60, f"seed {seed}: {read} of 300 damaged files were read"


def test_missing_file_folder_and_suffix(tmp_path):
    with pytest.raises(ModelError, match=r"none.npz: there is no such file"):
        read_model(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ModelError, match=r"folder.npz: it cannot be read \(Is a directory\)"):
        read_model(tmp_path / "folder.npz")
    with pytest.raises(ModelError, match=r"suffix '.txt' names no model format; .npz, .onnx, .tflite are read"):
        read_model(tmp_path / "model.txt")


def test_a_failed_write_keeps_the_old_file(networks, tmp_path, monkeypatch):
    path = tmp_path / "network.npz"
    write_npz(path, networks["float"])
    old = path.read_bytes()

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(ModelError, match=r"cannot be written \(No space left on device\)"):
        write_npz(path, networks["quantized"])
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_layers_the_format_does_not_know(networks, tmp_path):
    class Convolution(Dense):
        pass

    layer = networks["quantized"].layers[0]
    fields = {field: getattr(layer, field) for field in FIELDS[Dense]}
    network = Network(name="net", layers=[Convolution(name="conv", **fields)], input_shape=(64,))
    with pytest.raises(
        ModelError, match='layer "conv" is a Convolution, but the format holds only Dense, FloatDense, '
    ):
        write_npz(tmp_path / "network.npz", network)
    assert not list(tmp_path.iterdir())
