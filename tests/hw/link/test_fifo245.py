"""The link to a USB bridge's FIFO against a model of the bridge, written from the data sheets' rules."""

import random
from collections import deque

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered

from celosia.hw.link.fifo245 import Fifo245Link
from celosia.sim.rtl import build


class Loop(wiring.Component):
    """A link whose requests come back as answers."""

    def __init__(self, link):
        self.link = link
        members = link.signature.members.items()
        super().__init__({name: member for name, member in members if name not in ("requests", "answers")})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.queue = queue = SyncFIFOBuffered(width=34, depth=8)
        wiring.connect(m, link.requests, queue.w_stream)
        wiring.connect(m, queue.r_stream, link.answers)
        for name, member in self.signature.members.items():
            mine, its = getattr(self, name), getattr(link, name)
            m.d.comb += its.eq(mine) if member.flow is wiring.In else mine.eq(its)
        return m


class Bridge:
    """The chip: at a rising edge it gives a word if rd_n and rxf_n are low, takes one if wr_n and txe_n are."""

    def __init__(self, sim, width, source):
        self.sim, self.width, self.source = sim, width, source
        self.to_device, self.from_device = deque(), []
        self.rxf_n = self.txe_n = 1
        self.enabled_before = 0  # cycles that oe_n has been low
        self.driven_before = False  # by the device
        self.turns = 0

    def cycle(self, may_give, may_take):
        """One clock cycle, whose end is the edge."""
        sim = self.sim
        self.rxf_n = 0 if self.to_device and may_give else 1
        self.txe_n = 0 if may_take else 1
        rd_n, wr_n, oe_n, data_oe = (sim.get(name) for name in ("rd_n", "wr_n", "oe_n", "data_oe"))
        sim.set("rxf_n", self.rxf_n)
        sim.set("txe_n", self.txe_n)
        assert sim.get("siwu_n") == 1
        if not oe_n:
            assert not data_oe, "both drive the bus"
            assert not self.driven_before, "the bridge drives when the device has just let go"
        if data_oe:
            assert not self.enabled_before, "the device drives when the bridge has just let go"
        if not rd_n:
            assert not oe_n
            assert self.enabled_before, "rd_n falls before oe_n has been low for a cycle"
        if not wr_n:
            assert data_oe
            assert oe_n
        self.turns += (not oe_n) and not self.enabled_before
        word, enable = self.to_device[0] if self.to_device and not oe_n else self.noise()
        sim.set("data_i", word)
        if self.width == 16:
            sim.set("be_i", enable)
            assert sim.get("be_oe") == data_oe
        if not rd_n and not self.rxf_n:
            self.to_device.popleft()
        if not wr_n and not self.txe_n:
            self.take(sim.get("data_o"), sim.get("be_o") if self.width == 16 else 1)
        self.enabled_before = 0 if oe_n else self.enabled_before + 1
        self.driven_before = data_oe
        sim.run(1)

    def noise(self):
        return self.source.getrandbits(self.width), self.source.getrandbits(2)

    def take(self, word, enable):
        assert enable
        self.from_device += [word >> 8 * place & 0xFF for place in range(self.width // 8) if enable >> place & 1]

    def send(self, data):
        """Queue bytes, in words of which some are not full."""
        data = list(data)
        while data:
            count = 1 if self.width == 8 else min(len(data), self.source.choice((0, 1, 2, 2, 2, 2)))
            word, enable = self.noise()[0], (1 << count) - 1
            if count == 1 and self.width == 16 and self.source.random() < 0.3:
                self.to_device.append((data.pop(0) << 8 | word & 0xFF, 2))
                continue
            for place in range(count):
                word = word & ~(0xFF << 8 * place) | data.pop(0) << 8 * place
            self.to_device.append((word, enable))


def frames(data):
    return [frame for frame in bytes(data).split(b"\x7e") if frame]


def stuff(packet):
    return packet.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")


@pytest.fixture(scope="module", params=[8, 16])
def model(request, link_config):
    return request.param, build(Loop(Fifo245Link(link_config, width=request.param)), name="fifo245_test")


@pytest.mark.parametrize("give", [1, 0.5, 0.1])
@pytest.mark.parametrize("take", [1, 0.5, 0.1])
def test_nothing_is_lost(model, give, take):
    width, built = model
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    packets = [source.randbytes(4 * source.randrange(1, 12)) for _ in range(30)] + [bytes(range(256))]
    with built.start() as sim:
        bridge = Bridge(sim, width, source)
        queue = deque(packets)
        for _ in range(int(8_000 / min(give, take))):
            if queue and len(bridge.to_device) < 20 and source.random() < 0.05:
                bridge.send(b"\x7e" + stuff(queue.popleft()) + b"\x7e")
            bridge.cycle(source.random() < give, source.random() < take)
            if bridge.from_device.count(0x7E) >= len(packets) + 1 and not queue and not bridge.to_device:
                break
        for _ in range(300):
            bridge.cycle(True, True)
    assert frames(bridge.from_device) == [stuff(packet) for packet in packets], f"seed={seed}"
    assert bridge.from_device[-1] == 0x7E, f"seed={seed}"
    assert bridge.turns > 10


def test_a_host_that_does_not_read(model):
    """What the bridge cannot take does not keep us from reading, as long as there is room."""
    width, built = model
    source = random.Random(1)
    packets = [source.randbytes(20) for _ in range(4)]
    with built.start() as sim:
        bridge = Bridge(sim, width, source)
        for packet in packets:
            bridge.send(b"\x7e" + stuff(packet) + b"\x7e")
        before = len(bridge.to_device)
        for _ in range(200):
            bridge.cycle(True, False)
        assert before - len(bridge.to_device) > 30 * 8 // width // 2
        for _ in range(400):
            bridge.cycle(True, True)
    assert frames(bridge.from_device) == [stuff(packet) for packet in packets]


def test_a_byte_per_cycle(model):
    width, built = model
    data = b"\x7e" + bytes(range(100)) + b"\x7e"
    with built.start() as sim:
        bridge = Bridge(sim, width, random.Random(1))
        for at in range(0, len(data), width // 8):
            bridge.to_device.append((int.from_bytes(data[at : at + width // 8], "little"), (1 << width // 8) - 1))
        cycles = 0
        while bridge.to_device:
            bridge.cycle(True, False)
            cycles += 1
            # The queue behind the link holds eight words and the framer waits: stop before it is full.
            if len(data) - len(bridge.to_device) * width // 8 >= 32:
                break
        assert cycles <= 32 + 8


def test_width(link_config):
    with pytest.raises(ValueError, match="width=32 of a link to a FIFO must be 8, as of FT232H, or 16"):
        Fifo245Link(link_config, width=32)
