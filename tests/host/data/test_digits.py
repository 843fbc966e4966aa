import numpy as np
import pytest

from celosia.host.data import digits_network, load_digits
from celosia.host.quantize import Quantization, quantize


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
