"""Frames: packets among bytes, as HDLC does it; see `celosia.hw.protocol`. No Python runs per byte, only per escape."""

from celosia.hw.protocol import ANSWER_OVERHEAD, ESCAPE, ESCAPE_XOR, FLAG

LONGEST_FRAME = 2 * 4 * (0xFFFF + ANSWER_OVERHEAD)  # bytes between flags: the longest answer, each byte escaped

_FLAG, _ESCAPE = bytes((FLAG,)), bytes((ESCAPE,))
_ESCAPED = {bytes((byte ^ ESCAPE_XOR,)): bytes((byte,)) for byte in (FLAG, ESCAPE)}  # byte behind an escape: what it is
_ESCAPED_FLAG, _ESCAPED_ESCAPE = (_ESCAPE + escaped for escaped in _ESCAPED)


def encode_frame(packet: bytes) -> bytes:
    """Return a packet as it goes over the link, between two flags.

    The flag before it ends what noise may have put on a link that was quiet.
    """
    return _FLAG + packet.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(_FLAG, _ESCAPED_FLAG) + _FLAG


class FrameDecoder:
    """Finds packets in what arrives, however it is cut into pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the frame whose end has not come
        self._length = 0  # bytes of them

    def feed(self, data: bytes) -> list[bytes | None]:
        """Take bytes, and return the packets that they complete, in order; None for a broken frame.

        Empty frames are left out. Broken is a frame that is no whole number of 32-bit words, in which an escape stands
        before a byte that needs none, or that is longer than any answer.
        """
        *ended, rest = data.split(_FLAG)
        packets: list[bytes | None] = []
        if ended:
            self._pieces.append(ended[0])
            ended[0] = b"".join(self._pieces)
            self._pieces, self._length = [], 0
            packets = [_packet(frame) for frame in ended if frame]
        if rest:
            self._pieces.append(rest)
            self._length += len(rest)
            if self._length > LONGEST_FRAME:
                self.reset()
                packets.append(None)
        return packets

    def reset(self) -> None:
        """Forget the frame whose end has not come."""
        self._pieces, self._length = [], 0


def _packet(frame: bytes) -> bytes | None:
    head, *escaped = frame.split(_ESCAPE)  # several times as fast as replacing pairs of bytes
    if escaped:
        try:
            frame = head + b"".join([_ESCAPED[part[:1]] + part[1:] for part in escaped])
        except KeyError:
            return None
    return None if len(frame) % 4 else frame
