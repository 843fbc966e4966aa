"""Data that comes with Celosia: handwritten digits and a small network that reads them.

Their origin and licence are in README.md in this folder.
"""

from importlib import resources
from typing import Literal

import numpy as np

from celosia.host.models.float_ir import FloatNetwork
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
    with resources.as_file(resources.files(__name__) / "digits_mlp.npz") as path:
        network = read_npz(path)
    assert isinstance(network, FloatNetwork), "digits_mlp.npz holds a float network"
    return network
