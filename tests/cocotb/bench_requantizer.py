"""Bench of a requantizer lane against the golden model: all rounding modes, ties, and the ends of every range."""

import random
from collections import deque

import cocotb
import numpy as np
from bench_tools import beat, settings, start_clock, within

from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.parameters import MULTIPLIER_WIDTH, ROUNDINGS, SHIFT_MAX, SHIFT_MIN, rounding_code, shift_code
from celosia.sim.golden.requantize import requantize

BEATS = 1500


def draw(rng: random.Random, config: RequantizerConfig) -> dict[str, int]:
    """Return a beat: anything, or one that is a tie or next to it."""
    limit = 1 << (config.accumulator_width - 1)
    given = {
        "acc": within(rng, (-limit, limit - 1)),
        "bias": within(rng, (-limit, limit - 1)),
        "multiplier": within(rng, (0, (1 << MULTIPLIER_WIDTH) - 1)),
        "shift": within(rng, (SHIFT_MIN, SHIFT_MAX)),
        "enable": int(rng.random() < 0.95),
    }
    if rng.random() < 0.5:
        right = rng.randint(1, 10)  # multiplied by a half, then shifted: a tie where the acc's low bits are 10…0
        acc = (rng.randint(-300, 300) << right) + (1 << (right - 1)) + rng.choice((-1, 0, 0, 0, 1))
        given |= {"acc": min(max(acc, -limit), limit - 1), "bias": 0, "multiplier": 1 << 30, "shift": 1 - right}
    return given


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(rounding=ROUNDINGS)
async def beats(dut, rounding):
    config = RequantizerConfig(**settings())
    rng = random.Random(f"{cocotb.RANDOM_SEED} {rounding}")
    zero_point, *clamp = (within(rng, config.output_range) for _ in range(3))
    constants = {"zero_point": zero_point, "minimum": min(clamp), "maximum": max(clamp)}
    if rng.random() < 0.5:
        constants |= {"minimum": config.output_range[0], "maximum": config.output_range[1]}
    start_clock(dut)
    dut.rounding.value = rounding_code(rounding)
    for name, value in constants.items():
        port = getattr(dut, name)
        port.value = value & ((1 << len(port)) - 1)
    # The result is looked at after the edge that ends a beat's cycle: one cycle of the latency is over then.
    waiting: deque[tuple[dict[str, int], int] | None] = deque([None] * (config.latency - 1))
    for _ in range(BEATS):
        given = draw(rng, config)
        for name, value in given.items():
            port = getattr(dut, name)
            code = int(shift_code(value)) if name == "shift" else value
            port.value = code & ((1 << len(port)) - 1)
        numbers = (np.int64(given[name]) for name in ("acc", "bias", "multiplier", "shift"))
        wanted = int(requantize(*numbers, rounding=rounding, **constants)) * given["enable"]
        waiting.append((given, wanted & ((1 << config.output_width) - 1)))
        await beat(dut)
        if (checked := waiting.popleft()) is not None:
            seen = int(dut.result.value)
            about = f"seed {cocotb.RANDOM_SEED} {rounding} {constants} {checked[0]}"
            assert seen == checked[1], f"{about}: {seen}, not {checked[1]}"
