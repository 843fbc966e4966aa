import os
from pathlib import Path

import numpy as np
import pytest

from celosia.host.models.errors import ModelError
from celosia.host.models.popcount import dense_from_popcount
from celosia.sim.golden.binary import run_layer

SEED = 31


@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the published networks")
def test_lfc_w1a1_classifies_its_image() -> None:
    """BNN-PYNQ's trained network, whose answer for this image is published."""
    with np.load(Path(os.environ["CELOSIA_DATA"]) / "bnn_pynq" / "lfc_w1a1.npz") as file:
        layers = [
            dense_from_popcount(f"fc{index}", file[f"weights_{index}"], file[f"threshold_{index}"])
            for index in range(4)
        ]
        image, expected = file["image"], int(file["expected_class"])
    values = np.full((1, 832), -1)
    values[0, :784] = np.where(image.ravel() / 255 * 2 - 1 >= 0, 1, -1)
    for layer in layers:
        values = run_layer(layer, values)
    assert values.shape == (1, 64)
    assert values[0, :10].tolist() == [1 if index == expected else -1 for index in range(10)]


@pytest.mark.parametrize("size", [1, 3])
def test_equals_popcounts(size: int) -> None:
    rng = np.random.default_rng(SEED)
    packed = rng.integers(0, 256, (40, size), dtype=np.uint8)
    thresholds = rng.integers(-3, 8 * size + 3, 40)
    thresholds[:6] = [-(2**31), -1, 0, 8 * size - 1, 8 * size, 2**31 - 1]
    inputs = rng.integers(0, 256, (200, size), dtype=np.uint8)
    bits, ours = (np.unpackbits(each, axis=1, bitorder="little") for each in (inputs, packed))
    layer = dense_from_popcount("fc", packed, thresholds)
    popcounts = (bits[:, None] == ours).sum(axis=2)
    expected = np.where(popcounts > thresholds, 1, -1)
    assert np.array_equal(run_layer(layer, bits.astype(np.int64) * 2 - 1), expected)
    assert (layer.thresholds >= -8 * size).all()
    assert (layer.thresholds <= 8 * size + 1).all()
    assert {-1, 1} == set(expected.ravel().tolist())


@pytest.mark.parametrize(
    ("weights", "thresholds", "words"),
    [
        (np.zeros((2, 1), np.int8), [0, 0], 'layer "fc": the packed weights are int8'),
        (np.zeros(2, np.uint8), [0, 0], "uint8 of shape \\(2,\\), but"),
        (np.zeros((2, 0), np.uint8), [0, 0], "of shape \\(2, 0\\), but"),
        (np.zeros((2, 1), np.uint8), [0, 0, 0], "the thresholds are int64 of shape \\(3,\\), but integers of shape"),
        (np.zeros((2, 1), np.uint8), [0.0, 0.0], "the thresholds are float64"),
        (np.zeros((2, 1), np.uint8), [0, 2**31], "threshold 1 is 2147483648, but it must be from -2147483648 to"),
    ],
)
def test_refuses(weights: np.ndarray, thresholds: list[float], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        dense_from_popcount("fc", weights, thresholds)
