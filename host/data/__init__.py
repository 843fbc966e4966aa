"""Data that comes with Celosia: handwritten digits and small networks that read them.

Their origin and licence are in README.md in this folder.
"""

from importlib import resources
from typing import Literal

import numpy as np

from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.models.npz import read_npz


def load_digits(split: Literal["test", "train"] = "test") -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits of 8 × 8 pixels.

    Parameters
    ----------
    split : {"test", "train"}
        445 images that the network never saw, or the 1,352 that it was trained on (also used for calibration).

    Returns
    -------
    images : ndarray (n, 64), uint8
        Pixels in C order (row, column), 0 (paper) to 16 (ink).
    labels : ndarray (n,), uint8
        The digits, 0 to 9.
    """
    with (
        resources.as_file(resources.files(__name__) / "digits.npz") as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        return arrays[f"{split}_images"], arrays[f"{split}_labels"]


def digits_network() -> FloatNetwork:
    """The trained network: 64 pixels, as :func:`load_digits` gives them, to ten classes."""
    return _read_float("digits_mlp.npz")


def lenet_network() -> FloatNetwork:
    """A network of LeNet-300-100's shape for the same pixels, pruned and with at most 15 values per layer beside 0."""
    return _read_float("digits_lenet.npz")


def binary_network() -> Network:
    """A network with weights of one bit, and signs between layers.

    It takes the same pixels, as floats: they become ``uint4`` in steps of 16/15, and integers would be taken as such.
    Its outputs are sums, which :meth:`celosia.host.models.ir.Network.dequantize_output` makes comparable.
    """
    network = _read("digits_binary.npz")
    assert isinstance(network, Network), "digits_binary.npz holds a quantized network"
    return network


def tiny_network() -> Network:
    """A smaller one of the same kind, for the smallest accelerators: its pixels have one bit."""
    network = _read("digits_tiny.npz")
    assert isinstance(network, Network), "digits_tiny.npz holds a quantized network"
    return network


def cnn_network() -> Network:
    """A convolutional network in int8: convolutions, two of them depthwise, a residual addition, pooling.

    It takes the same pixels, as floats, in the shape (1, 8, 8).
    """
    network = _read("digits_cnn.npz")
    assert isinstance(network, Network), "digits_cnn.npz holds a quantized network"
    return network


def _read_float(name: str) -> FloatNetwork:
    network = _read(name)
    assert isinstance(network, FloatNetwork), f"{name} holds a float network"
    return network


def _read(name: str) -> Network | FloatNetwork:
    with resources.as_file(resources.files(__name__) / name) as path:
        return read_npz(path)
