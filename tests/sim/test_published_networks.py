"""Networks and vectors that others have published, in RTL: every tensor is the golden model's, every cycle foretold."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.conv_vectors import read_conv_vectors
from celosia.host.models.ir import Network
from celosia.host.models.tflite import read_tflite
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.check import check_tensors
from celosia.sim.core import CoreSimulator
from celosia.sim.golden.network import tensors

ELEMENTS = {"resnet8": 114_762, "kws": 72_076, "ad": 1_672}  # that the engine makes, of one input
CYCLES = {"resnet8": 56_006, "kws": 18_320, "ad": 17_110}


@pytest.fixture(scope="module")
def core() -> CoreSimulator:
    """An array of 16 × 16 with memories for each of the networks."""
    config = AcceleratorConfig(
        engine=SystolicConfig(rows=16, cols=16, lookup_tables=6),
        program_depth=512,
        weight_depth=1 << 15,
        parameter_depth=512,
        input_depth=1 << 12,
        activation_depth=1 << 12,
        output_depth=1 << 13,
    )
    return CoreSimulator(config)


def check(core: CoreSimulator, network: Network, inputs: np.ndarray) -> tuple[int, int]:
    """Compare every tensor and whole runs; return the elements compared and the cycles of one input."""
    program = compile_network(network, core.config)
    elements = 0
    for tensor in check_tensors(program, inputs, core):
        np.testing.assert_array_equal(tensor.actual, tensor.expected, err_msg=program.layers[tensor.index - 1].name)
        elements += tensor.expected.size
    last = program.device_tensors - 1
    for x in inputs:
        core.write("inputs", program.pack_inputs(x[None]))
        run = core.run(program.run_parameters(1, stream=False))
        outputs = program.unpack_outputs(core.read("outputs", program.output_words), 1)
        np.testing.assert_array_equal(outputs.ravel(), tensors(network, x[None])[last].ravel())
        assert run.causes == reference.predict(program, x[None]).causes
    return elements, run.total_cycles


@pytest.mark.slow
@pytest.mark.parametrize("name", CYCLES)
def test_mlperf_tiny(core: CoreSimulator, published: Callable[[str], Path], name: str) -> None:
    network = read_tflite(published(name))
    inputs = np.random.default_rng(3).integers(-128, 128, (3, *network.input_shape))
    assert check(core, network, inputs) == (3 * ELEMENTS[name], CYCLES[name])


@pytest.mark.slow
@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the published vectors")
def test_published_convolutions(core: CoreSimulator) -> None:
    folder = Path(os.environ["CELOSIA_DATA"])
    paths = sorted([*folder.glob("cmsis_nn/*.npz"), *folder.glob("cfu_playground/*.npz")])
    elements = 0
    for path in paths:
        vectors = read_conv_vectors(path)
        np.testing.assert_array_equal(tensors(vectors.network, vectors.inputs)[-1], vectors.expected)
        elements += check(core, vectors.network, vectors.inputs.astype(np.int64))[0]
    assert (len(paths), elements) == (17, 60_131)
