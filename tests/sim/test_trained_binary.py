"""Trained networks of FINN and BNN-PYNQ on the RTL of the binary engine: published answers, every layer's bits."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.fit import fit_memories
from celosia.host.models import read_model
from celosia.host.models.integers import SUM
from celosia.host.models.ir import Network
from celosia.host.models.popcount import dense_from_popcount
from celosia.host.prepare import prepare
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig

DATA = Path(os.environ.get("CELOSIA_DATA", ""))
pytestmark = pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the networks")
TFC = AcceleratorConfig(
    engine=BinaryConfig(pes=8, simd=16, activation_width=2, output_width=2),
    weight_depth=2048,
    parameter_depth=1024,
    input_depth=2048,
)


def every_layer(promise: Any, config: AcceleratorConfig, network: Network, x: np.ndarray) -> np.ndarray:
    """Run the network up to each layer, compare, and return the last outputs."""
    outputs = None
    for count in range(1, len(network.layers) + 1):
        part = replace(network, layers=network.layers[:count], output_scale=1.0, output_bias=0.0)
        program = compile_network(part, config, batch=len(x))
        assert program.vectors == len(x)
        promise.load(program)
        outputs = promise.run(program, x, False, None).outputs
    assert outputs is not None
    return outputs


def test_tfc_w1a1(promise: Any) -> None:
    images = np.load(DATA / "finn_tfc" / "input.npy")
    network, x = prepare(read_model(DATA / "finn_tfc" / "model.onnx"), images, TFC)
    outputs = network.dequantize_output(every_layer(promise, TFC, network, x))
    assert outputs.argmax(axis=1).tolist() == [7, 2, 1, 0]


@pytest.mark.parametrize("name", ["TFC_1W2A", "TFC_2W2A"])
def test_tfc_of_two_bits(promise: Any, name: str) -> None:
    """Equal to the golden model, which `tests/host/models/qonnx` holds against QONNX's reference execution."""
    images = np.random.default_rng(50).random((10, 1, 28, 28)).astype(np.float32)
    network, x = prepare(read_model(DATA / "finn_tfc" / f"{name}.onnx"), images, TFC)
    assert network.output_dtype == SUM
    assert np.unique(every_layer(promise, TFC, network, x)).size > 10


@pytest.mark.slow
def test_lfc_w1a1(promise: Any) -> None:
    arrays = np.load(DATA / "bnn_pynq" / "lfc_w1a1.npz")
    layers = [
        dense_from_popcount(f"layer {index}", arrays[f"weights_{index}"], arrays[f"threshold_{index}"])
        for index in range(4)
    ]
    network = Network(name="LFC-W1A1", layers=layers, input_shape=(832,))
    x = np.full((1, 832), -1, np.int8)
    x[0, :784] = np.where(arrays["image"].ravel() / 255 * 2 - 1 >= 0, 1, -1)
    engine = BinaryConfig(pes=32, simd=64, activation_width=1, output_width=1, accumulator_width=11)
    outputs = every_layer(promise, fit_memories(network, AcceleratorConfig(engine=engine)), network, x)
    assert outputs[0, :10].tolist() == [1 if digit == arrays["expected_class"] else -1 for digit in range(10)]
