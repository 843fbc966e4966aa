"""Bench of the binary array: passes with gaps, muted beats, bit planes and restarts, against counts of plain bits."""

import random

import cocotb
from bench_tools import beat, reset, settings, start_clock

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.timing import OPERAND_CYCLES, array_latency
from celosia.hw.timing import READ_LATENCY

EARLY = OPERAND_CYCLES - READ_LATENCY - 1  # cycles that activations and controls are before their weights
ROUNDS = 12
PASSES = 25  # of a round


class Bench:
    """Sends cycles into the array, and holds the totals of every cycle against those of the last pass that is over."""

    def __init__(self, dut, config: BinaryConfig, rng: random.Random) -> None:
        self.dut, self.config, self.rng = dut, config, rng
        self.sums = [0] * config.pes
        self.weights = [0] * EARLY  # of the cycles before
        self.coming: dict[int, list[int]] = {}  # totals by the cycle from which on they are seen
        self.totals: list[int] | None = None
        self.cycle = self.checked = 0

    async def send(self, *, sent: bool = True, double: bool = False, last: bool = False, mute: bool = False) -> None:
        """Send one beat; or none, with noise."""
        config, rng = self.config, self.rng
        activations, weights = rng.getrandbits(config.simd), rng.getrandbits(config.weight_word_width)
        if rng.random() < 0.3:  # all alike, or all different
            lanes = (1 << config.simd) - 1
            weights = sum((activations ^ rng.choice((0, lanes))) << (config.simd * pe) for pe in range(config.pes))
        if sent:
            self._add(activations, weights, double, last, mute)
        else:
            double, last, mute = (bool(rng.getrandbits(1)) for _ in range(3))
        await self._clock(activations=activations, weights=weights, beat=sent, double=double, last=last, mute=mute)

    async def restart(self) -> None:
        """Wait until nothing is on its way, and let sums begin at 0."""
        for _ in range(EARLY + array_latency(self.config)):
            await self.send(sent=False)
        self.sums = [0] * self.config.pes
        await self._clock(activations=0, weights=0, beat=0, double=0, last=0, mute=0, restart=1)

    def _add(self, activations: int, weights: int, double: bool, last: bool, mute: bool) -> None:
        config = self.config
        for pe in range(config.pes):
            mine = weights >> (config.simd * pe) & ((1 << config.simd) - 1)
            before = self.sums[pe] * (2 if double and config.activation_width > 1 else 1)
            count = 0 if mute else (activations ^ mine).bit_count()
            self.sums[pe] = (before + count) % (1 << config.accumulator_width)
        if last:
            # The outputs are looked at after the edge that ends a cycle: one cycle of the latency is over then.
            self.coming[self.cycle + EARLY + array_latency(config) - 1] = self.sums
            self.sums = [0] * config.pes

    async def _clock(self, *, weights: int, restart: int = 0, **values: int) -> None:
        dut, width = self.dut, self.config.accumulator_width
        self.weights.append(weights)
        for name, value in {**values, "weights": self.weights.pop(0), "restart": restart}.items():
            getattr(dut, name).value = int(value)
        await beat(dut)
        if self.cycle in self.coming:
            self.totals = self.coming.pop(self.cycle)
            self.checked += 1
        if self.totals is not None:
            word = int(dut.totals.value)
            seen = [word >> (width * pe) & ((1 << width) - 1) for pe in range(self.config.pes)]
            about = f"seed {cocotb.RANDOM_SEED} cycle {self.cycle}"
            assert seen == self.totals, f"{about}: {seen}, not {self.totals}"
        self.cycle += 1


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def passes(dut):
    config = BinaryConfig(**settings())
    rng = random.Random(cocotb.RANDOM_SEED)
    bench = Bench(dut, config, rng)
    for name in ("activations", "weights", "beat", "double", "last", "mute", "restart"):
        getattr(dut, name).value = 0
    start_clock(dut)
    await reset(dut)
    for _ in range(ROUNDS):
        await bench.restart()  # of what is there when the chip wakes up, or of a pass that was given up
        gaps, mutes, longest = rng.choice((0, 0.5)), rng.choice((0, 0.3)), rng.choice((1, 3, 12))
        for _ in range(PASSES):
            length = rng.randint(1, longest)
            for index in range(length):
                while rng.random() < gaps:
                    await bench.send(sent=False)
                double = index > 0 and rng.random() < 0.4
                await bench.send(double=double, last=index == length - 1, mute=rng.random() < mutes)
        for _ in range(rng.randrange(3)):
            await bench.send()
    await bench.restart()
    assert bench.checked == ROUNDS * PASSES
    assert not bench.coming
