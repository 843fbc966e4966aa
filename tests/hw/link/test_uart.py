"""UART: against a line drawn by hand, at rates that are off, with noise; cocotb's benches have another one's UART."""

import itertools
import math
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In

from celosia.hw.link.uart import LEAST_RATIO, MOST_RATIO, RATE_ERROR, BaudRate, UartLink, UartReceiver, UartTransmitter
from celosia.sim.rtl import build

TORN = 1 << 8
# Cycles per bit -> how far the rate of the line may be off.
TOLERANCES = {4: 0.025, 4.17: 0.025, 4.76: 0.025, 8: 0.035, 9.4: 0.035, 16: 0.035, 104.1667: 0.035}


def edges(data, bit, start, stop=1):
    """Times and levels of a line that carries some bytes without a pause, and when it ends; in cycles."""
    levels = [level for byte in data for level in (0, *(byte >> place & 1 for place in range(8)), stop)]
    return [(start + index * bit, level) for index, level in enumerate(levels)], start + len(levels) * bit


def draw(sim, name, line, end):
    for time, level in line:
        sim.run(math.ceil(time) - sim.cycle)
        sim.set(name, level)
    sim.run(math.ceil(end) - sim.cycle)


def listen(sim, data, bit, phase=0.0):
    draw(sim, "rx", *edges(data, bit, sim.cycle + phase))
    sim.set("rx", 1)
    sim.run(math.ceil(3 * bit))
    return sim.receive("o")[:, 0].tolist()


def receiver(cycles):
    sim = build(UartReceiver(cycles, 1), name="uart_receiver_test").start()
    sim.set("rx", 1)
    sim.run(20)
    return sim


@pytest.mark.parametrize("cycles", TOLERANCES)
def test_rates_that_are_off(cycles):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    with receiver(cycles) as sim:
        for sign, _ in itertools.product((-1, 0, 1), range(30)):
            data = [source.choice((0, 255, 0x55, 0xAA, 0x80, 0x7F, source.randrange(256))) for _ in range(6)]
            off = 1 + sign * TOLERANCES[cycles]
            note = f"seed={seed} {off=}"
            assert listen(sim, data, cycles * off, source.random() * cycles) == data, note


def test_a_pulse_is_no_start_bit():
    with receiver(16) as sim:
        for length in range(1, 7):
            draw(sim, "rx", [(sim.cycle, 0), (sim.cycle + length, 1)], sim.cycle + 300)
            assert sim.received("o") == 0
            assert listen(sim, [0x96], 16) == [0x96]


def test_a_missing_stop_bit_tears_the_next_byte():
    with receiver(16) as sim:
        line, end = edges([0x33], 16, sim.cycle, stop=0)
        draw(sim, "rx", [*line, (end, 1)], end + 64)
        assert listen(sim, [0x11, 0x22], 16) == [0x11 | TORN, 0x22]


@pytest.mark.parametrize("bits", [9.6, 10, 25, 400.3])
def test_a_break_tears_once(bits):
    with receiver(16) as sim:
        draw(sim, "rx", [(sim.cycle, 0), (sim.cycle + 16 * bits, 1)], sim.cycle + 16 * bits + 16)
        assert listen(sim, [0x11, 0x22], 16) == [0x11 | TORN, 0x22]


def test_a_line_that_is_low_at_the_start():
    with build(UartReceiver(16, 1), name="uart_receiver_test").start() as sim:
        sim.run(1000)
        sim.set("rx", 1)
        sim.run(16)
        assert listen(sim, [0x11, 0x22], 16) == [0x11, 0x22]


def test_bytes_that_nobody_takes():
    with receiver(16) as sim:
        sim.stall("o", 1)
        assert listen(sim, [1, 2, 3], 16) == []
        sim.stall("o", 0)
        sim.run(10)
        assert listen(sim, [4, 5], 16) == [1, 4 | TORN, 5]


def test_noise_then_silence_then_bytes():
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    with receiver(7.3) as sim:
        for _ in range(20):
            time = float(sim.cycle)
            line = []
            for _ in range(100):
                line.append((time, source.randrange(2)))
                time += source.choice((1, 3, 20)) * source.random()
            draw(sim, "rx", [*line, (time, 1)], time + 10 * 7.3 + 5)
            sim.receive("o")
            received = listen(sim, [0x7E, 0x12], 7.3)
            assert [byte & 0xFF for byte in received] == [0x7E, 0x12], f"seed={seed}"
            assert not received[1] & TORN


