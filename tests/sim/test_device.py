import numpy as np
import pytest

from celosia.host.device import Device
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import Answer, Opcode, Request, StatusCode
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.device import LinkSimulation, SimulatedDevice, from_beats, to_beats
from celosia.sim.rtl import SimulationError, StopReason

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=2, cols=2), packet_words=64)


def test_beats_of_whole_packets():
    packets = [b"1234", b"56789abc"]
    beats = to_beats(packets)
    assert beats.tolist() == [[0x34333231, 1], [0x38373635, 0], [0x63626139, 1]]
    assert from_beats(beats) == packets


@pytest.mark.parametrize(
    ("packet", "beats"), [(b"", [[0, 3]]), (b"\1", [[1, 3]]), (b"\1\0\0\0\2\3", [[1, 0], [0x302, 3]])]
)
def test_beats_of_torn_packets(packet, beats):
    assert to_beats([packet]).tolist() == beats


def test_beats_after_the_last_packet_are_left_out():
    assert from_beats(np.array([[1, 1], [2, 0]], np.uint32)) == [b"\1\0\0\0"]
    assert from_beats(np.zeros((0, 2), np.uint32)) == []


class Replies:
    """A simulator that gives what it is told to, slice by slice."""

    def __init__(self, *slices):
        self.slices = list(slices)

    def send(self, *_):
        pass

    def expect(self, _, count):
        self.expected = count

    def run(self, _, until):
        assert until == "received"
        self.words = to_beats(self.slices.pop(0)) if self.slices else np.zeros((0, 2), np.uint32)
        return StopReason.RECEIVED if len(self.words) >= self.expected else StopReason.LIMIT

    def receive(self, _):
        return self.words


STATUS = Request(opcode=Opcode.STATUS).encode()
RESET = Request(opcode=Opcode.RESET).encode()
DONE = Answer(opcode=Opcode.RESET, sequence=0, status=StatusCode.OK).encode()
REFUSED = Answer(opcode=Opcode.STATUS, sequence=0, status=StatusCode.BUSY).encode()


def test_answers_come_in_slices_and_shorter_than_expected():
    link = LinkSimulation(Replies([DONE], [], [REFUSED], [DONE]), CONFIG)
    assert link.exchange([RESET, STATUS, RESET]) == [DONE, REFUSED, DONE]


def test_a_dead_device():
    with pytest.raises(SimulationError, match="left 1 packets without an answer"):
        LinkSimulation(Replies([DONE]), CONFIG, patience=5000).exchange([STATUS, RESET])


def test_too_many_answers():
    with pytest.raises(SimulationError, match="2 answers to 1 packets"):
        LinkSimulation(Replies([DONE, DONE]), CONFIG).exchange([RESET])


def test_nothing_to_exchange():
    assert LinkSimulation(Replies(), CONFIG).exchange([]) == []


def test_both_backends_answer_alike():
    words = np.arange(10, dtype=np.uint32).reshape(10, 1) * 0x1001
    found = []
    for backend in ("verilator", "amaranth"):
        transport = SimulatedDevice(CONFIG, backend=backend)
        with Device(transport) as device:
            device.write("weights", words & 0xFFFF)
            found.append((device.identity, device.read("weights", 0, 10).tolist(), device.status()))
            assert transport.cycle < 2000
    assert found[0] == found[1]
    assert found[0][0].config == CONFIG
    assert found[0][1] == (words & 0xFFFF).tolist()
