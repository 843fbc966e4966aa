"""The promise: golden == RTL and cycle model == RTL counters, for random configs, networks, batches and stalls.

Each case draws a network, a batch, stalls for every stream and whether inputs and results stream; the seed of a failing
case is in the message. `python -m pytest -k exactness -m 'slow or not slow'` adds the slow ones.
"""

import functools
import itertools

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.ir import Dense, Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.core import CoreSimulator, Stalls
from celosia.sim.cycles.model import predict
from celosia.sim.golden.systolic import run_layer

CYCLES = 200_000  # more than any case takes
SMALL = {"input_depth": 256, "activation_depth": 256, "output_depth": 256, "watchdog_cycles": 1 << 14}
CONFIGS = {
    "4x4": AcceleratorConfig(
        engine=SystolicConfig(rows=4, cols=4, accumulator_rows=8), weight_depth=64, parameter_depth=256, **SMALL
    ),
    "1x1": AcceleratorConfig(
        engine=SystolicConfig(rows=1, cols=1, accumulator_rows=4, max_k=64), weight_depth=300, **SMALL
    ),
    "5x3, 4-bit weights, 16-bit activations": AcceleratorConfig(
        engine=SystolicConfig(rows=5, cols=3, activation_width=16, weight_width=4, accumulator_rows=32),
        weight_depth=50,
        **SMALL,
    ),
    "3x6, unsigned": AcceleratorConfig(
        engine=SystolicConfig(rows=3, cols=6, activation_signed=False, accumulator_rows=16, post_lanes=3),
        weight_depth=96,
        **SMALL,
    ),
    "8x4, one lane": AcceleratorConfig(
        engine=SystolicConfig(rows=8, cols=4, accumulator_rows=4, post_lanes=1), weight_depth=200, **SMALL
    ),
    "2x8, 2-bit": AcceleratorConfig(
        engine=SystolicConfig(rows=2, cols=8, activation_width=2, weight_width=2, accumulator_rows=64),
        weight_depth=64,
        **SMALL,
    ),
}
CASES = 50  # per config in the default tests
SLOW_CASES = 170  # per config in the slow ones
RANDOM_CONFIGS, RANDOM_CASES = 20, 100  # in the slow ones too: with the others 3,020 cases


def random_config(seed: int) -> AcceleratorConfig:
    """Draw a small config, widths and memories of every size."""
    rng = np.random.default_rng(seed)
    rows, cols = (int(rng.choice([1, 2, 3, 4, 5, 7, 8, 12])) for _ in range(2))
    shared = np.gcd(rows, cols)
    return AcceleratorConfig(
        engine=SystolicConfig(
            rows=rows,
            cols=cols,
            activation_width=int(rng.choice([2, 4, 7, 8, 8, 12, 16])),
            activation_signed=bool(rng.integers(0, 2)),
            weight_width=int(rng.choice([2, 3, 4, 8, 8, 11, 16])),
            max_k=64,
            accumulator_rows=int(2 ** rng.integers(1, 7)),
            post_lanes=int(rng.choice([lanes for lanes in range(1, shared + 1) if shared % lanes == 0])),
        ),
        weight_depth=int(rng.integers(rows + 1, 400)),
        parameter_depth=256,
        **SMALL,
    )


@functools.cache
def core(config: AcceleratorConfig) -> CoreSimulator:
    return CoreSimulator(config)