@pytest.mark.parametrize("cycles", [4, 4.3, 16, 25, 104.1667])
def test_transmitter(cycles):
    """Each edge is less than a cycle late, but for the error of the rate, and there is no pause between bytes."""
    data = [0x55, 0xAA, 0x00, 0xFF, 0x7E, 0x81]
    rate = UartTransmitter(cycles, 1).rate
    assert abs(rate.error) <= RATE_ERROR
    with build(UartTransmitter(cycles, 1), name="uart_transmitter_test").start() as sim:
        sim.run(50)
        assert sim.get("tx") == 1
        sim.send("i", data)
        levels = []
        for _ in range(math.ceil(cycles * 10 * len(data)) + 40):
            levels.append(sim.get("tx"))
            sim.run(1)
    found = [time for time in range(1, len(levels)) if levels[time] != levels[time - 1]]
    line, _ = edges(data, cycles / (1 + float(rate.error)), found[0])
    expected = [
        time for (time, level), before in zip(line, [1, *(level for _, level in line)], strict=False) if level != before
    ]
    assert found == [math.ceil(time - 1e-6) for time in expected]
    assert levels[-1] == 1


class Loop(wiring.Component):
    """A link that gets back what it asks, and may be held up."""

    def __init__(self, link):
        self.link = link
        names = [name for name in link.signature.members if name not in ("requests", "answers")]
        super().__init__({name: link.signature.members[name] for name in names} | {"hold": In(1)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.queue = queue = SyncFIFOBuffered(width=34, depth=16)
        m.d.comb += [
            queue.w_data.eq(link.requests.payload),
            queue.w_en.eq(link.requests.valid & ~self.hold),
            link.requests.ready.eq(queue.w_rdy & ~self.hold),
            link.answers.payload.eq(queue.r_data),
            link.answers.valid.eq(queue.r_rdy),
            queue.r_en.eq(link.answers.ready),
        ]
        for name in self.signature.members:
            if name != "hold":
                mine, its = getattr(self, name), getattr(link, name)
                m.d.comb += its.eq(mine) if self.signature.members[name].flow is In else mine.eq(its)
        return m


def test_flow_control(link_config):
    """A host that stops 16 bytes late loses nothing, and is not sent what it does not want."""
    loop = Loop(UartLink(link_config, clock_hz=8, baud=1, flow_control=True))
    data = [0x7E, *(byte for byte in range(64) for _ in range(4)), 0x7E]
    listener = build(UartReceiver(8, 1), name="uart_receiver_test")
    with build(loop, name="uart_flow_test").start() as sim, listener.start() as host:
        for name, level in (("rx", 1), ("cts_n", 0), ("hold", 1)):
            sim.set(name, level)
        host.set("rx", 1)
        sim.run(20)
        source = random.Random(5)
        queue, allowed, line = list(data), 16, []
        for cycle in range(60_000):
            if not line and queue:
                allowed = 16 if not sim.get("rts_n") else allowed - 1
                if allowed > 0:
                    byte = queue.pop(0)
                    line = [level for level in (0, *(byte >> place & 1 for place in range(8)), 1) for _ in range(8)]
            sim.set("rx", line.pop(0) if line else 1)
            if cycle == 5000:
                assert sim.get("rts_n") == 1
                sim.set("hold", 0)
            if cycle % 100 == 0:
                sim.set("cts_n", cycle < 8000 or source.random() < 0.4)
            if cycle == 7900:
                assert host.received("o") == 0
            host.set("rx", sim.get("tx"))
            sim.run(1)
            host.run(1)
            if host.received("o") == len(data):
                break
        assert host.receive("o")[:, 0].tolist() == data


@pytest.mark.parametrize(
    ("clock_hz", "baud", "said"),
    [
        (12e6, 4e6, "3 cycles per bit; it must be 4 to 1048576, so baud from 11.4441 to 3e\\+06"),
        (100e6, 50, "2e\\+06 cycles per bit"),
        (12e6, 0, "baud=0 of a UART must be above 0"),
        (-1, 9600, "clock_hz=-1 of a UART must be above 0"),
        (float("nan"), 9600, "clock_hz=nan"),
    ],
)
def test_rates_that_do_not_work(clock_hz, baud, said, link_config):
    with pytest.raises(ValueError, match=said):
        UartLink(link_config, clock_hz=clock_hz, baud=baud)


def test_every_rate_is_near():
    for step in range(500):
        cycles = LEAST_RATIO * (MOST_RATIO / LEAST_RATIO) ** (step / 499)
        rate = BaudRate(min(cycles, MOST_RATIO), 1)
        assert abs(rate.step * rate.cycles / 2**rate.width - 1) <= RATE_ERROR
        assert rate.width <= 30
    assert (BaudRate(48e6, 3e6).width, BaudRate(48e6, 3e6).error) == (4, 0)
