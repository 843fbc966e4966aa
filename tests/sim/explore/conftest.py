"""Sweeps that nobody ran: candidates whose figures follow from a simple rule, without a simulator."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore.candidate import Candidate
from celosia.sim.explore.objectives import find_objectives
from celosia.sim.explore.outcome import Outcome

Sweep = Callable[..., Outcome]


def draw(number: int, rng: np.random.Generator) -> Candidate:
    """Return a candidate of random size, larger ones faster."""
    rows, cols = 2 ** int(rng.integers(0, 7)), 2 ** int(rng.integers(0, 7))
    depth = 2 ** int(rng.integers(8, 13))
    lanes = math.gcd(rows, cols)
    choice = {"rows": rows, "cols": cols, "weight_depth": depth, "post_lanes": lanes}
    config = AcceleratorConfig(engine=SystolicConfig(rows=rows, cols=cols, post_lanes=lanes), weight_depth=depth)
    if rows * cols > 2048:
        refused = f"the design needs {60 * rows * cols:,} LUT, and the board has 84,000."
        return Candidate(number=number, choice=choice, config=config, level="cycles", refused=refused)
    cycles = 2e6 / (rows * cols) ** 0.8 * (1 + 0.4 * rng.random() + 300 / depth)
    luts = 1500 + 55 * rows * cols * (1 + 0.5 * rng.random()) + depth / 4
    clock = 100 - 4 * math.log2(rows * cols) + 10 * rng.random()
    figures = {
        "cycles": round(cycles),
        "pes": rows * cols,
        "luts": round(luts),
        "dsps": rows * cols // 2,
        "clock_mhz": clock,
        "fmax_mhz": clock * 1.05,
        "latency_us": cycles / clock,
        "inputs_per_second": 1e6 * clock / cycles,
        "energy_uj": cycles * luts / 1e7,
        "accuracy": 0.96875,
    }
    return Candidate(number=number, choice=choice, config=config, figures=figures, level="cycles")


@pytest.fixture
def sweep() -> Sweep:
    """Outcomes of so many candidates, of which so many are routed, by those objectives."""

    def make(count: int = 60, *objectives: str, routed: int = 0, seed: int = 1, **values: Any) -> Outcome:
        rng = np.random.default_rng(seed)
        candidates = [draw(number, rng) for number in range(count)]
        fine = [candidate for candidate in candidates if not candidate.refused]
        for candidate in sorted(fine, key=lambda each: each.figures["latency_us"])[:routed]:
            estimated = candidate.figures
            figures = {**estimated, "luts": estimated["luts"] * 1.1, "estimated_luts": estimated["luts"]}
            figures |= {"latency_us": estimated["latency_us"] * 1.05, "estimated_latency_us": estimated["latency_us"]}
            candidates[candidate.number] = Candidate(
                number=candidate.number,
                choice=candidate.choice,
                config=candidate.config,
                figures=figures,
                level="route",
            )
        return outcome(candidates, *objectives, **values)

    return make


@pytest.fixture
def outcome_of() -> Sweep:
    """Outcomes of given candidates."""
    return outcome


def outcome(candidates: list[Candidate], *objectives: str, **values: Any) -> Outcome:
    values = {"workload": "resnet8", "board": "ulx3s", "errors": {"luts": {"median": 0.031, "p95": 0.114}}} | values
    found = find_objectives(objectives or ("latency_us", "luts"))
    return Outcome(objectives=tuple(found), candidates=tuple(candidates), **values)
