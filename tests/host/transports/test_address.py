"""Addresses: what they open."""

import pytest

from celosia.host.errors import CelosiaError, LinkError
from celosia.host.transports import address
from celosia.host.transports.address import DEFAULT_BAUD, open_port


@pytest.fixture
def ports(monkeypatch):
    """Instead of opening a port, say which."""
    for name in ("SerialPort", "TcpPort"):
        monkeypatch.setattr(address, name, lambda *arguments, name=name: (name, *arguments))


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("/dev/ttyUSB0", ("SerialPort", "/dev/ttyUSB0", DEFAULT_BAUD)),
        (" /dev/ttyUSB0 ", ("SerialPort", "/dev/ttyUSB0", DEFAULT_BAUD)),
        ("/dev/ttyUSB0@3000000", ("SerialPort", "/dev/ttyUSB0", 3_000_000)),
        ("serial:/dev/ttyUSB0", ("SerialPort", "/dev/ttyUSB0", DEFAULT_BAUD)),
        ("serial:board@9600", ("SerialPort", "board", 9600)),
        ("COM3", ("SerialPort", "COM3", DEFAULT_BAUD)),
        ("com12@115200", ("SerialPort", "com12", 115200)),
        ("serial:COM3", ("SerialPort", "COM3", DEFAULT_BAUD)),
        ("tcp:localhost:7000", ("TcpPort", "localhost", 7000)),
        ("tcp://localhost:7000", ("TcpPort", "localhost", 7000)),
        ("TCP://10.0.0.1:7000/", ("TcpPort", "10.0.0.1", 7000)),
        ("tcp:[::1]:7000", ("TcpPort", "::1", 7000)),
    ],
)
def test_addresses(ports, text, port):  # noqa: ARG001
    assert open_port(text).port == port


@pytest.mark.parametrize(
    "text",
    [
        "", "ttyUSB0", "localhost:7000", "tcp:localhost", "tcp:localhost:", "tcp:localhost:0", "tcp:localhost:65536",
        "tcp:::1:7000", "tcp::7000", "/dev/ttyUSB0@", "/dev/ttyUSB0@fast", "/dev/ttyUSB0@0", "serial:", "usb:1", "COM",
    ],
)  # fmt: skip
def test_what_is_none(ports, text):  # noqa: ARG001
    with pytest.raises(CelosiaError, match=r"is no address of a device; one would be /dev/ttyUSB0.*tcp:HOST:PORT\.$"):
        open_port(text)


def test_options(ports):  # noqa: ARG001
    transport = open_port("COM1", baud=5, retries=1, patience=2, run_patience=3, progress=print)
    assert transport.port == ("SerialPort", "COM1", 5)
    assert (transport.retries, transport.patience, transport.run_patience) == (1, 2, 3)
    assert transport.progress is print


def test_a_port_that_cannot_be_opened():
    with pytest.raises(LinkError, match="there is no serial port /dev/no such port"):
        open_port("/dev/no such port")
