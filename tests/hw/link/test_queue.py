import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from celosia.hw.block_shapes import SMALL
from celosia.hw.link.queue import Queue


@pytest.mark.parametrize("room", [1, 2, 5, 16, 100])
def test_keeps_order(room):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    dut = Queue(9, room)
    kept: deque[int] = deque()
    taken = 0

    async def testbench(ctx):
        nonlocal taken
        eager = 0.5
        for cycle in range(2_000):
            if cycle % 100 == 0:
                eager = source.random()
            push = len(kept) < room and source.random() < eager
            ready = source.random() < 0.5
            word = source.randrange(512)
            ctx.set(dut.push, push)
            ctx.set(dut.word, word)
            ctx.set(dut.o.ready, ready)
            if ctx.get(dut.o.valid) and ready:
                assert ctx.get(dut.o.payload) == kept.popleft(), f"seed={seed}"
                taken += 1
            if push:
                kept.append(word)
            await ctx.tick()
        ctx.set(dut.push, 0)
        ctx.set(dut.o.ready, 1)
        for _ in range(room + 4):
            if ctx.get(dut.o.valid):
                assert ctx.get(dut.o.payload) == kept.popleft(), f"seed={seed}"
            await ctx.tick()
        assert not kept, f"seed={seed}"
        assert not ctx.get(dut.o.valid)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
    assert taken > 200


@pytest.mark.parametrize(("room", "latency"), [(4, 2), (SMALL, 2), (SMALL + 1, 3)])
def test_a_word_comes_some_cycles_later_and_then_one_per_cycle(room, latency):
    dut = Queue(8, room)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for cycle in range(20):
            ctx.set(dut.push, 1)
            ctx.set(dut.word, cycle)
            assert ctx.get(dut.o.valid) == (cycle >= latency)
            if cycle >= latency:
                assert ctx.get(dut.o.payload) == cycle - latency
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
