"""The MLPerf Tiny networks: every element of every tensor equals that of LiteRT's reference kernels."""

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.fit import fit_memories
from celosia.host.models import read_model
from celosia.host.models.tflite import read_tflite
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.golden.network import tensors

SEED = 2024
SHAPES = {"resnet8": (32, 32, 3), "kws": (49, 10, 1), "ad": (640,)}
MACS = {"resnet8": 12_501_632, "kws": 2_656_768, "ad": 264_192}
LAYERS = {"resnet8": 15, "kws": 12, "ad": 10}
ELEMENTS = {"resnet8": 117_908, "kws": 72_642, "ad": 2_312}  # of all activations


def random_inputs(name: str, count: int) -> np.ndarray:
    """Independent values, and the same with neighbours alike, which leave layers less near their zero points."""
    rng = np.random.default_rng([SEED, len(name)])
    values = rng.integers(-128, 128, (count, *SHAPES[name]))
    values[1::2] = np.clip(
        values[1::2] // 8 + rng.integers(-110, 110, (len(values[1::2]), *[1] * len(SHAPES[name]))), -128, 127
    )
    return values.astype(np.int8)


@pytest.mark.parametrize("name", SHAPES)
def test_every_tensor_of_five_inputs(tflite, published, name):
    network = read_model(published(name))
    assert (network.input_shape, network.macs, len(network.layers)) == (SHAPES[name], MACS[name], LAYERS[name])
    assert (network.sources is None) == (name != "resnet8")
    assert tflite.compare(published(name), random_inputs(name, 5)) == 5 * ELEMENTS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_every_tensor_of_many_inputs(tflite, published, name):
    assert tflite.compare(published(name), random_inputs(name, 200)) == 200 * ELEMENTS[name]


def test_a_real_keyword(tflite, published):
    values = np.load(published("kws").with_name("mlperf_tiny_kws_input.npy"))
    assert tflite.compare(published("kws"), values) == ELEMENTS["kws"]
    outputs = tensors(read_tflite(published("kws")), values)[-1]
    assert outputs.max() == 127, "no keyword is recognized"


@pytest.mark.parametrize("name", SHAPES)
def test_the_golden_model_of_a_program_is_that_of_its_network(published, name):
    network = read_tflite(published(name))
    config = fit_memories(network, AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16)))
    program, values = compile_network(network, config), random_inputs(name, 3)
    results = reference.golden(program, values)
    assert np.array_equal(reference.finish(program, results), tensors(network, values)[-1])
    assert [type(layer).__name__ for layer in program.host_layers] == ([] if name == "ad" else ["Softmax"])
