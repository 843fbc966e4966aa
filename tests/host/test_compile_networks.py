"""The compiler on whole networks: the MLPerf Tiny ones, and memories that are too small."""

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.data import digits_network, load_digits
from celosia.host.errors import CompileError
from celosia.host.fit import fit_memories
from celosia.host.models.tflite import read_tflite
from celosia.host.pack.systolic_windows import step_beats
from celosia.host.prepare import prepare
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16))
ELEMENTS = {"resnet8": 117_834, "kws": 72_566, "ad": 2_312}  # without those that the host's input and softmax make
BEATS = {
    "resnet8": [3264, 9216, 9216, 2048, 4608, 9216, 512, 1024, 4608, 9216, 512, 512, 264, 4, 0],
    "kws": [2160, *[1620, 2000] * 4, 504, 4, 0],
    "ad": [320, 64, 64, 64, 8, 8, 64, 64, 64, 320],
}


@pytest.mark.parametrize("name", BEATS)
def test_every_tensor_of_published_networks(published, interpreter, name):
    network = read_tflite(published(name))
    program = compile_network(network, fit_memories(network, CONFIG))
    values = np.random.default_rng(3).integers(-128, 128, (1, *network.input_shape))
    assert interpreter.check(program, values) == ELEMENTS[name]
    assert [sum(step_beats(step.fields) for step in plan.steps) for plan in program.layers] == BEATS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", BEATS)
@pytest.mark.parametrize("size", [(8, 8), (8, 16), (16, 32), (4, 4), (12, 20)])
def test_published_networks_on_arrays_of_all_sizes(published, interpreter, name, size):
    network = read_tflite(published(name))
    config = AcceleratorConfig(engine=SystolicConfig(rows=size[0], cols=size[1], accumulator_rows=128))
    program = compile_network(network, fit_memories(network, config))
    values = np.random.default_rng(4).integers(-128, 128, (1, *network.input_shape))
    assert interpreter.check(program, values) == ELEMENTS[name]


def test_memories_of_whole_networks(published):
    network = read_tflite(published("resnet8"))
    fitted = fit_memories(network, CONFIG)
    assert fitted.engine.lookup_tables == 6
    assert (fitted.input_depth, fitted.activation_depth, fitted.weight_depth) == (2048, 4096, 5144)
    with pytest.raises(
        CompileError, match="does not fit the activation memory of 2048 words; set activation_depth=4096"
    ):
        compile_network(network, AcceleratorConfig(engine=fitted.engine, weight_depth=8192))
    kept = fit_memories(network, CONFIG, keep=["weight_depth"])
    program = compile_network(network, kept)
    assert kept.weight_depth == 2048
    assert program.weight_stream is not None
    assert "streamed: 2304 weight rows do not fit into 2048 with the others" in program.layers[9].reason
    with pytest.raises(CompileError, match="need 6 lookup tables; the engine has 4, set lookup_tables=6 or higher"):
        compile_network(network, AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16, lookup_tables=4)))


@pytest.mark.parametrize("engine", [SparseConfig(pes=4), BinaryConfig(pes=4, simd=8)])
def test_engines_of_chains_refuse_branches(published, engine):
    network = read_tflite(published("resnet8"))
    with pytest.raises(
        CompileError, match=r"\(Add\) takes the output of layer .* and .*; this engine takes only chains"
    ):
        compile_network(network, AcceleratorConfig(engine=engine))


def test_several_iterations_share_the_memories(interpreter):
    network = prepare(digits_network(), load_digits()[0].astype(np.float32), CONFIG)[0]
    config = AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16), input_depth=64, output_depth=64)
    program = compile_network(network, config, batch=30)
    assert (program.vectors, program.can_stream) == (8, True)
    values = np.random.default_rng(1).integers(-128, 128, (8, 64))
    assert interpreter.check(program, values) == 8 * (64 + 48 + 32 + 10)
    words = program.pack_inputs(values)
    assert len(words) == program.input_words == 32
    with pytest.raises(CompileError, match="does not fit the input memory of 2 words; set input_depth=4 or higher"):
        compile_network(network, AcceleratorConfig(engine=config.engine, input_depth=2))
    with pytest.raises(CompileError, match="batch=0 must be at least 1"):
        compile_network(network, config, batch=0)


def test_numbers_that_a_descriptor_does_not_hold(networks):
    made = networks.Builder(np.random.default_rng(1), (300, 300, 4))
    made.conv(0, 4, (255, 260), padding=(0, 0, 0, 0))
    engine = SystolicConfig(rows=4, cols=4, max_k=1 << 20)
    config = AcceleratorConfig(engine=engine, input_depth=1 << 17, weight_depth=8)
    with pytest.raises(CompileError, match="'layer0' is too large for its descriptor: k_tiles=66300 must be from 0 to"):
        compile_network(made.network(), config)
