"""Test vectors of quantized convolutions: one layer, an input, and the output that it must have.

Archives (.npz) as one makes them from the unit tests of CMSIS-NN and CFU-Playground, with these arrays: `input` (M, H,
W, C) int8, `weights` (N, kernel rows, kernel columns, C / groups) int8, `bias`, `multiplier` and `shift` (N,),
`stride`, `pad` (above, left), `dilation`, `groups`, `input_offset` (the negative zero point), `output_offset`,
`output_min`, `output_max`, `expected` (M, H', W', N) int8. Rounding is gemmlowp's, twice. Padding below and on the
right follows from the shape of `expected`.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from celosia.host.models.convolution import Conv2d
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network

KEYS = (
    "input",
    "weights",
    "bias",
    "multiplier",
    "shift",
    "stride",
    "pad",
    "dilation",
    "groups",
    "input_offset",
    "output_offset",
    "output_min",
    "output_max",
    "expected",
)
"""Arrays of an archive."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvVectors:
    """A network of one convolution, its inputs (M, H, W, C) int8, and its outputs (M, H', W', N) int8."""

    network: Network
    inputs: np.ndarray
    expected: np.ndarray


def is_conv_vectors(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive with the arrays of a convolution's test vectors."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(KEYS) <= set(archive.files)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
        return False


def read_conv_vectors(path: str | os.PathLike[str]) -> ConvVectors:
    """Read test vectors.

    Raises
    ------
    ModelError
        An array is missing or damaged, or does not fit the others.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive.files]
            if missing:
                raise ModelError(f"{path}: it has no array {missing[0]!r}; test vectors have {', '.join(KEYS)}.")
            values = {key: archive[key] for key in KEYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: it is no archive of arrays ({type(error).__name__}).") from None
    for key in ("input", "weights", "expected"):
        if values[key].ndim != 4 or values[key].dtype != np.int8 or 0 in values[key].shape:
            raise ModelError(f"{path}: {key} is {values[key].dtype} {values[key].shape}; it must be int8 of 4 axes.")
    name = Path(path).stem
    try:
        layer = _layer(name, values)
        network = Network(name=name, layers=[layer], input_shape=layer.input_shape)
    except (ModelError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"{path}: {error}") from None
    for key, shape in (("input", layer.input_shape), ("expected", layer.output_shape)):
        if values[key].shape[1:] != shape:
            raise ModelError(f"{path}: {key} has the shape {values[key].shape}, but the layer's is (M, {shape}).")
    return ConvVectors(network=network, inputs=values["input"], expected=values["expected"])


def _layer(name: str, values: dict[str, np.ndarray]) -> Conv2d:
    (height, width), (top, left) = values["input"].shape[1:3], values["pad"].tolist()
    strides, dilations = values["stride"].tolist(), values["dilation"].tolist()
    after = []
    for axis, (size, before) in enumerate(((height, top), (width, left))):
        span = (values["weights"].shape[1 + axis] - 1) * dilations[axis] + 1
        last = (values["expected"].shape[1 + axis] - 1) * strides[axis] + span
        after.append(max(last - size - before, 0))
    return Conv2d(
        name=name,
        weights=values["weights"].transpose(1, 2, 3, 0),
        input_size=(height, width),
        strides=tuple(strides),
        dilations=tuple(dilations),
        padding=(top, left, *after),
        groups=int(values["groups"]),
        bias=values["bias"],
        multiplier=values["multiplier"],
        shift=values["shift"],
        rounding="double",
        input_zero_point=-int(values["input_offset"]),
        output_zero_point=int(values["output_offset"]),
        minimum=int(values["output_min"]),
        maximum=int(values["output_max"]),
    )
