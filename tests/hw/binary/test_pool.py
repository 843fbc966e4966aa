import numpy as np
import pytest
from amaranth.sim import Simulator

from celosia.hw.binary.pool import POOL_CYCLES, PoolStore

GAP = 4  # cycles from a group to itself at least


@pytest.mark.parametrize(("width", "lanes", "groups"), [(1, 1, 1), (2, 3, 1), (3, 2, 4), (4, 1, 5), (8, 2, 7)])
def test_maximum_of_a_window(width, lanes, groups):
    """Windows of 1 to 4 passes, all groups in each; values differ in any bits, or in none."""
    rng = np.random.default_rng([width, lanes, groups])
    dut = PoolStore(width, lanes=lanes, groups=groups)
    steps = []  # (group, first, store, values), or None
    for _ in range(60):
        for index in range(rng.integers(1, 5)):
            for group in range(groups):
                steps.append((group, index == 0, 1, rng.integers(0, 1 << width, lanes)))
            idle = max(GAP - groups, 0) + rng.integers(0, 3)
            steps.extend((rng.integers(groups), 1, 0, rng.integers(0, 1 << width, lanes)) for _ in range(idle))
    flip = int(rng.integers(1 << width))
    expected, kept = {}, np.zeros((groups, lanes), dtype=int)
    for cycle, (group, first, store, values) in enumerate(steps):
        if store:
            kept[group] = values if first else np.maximum(values, kept[group])
            expected[cycle + POOL_CYCLES] = kept[group].tolist()
    seen = {}

    async def testbench(ctx):
        ctx.set(dut.flip, flip)
        ctx.set(dut.group, int(steps[0][0]))
        await ctx.tick()
        for cycle, (_, first, store, values) in enumerate([*steps, *[(0, 0, 0, [0] * lanes)] * POOL_CYCLES]):
            ctx.set(dut.first, int(first))
            ctx.set(dut.store, int(store))
            for lane, value in enumerate(values):
                ctx.set(dut.i[lane], int(value))
            if cycle + 1 < len(steps):
                ctx.set(dut.group, int(steps[cycle + 1][0]))
            if cycle in expected:
                seen[cycle] = [ctx.get(dut.o[lane]) for lane in range(lanes)]
                assert [ctx.get(dut.flipped[lane]) for lane in range(lanes)] == [value ^ flip for value in seen[cycle]]
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert seen == expected
