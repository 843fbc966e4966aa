"""Bench of the array: tiles back to back, each loaded during the one before, against plain matrix products."""

import random
from collections import deque

import cocotb
import numpy as np
from bench_tools import beat, settings, start_clock, within

from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.golden.systolic import accumulate

TILES = 40


def pack(values: list[int], width: int) -> int:
    """Return lanes side by side, lane 0 in the least significant bits."""
    return sum((value & ((1 << width) - 1)) << (width * index) for index, value in enumerate(values))


def unpack(word: int, lanes: int, width: int) -> list[int]:
    """Return signed lanes."""
    values = [word >> (width * index) & ((1 << width) - 1) for index in range(lanes)]
    return [value - (value >> (width - 1) << width) for value in values]


class Waves:
    """Sends waves into the array, and holds what comes out against what each of them must give."""

    def __init__(self, dut, config: SystolicConfig) -> None:
        self.dut, self.config = dut, config
        self.expected = [deque() for _ in range(config.cols)]  # by column: (cycle, sum)
        self.cycle = self.checked = 0

    async def send(self, *, activations=(), weights=(), shift=0, swap=0, channels=0, sums=None) -> None:
        """Send one wave; with `sums`, its sum in the first columns, as many as there are, is known."""
        dut, config = self.dut, self.config
        dut.channels.value = channels
        dut.activations.value = pack(list(activations), config.activation_width)
        dut.weights.value = pack(list(weights), config.weight_width)
        dut.shift.value, dut.swap.value = int(shift), int(swap)
        if sums is not None:
            for column, total in enumerate(sums):
                # The outputs are looked at after the edge that ends a cycle: one cycle of the latency is over then.
                self.expected[column].append((self.cycle + config.array_latency + column - 1, int(total)))
        await beat(dut)
        psums = unpack(int(dut.psums.value), config.cols, config.column_width)
        for column, queue in enumerate(self.expected):
            if queue and queue[0][0] == self.cycle:
                _, wanted = queue.popleft()
                about = f"seed {cocotb.RANDOM_SEED} cycle {self.cycle} column {column}"
                assert psums[column] == wanted, f"{about}: {psums[column]}, not {wanted}"
                self.checked += 1
        self.cycle += 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def tiles_back_to_back(dut):
    config = SystolicConfig(**settings())
    rng = random.Random(cocotb.RANDOM_SEED)
    waves = Waves(dut, config)
    start_clock(dut)
    vectors = 0

    def draw_tile() -> np.ndarray:
        rows = rng.randint(1, config.rows)
        return np.array([[within(rng, config.weight_range) for _ in range(config.cols)] for _ in range(rows)])

    following = draw_tile()
    for row in following[::-1]:
        await waves.send(weights=row.tolist(), shift=1)
    for _ in range(TILES):
        tile, following = following, draw_tile()
        rows = list(following)  # the last is loaded first
        swap = 1
        while rows or rng.random() < 0.5:
            shift = bool(rows) and rng.random() < 0.7  # stalls while loading
            weights = rows.pop().tolist() if shift else [within(rng, config.weight_range) for _ in range(config.cols)]
            x = [within(rng, config.activation_range) for _ in range(len(tile))]
            sums = accumulate(np.array([x]), tile, 0)[0]
            lanes = x + [0] * (config.rows - len(x))
            await waves.send(activations=lanes, weights=weights, shift=shift, swap=swap, sums=sums)
            swap, vectors = 0, vectors + 1
    for _ in range(config.array_latency + config.cols):
        await waves.send()
    assert waves.checked == vectors * config.cols > TILES


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def channels_back_to_back(dut):
    """Column c multiplies lane c of the waves that follow each other by its taps."""
    config = SystolicConfig(**settings())
    rng = random.Random(cocotb.RANDOM_SEED)
    waves = Waves(dut, config)
    start_clock(dut)
    taps, columns, vectors = config.resolved_taps, min(config.rows, config.cols), 0
    if not taps:
        return

    def draw(count: int, width: int, values: tuple[int, int]) -> np.ndarray:
        return np.array([[within(rng, values) for _ in range(width)] for _ in range(count)])

    following = draw(taps, config.cols, config.weight_range)
    for row in following[::-1]:
        await waves.send(weights=row.tolist(), shift=1, channels=1)
    for _ in range(TILES):
        tile, following = following, draw(taps, config.cols, config.weight_range)
        x = draw(rng.randint(2 * taps, 4 * taps), config.rows, config.activation_range)
        rows = list(following)
        for wave, lanes in enumerate(x):
            known = wave + taps <= len(x)  # waves of this tile alone are in its sum
            sums = (tile[:, :columns] * x[wave : wave + taps, :columns]).sum(axis=0) if known else None
            shift = bool(rows)
            await waves.send(
                activations=lanes.tolist(),
                weights=rows.pop().tolist() if shift else (),
                shift=shift,
                swap=wave == 0,
                channels=1,
                sums=sums,
            )
            vectors += known
    for _ in range(config.array_latency + config.cols):
        await waves.send(channels=1)
    assert waves.checked == vectors * columns > TILES
