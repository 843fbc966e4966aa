import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from celosia.hw.post.pool import PoolStore


@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize("shape", [signed(8), unsigned(4)])
def test_maximum_of_each_group(groups, shape):
    """Groups in any order, again in the next cycle, too, or after any time."""
    seed, lanes, cycles = 1, 2, 400
    rng = np.random.default_rng(seed)
    low, high = (-128, 127) if shape.signed else (0, 15)
    results = rng.integers(low, high, (cycles, lanes), endpoint=True)
    results[rng.random(cycles) < 0.2] = low
    results[rng.random(cycles) < 0.1] = high
    order, first = rng.integers(0, groups, cycles + 1), rng.random(cycles) < 0.3
    most: dict[int, np.ndarray] = {}
    dut = PoolStore(shape, lanes=lanes, groups=groups)

    async def bench(ctx):
        for cycle in range(-1, cycles):
            ctx.set(dut.next_group, int(order[cycle + 1]))
            if cycle >= 0:
                group = int(order[cycle])
                starts = bool(first[cycle]) or group not in most
                ctx.set(dut.group, group)
                ctx.set(dut.first, starts)
                for lane in range(lanes):
                    ctx.set(dut.i[lane], int(results[cycle, lane]))
                if not starts:
                    assert [ctx.get(dut.before[lane]) for lane in range(lanes)] == most[group].tolist(), f"{seed=}"
                most[group] = results[cycle] if starts else np.maximum(most[group], results[cycle])
                assert [ctx.get(dut.o[lane]) for lane in range(lanes)] == most[group].tolist(), f"{seed=} {cycle=}"
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
