import random
import zlib

import pytest
from amaranth.sim import Simulator

from celosia.hw.link.crc import Crc32


@pytest.mark.parametrize("length", [1, 2, 3, 17])
def test_equals_zlib(length):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    packets = [source.randbytes(4 * length) for _ in range(8)] + [bytes(4 * length), b"\xff" * 4 * length]
    dut = Crc32()

    async def testbench(ctx):
        for number, packet in enumerate(packets):
            crc = zlib.crc32(packet)
            words = [int.from_bytes(packet[at : at + 4], "little") for at in range(0, len(packet), 4)]
            spoiled = number % 2
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)
            for index, word in enumerate([*words, crc ^ spoiled << number]):
                if source.random() < 0.3:  # a pause in which nothing may happen
                    ctx.set(dut.word, 0x5A5A5A5A)
                    await ctx.tick()
                ctx.set(dut.word, word)
                ctx.set(dut.valid, 1)
                if index == length:
                    assert ctx.get(dut.crc) == crc, f"seed={seed} packet={packet.hex()}"
                await ctx.tick()
                ctx.set(dut.valid, 0)
            assert ctx.get(dut.good) == (not spoiled), f"seed={seed} packet={packet.hex()}"

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
