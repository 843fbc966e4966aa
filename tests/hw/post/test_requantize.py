from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from celosia.hw.multiplier import Multiplier
from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.limbs import MULTIPLIER_LATENCY
from celosia.hw.post.parameters import ROUNDINGS, rounding_code, shift_code
from celosia.hw.post.requantize import Requantizer
from celosia.sim.golden.requantize import requantize

SEED = 7100
MULTIPLIERS = np.array([0, 1, 1 << 30, (1 << 30) + 1, 3 << 29, (1 << 31) - 1])


def beats(config: RequantizerConfig, seed: int, count: int, limit: int | None) -> dict[str, np.ndarray]:
    """Directed and random beats (acc, bias, multiplier, shift, enable), each (beats,), in random order."""
    rng = np.random.default_rng(seed)
    high = (1 << (config.accumulator_width - 1)) - 1
    low = -high - 1
    # Every shift with the extremes; the multiplier by turns.
    corners = [(acc, bias) for acc in (low, -1, 0, 1, high) for bias in (low, 0, high)]
    directed = [(acc, bias, shift) for shift in range(-31, 8) for acc, bias in corners]
    # Every shift with ties: odd multiples of half an output step, ±1, at multiplier 2**30.
    ties = [
        (min(max((odd << max(-shift, 0)) + step, low), high), 0, shift)
        for shift in range(-31, 8)
        for odd in (-5, -3, -1, 1, 3, 5)
        for step in (-1, 0, 1)
    ]
    acc, bias, shift = (np.array(column, dtype=np.int64) for column in zip(*directed, *ties, strict=True))
    multiplier = np.resize(MULTIPLIERS, len(directed))
    multiplier = np.concatenate([multiplier, np.full(len(ties), 1 << 30)])
    # Random: widths of acc and bias vary, shifts mostly bring the result near the output's range.
    scale = rng.integers(1, config.accumulator_width, count)
    wide = rng.integers(-(1 << scale), 1 << scale)
    near = np.clip(config.output_width - scale - rng.integers(-3, 6, count), -31, 7)
    random_bias = np.where(rng.random(count) < 0.5, 0, rng.integers(low, high, count, endpoint=True) >> scale)
    random_multiplier = np.where(
        rng.random(count) < 0.5, rng.integers(1 << 30, 1 << 31, count), rng.choice(MULTIPLIERS, count)
    )
    small = rng.random(count) < 0.1
    random_multiplier[small] = rng.integers(0, 1 << 31, count)[small]
    random_shift = np.where(rng.random(count) < 0.7, near, rng.integers(-31, 8, count))
    order = rng.permutation(len(acc) + count)[:limit]
    columns = {
        "acc": np.concatenate([acc, wide]),
        "bias": np.concatenate([bias, random_bias]),
        "multiplier": np.concatenate([multiplier, random_multiplier]),
        "shift": np.concatenate([shift, random_shift]),
        "enable": np.concatenate([np.ones(len(acc), int), (rng.random(count) < 0.9).astype(int)]),
    }
    return {name: column[order] for name, column in columns.items()}


def run(config: RequantizerConfig, stimulus: dict[str, np.ndarray], layer: dict[str, int]) -> list[int]:
    """Feed one beat per cycle; return the results of all beats."""
    dut = Requantizer(config)
    count = len(stimulus["acc"])
    results: list[int] = []
    columns = dict(stimulus) | {"shift": shift_code(stimulus["shift"])}
    ports = [(getattr(dut, name), column.tolist()) for name, column in columns.items()]

    async def testbench(ctx: Any) -> None:
        for name, value in layer.items():
            ctx.set(getattr(dut, name), value)
        for cycle in range(count + config.latency):
            if cycle >= config.latency:
                results.append(ctx.get(dut.result))
            if cycle < count:
                for port, column in ports:
                    ctx.set(port, column[cycle])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return results


def check(
    config: RequantizerConfig,
    rounding: str,
    seed: int,
    bounds: tuple[int, int, int],
    count: int = 400,
    limit: int | None = 400,
) -> None:
    """Hold `count` random beats and the directed ones, or `limit` of them all, against the golden model."""
    zero_point, minimum, maximum = bounds
    stimulus = beats(config, seed, count, limit)
    layer = {"zero_point": zero_point, "minimum": minimum, "maximum": maximum}
    got = run(config, stimulus, layer | {"rounding": rounding_code(rounding)})
    values = [stimulus[name] for name in ("acc", "bias", "multiplier", "shift")]
    result = requantize(*values, rounding=rounding, zero_point=zero_point, minimum=minimum, maximum=maximum)
    expected = np.where(stimulus["enable"], result, 0)
    wrong = np.flatnonzero(expected != np.array(got))
    assert not wrong.size, (
        f"{config}, {rounding}, {bounds}, seed {seed}: {wrong.size} of {len(got)} differ, first at beat {wrong[0]}: "
        f"{ {name: int(column[wrong[0]]) for name, column in stimulus.items()} } gives {got[wrong[0]]}, "
        f"not {expected[wrong[0]]}"
    )
    assert {minimum, maximum} <= set(expected.tolist()), f"seed {seed}: the beats never reach both bounds"


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_int8_from_32_bits(rounding: str) -> None:
    config = RequantizerConfig(accumulator_width=32, output_width=8)
    check(config, rounding, SEED, (-128, -128, 127), count=1500, limit=None)
    check(config, rounding, SEED + 1, (127, -100, 90))
    check(config, rounding, SEED + 2, (-3, -3, 5))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("accumulator_width", [16, 24, 32, 48])
@pytest.mark.parametrize(("output_width", "output_signed"), [(8, False), (16, True)])
def test_widths(rounding: str, accumulator_width: int, output_width: int, output_signed: bool) -> None:
    config = RequantizerConfig(
        accumulator_width=accumulator_width, output_width=output_width, output_signed=output_signed
    )
    low, high = config.output_range
    check(config, rounding, SEED + accumulator_width + output_width, ((low + high) // 2, low, high))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize(
    ("accumulator_width", "output_width", "output_signed"),
    [(2, 2, True), (3, 2, False), (17, 4, True), (18, 9, False), (34, 2, True), (35, 16, False), (36, 12, True)],
)
def test_odd_widths(rounding: str, end: int, accumulator_width: int, output_width: int, output_signed: bool) -> None:
    """With the zero point at either end of its range."""
    config = RequantizerConfig(
        accumulator_width=accumulator_width, output_width=output_width, output_signed=output_signed
    )
    check(config, rounding, SEED + accumulator_width, (config.output_range[end], *config.output_range), limit=250)


@pytest.mark.parametrize(("change", "words"), [({"accumulator_width": 49}, "49"), ({"output_width": 1}, "1 must")])
def test_config_refuses(change: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RequantizerConfig(**change)  # type: ignore[arg-type]


def test_latency_and_dsp_count() -> None:
    """The figures that an engine plans with; `run` holds the lane to the latency."""
    configs = {width: RequantizerConfig(accumulator_width=width) for width in (16, 17, 32, 34, 35, 48)}
    assert {width: config.dsp_count for width, config in configs.items()} == {16: 2, 17: 2, 32: 4, 34: 4, 35: 6, 48: 6}
    assert {width: config.latency for width, config in configs.items()} == {w: 12 if w < 18 else 13 for w in configs}
    assert MULTIPLIER_LATENCY == Multiplier.LATENCY
