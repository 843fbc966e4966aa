"""The registers on a bus against a model of them in Python, with stalls behind them."""

import random
from collections import deque

import numpy as np
import pytest

from celosia.hw.bus_registers import ADDRESS_WIDTH, BUS_REGISTERS, MAGIC, REQUEST_ROOM, find_register
from celosia.hw.config import PROTOCOL_VERSION
from celosia.hw.link.registers import BusRegisters
from celosia.sim.rtl import Model, build

OFFSETS = {register.name: register.offset for register in BUS_REGISTERS}


@pytest.fixture(scope="module")
def model(link_config) -> Model:
    return build(BusRegisters(link_config), name="bus_registers_test")


class Registers:
    """What each access has to give."""

    def __init__(self, config):
        low, high = int(config.hash[8:], 16), int(config.hash[:8], 16)
        names = ("IDENT", "VERSION", "HASH_LOW", "HASH_HIGH")
        self.constants = dict(zip(names, (MAGIC, PROTOCOL_VERSION, low, high), strict=True))
        self.sent = []

    def write(self, address, word, select, room):
        """Return whether it is an error."""
        if address not in (OFFSETS["SEND"], OFFSETS["SEND_LAST"]) or select != 15 or not room:
            return True
        self.sent.append((word, int(address == OFFSETS["SEND_LAST"])))
        return False


@pytest.mark.parametrize("stalls", [0, 0.9, 1])
def test_any_access(model, link_config, stalls):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    expected = Registers(link_config)
    answers = [(source.getrandbits(32), source.randrange(2)) for _ in range(300)]
    pending, received = deque(answers), []
    with model.start() as sim:
        sim.stall("answers", 0.3, seed)
        sim.stall("requests", stalls, seed)
        sim.send("answers", np.array(answers))
        taken = 0  # words read from RECEIVE
        for _ in range(3000):
            address = source.choice((*OFFSETS.values(), *OFFSETS.values(), source.randrange(1 << ADDRESS_WIDTH)))
            word, select = source.getrandbits(32), source.choice((15, 15, 15, source.randrange(16)))
            read, write = source.randrange(2), source.randrange(2)
            for name, value in (
                ("read_address", OFFSETS["STATUS"]),
                ("read", 0),
                ("write_address", address),
                ("write_data", word),
                ("write_select", select),
                ("write", write),
            ):
                sim.set(name, value)
            status, note = sim.get("read_data"), f"seed={seed} address={address:#x}"
            assert not sim.get("read_error")
            waiting, last, room = status & 1, status >> 1 & 1, status >> 8 & 0xFF
            assert status & ~0xFF03 == 0
            assert room <= REQUEST_ROOM - (len(expected.sent) - sim.received("requests")) + 1, note
            if write:
                assert sim.get("write_error") == expected.write(address, word, select, room), note
            address = source.choice((*OFFSETS.values(), source.randrange(1 << ADDRESS_WIDTH)))
            sim.set("read_address", address)
            sim.set("read", read)
            error, value = sim.get("read_error"), sim.get("read_data")
            name = next((name for name, offset in OFFSETS.items() if offset == address), None)
            note = f"seed={seed} {name} {address:#x}"
            if name in expected.constants:
                assert (error, value) == (0, expected.constants[name]), note
            elif name == "STATUS":
                assert (error, value) == (0, status), note
            elif name == "RECEIVE" and waiting:
                assert (error, value, last) == (0, *pending[0]), note
                if read:
                    pending.popleft()
                    taken += 1
            else:
                assert error, note
            sim.run(1)
        sim.set("read", 0)
        sim.set("write", 0)
        sim.stall("requests", 0)
        sim.run(100)
        received = [(word, flags) for word, flags in sim.receive("requests").tolist()]
        sim.set("read_address", OFFSETS["STATUS"])
        assert sim.get("read_data") >> 8 == REQUEST_ROOM
    assert received == expected.sent, f"seed={seed}"
    assert taken > 50


def test_room_is_real(model):
    """As many words as STATUS says are taken, and not one more."""
    with model.start() as sim:
        sim.stall("requests", 1)
        sim.set("write_address", OFFSETS["SEND"])
        sim.set("write_select", 15)
        sim.set("read_address", OFFSETS["STATUS"])
        for room in range(REQUEST_ROOM, -1, -1):
            assert sim.get("read_data") == room << 8
            sim.set("write", 1)
            assert sim.get("write_error") == (room == 0)
            sim.run(1)
            sim.set("write", 0)
            sim.run(5)


def test_table():
    """What the C header relies on."""
    assert [register.offset for register in BUS_REGISTERS] == list(range(0, 4 * len(BUS_REGISTERS), 4))
    assert len({register.name for register in BUS_REGISTERS}) == len(BUS_REGISTERS)
    assert MAGIC.to_bytes(4, "big") == b"CELO"
    for register in BUS_REGISTERS:
        assert register.access in ("R", "W")
        assert register.summary.endswith(".")
        masks = [field.mask for field in register.fields]
        assert sum(masks) == int(np.bitwise_or.reduce([0, *masks])) < 1 << 32
    assert [field.mask for field in find_register("STATUS").fields] == [1, 2, 0xFF00]
