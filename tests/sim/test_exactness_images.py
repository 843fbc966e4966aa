"""The promise on the systolic engine for whole networks: convolutions, pooling, additions, concatenations; stalls."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig

DEPTHS = {
    "program_depth": 2048,
    "parameter_depth": 1024,
    "input_depth": 2048,
    "activation_depth": 2048,
    "output_depth": 2048,
    "watchdog_cycles": 1 << 14,
}
CONFIGS = {
    "4x4": AcceleratorConfig(
        engine=SystolicConfig(rows=4, cols=4, accumulator_rows=32, lookup_tables=16), weight_depth=2048, **DEPTHS
    ),
    "4x8, two taps": AcceleratorConfig(
        engine=SystolicConfig(rows=4, cols=8, accumulator_rows=64, taps=2, lookup_tables=16, post_lanes=2),
        weight_depth=600,
        **DEPTHS,
    ),
    "8x4, no taps": AcceleratorConfig(
        engine=SystolicConfig(rows=8, cols=4, accumulator_rows=32, post_lanes=1), weight_depth=1000, **DEPTHS
    ),
    "6x7": AcceleratorConfig(
        engine=SystolicConfig(rows=6, cols=7, accumulator_rows=128, taps=5, lookup_tables=16),
        weight_depth=3000,
        **DEPTHS,
    ),
}
KINDS = ("conv", "depthwise", "grouped", "max_pool", "average_pool", "global_pool", "rescale", "dense", "add", "concat")
CASES, SLOW_CASES = 12, 40


def one_case(check_case: Any, networks: ModuleType, config: AcceleratorConfig, kind: str, seed: int) -> Program:
    rng = np.random.default_rng(seed)
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    if kind == "network":
        made = networks.random_network(rng, engine.rows, adds=engine.lookup_tables > 0)
    else:
        made = networks.random_layer(rng, kind, engine.rows, engine.cols)
    program, _ = check_case(config, made.network(), lambda _, count: made.inputs(count), rng, seed)
    return program


@pytest.mark.parametrize("name", CONFIGS)
def test_random_networks(check_case: Any, networks: ModuleType, name: str) -> None:
    for seed in range(CASES):
        one_case(check_case, networks, CONFIGS[name], "network", seed)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_random_layers(check_case: Any, networks: ModuleType, name: str, kind: str) -> None:
    engine = CONFIGS[name].engine
    assert isinstance(engine, SystolicConfig)
    if kind == "add" and not engine.lookup_tables:
        pytest.skip("this engine has no lookup tables, which additions need")
    for seed in range(4):
        one_case(check_case, networks, CONFIGS[name], kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_many_random_networks(check_case: Any, networks: ModuleType, name: str) -> None:
    for seed in range(1000, 1000 + SLOW_CASES):
        one_case(check_case, networks, CONFIGS[name], "network", seed)
