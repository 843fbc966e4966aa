"""Addresses of devices: which port a few words name."""

import re
from collections.abc import Callable

from celosia.host.errors import CelosiaError
from celosia.host.transports.framed import PATIENCE, RETRIES, RUN_PATIENCE, FramedTransport
from celosia.host.transports.port import BytePort
from celosia.host.transports.serial import SerialPort
from celosia.host.transports.tcp import TcpPort

DEFAULT_BAUD = 1_000_000
FORMS = "/dev/ttyUSB0, /dev/ttyUSB0@3000000 (with its baud rate), COM3, serial:PATH@BAUD, or tcp:HOST:PORT"

_TCP = re.compile(r"tcp:(//)?(\[(?P<six>[^]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})/?", re.IGNORECASE)
_SERIAL = re.compile(r"(?P<scheme>serial:)?(?P<path>[^@]+)(@(?P<baud>\d+))?", re.IGNORECASE)
_PATH = re.compile(r"/.+|(\\\\\.\\)?COM\d+", re.IGNORECASE)  # of what is a serial port without saying so


def open_port(
    address: str,
    *,
    baud: int = DEFAULT_BAUD,
    retries: int = RETRIES,
    patience: float = PATIENCE,
    run_patience: float = RUN_PATIENCE,
    progress: Callable[[int, int], None] | None = None,
) -> FramedTransport:
    """Open the port of an address, and return the transport over it.

    Parameters
    ----------
    address : str
        A serial port or a TCP server, in one of `FORMS`.
    baud : int
        Of a serial port whose address does not say.
    retries, patience, run_patience, progress
        See `FramedTransport`.

    Raises
    ------
    CelosiaError
        It is no address; the sentence shows the forms.
    LinkError
        Nothing can be opened there.
    """
    port = _port(address.strip(), baud)
    return FramedTransport(port, retries=retries, patience=patience, run_patience=run_patience, progress=progress)


def _port(address: str, baud: int) -> BytePort:
    network = _TCP.fullmatch(address)
    if network:
        number = int(network["port"])
        if 0 < number < 1 << 16:
            return TcpPort(network["six"] or network["host"], number)
    elif not address.lower().startswith("tcp:"):
        serial = _SERIAL.fullmatch(address)
        if serial and (serial["scheme"] or _PATH.fullmatch(serial["path"])):
            rate = int(serial["baud"] or baud)
            if rate:
                return SerialPort(serial["path"], rate)
    raise CelosiaError(f"{address!r} is no address of a device; one would be {FORMS}.")
