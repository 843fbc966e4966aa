"""What is at the other end is no Celosia device, and talks."""

import itertools
import time

import pytest

from celosia.host.errors import LinkError
from celosia.host.transports.framed import FramedTransport
from celosia.hw.protocol import Opcode, Request


class Talker:
    """A port on which something is always coming, a piece at a time."""

    name = "console"
    byte_rate = None

    def __init__(self, pieces: list[bytes], pause: float) -> None:
        self._pieces, self._pause = itertools.cycle(pieces), pause

    def write(self, data: bytes) -> None:
        pass

    def read(self, timeout: float) -> bytes:
        time.sleep(min(self._pause, timeout))
        return next(self._pieces) if self._pause <= timeout else b""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("pieces", "pause"),
    [([b"$GPGGA,123519\r\n"], 0.001), ([b"~"], 0.0), ([b"~~~~", b"x"], 0.0), ([b"login: "], 0.03)],
)
def test_it_ends_in_a_sentence(pieces, pause):
    transport = FramedTransport(Talker(pieces, pause), patience=0.02)
    with pytest.raises(
        LinkError, match=r"RESET was sent \d+ times over console.*; is it a Celosia device, at this speed\?$"
    ):
        transport.exchange([Request(opcode=Opcode.STATUS).encode()])
