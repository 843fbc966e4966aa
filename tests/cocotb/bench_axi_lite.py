"""Bench of the accelerator's registers on AXI4-Lite: cocotbext-axi's master, which nobody here wrote."""

import itertools
import random

import cocotb
from bench_packets import configure, conversation
from bench_tools import settings
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from celosia.hw.bus_registers import BUS_REGISTERS, MAGIC, find_register
from celosia.hw.config import PROTOCOL_VERSION

OFFSETS = {register.name: register.offset for register in BUS_REGISTERS}


class Host:
    """Reads and writes registers, one access at a time."""

    def __init__(self, master: AxiLiteMaster) -> None:
        self.master = master

    async def read(self, name: str) -> int:
        """Return what a register holds."""
        response = await self.master.read(OFFSETS[name], 4)
        assert response.resp == AxiResp.OKAY, name
        return int.from_bytes(response.data, "little")

    async def write(self, name: str, word: int) -> None:
        """Write a word to a register."""
        response = await self.master.write(OFFSETS[name], word.to_bytes(4, "little"))
        assert response.resp == AxiResp.OKAY, name

    async def status(self) -> dict[str, int]:
        """Return the fields of STATUS."""
        word = await self.read("STATUS")
        return {field.name: (word & field.mask) >> field.low for field in find_register("STATUS").fields}

    async def send(self, packet: bytes) -> None:
        """Send a request, as many words at a time as there is room for."""
        words = [int.from_bytes(packet[at : at + 4], "little") for at in range(0, len(packet), 4)]
        while words:
            room = (await self.status())["ROOM"]
            assert room <= 16
            for word in words[:room]:
                await self.write("SEND_LAST" if len(words) == 1 else "SEND", word)
                words = words[1:]

    async def receive(self) -> bytes:
        """Return an answer."""
        packet = b""
        while True:
            status = await self.status()
            if status["WAITING"]:
                packet += (await self.read("RECEIVE")).to_bytes(4, "little")
                if status["LAST"]:
                    return packet


async def begin(dut, idle: bool, pauses: bool) -> tuple[Host, random.Random]:
    """Reset, with or without idle cycles before addresses and data, and back-pressure on responses."""
    rng = random.Random(cocotb.RANDOM_SEED)
    Clock(dut.aclk, 10, "ns").start()
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False)
    write, read = master.write_if, master.read_if
    channels = [write.aw_channel, write.w_channel, read.ar_channel] if idle else []
    channels += [write.b_channel, read.r_channel] if pauses else []
    for channel in channels:
        channel.set_pause_generator(rng.random() < 0.5 for _ in itertools.count())
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 3)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 2)
    cocotb.start_soon(watch(dut, "b", ("bresp",)))
    cocotb.start_soon(watch(dut, "r", ("rresp", "rdata")))
    return Host(master), rng


async def watch(dut, channel: str, names: tuple[str, ...]) -> None:
    """Check that a response stays until it is taken."""
    held = None
    while True:
        await FallingEdge(dut.aclk)
        valid = bool(getattr(dut, f"s_axi_{channel}valid").value)
        offer = tuple(int(getattr(dut, f"s_axi_{name}").value) for name in names) if valid else None
        assert held is None or offer == held, f"{channel}: {held} was offered and not taken, now {offer}"
        held = offer if valid and not getattr(dut, f"s_axi_{channel}ready").value else None
        await RisingEdge(dut.aclk)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(idle=(False, True), pauses=(False, True))
async def answers(dut, idle, pauses):
    host, rng = await begin(dut, idle, pauses)
    for request, answer in conversation(rng, configure(), settings()["requests"]):
        await host.send(request)
        assert await host.receive() == answer, f"seed {cocotb.RANDOM_SEED}: {request.hex()}"
    assert await host.status() == {"WAITING": 0, "LAST": 0, "ROOM": 16}


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(idle=(False, True), pauses=(False, True))
async def refuses(dut, idle, pauses):
    """What is not possible is an error, and changes nothing."""
    host, rng = await begin(dut, idle, pauses)
    config_hash = int(configure().hash, 16)
    constants = {
        "IDENT": MAGIC,
        "VERSION": PROTOCOL_VERSION,
        "HASH_LOW": config_hash & 0xFFFFFFFF,
        "HASH_HIGH": config_hash >> 32,
        "STATUS": 16 << 8,
    }
    master = host.master
    written = {OFFSETS[name] for name in ("SEND", "SEND_LAST")}
    readable = {OFFSETS[name] for name in constants}
    for _ in range(40):
        address = rng.choice((rng.randrange(0, 0x28), rng.randrange(0xFF8)))
        if address not in readable:
            length = 4 - address % 4
            assert (await master.read(address, length)).resp == AxiResp.SLVERR, hex(address)
        length = rng.randint(1, 4 - address % 4)
        if address not in written or length < 4:
            assert (await master.write(address, rng.randbytes(length))).resp == AxiResp.SLVERR, hex(address)
    for name, value in constants.items():
        assert await host.read(name) == value, name
    (request, answer), *_ = conversation(rng, configure(), 1)
    await host.send(request)
    assert await host.receive() == answer
    assert (await master.read(OFFSETS["RECEIVE"], 4)).resp == AxiResp.SLVERR


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(idle=(False, True))
async def says_when_it_is_full(dut, idle):
    """Requests whose answers nobody takes fill it up; what was refused was not taken, what was taken is answered."""
    host, rng = await begin(dut, idle, True)
    pairs = conversation(rng, configure(), 20)
    words = []
    for index, (request, _) in enumerate(pairs):
        last = len(request) // 4 - 1
        words += [(index, place == last, request[4 * place : 4 * place + 4]) for place in range(last + 1)]
    taken = 0
    while taken < len(words):
        _, last, word = words[taken]
        room = (await host.status())["ROOM"]
        response = await host.master.write(OFFSETS["SEND_LAST" if last else "SEND"], word)
        if response.resp == AxiResp.OKAY:
            taken += 1
        else:
            assert room == 0
            break
    assert taken < len(words)
    for _ in range(3):
        _, last, word = words[taken]
        name = "SEND_LAST" if last else "SEND"
        assert (await host.master.write(OFFSETS[name], word)).resp == AxiResp.SLVERR
    whole = words[taken][0]
    for _, answer in pairs[:whole]:
        assert await host.receive() == answer, f"seed {cocotb.RANDOM_SEED}"
    await host.send(b"".join(word for index, _, word in words[taken:] if index == whole))
    assert await host.receive() == pairs[whole][1], f"seed {cocotb.RANDOM_SEED}"
