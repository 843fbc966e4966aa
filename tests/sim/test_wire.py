"""The whole way, host library to RTL: over bytes that are right, and over bytes that are not."""

from dataclasses import replace

import numpy as np
import pytest

from celosia.host.cli.demo import NETWORKS
from celosia.host.data import load_digits
from celosia.host.device import Device
from celosia.host.errors import LinkError
from celosia.host.fit import fit_memories
from celosia.host.prepare import prepare
from celosia.host.session import DeviceMachine, run
from celosia.host.transports.framed import FramedTransport
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import FLAG, Opcode, Request
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.wire import Wire, byte_wire, serial_wire

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4), weight_depth=4096)
SHORT = replace(CONFIG, packet_words=64)  # packets, of which fewer are damaged: their bits take long to simulate
SLICE = 2000  # cycles in which an answer has begun to come if one comes at all
SECOND = 100_000  # cycles
UART_CYCLES = 40  # of a byte, at 4 for a bit


class WirePort:
    """A port at the other end of a simulated wire, which changes, drops and inserts bytes at a rate, each way.

    Time is simulated, too: a read waits for cycles, not for seconds.
    """

    name = "the wire"

    def __init__(self, wire: Wire, rate: float = 0.0, seed: int = 1, *, byte_cycles: int = 1) -> None:
        self.wire, self.rate = wire, rate
        self.byte_rate = SECOND / byte_cycles
        self.damaged = 0
        self._rng = np.random.default_rng(seed)

    def write(self, data: bytes) -> None:
        self.wire.send(self._damage(data))

    def read(self, timeout: float) -> bytes:
        for _ in range(round(timeout * SECOND / SLICE) + 1):
            self.wire.run(SLICE)
            data = self._damage(self.wire.receive())
            if data:
                return data
        return b""

    def close(self) -> None:
        pass

    def _damage(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for place in np.flatnonzero(self._rng.random(len(data)) < self.rate)[::-1].tolist():
            self.damaged += 1
            match self._rng.integers(3):
                case 0:
                    damaged[place] ^= 1 << int(self._rng.integers(8))
                case 1:
                    del damaged[place]
                case 2:
                    damaged.insert(place, int(self._rng.integers(256)))
        return bytes(damaged)


def fill(device: Device, size: int, seed: int) -> int:
    """Write random words to the weight memory and read them back until `size` bytes have gone each way."""
    rng, moved = np.random.default_rng(seed), 0
    while moved < size:
        words = rng.integers(0, 1 << 32, (CONFIG.weight_depth, 1), np.uint32)
        device.write("weights", words)
        np.testing.assert_array_equal(device.read("weights"), words)
        moved += words.nbytes
    return moved


@pytest.mark.parametrize("rate", [0.0, 1e-4, 1e-3])
def test_bytes_that_are_damaged_are_sent_again(rate):
    with Device(FramedTransport(port := WirePort(byte_wire(CONFIG), rate))) as device:
        fill(device, 60_000, seed=3)
        port.wire.close()
    assert (port.damaged > 0) == (rate > 0)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3])
def test_a_million_bytes(rate):
    transport = FramedTransport(port := WirePort(byte_wire(CONFIG), rate, seed=5))
    with Device(transport) as device:
        assert fill(device, 500_000, seed=4) * 2 >= 1_000_000
        port.wire.close()
    assert port.damaged > 0
    assert transport.retransmissions > 0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3])
def test_a_million_bytes_through_uarts(rate):
    wire = serial_wire(SHORT, clock_hz=48e6, baud=12e6)
    with Device(FramedTransport(port := WirePort(wire, rate, seed=6, byte_cycles=UART_CYCLES))) as device:
        assert fill(device, 500_000, seed=7) * 2 >= 1_000_000
        port.wire.close()
    assert port.damaged > 0


def test_a_dead_wire_is_a_clear_error():
    class Dead(WirePort):
        def write(self, data: bytes) -> None:
            pass

    wire = byte_wire(CONFIG)
    with pytest.raises(LinkError, match=r"RESET was sent \d+ times over the wire, and the last time no answer came"):
        Device(FramedTransport(Dead(wire))).identify()
    wire.close()


def test_a_host_that_goes_in_the_middle_is_no_trouble_for_the_next():
    """Hosts leave with packets and answers half sent, at every point of an exchange, and in the middle of runs."""
    wire = byte_wire(CONFIG)
    rng = np.random.default_rng(8)
    words = rng.integers(0, 1 << 32, (64, 1), np.uint32)
    write = Request(opcode=Opcode.WRITE, target=1, count=64, payload=words.astype("<u4").tobytes()).encode()
    read = Request(opcode=Opcode.READ, target=1, count=64).encode()
    for _ in range(40):
        cut = int(rng.integers(1, len(write) + len(read)))
        wire.send(bytes((FLAG,)) + (write + bytes((FLAG,)) + read)[:cut])
        wire.run(int(rng.integers(0, 2000)))
        with Device(FramedTransport(WirePort(wire))) as device:
            np.testing.assert_array_equal(device.read("weights", 0, 4), device.read("weights", 0, 4))
            device.write("weights", words)
            np.testing.assert_array_equal(device.read("weights", 0, 64), words)
    wire.close()


ENGINES = {
    "systolic": SystolicConfig(rows=8, cols=8),
    "sparse": SparseConfig(pes=8),
    "binary": BinaryConfig(pes=8, simd=16),
}


def demo_cases() -> list[tuple[str, str]]:
    return [(engine, label) for engine, networks in NETWORKS.items() for label in networks]


@pytest.mark.parametrize(("engine", "label", "images"), [("systolic", "", 16)])
def test_images_through_uarts(engine, label, images):
    read_digits(engine, label, images)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "label"), demo_cases())
def test_all_images_through_uarts(engine, label):
    read_digits(engine, label, 445)


def read_digits(engine: str, label: str, count: int) -> None:
    config = AcceleratorConfig(engine=ENGINES[engine])
    images, typical = (load_digits(split)[0].astype(np.float32) for split in ("test", "train"))
    network, inputs = prepare(NETWORKS[engine][label](), images[:count], config, calibration=typical)
    config = fit_memories(network, config)
    wire = serial_wire(config, clock_hz=48e6, baud=12e6)
    with Device(FramedTransport(WirePort(wire, byte_cycles=UART_CYCLES))) as device:
        outcome = run(network, inputs, DeviceMachine(device), reference)
    wire.close()
    assert outcome.bit_exact
    assert outcome.cycle_exact
