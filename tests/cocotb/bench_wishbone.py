"""Bench of the accelerator's registers on Wishbone: cocotbext-wishbone's master, which nobody here wrote."""

import random

import cocotb
from bench_packets import configure, conversation
from bench_tools import reset, settings, start_clock
from cocotb.triggers import FallingEdge, RisingEdge
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from celosia.hw.bus_registers import BUS_REGISTERS, MAGIC, find_register
from celosia.hw.config import PROTOCOL_VERSION

OFFSETS = {register.name: register.offset for register in BUS_REGISTERS}
ACK, ERR = 1, 2
SIGNALS = {
    "cyc": "cyc",
    "stb": "stb",
    "we": "we",
    "adr": "adr",
    "sel": "sel",
    "datwr": "dat_w",
    "datrd": "dat_r",
    "ack": "ack",
    "err": "err",
}


class Host:
    """Reads and writes registers; several accesses may share a cycle."""

    def __init__(self, dut, rng: random.Random) -> None:
        self.master = WishboneMaster(dut, "wb", dut.clk, width=32, timeout=100, signals_dict=SIGNALS)
        self.rng = rng
        self.ended = 0  # transfers

    async def transfer(self, *operations: WBOp) -> list[tuple[int, int]]:
        """Return the ends (ACK, ERR) and words of transfers in one cycle, with idle cycles before them or not."""
        for operation in operations:
            operation.idle = self.rng.choice((0, 0, 1, 3))
        results = await self.master.send_cycle(list(operations))
        self.ended += len(operations)
        assert len(results) == len(operations)
        return [(result.ack, int(result.datrd)) for result in results]

    async def read(self, name: str) -> int:
        """Return what a register holds."""
        ((end, word),) = await self.transfer(WBOp(adr=OFFSETS[name]))
        assert end == ACK, name
        return word

    async def status(self) -> dict[str, int]:
        """Return the fields of STATUS."""
        word = await self.read("STATUS")
        return {field.name: (word & field.mask) >> field.low for field in find_register("STATUS").fields}

    async def send(self, packet: bytes) -> None:
        """Send a request, as many words in a cycle as there is room for."""
        words = [int.from_bytes(packet[at : at + 4], "little") for at in range(0, len(packet), 4)]
        offsets = [OFFSETS["SEND"]] * (len(words) - 1) + [OFFSETS["SEND_LAST"]]
        operations = [WBOp(adr=offset, dat=word) for offset, word in zip(offsets, words, strict=True)]
        while operations:
            room = (await self.status())["ROOM"]
            now, operations = operations[:room], operations[room:]
            if now:
                assert all(end == ACK for end, _ in await self.transfer(*now))

    async def receive(self) -> bytes:
        """Return an answer."""
        packet = b""
        while True:
            status = await self.status()
            if status["WAITING"]:
                packet += (await self.read("RECEIVE")).to_bytes(4, "little")
                if status["LAST"]:
                    return packet


async def watch(dut, ends: list[int]) -> None:
    """Check that a transfer ends once, and only while it is asked for."""
    while True:
        await FallingEdge(dut.clk)
        ack, err = bool(dut.wb_ack.value), bool(dut.wb_err.value)
        assert not (ack and err)
        assert not (ack or err) or (dut.wb_cyc.value and dut.wb_stb.value)
        ends[0] += ack or err
        await RisingEdge(dut.clk)


async def begin(dut) -> tuple[Host, list[int], random.Random]:
    """Reset, and watch the bus."""
    rng = random.Random(cocotb.RANDOM_SEED)
    start_clock(dut)
    host = Host(dut, rng)
    await reset(dut)
    ends = [0]
    cocotb.start_soon(watch(dut, ends))
    return host, ends, rng


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def answers(dut):
    host, ends, rng = await begin(dut)
    for request, answer in conversation(rng, configure(), settings()["requests"]):
        await host.send(request)
        assert await host.receive() == answer, f"seed {cocotb.RANDOM_SEED}: {request.hex()}"
    assert await host.status() == {"WAITING": 0, "LAST": 0, "ROOM": 16}
    assert ends[0] == host.ended


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def refuses(dut):
    """What is not possible is an error, and changes nothing."""
    host, ends, rng = await begin(dut)
    config_hash = int(configure().hash, 16)
    constants = {
        "IDENT": MAGIC,
        "VERSION": PROTOCOL_VERSION,
        "HASH_LOW": config_hash & 0xFFFFFFFF,
        "HASH_HIGH": config_hash >> 32,
        "STATUS": 16 << 8,
    }
    written = {OFFSETS[name] for name in ("SEND", "SEND_LAST")}
    readable = {OFFSETS[name] for name in constants}
    for _ in range(60):
        address = rng.choice((rng.randrange(0, 0x28), 4 * rng.randrange(0x0C), rng.randrange(0x1000)))
        select = rng.choice((0xF, rng.randrange(16)))
        if address not in readable or select != 0xF:
            assert (await host.transfer(WBOp(adr=address, sel=select)))[0][0] == ERR, hex(address)
        if address not in written or select != 0xF:
            assert (await host.transfer(WBOp(adr=address, dat=rng.getrandbits(32), sel=select)))[0][0] == ERR
    for name, value in constants.items():
        assert await host.read(name) == value, name
    (request, answer), *_ = conversation(rng, configure(), 1)
    await host.send(request)
    assert await host.receive() == answer
    assert (await host.transfer(WBOp(adr=OFFSETS["RECEIVE"])))[0][0] == ERR
    assert ends[0] == host.ended


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def asks_without_a_cycle(dut):
    """A strobe without a cycle, or a cycle without a strobe, takes nothing and has no end."""
    host, ends, rng = await begin(dut)
    (request, answer), *_ = conversation(rng, configure(), 1)
    await host.send(request)
    for _ in range(20):
        cyc = rng.randrange(2)
        dut.wb_cyc.value, dut.wb_stb.value = cyc, 1 - cyc
        dut.wb_we.value, dut.wb_sel.value = rng.randrange(2), 0xF
        dut.wb_adr.value = rng.choice((OFFSETS["RECEIVE"], OFFSETS["SEND_LAST"]))
        for _ in range(rng.randint(1, 5)):
            await RisingEdge(dut.clk)
    dut.wb_cyc.value, dut.wb_stb.value, dut.wb_we.value = 0, 0, 0
    await RisingEdge(dut.clk)
    assert await host.receive() == answer
    assert ends[0] == host.ended
