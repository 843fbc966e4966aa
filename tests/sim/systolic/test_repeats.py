"""Tiles that go as those before are not followed one by one; cycles are the same as if they were."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.cycles import systolic
from celosia.sim.cycles.model import Source

CASES = 400


def random_layer(rng: np.random.Generator, engine: SystolicConfig) -> dict[str, int]:
    """Draw what cycles depend on, with many tiles and blocks, as no memory would hold them."""
    lead, decimation = (0, 0) if rng.random() < 0.6 else rng.integers(0, 4, 2).tolist()
    line = lead + int(rng.integers(1, 13))
    unit = 1 if lead == decimation == 0 else len(range(lead, line, decimation + 1))  # sums that a block must not cut
    most = max(engine.accumulator_rows // unit, 1)
    block, last = (unit * int(n) for n in rng.integers(1, min(most, rng.choice([2, 4, most])) + 1, 2))
    groups = int(rng.integers(1, engine.cols + 1))
    return {
        "lead": lead,
        "decimation": decimation,
        "line": line,
        "block_rows": block,
        "last_block_rows": min(block, last),
        "blocks": int(rng.choice([1, 2, rng.integers(1, 60)])),
        "n_groups": groups,
        "n_edge": int(rng.integers(1, groups + 1)),
        "n_tiles": int(rng.choice([1, 2, 3, rng.integers(1, 40)])),
        "k_tiles": int(rng.choice([1, 2, 3, rng.integers(1, 9)])),
        "k_rows": engine.rows,
        "k_edge": int(rng.integers(1, engine.rows + 1)),
        "mode": int(rng.choice([Mode.MATRIX, Mode.LOOKUP, Mode.CHANNELS])),
        "weights_stream": 0,
    }


class _OneByOne(systolic._Walk):
    def repeat(self, count: int, step: Callable[..., None], *arguments: Any) -> None:
        for _ in range(count):
            step(*arguments)


def cycles(config: AcceleratorConfig, layers: list[dict[str, int]]) -> list[tuple[int, dict[str, int]]]:
    engine, done, found = systolic.EngineTimes(config, 0, Source()), 0, []
    for layer in layers:
        done, causes = engine.run(layer, done + 1, done + 3)
        found.append((done, causes))
    return found


def test_repeated_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    visits = {systolic._Walk: 0, _OneByOne: 0}
    visit = systolic._Walk.visit

    def counted(walk: systolic._Walk, rows: int, groups: int) -> None:
        visits[type(walk)] += 1
        visit(walk, rows, groups)

    monkeypatch.setattr(systolic._Walk, "visit", counted)
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        rows, size = int(rng.integers(1, 9)), 2 ** int(rng.integers(4, 10))
        engine = SystolicConfig(rows=rows, cols=int(rng.integers(rows, 13)), accumulator_rows=size, post_lanes=1)
        config = AcceleratorConfig(engine=engine)
        layers = [random_layer(rng, engine) for _ in range(rng.integers(1, 4))]
        with monkeypatch.context() as patch:
            patch.setattr(systolic, "_Walk", _OneByOne)
            expected = cycles(config, layers)
        assert cycles(config, layers) == expected, f"seed {seed}: {engine}, {layers}"
    assert visits[systolic._Walk] < visits[_OneByOne] / 4
