"""Layers larger than the memories, one behind the other, and runs that were ended in the middle."""

import itertools

import numpy as np
import pytest

from celosia.host.errors import CompileError
from celosia.host.pack.sparse_layers import SparseOptions
from celosia.sim.core import Stalls
from celosia.sim.rtl import SimulationError, StopReason

IN_ORDER = SparseOptions(group=1, balance=False)  # row i in PE i mod PEs
ENCODED = SparseOptions(encode=True)
STALLS = [None, Stalls(inputs=0.3, weights=0.7, results=0.5, seed=3), Stalls(weights=0.97, seed=4)]


def pruned(rng, K, N, density=0.2):
    return rng.integers(-7, 8, (K, N)) * (rng.random((K, N)) < density)


@pytest.mark.parametrize("N", [32, 33, 64, 75])
def test_more_rows_than_accumulators(bench, make, N):
    """A step for each tile of rows; the last one may be smaller."""
    rng = np.random.default_rng(N)
    layers = [
        make.layer(pruned(rng, 6, N, 0.1), bias=np.arange(N), name="first"),
        make.layer(pruned(rng, N, 5, 0.2), name="second"),
    ]
    outcome = bench.check(layers, rng.integers(-99, 99, (3, 6)), config=make.narrow)
    plan = outcome.program.layers[0]
    assert len(plan.steps) == len(plan.arranged.tiles) == -(-N // 32)


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
@pytest.mark.parametrize("stalls", STALLS, ids=["", "all stall", "weights stall"])
@pytest.mark.parametrize("sizes", [(120, 16), (40, 30), (12, 70, 9), (50, 20, 60, 3)], ids=str)
def test_more_entries_than_weight_words(bench, make, sizes, stalls, options):
    """Pieces of columns that stream, of one or more tiles of rows, in several iterations."""
    rng = np.random.default_rng(sum(sizes))
    layers = [make.layer(pruned(rng, K, N), shift=3, name=f"{K} to {N}") for K, N in itertools.pairwise(sizes)]
    x = rng.integers(-99, 99, (4, sizes[0])) * (rng.random((4, sizes[0])) < 0.6)
    outcome = bench.check(layers, x, options, config=make.narrow, batch=1, stalls=stalls)
    assert outcome.program.weight_stream is not None
    assert outcome.program.vectors == 1
    if options is ENCODED or stalls is not None:
        assert outcome.causes["weights_wait"] > 0
    assert any(step.fields["rows"] == 0 for step in outcome.program.steps)


def test_more_entries_of_a_word_than_half_of_the_ring(bench, make):
    network = make.layer(np.ones((4, 60), int))
    bench.check(network, [[1, 2, 3, 4]])
    with pytest.raises(CompileError, match="'layer' has 180 entries of one activation word in a PE, but half of the"):
        bench.check(make.layer(make.on_one_pe(np.ones((12, 60), int), make.wide)), np.ones((1, 12), int), IN_ORDER)


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
def test_empty_pieces(bench, make, options):
    """Streamed tiles of rows of which the first, the last or one in the middle has no entries at all."""
    rng = np.random.default_rng(1)
    for empty in range(3):
        weights = pruned(rng, 60, 96)
        weights[:, 32 * empty : 32 * empty + 32] = 0
        x = rng.integers(-99, 99, (3, 60))
        outcome = bench.check(make.layer(weights, bias=7), x, options, config=make.narrow, batch=1)
        assert outcome.program.weight_stream is not None


@pytest.mark.parametrize("parts", [2, 5, 10])
def test_layers_follow_each_other(bench, make, parts):
    """The next layer is fetched before the one at work ends, and reads what that writes last."""
    rng = np.random.default_rng(parts)
    sizes = [90, 3, 2, 90, 1, 60, 4]
    layers = [
        make.layer(rng.integers(1, 4, (K, N)) * (rng.random((K, N)) < 0.4), shift=4, name=f"{K} to {N}")
        for K, N in itertools.pairwise(sizes)
    ]
    x = rng.integers(1, 200, (10, 90))
    bench.check(layers, x, batch=10 // parts, stream=True)
    bench.check(layers, x[: 10 // parts])


def test_vectors_follow_each_other(bench, make):
    """A vector is scanned while the one before is drained, whether either has anything to do or not."""
    rng = np.random.default_rng(7)
    x = rng.integers(1, 99, (24, 10)) * (rng.random((24, 1)) < 0.5)
    layers = [
        make.layer(pruned(rng, 10, 30, 0.2), bias=np.arange(30) % 2, name="first"),
        make.layer(pruned(rng, 30, 2, 0.2), name="second"),
    ]
    for config in (make.wide, make.narrow):
        for options in (None, SparseOptions(queue_limit=1, keep_empty=True)):
            bench.check(layers, x, options, config=config)


@pytest.fixture
def three_layers(bench, make):
    """A program on inputs that make its accumulators saturate and fill queues, and the inputs, on both configs."""

    def prepare(config):
        rng = np.random.default_rng(11)
        sizes = [24, 16, 5, 8]
        layers = [
            make.layer(pruned(rng, K, N, 0.25), shift=2, bias=np.arange(N), name=f"{K} to {N}")
            for K, N in itertools.pairwise(sizes)
        ]
        x = rng.integers(-32768, 32768, (2, 24))
        return bench.check(layers, x, config=config), x

    return prepare


@pytest.mark.parametrize("how", ["abort", "reset"])
@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_a_run_ended_in_any_cycle_leaves_nothing(bench, make, three_layers, name, how):
    """Sums, queues, words read ahead: the same run, as soon as the core is ready, is right."""
    config = getattr(make, name)
    outcome, x = three_layers(config)
    core = bench.core(config)
    cycles = sum(outcome.causes.values())
    for cycle in range(1, cycles, 1 if how == "abort" else 5):
        core.start(outcome.program.run_parameters(1, stream=False))
        core.sim.run(cycle)
        assert core.sim.get("busy")
        if how == "abort":
            core.abort()
        else:
            core.sim.reset()
        assert (core.sim.get("busy"), core.sim.get("ready")) == (0, 0)
        bench.again(outcome.program, x)


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
@pytest.mark.parametrize("missing", [1, 5, 1000])
def test_weights_that_stop(bench, make, options, missing):
    """The watchdog ends the run, whatever has been added so far, and the next run is right."""
    rng = np.random.default_rng(missing)
    x = rng.integers(-99, 99, (1, 100))
    outcome = bench.check(make.layer(pruned(rng, 100, 12)), x, options, config=make.narrow)
    core, program = bench.core(make.narrow), outcome.program
    with pytest.raises(SimulationError, match="watchdog"):
        core.run(program.run_parameters(1, stream=False), weights=program.weight_stream[:-missing])
    assert core.sim.cycle > make.narrow.watchdog_cycles
    core.sim.run(1)
    assert not core.sim.get("busy")
    bench.again(program, x)


@pytest.mark.parametrize("flipped", range(4))
def test_weights_that_are_corrupt(bench, make, flipped):
    """The core ends the run by itself, says so, and the next run is right."""
    rng = np.random.default_rng(5)
    x = rng.integers(-99, 99, (1, 100))
    outcome = bench.check(make.layer(pruned(rng, 100, 12)), x, ENCODED, config=make.narrow)
    core, program = bench.core(make.narrow), outcome.program
    words = program.weight_stream.copy()
    words[len(words) * flipped // 4, 0] ^= 1 << (7 * flipped)
    core.start(program.run_parameters(1, stream=False), weights=words)
    assert core.sim.run(5000, until="fault") is StopReason.SIGNAL
    assert core.sim.cycle < make.narrow.watchdog_cycles
    core.sim.reset()  # words of the stream may be left
    bench.again(program, x)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1, 1, 0)])
def test_runs_without_a_reset_between_them(bench, make, order):
    """Streamed and resident programs by turns, each as if it were the first."""
    rng = np.random.default_rng(9)
    x = rng.integers(-99, 99, (1, 40))
    programs = [
        make.compile(make.narrow, [make.layer(pruned(rng, 40, N, 0.25), shift=2)], 1, options)
        for N, options in ((16, None), (30, ENCODED))
    ]
    assert [program.weight_stream is None for program in programs] == [True, False]
    core = bench.core(make.narrow)
    core.sim.reset()
    for index in order:
        program = programs[index]
        for memory, image in program.image.items():
            core.write(memory, image)
        core.write("inputs", program.pack_inputs(x))
        bench.again(program, x)
