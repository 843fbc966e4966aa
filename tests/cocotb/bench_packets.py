"""Requests, and the answers that the protocol asks for: what all benches of links exchange."""

import random

from bench_tools import settings

from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import Answer, Opcode, Request, StatusCode, StatusReport, identity
from celosia.hw.systolic.config import SystolicConfig


def configure() -> AcceleratorConfig:
    """Return the config of the device."""
    given = settings()["device"]
    return AcceleratorConfig(**{**given, "engine": SystolicConfig(**given["engine"])})


def conversation(rng: random.Random, config: AcceleratorConfig, count: int) -> list[tuple[bytes, bytes]]:
    """Return requests of a fresh device, packets of whole words, and the answer to each."""
    spec = config.memory("inputs")
    memory = [[0] * spec.link_words for _ in range(spec.depth)]
    error, fresh = StatusCode.OK, True
    pairs = []
    # All that is read has been written before.
    kinds = ["fill", *(rng.choice(("identify", "write", "read", "status", "torn", "reset")) for _ in range(count - 1))]
    for sequence, kind in enumerate(kinds):
        address = rng.randrange(spec.depth)
        words = rng.randint(1, min(spec.depth - address, config.packet_words // spec.link_words))
        status, payload = StatusCode.OK, b""
        fields = {"opcode": Opcode.STATUS, "sequence": sequence & 0xFF}
        match kind:
            case "identify":
                fields |= {"opcode": Opcode.IDENTIFY}
                payload = identity(config)
            case "fill" | "write":
                address, words = (0, spec.depth) if kind == "fill" else (address, words)
                rows = [[rng.getrandbits(32) for _ in range(spec.link_words)] for _ in range(words)]
                data = b"".join(word.to_bytes(4, "little") for row in rows for word in row)
                fields |= {"opcode": Opcode.WRITE, "target": spec.id, "address": address}
                fields |= {"count": words, "payload": data}
                top = (1 << spec.width % 32) - 1 if spec.width % 32 else 0xFFFFFFFF
                memory[address : address + words] = [[*row[:-1], row[-1] & top] for row in rows]
            case "read":
                fields |= {"opcode": Opcode.READ, "target": spec.id, "address": address, "count": words}
                payload = b"".join(
                    word.to_bytes(4, "little") for row in memory[address : address + words] for word in row
                )
            case "status":
                causes = (0,) * len(config.causes)
                payload = StatusReport(state=0, error=error, total_cycles=0, cause_cycles=causes, fresh=fresh).encode()
            case "torn":
                status = StatusCode.CRC
            case "reset":
                fields |= {"opcode": Opcode.RESET}
                error, fresh = StatusCode.OK, False
        request = bytearray(Request(**fields).encode())
        if kind == "torn":
            request[rng.randrange(4, len(request))] ^= 1 << rng.randrange(8)
        error = error or status
        answer = Answer(opcode=fields["opcode"], sequence=sequence & 0xFF, status=status, payload=payload)
        pairs.append((bytes(request), answer.encode()))
    return pairs
