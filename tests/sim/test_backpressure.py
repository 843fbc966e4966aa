"""Streams far slower than the engine: it must wait for a free half, and the watchdog must not take that for a hang."""

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.ir import Dense, Network
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.core import CoreSimulator, Stalls
from celosia.sim.cycles.model import predict
from celosia.sim.golden.systolic import run_layer
from celosia.sim.rtl import SimulationError

WATCHDOG = 128  # cycles: less than half a memory takes to fill or to empty at one word in ten cycles
LIMIT = 100_000  # cycles
CONFIG = AcceleratorConfig(
    engine=SystolicConfig(rows=4, cols=4, accumulator_rows=16),
    weight_depth=16,
    parameter_depth=16,
    input_depth=32,
    activation_depth=32,
    output_depth=64,
    watchdog_cycles=WATCHDOG,
)
BATCH = 70


@pytest.fixture(scope="module")
def core() -> CoreSimulator:
    return CoreSimulator(CONFIG)


def one_layer(K: int, N: int) -> Network:
    rng = np.random.default_rng(K)
    layer = Dense(
        name="layer",
        weights=rng.integers(-128, 128, (K, N)).astype(np.int8),
        bias=rng.integers(-5000, 5000, N),
        multiplier=rng.integers(1 << 30, 1 << 31, N),
        shift=rng.integers(-9, -6, N),
        rounding="even",
        input_zero_point=1,
        output_zero_point=-1,
        minimum=-128,
        maximum=127,
    )
    return Network(name="random", layers=[layer], input_shape=(K,))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("slow", ["inputs", "results", "weights"])
def test_slow_stream(core: CoreSimulator, slow: str, seed: int) -> None:
    """Results and counters are right, and the run does wait for this stream in the middle."""
    K, N, cause = {
        "inputs": (16, 4, "activations_wait"),
        "results": (4, 16, "results_wait"),
        "weights": (8, 12, "weights_wait"),
    }[slow]
    program = compile_network(one_layer(K, N), CONFIG, batch=BATCH)
    assert (program.weight_stream is not None) == (slow == "weights")
    iterations = -(-BATCH // program.vectors)
    assert iterations > 4
    x = np.random.default_rng(seed).integers(-128, 128, (BATCH, K))
    run, stalls = program.run_parameters(iterations, stream=True), Stalls(**{slow: 0.9}, seed=seed)
    for memory, image in program.image.items():
        core.write(memory, image)
    weights = None if program.weight_stream is None else np.concatenate([program.weight_stream] * iterations)
    result = core.run(run, inputs=program.pack_inputs(x), weights=weights, stalls=stalls, limit=LIMIT)
    np.testing.assert_array_equal(
        program.unpack_outputs(result.results, BATCH), run_layer(program.network.layers[0], x), err_msg=f"seed {seed}"
    )
    cycles = predict(CONFIG, [step.fields for step in program.steps], run, **stalls.gates(CONFIG, LIMIT))
    assert result.causes == cycles.causes, f"seed {seed}"
    assert sum(layer[cause] > 0 for layer in cycles.by_layer[2:-1]) >= 2, f"seed {seed}: nothing waited"


def test_stream_that_stops(core: CoreSimulator) -> None:
    """The watchdog ends a run whose inputs do not come, and the next run is right."""
    program = compile_network(one_layer(16, 4), CONFIG, batch=BATCH)
    iterations = -(-BATCH // program.vectors)
    x = np.random.default_rng(3).integers(-128, 128, (BATCH, 16))
    words = program.pack_inputs(x)
    for memory, image in program.image.items():
        core.write(memory, image)
    run = program.run_parameters(iterations, stream=True)
    with pytest.raises(SimulationError, match="watchdog"):
        core.run(run, inputs=words[:-1], limit=LIMIT)
    result = core.run(run, inputs=words, limit=LIMIT)
    golden = run_layer(program.network.layers[0], x)
    np.testing.assert_array_equal(program.unpack_outputs(result.results, BATCH), golden)
