import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.data import binary_network, digits_network, load_digits
from celosia.host.errors import CompileError
from celosia.host.fit import engine_for, fit_memories
from celosia.host.prepare import prepare
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig

TINY = dict.fromkeys(("program_depth", "parameter_depth", "input_depth", "activation_depth", "output_depth"), 2)


def digits(config):
    return prepare(digits_network(), load_digits()[0].astype(np.float32), config)[0]


def test_a_model_has_an_engine():
    assert [engine_for(model()) for model in (digits_network, binary_network)] == ["systolic", "binary"]


def test_small_arrays_get_room_for_the_weights():
    config = AcceleratorConfig(engine=SystolicConfig(rows=1, cols=1))
    fitted = fit_memories(digits(config), config)
    assert fitted.weight_depth == 4928  # weights, one to a word
    assert compile_network(digits(config), fitted).weight_stream is None


def test_what_fits_stays():
    config = AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16))
    assert fit_memories(digits(config), config) == config


def test_every_memory_grows_to_what_is_needed():
    network, engine = binary_network(), BinaryConfig(pes=4, simd=8)
    config = AcceleratorConfig(engine=engine, weight_depth=2, **TINY)
    with pytest.raises(CompileError):
        compile_network(network, config)
    fitted = fit_memories(network, config)
    program = compile_network(network, fitted)
    assert program.weight_stream is None
    assert fitted.input_depth == program.input_words == 32
    assert fitted.activation_depth == 64  # 256 bits in words of 8, twice
    for memory in ("program", "weights", "parameters"):
        assert len(program.image[memory]) == fitted.memory(memory).depth


def test_what_is_kept_stays():
    config = AcceleratorConfig(engine=SystolicConfig(rows=1, cols=1))
    network = digits(config)
    assert fit_memories(network, config, keep=["weight_depth"]) == config
    assert compile_network(network, config).weight_stream is not None
