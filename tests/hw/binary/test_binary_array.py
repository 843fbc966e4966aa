from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.sim import Simulator

from celosia.hw.binary.array import BinaryArray
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.timing import OPERAND_CYCLES, array_latency
from celosia.hw.timing import READ_LATENCY

EARLY = OPERAND_CYCLES - READ_LATENCY - 1  # cycles that activations and controls are before their weights

CONFIGS = {
    "1 × 2": BinaryConfig(pes=1, simd=2, accumulator_width=8),
    "2 × 3": BinaryConfig(pes=2, simd=3, accumulator_width=9),
    "3 × 4, 1-bit": BinaryConfig(pes=3, simd=4, activation_width=1, accumulator_width=3),
    "2 × 5": BinaryConfig(pes=2, simd=5, accumulator_width=10),
    "10 × 8": BinaryConfig(pes=10, simd=8, accumulator_width=12),  # more than take activations together
    "2 × 9": BinaryConfig(pes=2, simd=9, accumulator_width=16),
    "2 × 33": BinaryConfig(pes=2, simd=33, accumulator_width=12),
    "1 × 64": BinaryConfig(pes=1, simd=64, accumulator_width=9),
    "1 × 100, 1-bit": BinaryConfig(pes=1, simd=100, activation_width=1, accumulator_width=20),
}


@dataclass
class Cycle:
    """What enters the array in a cycle; the weights are those of the beat, and enter later."""

    activations: int
    weights: int
    beat: bool = False
    double: bool = False
    last: bool = False
    mute: bool = False
    restart: bool = False


class Beats:
    """Cycles, and the totals that they mean."""

    def __init__(self, config, rng):
        self.config, self.rng = config, rng
        self.cycles, self.expected = [], {}  # expected: by cycle, the totals from then on
        self.sums = [0] * config.pes

    def _draw(self, width):
        """Draw bits: at random, all 0, all 1, or all but one."""
        ones, one = (1 << width) - 1, 1 << int(self.rng.integers(width))
        noise = int.from_bytes(self.rng.bytes(width // 8 + 1), "little") & ones
        return [noise, noise, 0, ones, ones ^ one, one][self.rng.integers(6)]

    def add(self, *, beat=False, mute=False, double=False, last=False, restart=False):
        """Append a cycle; without a beat its controls are noise."""
        config = self.config
        cycle = Cycle(self._draw(config.simd), self._draw(config.weight_word_width), beat, restart=restart)
        cycle.double, cycle.last, cycle.mute = double, last, mute
        if not beat:
            cycle.double, cycle.last, cycle.mute = (bool(bit) for bit in self.rng.integers(0, 2, 3))
        if restart:
            self.sums = [0] * config.pes
        if beat:
            for pe in range(config.pes):
                weights = cycle.weights >> (pe * config.simd) & ((1 << config.simd) - 1)
                count = 0 if mute else (cycle.activations ^ weights).bit_count()
                before = self.sums[pe] << (double and config.activation_width > 1)
                self.sums[pe] = (before + count) & ((1 << config.accumulator_width) - 1)
            if last:
                self.expected[len(self.cycles) + EARLY + array_latency(config)] = self.sums
                self.sums = [0] * config.pes
        self.cycles.append(cycle)

    def passes(self, count, *, gaps=0.0, mutes=0.0, longest=6):
        """Append passes of a random number of beats; of several bit planes, whose first beats double."""
        doubles = self.config.activation_width > 1
        for _ in range(count):
            length = int(self.rng.integers(1, longest + 1))
            for beat in range(length):
                while self.rng.random() < gaps:
                    self.add()
                double = doubles and beat > 0 and bool(self.rng.integers(0, 2))
                self.add(beat=True, mute=self.rng.random() < mutes, double=double, last=beat == length - 1)

    def idle(self):
        """Append cycles until nothing is on its way."""
        for _ in range(EARLY + array_latency(self.config)):
            self.add()


def run(array, beats, toplevel=None):
    """Hold the totals of every cycle, from the first known ones on, against what they must be."""
    config = array.config
    checked = 0

    async def bench(ctx):
        nonlocal checked
        expected = None
        for cycle in range(len(beats.cycles) + EARLY + array_latency(config) + 2):
            now = beats.cycles[cycle] if cycle < len(beats.cycles) else Cycle(0, 0)
            for name in ("activations", "beat", "double", "last", "mute", "restart"):
                ctx.set(getattr(array, name), int(getattr(now, name)))
            before = cycle - EARLY
            ctx.set(array.weights, beats.cycles[before].weights if 0 <= before < len(beats.cycles) else 0)
            if cycle in beats.expected:
                expected = beats.expected[cycle]
                checked += 1
            if expected is not None:
                totals = [ctx.get(array.totals[pe]) for pe in range(config.pes)]
                assert totals == expected, f"{beats.seed=} {cycle=}"
            await ctx.tick()

    simulator = Simulator(toplevel or array)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert checked == len(beats.expected) > 0


def draw(config, seed):
    beats = Beats(config, np.random.default_rng(seed))
    beats.seed = seed
    return beats


def some_of_all(config, seed):
    """Passes back to back, with gaps, muted, and ended in the middle by a restart."""
    beats = draw(config, seed)
    beats.passes(12)
    beats.passes(10, longest=1)
    beats.passes(8, gaps=0.5)
    beats.passes(12, mutes=0.4, gaps=0.2)
    for _ in range(3):
        beats.add(beat=True, double=config.activation_width > 1)
    beats.idle()
    beats.add(restart=True)
    beats.passes(6, mutes=0.2)
    return beats


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_beats(name, seed):
    """Sums come as late as the docstring says, and stay until the next ones."""
    run(BinaryArray(CONFIGS[name]), some_of_all(CONFIGS[name], seed))


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.simd in (2, 5, 33, 64)])
def test_random_beats_on_carry_chains(name, on_ecp5):
    array = BinaryArray(CONFIGS[name])
    run(array, some_of_all(CONFIGS[name], 3), on_ecp5(array))


@pytest.mark.parametrize("name", CONFIGS)
def test_each_lane_alone(name):
    """A pass for each lane of each PE, whose one weight differs from the activations."""
    config = CONFIGS[name]
    beats = draw(config, 0)
    for lane in range(config.simd):
        for bits in (0, (1 << config.simd) - 1):
            beats.add(beat=True, last=True)
            cycle = beats.cycles[-1]
            weights = bits ^ 1 << lane
            cycle.activations, cycle.weights = bits, weights << (lane % config.pes) * config.simd
            others = 0 if bits == 0 else config.simd
            totals = [1 if pe == lane % config.pes else others for pe in range(config.pes)]
            modulo = 1 << config.accumulator_width
            beats.expected[max(beats.expected)] = [total % modulo for total in totals]
    run(BinaryArray(config), beats)


def test_muted_beats_still_double():
    config = CONFIGS["2 × 9"]
    beats = draw(config, 5)
    beats.add(beat=True)
    for _ in range(4):
        beats.add(beat=True, mute=True, double=True)
    beats.add(beat=True, mute=True, last=True)
    run(BinaryArray(config), beats)
    assert max(next(iter(beats.expected.values()))) >= 16


def test_a_pe_whose_activations_have_one_bit_does_not_double():
    config = CONFIGS["1 × 100, 1-bit"]
    beats = draw(config, 6)
    for beat in range(4):
        beats.add(beat=True, double=True, last=beat == 3)
    run(BinaryArray(config), beats)
