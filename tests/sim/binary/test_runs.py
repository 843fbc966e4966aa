"""Passes and drains that wait for each other, streamed weights, batches, and runs that were ended in the middle."""

import itertools

import numpy as np
import pytest

from celosia.host.errors import CompileError
from celosia.hw.binary.timing import FILL_CYCLES, LEAST_DRAIN_CYCLES, POST_CYCLES, WINDOW_CYCLES, capture_cycles
from celosia.sim.core import Stalls
from celosia.sim.rtl import SimulationError

STALLS = [None, Stalls(inputs=0.3, weights=0.7, results=0.5, seed=3), Stalls(weights=0.97, seed=4)]
STREAMED = [(40, 70), (48, 54), (48, 54, 6), (9, 48, 48, 9), (48, 48, 48, 48)]


def network(make, sizes, **changes):
    return [make.dense(K, N, seed=K + N, **changes) for K, N in itertools.pairwise(sizes)]


@pytest.mark.parametrize("beats", [1, 2, 3, 4, 5])
def test_passes_wait_for_their_windows(bench, make, beats):
    """One group of sums drains in a cycle; a window takes longer to find."""
    outcome = bench.check(make.conv((3, 4), (1, 1), 33 * beats, 3), 3, config=make.one)
    passes = 3 * 12
    assert outcome.causes["compute"] == passes * beats
    # The last pass waits for no window, but for the drain before.
    last = max(LEAST_DRAIN_CYCLES - beats, 0)
    assert outcome.causes["output_wait"] == (passes - 1) * max(WINDOW_CYCLES - beats, 0) + last


