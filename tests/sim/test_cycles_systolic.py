"""The cycle model's short cut over tiles that go as those before gives what following every tile gives."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import RunParameters
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.cycles import systolic
from celosia.sim.cycles.model import predict


def random_layer(rng: np.random.Generator, engine: SystolicConfig) -> dict[str, int]:
    """Draw what cycles depend on, with many tiles and blocks, as no memory would hold them."""
    lead, decimation = (0, 0) if rng.random() < 0.6 else rng.integers(0, 4, 2).tolist()
    line = lead + int(rng.integers(1, 13))
    unit = 1 if lead == decimation == 0 else len(range(lead, line, decimation + 1))  # sums that a block must not cut
    if unit > engine.accumulator_rows:
        lead, decimation, unit = 0, 0, 1
    most = engine.accumulator_rows // unit
    block, last = (unit * int(n) for n in rng.integers(1, min(most, rng.choice([2, 4, most])) + 1, 2))
    groups = engine.cols // engine.resolved_post_lanes
    return {
        "mode": int(rng.choice(list(Mode))),
        "lead": lead,
        "decimation": decimation,
        "line": line,
        "blocks": int(rng.choice([1, 2, 50])),
        "block_rows": block,
        "last_block_rows": min(block, last),
        "k_tiles": int(rng.choice([1, 2, 3, 9])),
        "k_rows": int(rng.integers(1, engine.rows + 1)),
        "k_edge": int(rng.integers(1, engine.rows + 1)),
        "n_tiles": int(rng.choice([1, 2, rng.integers(3, 40), 100])),
        "n_groups": groups,
        "n_edge": int(rng.integers(1, groups + 1)),
        "weights_stream": 0,
        "destination_is_outputs": 1,
    }


def cases(seed: int) -> Iterator[tuple[AcceleratorConfig, list[dict[str, int]]]]:
    rng = np.random.default_rng(seed)
    for _ in range(200):
        rows, cols = (int(rng.integers(1, 20)) for _ in range(2))
        lanes = 1 if rng.random() < 0.5 else None
        engine = SystolicConfig(rows=rows, cols=cols, accumulator_rows=int(2 ** rng.integers(1, 10)), post_lanes=lanes)
        yield AcceleratorConfig(engine=engine), [random_layer(rng, engine) for _ in range(2)]


@pytest.mark.parametrize("seed", range(3))
def test_equal_tiles(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunParameters(layers=2, iterations=2, ring_base=2048, config_hash="0")
    visits, visit = [0], systolic._Walk.visit

    def counted(self: systolic._Walk, rows: int, groups: int) -> None:
        visits[-1] += 1
        visit(self, rows, groups)

    def one_by_one(_self: systolic._Walk, count: int, step: Callable[..., None], *arguments: Any) -> None:
        for _ in range(count):
            step(*arguments)

    monkeypatch.setattr(systolic._Walk, "visit", counted)
    short = [predict(config, layers, run) for config, layers in cases(seed)]
    visits.append(0)
    monkeypatch.setattr(systolic._Walk, "repeat", one_by_one)
    for (config, layers), cycles in zip(cases(seed), short, strict=True):
        assert cycles == predict(config, layers, run), f"seed {seed}: {config.engine}, {layers}"
    assert visits[0] < visits[1] / 10
