from importlib import resources
from pathlib import Path

import numpy as np

from celosia.host import data
from celosia.host.data import cnn_network, load_digits
from celosia.host.models.npz import write_npz
from celosia.sim.golden.network import tensors


def outputs(images: np.ndarray) -> list[np.ndarray]:
    network = cnn_network()
    integers = network.quantize_input(images.reshape(-1, 1, 8, 8).astype(np.float32))
    return tensors(network, network.layer_inputs(integers))


def test_layers():
    network = cnn_network()
    kinds = ["Conv2d", "Conv2d", "Conv2d", "Add", "MaxPool2d", "Conv2d", "Conv2d", "Conv2d", "Conv2d", "Dense"]
    assert [type(layer).__name__ for layer in network.layers] == kinds
    assert network.all_sources[3] == (3, 1)  # a residual addition
    depthwise = [layer.name for layer in network.layers if getattr(layer, "is_depthwise", False)]
    assert depthwise == ["depthwise1", "depthwise2", "average"]
    assert (network.input_shape, network.output_shape, network.channels_first) == ((1, 8, 8), (10,), True)
    assert network.labels == tuple("0123456789")


def test_accuracy():
    images, labels = load_digits()
    made = outputs(images)
    assert (made[-1].argmax(axis=1) == labels).sum() == 442
    for tensor in made[1:]:  # the clamps are where onnxruntime saw the largest training images
        assert np.ptp(tensor) > 150, "the range of the outputs is used"


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def test_the_file_is_small_and_as_it_would_be_written_now(tmp_path):
    write_npz(tmp_path / "again.npz", cnn_network())
    again = arrays(tmp_path / "again.npz")
    with resources.as_file(resources.files(data) / "digits_cnn.npz") as path:
        assert path.stat().st_size < 45_000  # 10,736 weights of 8 bits, and 120 entries
        given = arrays(path)
    assert list(again) == list(given)
    assert all(np.array_equal(again[key], given[key]) for key in given)
