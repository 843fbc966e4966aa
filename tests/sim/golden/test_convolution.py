"""Convolutions that others have published: the layer and its golden model give what they give."""

import os
from pathlib import Path

import numpy as np
import pytest

from celosia.host.models.convolution import Conv2d
from celosia.host.models.ir import Network
from celosia.sim.golden.network import tensors


def vectors() -> list[Path]:
    folder = Path(os.environ.get("CELOSIA_DATA", "/nonexistent"))
    return sorted([*folder.glob("cmsis_nn/*.npz"), *folder.glob("cfu_playground/*.npz")])


@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the published vectors")
def test_published_convolutions():
    """All 16 of CMSIS-NN and that of CFU-Playground: strides, padding, dilation, groups, 1 × n, 1 × 1."""
    assert len(vectors()) == 17
    elements = 0
    for path in vectors():
        vector = dict(np.load(path))
        (height, width), (top, left) = vector["input"].shape[1:3], vector["pad"].tolist()
        layer = Conv2d(
            name=path.stem,
            weights=vector["weights"].transpose(1, 2, 3, 0),
            input_size=(height, width),
            strides=tuple(vector["stride"].tolist()),
            dilations=tuple(vector["dilation"].tolist()),
            padding=(top, left, *needed(vector, (height, width), (top, left))),
            groups=int(vector["groups"]),
            bias=vector["bias"],
            multiplier=vector["multiplier"],
            shift=vector["shift"],
            rounding="double",
            input_zero_point=-int(vector["input_offset"]),
            output_zero_point=int(vector["output_offset"]),
            minimum=int(vector["output_min"]),
            maximum=int(vector["output_max"]),
        )
        network = Network(name="n", layers=[layer], input_shape=layer.input_shape)
        outputs = tensors(network, vector["input"])[1]
        np.testing.assert_array_equal(outputs, vector["expected"], err_msg=path.name)
        elements += outputs.size
    assert elements == 60_131


def needed(vector, size, before) -> list[int]:
    """Padding below and on the right, which the vectors leave to the shape of the result."""
    after = []
    for axis in (0, 1):
        span = (vector["weights"].shape[1 + axis] - 1) * int(vector["dilation"][axis]) + 1
        last = (vector["expected"].shape[1 + axis] - 1) * int(vector["stride"][axis]) + span
        after.append(max(last - size[axis] - before[axis], 0))
    return after
