"""Convolutions that others have published: the layer and its golden model give what they give."""

import os
from pathlib import Path

import numpy as np
import pytest

from celosia.host.models.conv_vectors import is_conv_vectors, read_conv_vectors
from celosia.sim.golden.network import tensors


def vectors() -> list[Path]:
    folder = Path(os.environ.get("CELOSIA_DATA", "/nonexistent"))
    return sorted([*folder.glob("cmsis_nn/*.npz"), *folder.glob("cfu_playground/*.npz")])


@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the published vectors")
def test_published_convolutions() -> None:
    """All 16 of CMSIS-NN and that of CFU-Playground: strides, padding, dilation, groups, 1 × n, 1 × 1."""
    assert len(vectors()) == 17
    elements = 0
    for path in vectors():
        assert is_conv_vectors(path)
        vector = read_conv_vectors(path)
        outputs = tensors(vector.network, vector.inputs)[1]
        np.testing.assert_array_equal(outputs, vector.expected, err_msg=path.name)
        elements += outputs.size
    assert elements == 60_131
