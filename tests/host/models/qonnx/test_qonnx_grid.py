import numpy as np
import pytest

from celosia.host.models.errors import ModelError
from celosia.host.models.qonnx_grid import Grid, fit_grid

STEP = float(np.float32(0.1))


@pytest.mark.parametrize(
    ("values", "grid", "integers"),
    [
        ([-0.5, 0.5], Grid("bipolar", 0.5, 0.0, -1, 1), [-1, 1]),
        ([0, 0.1], Grid("uint1", STEP, 0.0, 0, 1), [0, 1]),
        ([-1, 0, 1], Grid("int2", 1.0, 0.0, -1, 1), [-1, 0, 1]),
        ([-2, -1, 0, 1], Grid("int2", 1.0, 0.0, -2, 1), [-2, -1, 0, 1]),
        ([0, 2, 6], Grid("uint2", 2.0, 0.0, 0, 3), [0, 1, 3]),
        ([2, 3], Grid("uint1", 1.0, 2.0, 0, 1), [0, 1]),
        ([0.25, 1.25], Grid("uint1", 1.0, 0.25, 0, 1), [0, 1]),
        (np.float32(0.1) * np.arange(-3, 4, dtype=np.float32), Grid("int3", STEP, 0.0, -3, 3), range(-3, 4)),
        (np.float32(0.1) * np.arange(256, dtype=np.float32), Grid("uint8", STEP, 0.0, 0, 255), range(256)),
        (np.arange(-3, 13), Grid("uint4", 1.0, -3.0, 0, 15), range(16)),
        (np.arange(-131, 125), Grid("uint8", 1.0, -131.0, 0, 255), range(256)),
    ],
)
def test_fits(values, grid, integers):
    """The scale is that of the quantizer to the last bit; an offset comes where it takes fewer bits."""
    found, steps = fit_grid(np.asarray(values, np.float32))
    assert found == grid
    assert steps.tolist() == list(integers)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1], "its outputs are all equal"),
        ([0, 1, 2.5], r"its values \(0, 1, 2.5\) are not evenly spaced"),
        ([0, 1, 2, 3, 4, 5, 6.5], r"\(0, 1, 2, 3, 4, 5, …\) are not evenly"),
        (np.arange(257), "its 257 values need 9 bits, but 8 are the most"),
    ],
)
def test_refuses(values, words):
    with pytest.raises(ModelError, match=words):
        fit_grid(np.asarray(values, np.float32))
