from importlib import resources

import numpy as np
import pytest

from celosia.host import data
from celosia.host.compress import Compression, compress
from celosia.host.compression_report import compression_report
from celosia.host.data import binary_network, digits_network, lenet_network, load_digits, tiny_network
from celosia.host.models.binary import BinaryDense
from celosia.host.quantize import Quantization, quantize
from celosia.sim.golden import binary as golden


def test_splits_are_the_whole_set_and_disjoint():
    test_images, test_labels = load_digits()
    train_images, train_labels = load_digits("train")
    assert test_images.shape == (445, 64)
    assert train_images.shape == (1352, 64)
    for images, labels in ((test_images, test_labels), (train_images, train_labels)):
        assert images.dtype == labels.dtype == np.uint8
        assert (images.min(), images.max()) == (0, 16)
        assert len(labels) == len(images)
        assert np.array_equal(np.unique(labels), np.arange(10))
    seen = {image.tobytes() for image in train_images}
    assert not [image for image in test_images if image.tobytes() in seen]


def test_data_equals_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the original digits")
    bunch = datasets.load_digits()
    original = sorted(
        (bytes(image), int(label)) for image, label in zip(bunch.data.astype(np.uint8), bunch.target, strict=True)
    )
    ours = [
        (bytes(image), int(label))
        for split in ("test", "train")
        for image, label in zip(*load_digits(split), strict=True)
    ]
    assert sorted(ours) == original


def test_float_accuracy():
    images, labels = load_digits()
    network = digits_network()
    assert network.labels == tuple("0123456789")
    assert (network.evaluate(images).argmax(axis=1) == labels).sum() == 432


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("rounding", ["double", "even"])
def test_eight_bits_cost_less_than_half_a_point(evaluate, signed, rounding):
    images, labels = load_digits()
    calibration, _ = load_digits("train")
    network = quantize(digits_network(), calibration, Quantization(signed=signed, rounding=rounding)).network
    outputs = evaluate(network, network.quantize_input(images))
    hits = (outputs.argmax(axis=1) == labels).sum()
    assert hits >= 432 - 0.005 * len(labels), f"{hits} of {len(labels)}"
    assert max(layer.accumulator_width for layer in network.layers) <= 32


DENSE_HITS = 441  # of the dense float network that the compressed one was made from, see host/data/README.md


def test_lenet_is_pruned_and_shares_its_weights():
    images, labels = load_digits()
    network = lenet_network()
    assert [layer.weights.shape for layer in network.layers] == [(64, 300), (300, 100), (100, 10)]
    assert [np.count_nonzero(layer.weights) for layer in network.layers] == [1152, 900, 200]
    assert all(len(np.unique(layer.weights)) == 16 for layer in network.layers)
    assert (network.evaluate(images).argmax(axis=1) == labels).sum() == 441


@pytest.mark.parametrize(("weight_width", "activation_width"), [(8, 8), (16, 8), (16, 16)])
def test_lenet_in_integers(evaluate, weight_width, activation_width):
    images, labels = load_digits()
    model = lenet_network()
    options = Compression(weight_width=weight_width, activation_width=activation_width)
    result = compress(model, load_digits("train")[0], options)
    for layer, shared, compressed in zip(model.layers, result.shared.layers, result.network.layers, strict=True):
        assert np.array_equal(layer.weights, shared.weights)
        assert len(compressed.codebook) == 16
        assert compressed.nonzeros == np.count_nonzero(layer.weights)
    outputs = evaluate(result.network, result.network.quantize_input(images))
    hits = (outputs.argmax(axis=1) == labels).sum()
    assert hits >= DENSE_HITS - 0.005 * len(labels), f"{hits} of {len(labels)}"


def test_lenet_is_fifty_times_smaller():
    options = Compression(weight_width=8)
    network = compress(lenet_network(), load_digits("train")[0], options).network
    total = compression_report(network)[-1]
    assert total["bias_bytes"] == 2 * 410
    assert (total["total_bytes"], total["total_bytes_huffman"]) == (4443, 3861)
    assert total["ratio_huffman"] > 50


def test_the_binarized_network():
    images, labels = load_digits()
    network = binary_network()
    assert network.labels == tuple("0123456789")
    assert all(isinstance(layer, BinaryDense) and not layer.is_ternary for layer in network.layers)
    assert [layer.weights.shape for layer in network.layers] == [(64, 256), (256, 256), (256, 10)]
    assert [layer.input_dtype for layer in network.layers] == ["uint4", "bipolar", "bipolar"]
    assert (network.output_dtype, network.output_scale.shape, network.output_bias.shape) == ("int32", (10,), (10,))
    values = network.quantize_input(images)
    assert (values.min(), values.max()) == (0, 15)
    for layer in network.layers:
        values = golden.run_layer(layer, values)
        assert np.mean([len(np.unique(column)) > 1 for column in values.T]) > 0.9, "few outputs are constant"
    assert (network.dequantize_output(values).argmax(axis=1) == labels).sum() == 440


def test_tiny_network():
    images, labels = load_digits()
    network = tiny_network()
    assert [layer.weights.shape for layer in network.layers] == [(64, 128), (128, 128), (128, 10)]
    assert [layer.input_dtype for layer in network.layers] == ["uint1", "bipolar", "bipolar"]
    values = network.quantize_input(images)
    for layer in network.layers:
        values = golden.run_layer(layer, values)
    assert (network.dequantize_output(values).argmax(axis=1) == labels).sum() == 413


def test_the_binarized_network_is_a_small_file():
    with resources.as_file(resources.files(data) / "digits_binary.npz") as path:
        assert path.stat().st_size < 20_000  # 84,480 weights of one bit are 10,560 bytes
