import numpy as np
import pytest
from amaranth.sim import Simulator

from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.pe import PE

CONFIGS = {
    "1x1": SystolicConfig(rows=1, cols=1),
    "1x5": SystolicConfig(rows=1, cols=5),
    "5x1": SystolicConfig(rows=5, cols=1),
    "3x2": SystolicConfig(rows=3, cols=2),
    "4x4": SystolicConfig(rows=4, cols=4),
    "2-bit": SystolicConfig(rows=3, cols=3, activation_width=2, weight_width=2),
    "3-bit by 8-bit unsigned": SystolicConfig(
        rows=2, cols=3, activation_width=8, activation_signed=False, weight_width=3
    ),
    "16-bit": SystolicConfig(rows=3, cols=2, activation_width=16, weight_width=16),
    "16-bit unsigned": SystolicConfig(
        rows=2, cols=2, activation_width=16, activation_signed=False, weight_width=16, max_k=100
    ),
}


class Waves:
    """What enters the array, one entry per wave, and the tiles it means."""

    def __init__(self, config, rng):
        self.config = config
        self.rng = rng
        self.activations, self.weights, self.swap, self.shift = [], [], [], []

    def _draw(self, bounds, size):
        low, high = bounds
        kind = self.rng.integers(5)
        if kind < 3:
            return self.rng.integers(low, high + 1, size)
        if kind == 3:
            return np.full(size, self.rng.choice([low, high]))
        return self.rng.choice([low, -1 if low < 0 else 1, 0, 1, high], size)

    def add(self, *, weights=None, shift=False, swap=False, lanes=0):
        """Append one wave; lanes that a tile does not use are zero, weights that nobody asked for are noise."""
        activations = np.zeros(self.config.rows, np.int64)
        activations[:lanes] = self._draw(self.config.activation_range, lanes)
        self.activations.append(activations)
        noise = self._draw(self.config.weight_range, self.config.cols)
        self.weights.append(noise if weights is None else weights)
        self.shift.append(shift)
        self.swap.append(swap)

    def tile(self):
        """Return random weights of a random number of rows, often less than the array's."""
        rows = self.rng.integers(1, self.config.rows + 1)
        return self._draw(self.config.weight_range, (rows, self.config.cols))


def tiled_waves(config, rng, tiles):
    """Return waves that load each tile during the one before, and the product each wave must give."""
    waves = Waves(config, rng)
    expected = []
    next_tile = waves.tile()
    for row in next_tile[::-1]:
        waves.add(weights=row, shift=True)
    expected += [None] * len(waves.swap)
    for _ in range(tiles):
        tile, next_tile = next_tile, waves.tile()
        needed = len(next_tile)
        # The shortest stay of a tile is as long as the next one takes to load; idle waves may come anywhere.
        loads = [True] * needed + [False] * int(rng.integers(0, 4) * rng.integers(0, 2))
        rng.shuffle(loads)
        rows = iter(next_tile[::-1])
        for wave, shift in enumerate(loads):
            lanes = len(tile) if rng.integers(4) else 0
            waves.add(weights=next(rows) if shift else None, shift=shift, swap=wave == 0, lanes=lanes)
            expected.append(waves.activations[-1][: len(tile)] @ tile)
    return waves, expected


def run(config, waves):
    """Return int64 [waves, cols]: what the array's outputs show, de-skewed."""
    array = SystolicArray(config)
    count = len(waves.swap)
    psums = np.zeros((count, config.cols), np.int64)

    async def bench(ctx):
        for cycle in range(count + array.LATENCY + config.cols):
            if cycle < count:
                ctx.set(array.activations, [int(value) for value in waves.activations[cycle]])
                ctx.set(array.swap, bool(waves.swap[cycle]))
                ctx.set(array.shift, bool(waves.shift[cycle]))
                ctx.set(array.weights, [int(value) for value in waves.weights[cycle]])
            for col in range(config.cols):
                if 0 <= cycle - array.LATENCY - col < count:
                    psums[cycle - array.LATENCY - col, col] = ctx.get(array.psums[col])
            await ctx.tick()

    simulator = Simulator(array)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return psums


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("seed", [1, 2])
def test_back_to_back_tiles(config, seed):
    waves, expected = tiled_waves(config, np.random.default_rng(seed), tiles=25)
    psums = run(config, waves)
    for wave, sums in enumerate(expected):
        if sums is not None:
            assert psums[wave].tolist() == sums.tolist(), f"{seed=} {wave=}"


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_any_sequence_of_waves(config):
    """Swap and shift at random, every lane in use, against the order of effects that the docstring promises."""
    seed = 3
    rng = np.random.default_rng(seed)
    waves = Waves(config, rng)
    for _ in range(150):
        waves.add(shift=bool(rng.integers(2)), swap=bool(rng.integers(3) == 0), lanes=config.rows)
    psums = run(config, waves)
    shadow = active = np.zeros((config.rows, config.cols), np.int64)
    for wave in range(len(waves.swap)):
        if waves.swap[wave]:
            active = shadow
        if waves.shift[wave]:
            shadow = np.vstack([waves.weights[wave], shadow[:-1]])
        assert psums[wave].tolist() == (waves.activations[wave] @ active).tolist(), f"{seed=} {wave=}"


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_extremes(config, corner):
    """Every activation and every weight at an end of its range: the widest sums there are."""
    activation, weight = config.activation_range[corner[0]], config.weight_range[corner[1]]
    waves = Waves(config, np.random.default_rng(0))
    for _ in range(config.rows):
        waves.add(weights=np.full(config.cols, weight), shift=True)
    waves.add(swap=True)
    waves.activations[-1][:] = activation
    waves.add()
    waves.activations[-1][:] = 0
    psums = run(config, waves)
    assert psums[-2].tolist() == [config.rows * activation * weight] * config.cols
    assert psums[-1].tolist() == [0] * config.cols
    low, high = -(1 << (config.column_width - 1)), (1 << (config.column_width - 1)) - 1
    assert low <= config.rows * activation * weight <= high


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_config_knows_the_latency_of_the_parts(config):
    assert config.array_latency == config.rows - 1 + PE.LATENCY
