"""The promise on the sparse engine, for random configs, networks, choices of the packer, batches and stalls."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import EIE, SparseOptions
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig

SMALL = {"input_depth": 256, "activation_depth": 256, "output_depth": 256, "watchdog_cycles": 1 << 14}
CONFIGS = {
    "4 PEs": AcceleratorConfig(
        engine=SparseConfig(pes=4, queue_depth=4, accumulator_rows=16), weight_depth=300, **SMALL
    ),
    "1 PE, queue of 1, 2-bit indices": AcceleratorConfig(
        engine=SparseConfig(pes=1, queue_depth=1, index_width=2, codebook_width=2, accumulator_rows=64),
        weight_depth=500,
        **SMALL,
    ),
    "8 PEs in groups, 8 bits, decoders": AcceleratorConfig(
        engine=SparseConfig(
            pes=8, queue_depth=8, group=4, index_width=4, activation_width=8, weight_width=8, decoders=2
        ),
        weight_depth=250,
        **SMALL,
    ),
    "3 PEs, no codebook, unsigned": AcceleratorConfig(
        engine=SparseConfig(
            pes=3,
            queue_depth=3,
            index_width=3,
            codebook_width=None,
            weight_width=9,
            activation_signed=False,
            accumulator_rows=32,
        ),
        weight_depth=250,
        **SMALL,
    ),
    "16 PEs in groups of 8, narrow accumulators": AcceleratorConfig(
        engine=SparseConfig(pes=16, queue_depth=16, group=8, index_width=8, accumulator_width=24),
        weight_depth=300,
        **SMALL,
    ),
    "6 PEs in pairs, one decoder": AcceleratorConfig(
        engine=SparseConfig(
            pes=6, queue_depth=8, group=2, index_width=5, codebook_width=5, accumulator_rows=8, decoders=1
        ),
        weight_depth=250,
        **SMALL,
    ),
}
CASES = 52  # per config in the default tests
SLOW_CASES = 250  # per config in the slow ones
RANDOM_CONFIGS, RANDOM_CASES = 20, 80  # in the slow ones too: with the others 3,100 cases


def random_config(seed: int) -> AcceleratorConfig:
    """Draw a small config, widths and memories of every size."""
    rng = np.random.default_rng(seed)
    pes = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 12, 16]))
    group = int(rng.choice([each for each in (1, 2, 4, 8) if pes % each == 0]))
    codebook = None if rng.random() < 0.3 else int(rng.integers(2, 9))
    index = int(rng.integers(2, 9))
    weight = int(rng.integers(4, 17))
    word = pes * ((weight if codebook is None else codebook) + index)
    decoders = 0
    if codebook is not None and rng.random() < 0.5:
        wide = [each for each in (2, 4) if pes % each == 0 and word // each >= 32]
        decoders = int(rng.choice([1, *wide]))
    return AcceleratorConfig(
        engine=SparseConfig(
            pes=pes,
            queue_depth=int(rng.choice([1, 2, 3, 8, 17, 64])),
            index_width=index,
            codebook_width=codebook,
            weight_width=weight,
            activation_width=int(rng.choice([8, 16])),
            activation_signed=bool(rng.integers(0, 2)),
            accumulator_width=int(rng.choice([24, 30, 40, 48])),
            accumulator_rows=max(group, int(2 ** rng.integers(0, 7))),
            group=group,
            pointer_depth=2048,
            codebook_depth=4096,
            decoders=decoders,
        ),
        weight_depth=int(rng.integers(100, 1200)),
        parameter_depth=256,
        **{**SMALL, "input_depth": 512, "activation_depth": 1024, "output_depth": 512},
    )


def random_layer(rng: np.random.Generator, engine: SparseConfig, name: str, K: int, N: int) -> CompressedDense:
    """Draw a layer whose integers fit the engine; some rows, columns or the whole matrix may be empty or dense."""
    mask = rng.random((K, N)) < rng.choice([0, 0.03, 0.1, 0.3, 0.9], p=[0.05, 0.25, 0.3, 0.3, 0.1])
    mask &= rng.random((K, 1)) < rng.choice([0.5, 1])
    mask |= rng.random((1, N)) < rng.choice([0, 0.05], p=[0.8, 0.2])
    low, high = engine.weight_range
    if engine.codebook_width is None:
        weights, codebook = rng.integers(low, high + 1, (K, N)), None
        codes = np.where(mask, weights, 0).astype(np.int16)
    else:
        codebook = rng.integers(low, high + 1, 1 << engine.codebook_width)
        codebook[0] = 0
        codes = np.where(mask, rng.integers(1, len(codebook), (K, N)), 0).astype(np.uint8)
    smallest, largest = engine.activation_range
    dtype = f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"
    minimum = 0 if rng.random() < 0.5 else smallest
    if rng.random() < 0.1:
        minimum, largest = sorted(rng.integers(smallest, largest + 1, 2).tolist())
    spread = max(engine.weight_width - 2 + np.log2(max(mask.sum() / N, 1)) / 2, 0)
    return CompressedDense(
        name=name,
        codes=codes,
        codebook=codebook,
        bias=rng.integers(-1 << 12, 1 << 12, N),
        shift=int(rng.choice([0, 1, int(spread), int(spread)])),
        minimum=minimum,
        maximum=largest,
        input_dtype=dtype,
        output_dtype=dtype,
    )


def random_options(rng: np.random.Generator, engine: SparseConfig) -> SparseOptions:
    """Draw choices of the packer, most of them left open."""
    if engine.index_width >= 4 and engine.queue_depth >= 7 and rng.random() < 0.2:
        return EIE
    relative = int(rng.integers(2, engine.index_width + 1)) if rng.random() < 0.3 else None
    return SparseOptions(
        relative_width=relative,
        group=int(rng.choice([each for each in (1, 2, 4, 8) if each <= engine.group])) if rng.random() < 0.3 else None,
        balance=bool(rng.random() < 0.8),
        queue_limit=int(rng.integers(1, engine.queue_depth + 1)) if rng.random() < 0.3 else None,
        keep_empty=bool(rng.random() < 0.2),
        encode=bool(engine.decoders and rng.random() < 0.7),
    )


def draw_inputs(network: Network, engine: SparseConfig) -> Callable[[np.random.Generator, int], np.ndarray]:
    low, high = engine.activation_range

    def draw(rng: np.random.Generator, batch: int) -> np.ndarray:
        shape = (batch, network.input_shape[0])
        x = rng.integers(low, high + 1, shape)
        if rng.random() < 0.1:
            x[:] = rng.choice([low, high])
        return np.where(rng.random(shape) < rng.choice([0, 0.1, 0.4, 1], p=[0.05, 0.3, 0.4, 0.25]), x, 0)

    return draw


def random_network(rng: np.random.Generator, config: AcceleratorConfig) -> tuple[Network, SparseOptions]:
    """Draw a chain of layers and choices that the memories hold."""
    engine = config.engine
    assert isinstance(engine, SparseConfig)
    while True:
        sizes = rng.integers(1, rng.choice([6, 14, max(60, 8 * engine.pes)]), rng.integers(2, 5)).tolist()
        layers = [
            random_layer(rng, engine, f"layer {index}", K, N) for index, (K, N) in enumerate(itertools.pairwise(sizes))
        ]
        network = Network(name="random", layers=layers, input_shape=(sizes[0],))
        options = random_options(rng, engine)
        try:
            compile_network(network, config, options=options)
        except CompileError:
            continue
        return network, options


def one_case(check_case: Any, config: AcceleratorConfig, seed: int) -> tuple[Program, dict[str, int]]:
    rng = np.random.default_rng(seed)
    engine = config.engine
    assert isinstance(engine, SparseConfig)
    network, options = random_network(rng, config)
    return check_case(config, network, draw_inputs(network, engine), rng, seed, options)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if CONFIGS[name].engine.pe_count > 8 else name for name in CONFIGS],
)
def test_random_cases(check_case: Any, name: str) -> None:
    cases = [one_case(check_case, CONFIGS[name], seed) for seed in range(CASES)]
    assert any(program.weight_stream is not None for program, _ in cases)
    seldom = {"padding", "empty_column"}  # where every PE has an entry
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
