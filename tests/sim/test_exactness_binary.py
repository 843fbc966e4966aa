"""The promise on the binary engine, for random configs, networks, batches and stalls.

Each case draws a network of dense and convolution layers with every pair of operands, a batch, stalls for every stream
and whether inputs and results stream; the seed of a failing case is in the message.
`python -m pytest -k exactness -m 'slow or not slow'` adds the slow ones.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.pack.binary import arrange
from celosia.host.program import Program
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig

SMALL = {
    "input_depth": 4096,
    "activation_depth": 4096,
    "output_depth": 4096,
    "parameter_depth": 2048,
    "program_depth": 1024,
    "watchdog_cycles": 1 << 14,
}
CONFIGS = {
    "4 PEs × 8": AcceleratorConfig(
        engine=BinaryConfig(pes=4, simd=8, activation_width=4, accumulator_width=14), weight_depth=32, **SMALL
    ),
    "8 × 4, one lane": AcceleratorConfig(
        engine=BinaryConfig(pes=8, simd=4, accumulator_width=18, output_width=3, post_lanes=1),
        weight_depth=40,
        **SMALL,
    ),
    "1 × 2": AcceleratorConfig(
        engine=BinaryConfig(pes=1, simd=2, accumulator_width=16, output_width=2), weight_depth=200, **SMALL
    ),
    "6 × 10, 1-bit": AcceleratorConfig(
        engine=BinaryConfig(pes=6, simd=10, activation_width=1, accumulator_width=10, output_width=1, post_lanes=2),
        weight_depth=120,
        **SMALL,
    ),
    "4 × 16, every lane": AcceleratorConfig(
        engine=BinaryConfig(pes=4, simd=16, accumulator_width=17, output_width=4, post_lanes=4),
        weight_depth=160,
        **SMALL,
    ),
    "3 × 33": AcceleratorConfig(
        engine=BinaryConfig(pes=3, simd=33, activation_width=2, output_width=8, accumulator_width=13),
        weight_depth=200,
        **SMALL,
    ),
}
LONGEST = 1500  # about as many cycles of an input, its words behind slow streams included
CASES = 52  # per config in the default tests: with all six 312
SLOW_CASES = 200  # per config in the slow ones
RANDOM_CONFIGS, RANDOM_CASES = 20, 100  # in the slow ones too: with the others 3,200 cases

DTYPES = ["bipolar", *(f"uint{bits}" for bits in range(1, 9)), *(f"int{bits}" for bits in range(2, 9))]


def random_config(seed: int) -> AcceleratorConfig:
    """Draw a small config, widths and memories of every size."""
    rng = np.random.default_rng(seed)
    pes, simd = int(rng.choice([1, 2, 3, 4, 5, 8, 12])), int(rng.choice([2, 3, 4, 7, 8, 16, 24, 40]))
    shared = np.gcd(pes, simd)
    return AcceleratorConfig(
        engine=BinaryConfig(
            pes=pes,
            simd=simd,
            activation_width=int(rng.integers(1, 9)),
            accumulator_width=int(rng.integers(12, 20)),
            output_width=int(rng.integers(1, 6)),
            post_lanes=int(rng.choice([lanes for lanes in range(1, shared + 1) if shared % lanes == 0])),
        ),
        weight_depth=int(rng.integers(100, 800)),
        **SMALL,
    )


def bits(dtype: str) -> int:
    low, high = integer_range(dtype)
    return 1 if dtype == "bipolar" else (high - low).bit_length()


def draw_dtype(rng: np.random.Generator, widest: int) -> str:
    names = [dtype for dtype in DTYPES if bits(dtype) <= widest]
    return "bipolar" if rng.random() < 0.1 else str(rng.choice(names))


def draw_outputs(rng: np.random.Generator, engine: BinaryConfig, spread: float, N: int) -> dict[str, Any]:
    """Draw thresholds that a sum of some spread reaches about evenly, and some that it never or always does."""
    dtype = draw_dtype(rng, min(engine.output_width, engine.activation_width))
    low, high = integer_range(dtype)
    step = 2 if dtype == "bipolar" else 1
    T = (high - low) // step
    minimum = low
    if T > 1 and rng.random() < 0.3:  # fewer values than the type has
        T = int(rng.integers(1, T + 1))
        minimum = int(rng.integers(low, high - T + 1))
    thresholds = np.sort(rng.normal(0, spread + 0.5, (N, T)).round(), axis=1)
    thresholds[rng.random(N) < 0.05] = 2**31 - 1
    thresholds[rng.random(N) < 0.05] = -(2**31)
    return {"thresholds": thresholds.astype(np.int64), "output_dtype": dtype, "output_minimum": minimum}


def draw_weights(rng: np.random.Generator, shape: tuple[int, ...], ternary: bool | None) -> np.ndarray:
    values = [-1, 0, 1] if (rng.random() < 0.4 if ternary is None else ternary) else [-1, 1]
    if ternary is None and rng.random() < 0.1:
        values = [int(rng.choice(values))]
    weights = rng.choice(values, shape)
    if ternary:
        weights.flat[0] = 0
    return weights


def random_network(
    rng: np.random.Generator, engine: BinaryConfig, *, dtype: str | None = None, ternary: bool | None = None
) -> Network:
    """Draw a chain of one to four layers, convolutions first, that fit the engine; operands of the first if given."""
    given = {"dtype": dtype, "ternary": ternary}
    dtype = dtype or draw_dtype(rng, engine.activation_width)
    low, high = integer_range(dtype)
    if rng.random() < 0.6:
        shape: tuple[int, ...] = (*(int(side) for side in rng.integers(1, 8, 2)), int(rng.integers(1, 12)))
    else:
        shape = (int(rng.integers(1, rng.choice([6, 30, 90]))),)
    input_shape, layers = shape, []
    most = (1 << engine.accumulator_width) - 1
    for index in range(int(rng.integers(1, 5))):
        N = int(rng.integers(1, rng.choice([5, 20, 120 if engine.pe_count > 2 else 20])))
        is_last = rng.random() < 0.3
        common = {"name": f"layer {index}", "input_dtype": dtype}
        size = max(abs(low), high)
        if len(shape) == 3 and rng.random() < 0.8:
            kernel = tuple(int(rng.integers(1, min(side, 3) + 1)) for side in shape[:2])
            K = kernel[0] * kernel[1] * shape[2]
            padding = tuple(int(rng.integers(0, side)) for side in (*kernel, *kernel))
            if rng.random() < 0.5:
                padding = (0, 0, 0, 0)
            pad_value = 0 if rng.random() < 0.6 else int(rng.choice([low, high]))
            if any(padding) and not low <= pad_value <= high:
                pad_value = low
            strides = tuple(int(stride) for stride in rng.integers(1, 3, 2))
            outputs = {} if is_last else draw_outputs(rng, engine, size * np.sqrt(K) / 2, N)
            conv = BinaryConv(
                **common,
                weights=draw_weights(rng, (*kernel, shape[2], N), ternary),
                input_size=shape[:2],
                strides=strides,
                padding=padding,
                pad_value=pad_value,
                **(outputs or {"output_dtype": "int32"}),
            )
            if outputs and rng.random() < 0.5:
                pool = tuple(int(rng.integers(1, min(side, 3) + 1)) for side in conv.conv_size)
                pool_strides = pool if rng.random() < 0.6 else tuple(int(stride) for stride in rng.integers(1, 4, 2))
                conv = BinaryConv(**{**vars(conv), "pool": pool, "pool_strides": pool_strides})
            layer: Any = conv
        else:
            K = int(np.prod(shape))
            outputs = {} if is_last else draw_outputs(rng, engine, size * np.sqrt(K) / 2, N)
            layer = BinaryDense(
                **common, weights=draw_weights(rng, (K, N), ternary), **(outputs or {"output_dtype": "int32"})
            )
        if 2.2 * K * ((1 << bits(dtype)) - 1) * (2 if layer.is_ternary else 1) > most:
            break
        layers.append(layer)
        ternary = None
        if is_last:
            break
        shape, dtype = layer.output_shape, layer.output_dtype
        low, high = layer.output_minimum, layer.output_minimum + layer.output_step * layer.thresholds.shape[1]
    if not layers:
        return random_network(rng, engine, **given)  # type: ignore[arg-type]
    return Network(name="random", layers=layers, input_shape=input_shape)


def draw_inputs(network: Network) -> Callable[[np.random.Generator, int], np.ndarray]:
    low, high = integer_range(network.input_dtype)

    def draw(rng: np.random.Generator, batch: int) -> np.ndarray:
        x = low + network.input_step * rng.integers(
            0, (high - low) // network.input_step + 1, (batch, *network.input_shape)
        )
        if rng.random() < 0.1:
            x[:] = rng.choice([low, high])
        return x

    return draw


def suits(config: AcceleratorConfig, network: Network) -> bool:
    """Whether the folds that fill a word fit half of a ring that is half of the weight memory, and runs are short."""
    engine = config.engine
    assert isinstance(engine, BinaryConfig)
    folds = engine.simd // math.gcd(engine.pes, engine.simd)
    layers = arrange(config, network.layers)
    beats = sum(layer.work // engine.pe_count for layer in layers)
    words = layers[0].input_words + layers[-1].output_words
    return beats + 3 * words < LONGEST and all(4 * folds * layer.fold_words <= config.weight_depth for layer in layers)


def one_case(check_case: Any, config: AcceleratorConfig, seed: int, **pair: Any) -> tuple[Program, dict[str, int]]:
    rng = np.random.default_rng(seed)
    engine = config.engine
    assert isinstance(engine, BinaryConfig)
    network = random_network(rng, engine, **pair)
    while not suits(config, network):
        network = random_network(rng, engine, **pair)
    return check_case(config, network, draw_inputs(network), rng, seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_random_cases(check_case: Any, name: str) -> None:
    cases = [one_case(check_case, CONFIGS[name], seed) for seed in range(CASES)]
    missing = {cause for cause in CONFIGS[name].causes if not any(causes[cause] for _, causes in cases)}
    assert missing <= {"weights_wait"}, f"no case has cycles of {missing}"  # the small ones have too little to stream


@pytest.mark.parametrize("name", ["8 × 4, one lane", "4 × 16, every lane"])
@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pair_of_operands(check_case: Any, name: str, ternary: bool, dtype: str) -> None:
    config = CONFIGS[name]
    program, _ = one_case(check_case, config, 1000 + DTYPES.index(dtype), dtype=dtype, ternary=ternary)
    assert program.network.layers[0].input_dtype == dtype
    assert program.layers[0].arranged.weight_planes == 1 + ternary


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
