"""Framing against a codec in Python written from RFC 1662, with stalls on both sides."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.link.commands import CommandProcessor
from celosia.hw.link.framing import ByteLink, Deframer, Framer
from celosia.hw.link.packets import link_stream
from celosia.hw.protocol import Answer, Opcode, Request, StatusCode, identity
from celosia.hw.top import LinkedAccelerator
from celosia.sim.device import LAST, from_beats, to_beats
from celosia.sim.rtl import build

TORN = 1 << 8  # of a byte in the deframer's stream
STALLS = [(0, 0), (0.5, 0), (0, 0.5), (0.4, 0.4)]


def stuff(packet):
    """Bytes of a packet between its flags."""
    return packet.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")


def deframed(symbols):
    """Beats (word, last | bad << 1) that the symbols (bytes, and TORN where something is missing before) stand for."""
    beats, frame = [], []
    for symbol in symbols:
        if symbol & 0xFF != 0x7E:
            frame.append(symbol)
            continue
        torn = symbol & TORN or any(byte & TORN for byte in frame)
        if frame or torn:
            content, escaped = bytearray(), False
            for byte in frame:
                if byte & 0xFF == 0x7D and not escaped:
                    escaped = True
                else:
                    content.append(byte & 0xFF ^ (0x20 if escaped else 0))
                    escaped = False
            torn = torn or escaped or len(content) % 4 or not content
            content += bytes(-len(content) % 4 if content else 4)
            words = np.frombuffer(content, "<u4").tolist()
            beats += [(word, 0) for word in words[:-1]] + [(words[-1], 3 if torn else 1)]
        frame = []
    return beats


@pytest.fixture(scope="module")
def deframer():
    return build(Deframer(), name="deframer_test")


@pytest.fixture(scope="module")
def framer():
    return build(Framer(), name="framer_test")


def run_deframer(model, symbols, stalls=(0, 0), seed=0):
    with model.start() as sim:
        for port, share in zip("io", stalls, strict=True):
            sim.stall(port, share, seed + ord(port))
        sim.send("i", np.array(symbols))
        sim.run(100 + 20 * len(symbols), until="sent")
        assert not sim.unsent("i"), "the deframer is stuck"
        cycles = sim.cycle
        return [tuple(beat) for beat in sim.receive("o").tolist()], cycles


def random_symbols(source):
    """Good frames, and everything that can be wrong with one."""
    symbols = []
    for _ in range(300):
        kind = source.randrange(10)
        packet = source.randbytes(4 * source.randrange(1, 6))
        if source.random() < 0.3:
            packet = bytes(source.choice((0x7D, 0x7E, 0x5D, 0x5E, 0x20, 0)) for _ in packet)
        frame = list(stuff(packet))
        if kind == 0:
            frame = frame[: source.randrange(len(frame) + 1)]  # partial word, or an escape at the end
        elif kind == 1:
            frame.append(0x7D)
        elif kind == 2:
            frame = list(source.randbytes(source.randrange(12)))
        elif kind == 3:
            frame[source.randrange(len(frame))] |= TORN
        elif kind == 4:
            frame = source.choice(([], [0x7D], [0x7D, 0x7D], [0], [TORN], [0x7D | TORN]))
        closing = 0x7E | (TORN if source.random() < 0.05 else 0)
        symbols += [*frame, closing, *[0x7E] * source.choice((0, 0, 1, 3))]
    return symbols


@pytest.mark.parametrize("stalls", STALLS)
def test_deframer(deframer, stalls):
    seed = random.SystemRandom().randrange(1 << 32)
    symbols = random_symbols(random.Random(seed))
    beats, cycles = run_deframer(deframer, symbols, stalls, seed)
    assert beats == deframed(symbols), f"seed={seed}"
    assert any(flags == 3 for _, flags in beats), f"seed={seed}"
    assert any(flags == 1 for _, flags in beats), f"seed={seed}"
    if stalls == (0, 0):
        assert cycles == len(symbols), "a byte per cycle"


@pytest.mark.parametrize(
    ("symbols", "beats"),
    [
        ([0x7E, 0x7E, 0x7E], []),
        ([1, 2, 3, 4], []),
        ([1, 2, 3, 4, 0x7E], [(0x04030201, 1)]),
        ([0x7E, 1, 2, 3, 4, 5, 0x7E], [(0x04030201, 0), (5, 3)]),
        ([1, 2, 3, 4, 0x7D, 0x7E, 1, 2, 3, 4, 0x7E], [(0x04030201, 3), (0x04030201, 1)]),
        ([0x7E, 0x7D, 0x7E], [(0, 3)]),
        ([0x7D, 0x5E, 0x7D, 0x5D, 0xFF, 0, 0x7E], [(0x00FF7D7E, 1)]),
        ([1, 2, 3, 4, 0x7E, 0x7E | TORN, 9, 9, 9, 9, 0x7E], [(0x04030201, 1), (0, 3), (0x09090909, 1)]),
        ([1, TORN | 2, 3, 4, 5, 6, 7, 8, 0x7E], [(0x04030201, 0), (0x08070605, 3)]),
    ],
)
def test_deframer_by_hand(deframer, symbols, beats):
    assert run_deframer(deframer, symbols)[0] == beats
    assert deframed(symbols) == beats


def test_deframer_waits_only_when_it_must(deframer):
    """The byte that makes the first word go is the first that waits; escapes do not."""
    with deframer.start() as sim:
        sim.stall("o", 1)
        sim.send("i", [0x7E, 0x7E, 1, 2, 0x7D, 0x5E, 4, 0x7D, 0x5E, 5])
        sim.run(50)
        assert sim.unsent("i") == 2


@pytest.mark.parametrize("stalls", STALLS)
def test_framer(framer, stalls):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    packets = [bytes(range(256)), b"\x7e\x7d\x7e\x7d" * 3]
    packets += [source.randbytes(4 * source.randrange(1, 9)) for _ in range(100)]
    expected = b"\x7e".join([b"", *map(stuff, packets), b""])
    with framer.start() as sim:
        for port, share in zip("io", stalls, strict=True):
            sim.stall(port, share, seed + ord(port))
        sim.send("i", to_beats(packets))
        sim.expect("o", len(expected))
        sim.run(10 * len(expected), until="received")
        if not any(stalls):
            assert sim.cycle == len(expected), "a byte per cycle"
        sim.run(100)
        received = bytes(sim.receive("o")[:, 0].tolist())
    # A packet that comes later than at once has a flag of its own before it.
    assert [frame for frame in received.split(b"\x7e") if frame] == expected.strip(b"\x7e").split(b"\x7e")
    assert received[0] == received[-1] == 0x7E
    assert b"\x7e\x7e\x7e" not in received
    if not stalls[0]:
        assert received == expected, f"seed={seed}"


def test_framer_opens_again_after_a_pause(framer):
    with framer.start() as sim:
        for _ in range(2):
            sim.send("i", to_beats([b"abcd"]))
            sim.run(50)
            assert bytes(sim.receive("o")[:, 0].tolist()) == b"\x7eabcd\x7e"


@pytest.mark.parametrize("stalls", STALLS)
def test_there_and_back(framer, deframer, stalls):
    """All bytes, through both."""
    source = random.Random(1)
    packets = [bytes(range(256)), bytes(reversed(range(256))), *(source.randbytes(64) for _ in range(20))]
    with framer.start() as sim:
        sim.send("i", to_beats(packets))
        sim.run(5000)
        symbols = sim.receive("o")[:, 0].tolist()
    beats, _ = run_deframer(deframer, symbols, stalls, 7)
    assert from_beats(np.array(beats, np.uint32)) == packets
    assert {flags for _, flags in beats} == {0, LAST}


class Coreless(wiring.Component):
    """An accelerator that can say who it is, and no more."""

    def __init__(self, config):
        self.config = config
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.commands = commands = CommandProcessor(self.config)
        wiring.connect(m, wiring.flipped(self.i), commands.i)
        wiring.connect(m, commands.o, wiring.flipped(self.o))
        return m


def test_byte_link(link_config):
    """An accelerator behind it answers, whatever was in the frame before."""
    linked = LinkedAccelerator(link_config, ByteLink(link_config))
    linked.accelerator = Coreless(link_config)
    model = build(linked, name="byte_link_test")
    ask = Request(opcode=Opcode.IDENTIFY, sequence=5).encode()
    torn = stuff(ask)[:-2]
    with model.start() as sim:
        sim.stall("o", 0.2, 3)
        sim.send("i", list(b"noise\x7e" + stuff(ask) + b"\x7e\x7e" + torn + b"\x7e" + stuff(ask) + b"\x7e"))
        sim.run(10_000)
        beats = deframed(sim.receive("o")[:, 0].tolist())
    answers = [Answer.decode(answer) for answer in from_beats(np.array(beats, np.uint32))]
    assert [answer.status for answer in answers] == [
        StatusCode.FRAMING,
        StatusCode.OK,
        StatusCode.FRAMING,
        StatusCode.OK,
    ]
    assert answers[3].payload == identity(link_config)
