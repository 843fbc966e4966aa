"""SerialPort over pseudo-terminals, with a device in a thread behind them."""

import os
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.device import Device
from celosia.host.errors import LinkError
from celosia.host.transports.address import open_port
from celosia.host.transports.serial import SerialPort

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
tty = pytest.importorskip("tty")
BAUD = 115200


@pytest.fixture
def terminal():
    """A pseudo-terminal: `path` for the host, `end` for the device."""
    end, host = os.openpty()
    tty.setraw(host)
    made = SimpleNamespace(path=os.ttyname(host), end=end, host=host)

    def close():
        for file in (made.end, made.host):
            if file is not None:
                os.close(file)
        made.end = made.host = None

    made.close = close
    yield made
    close()


def serve(terminal, board, until_bytes=None):
    """Answer until so many bytes have come; then unplug the device."""

    def loop():
        received = 0
        while until_bytes is None or received < until_bytes:
            try:
                data = os.read(terminal.end, 4096)
            except (OSError, TypeError):
                return
            received += len(data)
            board.receive(time.monotonic(), data)
            while board.sent:
                board.sent = board.sent[os.write(terminal.end, board.sent) :]
        terminal.close()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def test_a_device(terminal, kit):
    board = kit.Board()
    serve(terminal, board)
    with Device(open_port(f"{terminal.path}@{BAUD}")) as device:
        program = kit.program()
        device.load(program)
        inputs = np.arange(80, dtype=np.uint32).reshape(-1, 2)
        assert np.array_equal(device.run_resident(inputs)[0], kit.expected(program, inputs))


def test_all_bytes_pass(terminal):
    port = SerialPort(terminal.path, BAUD)
    assert port.byte_rate == BAUD / 10
    assert port.read(0) == b""
    every = bytes(range(256))
    port.write(every)
    assert os.read(terminal.end, 1000) == every
    os.write(terminal.end, every)
    found = b""
    while len(found) < 256:
        found += port.read(10)
    assert found == every
    port.close()
    for use in (lambda: port.read(0.01), lambda: port.write(b"x")):
        with pytest.raises(LinkError, match=f"^{terminal.path} is closed"):
            use()


def test_in_use(terminal):
    first = SerialPort(terminal.path, BAUD)
    with pytest.raises(LinkError, match=rf"^{terminal.path} is in use by another program; close that one first\.$"):
        SerialPort(terminal.path, BAUD)
    first.close()
    SerialPort(terminal.path, BAUD).close()


def test_unplugged_in_a_transfer(terminal, kit):
    thread = serve(terminal, kit.Board(), until_bytes=1000)
    with Device(open_port(terminal.path)) as device:
        with pytest.raises(LinkError, match=f"^{terminal.path} is gone: the device was unplugged"):
            device.write("weights", np.ones((512, 1), np.uint32))
        thread.join()


def test_missing(monkeypatch):
    import serial.tools.list_ports as ports

    monkeypatch.setattr(
        ports, "comports", lambda: [SimpleNamespace(device=name) for name in ("/dev/ttyB", "/dev/ttyA")]
    )
    with pytest.raises(LinkError, match=r"^there is no serial port /dev/ttyNo; there are: /dev/ttyA, /dev/ttyB\.$"):
        SerialPort("/dev/ttyNo", BAUD)
    monkeypatch.setattr(ports, "comports", list)
    with pytest.raises(LinkError, match=r"^there is no serial port /dev/ttyNo; none is plugged in\.$"):
        SerialPort("/dev/ttyNo", BAUD)


def test_not_allowed(monkeypatch, terminal):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", terminal.path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError, match=f"^{terminal.path} may not be opened by you.*usermod -aG dialout"):
        SerialPort(terminal.path, BAUD)


def test_no_serial_port(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(LinkError, match=r"file is no serial port\.$"):
        SerialPort(str(path), BAUD)


def test_without_pyserial(monkeypatch, terminal):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(LinkError, match=r"pip install 'celosia\[serial\]' installs it\.$"):
        SerialPort(terminal.path, BAUD)