def random_network(rng: np.random.Generator, engine: SystolicConfig) -> Network:
    """Draw a chain of one to four dense layers whose integers fit the engine, extremes included."""
    sizes = rng.integers(1, rng.choice([6, 14, 40]), rng.integers(2, 6)).tolist()
    low, high = engine.activation_range
    dtype = f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"
    weight_low, weight_high = engine.weight_range
    zero_point = int(rng.integers(low, high + 1))
    layers = []
    for index, (K, N) in enumerate(itertools.pairwise(sizes)):
        weights = rng.integers(weight_low, weight_high + 1, (K, N))
        if rng.random() < 0.1:
            weights[:] = rng.choice([weight_low, weight_high])
        spread = (high - low) * max(-weight_low, 1) * np.sqrt(K) / 8
        shift = rng.integers(-3, 1, N) - int(np.log2(spread / (high - low) * 2 + 1))
        minimum, maximum = sorted(rng.integers(low, high + 1, 2).tolist()) if rng.random() < 0.3 else (low, high)
        output_zero_point = int(rng.integers(low, high + 1))
        layers.append(
            Dense(
                name=f"layer {index}",
                weights=weights.astype(np.int16 if engine.weight_width > 8 else np.int8),
                bias=rng.integers(-int(spread) - 1, int(spread) + 2, N),
                multiplier=rng.integers(2**30, 2**31, N),
                shift=np.clip(shift, -31, 7),
                rounding=str(rng.choice(["double", "away", "even", "up"])),  # type: ignore[arg-type]
                input_zero_point=zero_point,
                output_zero_point=output_zero_point,
                minimum=minimum,
                maximum=maximum,
                input_dtype=dtype,
                output_dtype=dtype,
            )
        )
        zero_point = output_zero_point
    return Network(name="random", layers=layers, input_shape=(sizes[0],))


def golden(network: Network, x: np.ndarray) -> np.ndarray:
    for layer in network.layers:
        x = run_layer(layer, x)
    return x


def check_case(config: AcceleratorConfig, seed: int) -> tuple[Program, dict[str, int]]:
    """Run one random case and compare every output and every counter; return what ran and its cycles by cause."""
    rng = np.random.default_rng(seed)
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    network = random_network(rng, engine)
    batch = int(rng.choice([1, 2, 3, rng.integers(1, 40)]))
    stream = bool(rng.integers(0, 2))
    program = compile_network(network, config, batch=batch)
    if stream and 2 * max(program.input_words // (config.input_depth + 1), program.output_words) > config.output_depth:
        stream = False
    if stream and rng.random() < 0.7:  # several iterations of a part of the batch
        program = compile_network(network, config, batch=-(-batch // int(rng.integers(1, 5))))
    iterations = -(-batch // program.vectors)
    if 2 * max(program.input_words, program.output_words) > config.input_depth:
        stream = False
        batch = min(batch, program.vectors)
        iterations = 1
    elif iterations > 1:
        stream = True
    low, high = engine.activation_range
    x = rng.integers(low, high + 1, (batch, network.input_shape[0]))
    if rng.random() < 0.1:
        x[:] = rng.choice([low, high])
    stalls = Stalls(
        **{name: float(rng.choice([0, 0.1, 0.5, 0.9])) for name in ("inputs", "weights", "results")}, seed=seed
    )
    run = program.run_parameters(iterations, stream=stream)
    words = program.pack_inputs(x)
    weights = None if program.weight_stream is None else np.concatenate([program.weight_stream] * iterations)
    simulator = core(config)
    for memory, image in program.image.items():
        simulator.write(memory, image)
    if not stream:
        simulator.write("inputs", words)
    result = simulator.run(run, inputs=words if stream else None, weights=weights, stalls=stalls, limit=CYCLES)
    outputs = result.results if stream else simulator.read("outputs", program.output_words)
    about = f"seed {seed}, {[layer.shape for layer in program.layers]} × {iterations}, {stalls}, streaming {stream}"
    np.testing.assert_array_equal(program.unpack_outputs(outputs, batch), golden(network, x), err_msg=about)
    cycles = predict(config, [layer.fields for layer in program.layers], run, **stalls.gates(CYCLES))
    assert result.causes == cycles.causes, about
    assert result.total_cycles == cycles.total == sum(result.causes.values()), about
    return program, result.causes


@pytest.mark.parametrize("name", CONFIGS)
def test_random_cases(name: str) -> None:
    cases = [check_case(CONFIGS[name], seed) for seed in range(CASES)]
    assert any(program.weight_stream is not None for program, _ in cases)
    seldom = {"hazard", "output_wait"}  # not in every shape of array
    missing = {cause for cause in CONFIGS[name].causes if not any(causes[cause] for _, causes in cases)}
    assert missing <= seldom, f"no case has cycles of {missing}"


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_many_random_cases(name: str) -> None:
    for case in range(SLOW_CASES):
        check_case(CONFIGS[name], 10_000 + case)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(RANDOM_CONFIGS))
def test_random_configs(seed: int) -> None:
    config = random_config(seed)
    for case in range(RANDOM_CASES):
        check_case(config, 100_000 + 1_000 * seed + case)
