"""Beats between two clocks that have nothing to do with each other, both ways, with stalls on all sides."""

import random

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from celosia.hw.link.crossing import ClockCrossing
from celosia.hw.link.framing import ByteLink
from celosia.hw.link.packets import link_stream
from celosia.hw.top import LinkedAccelerator

TICK = 1e-9


async def send(ctx, stream, domain, beats, source, stalls):
    for beat in beats:
        while source.random() < stalls:
            await ctx.tick(domain)
        ctx.set(stream.payload, beat)
        ctx.set(stream.valid, 1)
        while True:
            _, _, ready = await ctx.tick(domain).sample(stream.ready)
            if ready:
                break
        ctx.set(stream.valid, 0)


async def receive(ctx, stream, domain, beats, count, source, stalls):
    cycles = 0
    while len(beats) < count:
        ctx.set(stream.ready, source.random() >= stalls)
        cycles += 1
        _, _, valid, ready, payload = await ctx.tick(domain).sample(stream.valid, stream.ready, stream.payload)
        if valid and ready:
            beats.append({"data": payload.data, "last": payload.last, "bad": payload.bad})
    ctx.set(stream.ready, 0)
    return cycles


@pytest.mark.parametrize("stalls", [0, 0.5])
@pytest.mark.parametrize(("link_ns", "sync_ns"), [(16.67, 5.03), (5.03, 16.67), (9.99, 10.01), (10, 10)])
def test_crossing(link_ns, sync_ns, stalls):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    crossing = ClockCrossing("link")
    m = Module()
    m.domains += [ClockDomain("link"), ClockDomain("sync")]
    m.submodules.crossing = crossing
    sim = Simulator(m)
    sim.add_clock(link_ns * TICK, domain="link")
    sim.add_clock(sync_ns * TICK, phase=source.random() * sync_ns * TICK, domain="sync")
    count = 150
    sent = {
        name: [{"data": source.getrandbits(32), "last": source.randrange(2), "bad": 0} for _ in range(count)]
        for name in ("requests", "answers")
    }
    received = {name: [] for name in sent}

    ways = {"requests": ("link", "sync"), "answers": ("sync", "link")}
    cycles = {}

    def add(name, here, there):
        i, o = getattr(crossing, f"i_{name}"), getattr(crossing, f"o_{name}")

        async def feed(ctx):
            await send(ctx, i, here, sent[name], source, stalls)

        async def drain(ctx):
            cycles[name] = await receive(ctx, o, there, received[name], count, source, stalls)

        sim.add_testbench(feed)
        sim.add_testbench(drain)

    for name, (here, there) in ways.items():
        add(name, here, there)
    sim.run()
    assert received == sent, f"seed={seed}"
    if not stalls:  # a beat per cycle of the slower side
        assert cycles["requests" if sync_ns > link_ns else "answers"] < count + 20


class Complement(wiring.Component):
    """Instead of an accelerator: what comes goes back, complemented."""

    def __init__(self):
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, _platform):
        m = Module()
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(~self.i.payload.data),
            self.o.payload.last.eq(self.i.payload.last),
            self.i.ready.eq(self.o.ready),
        ]
        return m


def test_linked_accelerator(link_config):
    """The link is in its own domain, all of it, and the accelerator is not."""
    linked = LinkedAccelerator(link_config, ByteLink(link_config), link_domain="link")
    linked.accelerator = Complement()
    m = Module()
    m.domains += [ClockDomain("link"), ClockDomain("sync")]
    m.submodules.linked = linked
    sim = Simulator(m)
    sim.add_clock(7 * TICK, domain="link")
    sim.add_clock(11.3 * TICK, domain="sync")
    received = []

    async def feed(ctx):
        for byte in b"\x7e\x01\x02\x03\x04\x05\x06\x07\x08\x7e":
            ctx.set(linked.i.payload, byte)
            ctx.set(linked.i.valid, 1)
            while not (await ctx.tick("link").sample(linked.i.ready))[2]:
                pass
        ctx.set(linked.i.valid, 0)

    async def drain(ctx):
        ctx.set(linked.o.ready, 1)
        while received.count(0x7E) < 2:
            _, _, valid, byte = await ctx.tick("link").sample(linked.o.valid, linked.o.payload)
            if valid:
                received.append(byte)

    sim.add_testbench(feed)
    sim.add_testbench(drain)
    sim.run()
    assert bytes(received) == b"\x7e\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\x7e"