@pytest.mark.parametrize("beats", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("N", [1, 2, 6, 12, 13, 16])
def test_passes_wait_for_the_drain_before(bench, make, beats, N):
    """Six groups of sums, or fewer of the last fold; shorter, as long as, and longer than a pass."""
    outcome = bench.check(make.conv((2, 2), (1, 1), 4 * beats, N), 2, config=make.many)
    folds = -(-N // 6)
    drains = ([6] * (folds - 1) + [max(N - 6 * (folds - 1), LEAST_DRAIN_CYCLES)]) * 8  # of each pass
    # The first pass waits for no drain, the last one for no window.
    least = [WINDOW_CYCLES, *(max(drain, WINDOW_CYCLES) for drain in drains[:-2]), drains[-2]]
    assert outcome.causes["compute"] == len(drains) * beats
    assert outcome.causes["output_wait"] == sum(max(cycles - beats, 0) for cycles in least)


@pytest.mark.parametrize(("T", "N"), [(1, 1), (3, 1), (15, 1), (1, 4), (15, 4), (15, 5), (7, 9)])
def test_drains_of_many_thresholds(bench, make, T, N):
    """Each threshold of a group takes a cycle; a fold that drains longer than the next one's pass holds that."""
    out = f"uint{T.bit_length()}"
    for K in (5, 40):
        outcome = bench.check(make.dense(K, N, out=out), 6, config=make.small)
        fields = outcome.program.steps[0].fields
        drain = T * -(-(N - 4 * ((N - 1) // 4)) // 2)
        assert fields["drain_cycles_edge"] == max(drain, LEAST_DRAIN_CYCLES)
        done = drain + capture_cycles(make.small.engine) - 1 + POST_CYCLES
        assert outcome.causes["drain"] == done + T.bit_length() - 1
        assert outcome.causes["fill"] == FILL_CYCLES


def test_a_single_pass(bench, make, config):
    """Nothing is waited for; the last beat is the first one's, or not."""
    for K in (1, config.engine.simd + 1):
        outcome = bench.check(make.dense(K, 1), 1, config=config)
        assert outcome.causes["output_wait"] == 0
        assert outcome.causes["compute"] == -(-K // config.engine.simd)


@pytest.mark.parametrize("stalls", STALLS, ids=["", "all stall", "weights stall"])
@pytest.mark.parametrize("sizes", STREAMED, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_weights_that_stream(bench, make, sizes, stalls, batch):
    """In an even or odd number of steps, beside layers that stay, in one or several iterations."""
    outcome = bench.check(network(make, sizes), 3, config=make.many, batch=batch, stalls=stalls)
    program = outcome.program
    assert program.weight_stream is not None
    streamed = [step.fields for step in program.steps if step.fields["load_words"]]
    assert len({step["weights"] for step in streamed}) == min(len(streamed), 2)
    assert [step["load_ahead"] for step in streamed] == [len(streamed) % 2 == 0, *[1] * (len(streamed) - 1)]
    if stalls:
        assert outcome.causes["weights_wait"] > 0


def test_numbers_of_streamed_steps(make):
    """The networks above have both odd and even ones."""
    counts = set()
    for sizes in STREAMED:
        program = make.compile(make.many, network(make, sizes), 1)
        counts.add(sum(step.fields["load_words"] > 0 for step in program.steps) % 2)
    assert counts == {0, 1}


@pytest.mark.parametrize("out", ["uint3", "int32"])
@pytest.mark.parametrize("stalls", STALLS, ids=["", "all stall", "weights stall"])
def test_convolutions_whose_weights_stream(bench, make, out, stalls):
    """Each step goes over the whole image for the channels of its folds, and pools them."""
    changes = {"strides": (3, 3)} if out == "int32" else {"pool": (2, 2)}
    layers = [
        make.conv((5, 4), (2, 2), 3, 8, padding=(1, 0, 1, 1)),
        make.conv((6, 4), (2, 2), 8, 70, out=out, seed=2, **changes),
    ]
    if out != "int32":
        layers.append(make.dense(2 * 1 * 70, 5, dtype=out, out="int32"))
    outcome = bench.check(layers, 3, config=make.many, batch=1, stalls=stalls)
    assert outcome.program.weight_stream is not None
    assert len(outcome.program.layers[1].steps) > 1


def test_folds_that_do_not_fit_half_of_the_ring(bench, make):
    bench.check(make.dense(192, 18, out="int32"), config=make.many)  # a fold of 48 words at a time
    bench.check(make.dense(96, 60), config=make.many)  # two of 24, which fill three words of activations
    with pytest.raises(CompileError) as caught:
        bench.check(make.dense(97, 60), config=make.many)
    assert str(caught.value) == (
        "layer '97 to 60, 0' streams its weights, at least 50 words at a time, but half of the ring has 48; "
        "set weight_depth to 200 or more."
    )


@pytest.mark.parametrize("parts", [1, 2, 5, 10])
def test_layers_follow_each_other(bench, make, config, parts):
    """The next layer is fetched before the one at work ends, and reads what that writes last."""
    sizes = (40, 3, 2, 50, 1, 9, 4)
    x = make.inputs(make.dense(40, 3), 10)
    bench.check(network(make, sizes), x, config=config, batch=10 // parts, stream=True)
    bench.check(network(make, sizes), x[: 10 // parts], config=config)


@pytest.mark.parametrize("stalls", STALLS, ids=["", "all stall", "weights stall"])
def test_images_follow_each_other(bench, make, config, stalls):
    """Several vectors in each of several iterations, the last one not full."""
    layers = [
        make.conv((4, 4), (3, 3), 2, 5, padding=(1, 1, 1, 1)),
        make.conv((4, 4), (2, 2), 5, 4, pool=(2, 2), pool_strides=(1, 1)),
        make.dense(2 * 2 * 4, 9, out="int32"),
    ]
    bench.check(layers, 7, config=config, batch=3, stalls=stalls, stream=True)


@pytest.fixture
def two_layers(bench, make):
    """A program that pools, pads, drains for long and streams on the smallest core, and its inputs."""

    def prepare(config):
        out = "bipolar" if config is make.one else "uint2"
        streams = config is make.many
        layers = [
            make.conv((3, 3), (2, 2), 2, 13, padding=(1, 0, 0, 1), pool=(2, 2), out=out),
            make.dense(13, 48 if streams else 7, dtype=out, out="bipolar"),
            make.dense(48 if streams else 7, 30 if streams else 3, out="int32"),
        ]
        x = make.inputs(layers[0], 2)
        outcome = bench.check(layers, x, config=config)
        assert (outcome.program.weight_stream is not None) == streams
        return outcome, x

    return prepare


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_a_run_ended_in_any_cycle_leaves_nothing(bench, config, two_layers, how):
    """Sums, what is on its way to them, words half done: the same run, as soon as the core is ready, is right."""
    outcome, x = two_layers(config)
    core, program = bench.core(config), outcome.program
    cycles = sum(outcome.causes.values())
    parameters, weights = program.run_parameters(1, stream=False), program.weight_stream
    taken = np.zeros(cycles, dtype=int)  # weight words by cycle
    if weights is not None:
        core.start(parameters, weights=weights)
        for cycle in range(1, cycles):
            core.sim.run(1)
            taken[cycle] = len(weights) - core.sim.unsent("i_weights")
    for cycle in range(1, cycles, 1 if how == "abort" else 5):
        # No word is left in the stream.
        core.start(parameters, weights=None if weights is None else weights[: taken[cycle]])
        core.sim.run(cycle)
        assert core.sim.get("busy")
        if how == "abort":
            core.abort()
        else:
            core.sim.reset()
        assert not core.sim.get("busy")
        bench.again(program, x)


@pytest.mark.parametrize("cycle", [60, 300, 1600, 2900])
def test_a_run_ended_in_a_long_drain_leaves_nothing(bench, make, cycle):
    """The next run's first pass does not wait for the end of a drain that is no more."""
    layer = make.dense(8, 12, out="uint8")
    x = make.inputs(layer, 1)
    outcome = bench.check(layer, x, config=make.many)
    assert outcome.program.steps[0].fields["drain_cycles"] == 6 * 255
    core = bench.core(make.many)
    core.start(outcome.program.run_parameters(1, stream=False))
    core.sim.run(cycle)
    assert core.sim.get("busy")
    core.abort()
    bench.again(outcome.program, x)


@pytest.mark.parametrize("missing", [1, 5, 1000])
def test_weights_that_stop(bench, make, missing):
    """The watchdog ends the run, and the next run is right."""
    outcome = bench.check(make.dense(40, 70), 1, config=make.many)
    core, program = bench.core(make.many), outcome.program
    with pytest.raises(SimulationError, match="watchdog"):
        core.run(program.run_parameters(1, stream=False), weights=program.weight_stream[:-missing])
    assert core.sim.cycle > make.many.watchdog_cycles
    core.sim.run(1)
    assert not core.sim.get("busy")
    core.sim.reset()
    core.write("inputs", program.pack_inputs(make.inputs(program.network.layers[0], 1)))
    bench.again(program, make.inputs(program.network.layers[0], 1))


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1, 1, 0)])
def test_runs_without_a_reset_between_them(bench, make, order):
    """Streamed and resident programs by turns, each as if it were the first."""
    programs = [make.compile(make.many, [make.dense(40, N, out="int32")], 1) for N in (9, 70)]
    assert [program.weight_stream is None for program in programs] == [True, False]
    x = np.where(np.arange(40) % 3, 1, -1)[None]
    core = bench.core(make.many)
    core.sim.reset()
    for index in order:
        program = programs[index]
        for memory, image in program.image.items():
            core.write(memory, image)
        core.write("inputs", program.pack_inputs(x))
        bench.again(program, x)
