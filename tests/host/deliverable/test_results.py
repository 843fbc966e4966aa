import numpy as np
import pytest

from celosia.host.cli.demo import NETWORKS
from celosia.host.compile import compile_network
from celosia.host.data import load_digits
from celosia.host.deliverable.results import result_words
from celosia.host.fit import fit_memories
from celosia.host.prepare import prepare
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES
from celosia.sim import reference

PARAMETERS = {"systolic": {"rows": 4, "cols": 4}, "sparse": {"pes": 3}, "binary": {"pes": 4, "simd": 8}}


@pytest.fixture(params=ENGINES)
def program_and_results(request):
    """The engine's network of digits, and its results of three images."""
    config = AcceleratorConfig(engine=ENGINES[request.param].config(**PARAMETERS[request.param]))
    images = load_digits("test")[0][:3].astype(np.float32)
    network, integers = prepare(NETWORKS[request.param][""](), images, config)
    program = compile_network(network, fit_memories(network, config))
    return program, reference.golden(program, integers)


def test_results_are_read_back(program_and_results):
    program, results = program_and_results
    words, known = result_words(program, results)
    assert words.dtype == known.dtype == np.uint32
    assert words.shape == (3 * program.output_words, program.config.memory("outputs").link_words) == known.shape
    assert np.array_equal(program.unpack_outputs(words, 3), results)
    assert not (words & ~known).any()


def test_every_known_bit_counts_and_no_other(program_and_results):
    program, results = program_and_results
    words, known = result_words(program, results[:1])
    assert np.array_equal(program.unpack_outputs(words | ~known, 1), results[:1])
    for place in np.ndindex(words.shape):
        for bit in range(32):
            if known[place] >> bit & 1:
                words[place] ^= np.uint32(1 << bit)
                assert not np.array_equal(program.unpack_outputs(words, 1), results[:1])
                words[place] ^= np.uint32(1 << bit)


def test_what_does_not_fit_is_refused(program_and_results):
    program, results = program_and_results
    with pytest.raises(ValueError, match="out of the range of the output memory"):
        result_words(program, results + (1 << 40))
