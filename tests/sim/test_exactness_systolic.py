"""The promise on the systolic engine, for random configs, networks, batches and stalls.

Each case draws a network, a batch, stalls for every stream and whether inputs and results stream; the seed of a failing
case is in the message. `python -m pytest -k exactness -m 'slow or not slow'` adds the slow ones.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celosia.host.models.ir import Dense, Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig

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


def draw_inputs(network: Network, engine: SystolicConfig) -> Callable[[np.random.Generator, int], np.ndarray]:
    low, high = engine.activation_range

    def draw(rng: np.random.Generator, batch: int) -> np.ndarray:
        x = rng.integers(low, high + 1, (batch, network.input_shape[0]))
        if rng.random() < 0.1:
            x[:] = rng.choice([low, high])
        return x

    return draw


def one_case(check_case: Any, config: AcceleratorConfig, seed: int) -> tuple[Program, dict[str, int]]:
    rng = np.random.default_rng(seed)
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    network = random_network(rng, engine)
    return check_case(config, network, draw_inputs(network, engine), rng, seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_random_cases(check_case: Any, name: str) -> None:
    cases = [one_case(check_case, CONFIGS[name], seed) for seed in range(CASES)]
    assert any(program.weight_stream is not None for program, _ in cases)
    seldom = {"hazard", "output_wait", "window"}  # not in every shape of array; windows are those of images
    missing = {cause for cause in CONFIGS[name].causes if not any(causes[cause] for _, causes in cases)}
    assert missing <= seldom, f"no case has cycles of {missing}"


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_many_random_cases(check_case: Any, name: str) -> None:
    for case in range(SLOW_CASES):
        one_case(check_case, CONFIGS[name], 10_000 + case)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(RANDOM_CONFIGS))
def test_random_configs(check_case: Any, seed: int) -> None:
    config = random_config(seed)
    for case in range(RANDOM_CASES):
        one_case(check_case, config, 100_000 + 1_000 * seed + case)
