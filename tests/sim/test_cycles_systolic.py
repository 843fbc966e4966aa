"""The cycle model's short cut over equal tiles gives what following every tile gives."""

from collections.abc import Iterator

import numpy as np
import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import RunParameters
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.cycles import systolic
from celosia.sim.cycles.model import predict


def cases(seed: int) -> Iterator[tuple[AcceleratorConfig, dict[str, int]]]:
    rng = np.random.default_rng(seed)
    for _ in range(200):
        rows, cols = (int(rng.integers(1, 20)) for _ in range(2))
        engine = SystolicConfig(rows=rows, cols=cols, accumulator_rows=int(2 ** rng.integers(1, 8)))
        block = int(rng.integers(1, engine.accumulator_rows + 1))
        groups = cols // engine.resolved_post_lanes
        mode = Mode(int(rng.integers(0, 3)))
        layer = {
            "mode": int(mode),
            "lead": 0,
            "decimation": 0,
            "line": 7,
            "blocks": int(rng.choice([1, 2, 50])),
            "block_rows": block,
            "last_block_rows": int(rng.integers(1, block + 1)),
            "k_tiles": int(rng.choice([1, 2, 3, 9])),
            "k_rows": int(rng.integers(1, rows + 1)),
            "k_edge": int(rng.integers(1, rows + 1)),
            "n_tiles": int(rng.choice([1, 2, 100])),
            "n_groups": groups,
            "n_edge": int(rng.integers(1, groups + 1)),
            "weights_stream": 0,
            "destination_is_outputs": 1,
        }
        yield AcceleratorConfig(engine=engine), layer


@pytest.mark.parametrize("seed", range(3))
def test_equal_tiles(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunParameters(layers=2, iterations=2, ring_base=2048, config_hash="0")
    short = [predict(config, [layer, layer], run) for config, layer in cases(seed)]

    def one_by_one(self: systolic._Walk, rows: int, groups: int, count: int) -> None:
        for _ in range(count):
            self.visit(rows, groups)

    monkeypatch.setattr(systolic._Walk, "repeat", one_by_one)
    for (config, layer), cycles in zip(cases(seed), short, strict=True):
        assert cycles == predict(config, [layer, layer], run), f"seed {seed}: {config.engine}, {layer}"
