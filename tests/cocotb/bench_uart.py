"""Bench of the serial link, looped back: bytes from and to cocotbext-uart, which knows nothing of this one."""

import random

import cocotb
from bench_tools import reset, settings
from cocotb.clock import Clock
from cocotb.triggers import Timer
from cocotbext.uart import UartSink, UartSource

FLAG = b"\x7e"


def stuff(packet: bytes) -> bytes:
    """Return a packet's bytes as they are between flags."""
    return packet.replace(b"\x7d", b"\x7d\x5d").replace(FLAG, b"\x7d\x5e")


async def begin(dut) -> tuple[UartSource, UartSink, random.Random]:
    """Reset, with the line idle."""
    clock_hz, baud = settings()["clock_hz"], settings()["baud"]
    Clock(dut.clk, 2 * round(0.5e12 / clock_hz), "ps").start()
    source, sink = UartSource(dut.rx, baud=baud), UartSink(dut.tx, baud=baud)
    await reset(dut)
    await Timer(3 * round(1e9 / baud), "ns")
    return source, sink, random.Random(cocotb.RANDOM_SEED)


async def drain(sink: UartSink, baud: float) -> list[bytes]:
    """Return the frames received when the line has been silent for a hundred bits."""
    heard = -1
    while heard != sink.count():
        heard = sink.count()
        await Timer(round(100e9 / baud), "ns")
    received = bytes(sink.read_nowait())
    assert not received or received[:1] == received[-1:] == FLAG
    return [frame for frame in received.split(FLAG) if frame]


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def returns_packets_back_to_back(dut):
    source, sink, rng = await begin(dut)
    packets = [bytes(range(256)), FLAG * 4] if settings()["long"] else [FLAG * 4]
    packets += [rng.randbytes(4 * rng.randint(1, 4)) for _ in range(6)]
    source.write_nowait(FLAG + FLAG.join(map(stuff, packets)) + FLAG)
    await source.wait()
    assert await drain(sink, settings()["baud"]) == [stuff(packet) for packet in packets], cocotb.RANDOM_SEED


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def begins_again_after_noise(dut):
    """Whatever the noise, packets behind it and a flag come back."""
    source, sink, rng = await begin(dut)
    baud = settings()["baud"]
    for _ in range(4):
        for _ in range(rng.randrange(30)):
            dut.rx.value = rng.randrange(2)
            await Timer(rng.randint(1, round(3e9 / baud)), "ns")
        dut.rx.value = 1
        await Timer(round(12e9 / baud), "ns")
        packets = [rng.randbytes(4 * rng.randint(1, 3)) for _ in range(2)]
        source.write_nowait(FLAG + FLAG.join(map(stuff, packets)) + FLAG)
        await source.wait()
        frames = await drain(sink, baud)
        assert frames[-2:] == [stuff(packet) for packet in packets], cocotb.RANDOM_SEED
