"""Whatever arrives, each packet gets one error answer, and nothing is changed."""

import random

import numpy as np
import pytest

from celosia.hw.protocol import Answer, Opcode, Request, StatusCode, checksum

SEED = 20260


def encode(**fields):
    return Request(**({"opcode": Opcode.WRITE, "target": 3, "count": 1, "payload": bytes(8)} | fields)).encode()


CASES = {
    "empty": (b"", StatusCode.FRAMING),
    "one byte": (b"\xce", StatusCode.FRAMING),
    "partial word": (encode()[:-1], StatusCode.FRAMING),
    "one word": (b"\xce\x02\x07\x03", StatusCode.LENGTH),
    "three words": (encode()[:8] + checksum(encode()[:8]), StatusCode.LENGTH),
    "too long": (encode(payload=bytes(4 * 65), count=65), StatusCode.LENGTH),
    "far too long": (encode(payload=bytes(4 * 1000), count=500), StatusCode.LENGTH),
    "crc": (encode()[:-1] + bytes((encode()[-1] ^ 0x80,)), StatusCode.CRC),
    "truncated": (encode()[:-4], StatusCode.CRC),
    "magic": (b"\xcd" + encode()[1:-4] + checksum(b"\xcd" + encode()[1:-4]), StatusCode.MAGIC),
    "opcode 0": (encode(opcode=0), StatusCode.OPCODE),
    "opcode 255": (encode(opcode=255), StatusCode.OPCODE),
    "memory 6": (encode(target=6), StatusCode.TARGET),
    "memory 255": (encode(target=255), StatusCode.TARGET),
    "write to the results": (encode(target=0x15), StatusCode.TARGET),
    "read from the inputs": (encode(opcode=Opcode.READ, target=0x13, payload=b""), StatusCode.TARGET),
    "count 0": (encode(count=0, payload=b""), StatusCode.LENGTH),
    "count too high": (encode(count=2), StatusCode.LENGTH),
    "count too low": (encode(payload=bytes(12)), StatusCode.LENGTH),
    "count of 32 bits": (encode(count=(1 << 31) + 1), StatusCode.LENGTH),
    "read with payload": (encode(opcode=Opcode.READ), StatusCode.LENGTH),
    "read too much": (encode(opcode=Opcode.READ, count=33, payload=b""), StatusCode.LENGTH),
    "read one word too much": (encode(opcode=Opcode.READ, target=0, count=65, payload=b""), StatusCode.LENGTH),
    "address": (encode(address=64), StatusCode.ADDRESS),
    "address of 25 bits": (encode(address=1 << 24), StatusCode.ADDRESS),
    "address of 32 bits": (encode(address=0xFFFFFFFF), StatusCode.ADDRESS),
    "address wraps": (encode(address=0xFFFFFF, count=1), StatusCode.ADDRESS),
    "range": (encode(address=63, count=2, payload=bytes(16)), StatusCode.ADDRESS),
    "no run": (encode(target=0x13), StatusCode.IDLE),
    "no results": (encode(opcode=Opcode.READ, target=0x15, payload=b""), StatusCode.IDLE),
    "stream address": (encode(target=0x13, address=1), StatusCode.ADDRESS),
    "run length": (encode(opcode=Opcode.RUN, target=0, payload=bytes(28), count=7), StatusCode.LENGTH),
    "run target": (encode(opcode=Opcode.RUN, target=1, payload=bytes(32), count=8), StatusCode.RESERVED),
    "status flags": (encode(opcode=Opcode.STATUS, target=2, payload=b"", count=0), StatusCode.RESERVED),
    "reset address": (encode(opcode=Opcode.RESET, target=0, address=4, payload=b"", count=0), StatusCode.RESERVED),
    "identify payload": (encode(opcode=Opcode.IDENTIFY, target=0, count=0), StatusCode.LENGTH),
}


def dump(packets, config):
    """Requests that read every memory, in packets as long as they may be."""
    requests = []
    for spec in config.memories:
        step = config.packet_words // spec.link_words
        for address in range(0, spec.depth, step):
            requests.append(packets.read(spec.id, address, min(step, spec.depth - address)))
    return requests


def fill(packets, config, seed):
    """Requests that write random words to every memory."""
    rng = np.random.default_rng(seed)
    requests = []
    for spec in config.memories:
        step = config.packet_words // spec.link_words
        words = rng.integers(0, 1 << 32, (spec.depth, spec.link_words), np.uint64).astype(np.uint32)
        requests += [packets.write(spec.id, at, words[at : at + step]) for at in range(0, spec.depth, step)]
    return requests


def compare(link, packets, requests, note=""):
    answers = link.exchange(requests)
    for number, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        expected = packets.model.answer(request)
        assert answer == expected, f"packet {number} {request.hex()} got {answer.hex()}, not {expected.hex()} {note}"
    return [Answer.decode(answer).status for answer in answers]


@pytest.mark.parametrize("name", CASES)
def test_one_malformed(link, packets, link_config, name):
    packet, status = CASES[name]
    requests = [packets.command(Opcode.STATUS), packet, packets.command(Opcode.STATUS)]
    after = [*dump(packets, link_config), packets.command(Opcode.RESET), packets.command(Opcode.STATUS)]
    statuses = compare(link, packets, [*fill(packets, link_config, SEED), *requests, *after])
    wrong = [found for found in statuses if found is not StatusCode.OK]
    assert wrong == [status]


def mutate(random_source, packets, config):
    """A good packet, or one with something wrong with it, or just bytes."""
    kind = random_source.randrange(8)
    if kind == 0:
        return random_source.randbytes(random_source.randrange(0, 400))
    spec = random_source.choice(config.memories)
    address = random_source.randrange(spec.depth)
    count = random_source.randrange(1, min(config.packet_words // spec.link_words, spec.depth - address) + 1)
    words = np.frombuffer(random_source.randbytes(4 * count * spec.link_words), "<u4").reshape(count, -1)
    if random_source.random() < 0.5:
        packet = packets.write(spec.id, address, words, random_source.randrange(256))
    else:
        packet = packets.read(spec.id, address, count, random_source.randrange(256))
    if kind == 1:  # one bit
        position = random_source.randrange(8 * len(packet))
        number = int.from_bytes(packet, "little") ^ 1 << position
        return number.to_bytes(len(packet), "little")
    if kind == 2:
        return packet[: random_source.randrange(len(packet))]
    if kind == 3:  # a field of the header, with a good checksum
        field = random_source.choice((0, 1, 3, 4, 7, 8, 11))
        body = bytearray(packet[:-4])
        body[field] = random_source.randrange(256)
        if body[1] != Opcode.RUN:
            return bytes(body) + checksum(bytes(body))
    if kind == 4:
        return packet + random_source.randbytes(random_source.randrange(1, 300))
    return packet


@pytest.mark.parametrize("stalls", [(0, 0), (0.4, 0.0), (0.0, 0.4), (0.5, 0.5)])
def test_ten_thousand_packets(link, packets, link_config, stalls):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    for port, probability in zip("io", stalls, strict=True):
        link.sim.stall(port, probability, seed)
    compare(link, packets, fill(packets, link_config, seed))
    requests = [mutate(source, packets, link_config) for _ in range(2500)]
    statuses = compare(link, packets, requests, f"seed={seed}")
    assert len(set(statuses)) > 5, f"seed={seed}"
    compare(link, packets, [*dump(packets, link_config), packets.command(Opcode.STATUS)], f"seed={seed}")
