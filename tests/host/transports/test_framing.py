"""Frames, held against the definition, byte by byte."""

import numpy as np
import pytest

from celosia.host.transports.framing import LONGEST_FRAME, FrameDecoder, encode_frame
from celosia.hw.protocol import ESCAPE, ESCAPE_XOR, FLAG


def slow_encode(packet):
    body = b"".join(bytes((ESCAPE, byte ^ ESCAPE_XOR)) if byte in (FLAG, ESCAPE) else bytes((byte,)) for byte in packet)
    return bytes((FLAG,)) + body + bytes((FLAG,))


def slow_decode(data):
    """Frames of a whole transmission; an escape before a byte that needs none breaks one, too."""
    packets, body, escaped, broken = [], b"", False, False
    for byte in data:
        if byte == FLAG:
            if body or escaped or broken:
                packets.append(None if escaped or broken or len(body) % 4 else body)
            body, escaped, broken = b"", False, False
        elif escaped:
            broken |= byte ^ ESCAPE_XOR not in (FLAG, ESCAPE)
            body, escaped = body + bytes((byte ^ ESCAPE_XOR,)), False
        elif byte == ESCAPE:
            escaped = True
        else:
            body += bytes((byte,))
    return packets


def critical(rng, size):
    """Bytes of which many mean something to the framing."""
    return rng.choice([FLAG, ESCAPE, FLAG ^ ESCAPE_XOR, ESCAPE ^ ESCAPE_XOR, 0x20, 0], size).astype(np.uint8).tobytes()


@pytest.mark.parametrize("seed", range(50))
def test_there_and_back(seed):
    rng = np.random.default_rng(seed)
    packets = [critical(rng, 4 * int(rng.integers(1, 9))) for _ in range(20)]
    frames = [encode_frame(packet) for packet in packets]
    assert frames == [slow_encode(packet) for packet in packets]
    decoder, found, data = FrameDecoder(), [], b"".join(frames)
    while data:
        size = int(rng.integers(1, 30))
        found += decoder.feed(data[:size])
        data = data[size:]
    assert found == packets


@pytest.mark.parametrize("seed", range(50))
def test_any_bytes(seed):
    rng = np.random.default_rng(seed)
    data = critical(rng, 3000)
    decoder = FrameDecoder()
    cuts = np.sort(rng.integers(0, len(data), 40)).tolist()
    found = [packet for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) for packet in decoder.feed(data[a:b])]
    assert found == slow_decode(data)
    assert None in found
    assert any(found)


def test_frames_without_end():
    decoder = FrameDecoder()
    found = [packet for _ in range(3 * LONGEST_FRAME // 4096) for packet in decoder.feed(bytes(4096))]
    assert set(found) == {None}
    assert decoder.feed(encode_frame(b"1234"))[-1] == b"1234"


def test_reset():
    decoder = FrameDecoder()
    assert decoder.feed(b"~1234") == []
    decoder.reset()
    assert decoder.feed(b"5678~") == [b"5678"]
