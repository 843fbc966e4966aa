"""TcpPort over localhost, with a device of threads behind it."""

import socket
import threading
import time

import numpy as np
import pytest

from celosia.host.device import Device
from celosia.host.errors import LinkError
from celosia.host.transports.address import open_port
from celosia.host.transports.tcp import TcpPort


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def number(server):
    return server.getsockname()[1]


def serve(server, board, until_bytes=None):
    """Answer one connection until the other side closes it, or so many bytes have come."""

    def loop():
        connection, _ = server.accept()
        with connection:
            received = 0
            while data := connection.recv(1 << 16):
                received += len(data)
                if until_bytes is not None and received > until_bytes:
                    return
                board.receive(time.monotonic(), data)
                connection.sendall(board.sent)
                board.sent = b""

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def test_a_device(listener, kit):
    board = kit.Board()
    thread = serve(listener, board)
    with Device(open_port(f"tcp:127.0.0.1:{number(listener)}")) as device:
        program = kit.program()
        device.load(program)
        inputs = np.arange(80, dtype=np.uint32).reshape(-1, 2)
        assert np.array_equal(device.run_resident(inputs)[0], kit.expected(program, inputs))
        assert np.array_equal(device.run_stream(np.tile(inputs, (3, 1)))[0][40:80], kit.expected(program, inputs))
    thread.join()


def test_reading_waits_for_the_first_byte_only(listener):
    port = TcpPort("127.0.0.1", number(listener))
    connection, _ = listener.accept()
    assert port.read(0) == b""
    connection.sendall(b"abc")
    assert port.read(10) == b"abc"
    port.write(b"def")
    assert connection.recv(10) == b"def"
    connection.close()
    with pytest.raises(LinkError, match="was closed by the other side"):
        port.read(10)
    port.close()
    for use in (lambda: port.read(0.01), lambda: port.write(b"x")):
        with pytest.raises(LinkError, match=r"^tcp:127.0.0.1:\d+ is closed\.$"):
            use()


def test_the_server_ends_in_a_transfer(listener, kit):
    thread = serve(listener, kit.Board(), until_bytes=2000)
    with Device(open_port(f"tcp:127.0.0.1:{number(listener)}")) as device:
        with pytest.raises(LinkError, match="was closed by the other side"):
            device.write("weights", np.ones((512, 1), np.uint32))
        thread.join()


def test_nobody_listens(listener):
    port = number(listener)
    listener.close()
    with pytest.raises(LinkError, match=f"tcp:127.0.0.1:{port} refuses connections: start the server there"):
        TcpPort("127.0.0.1", port)


def test_unknown_host(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(LinkError, match=r"^tcp:nowhere:7000 cannot be reached: host 'nowhere' is unknown\.$"):
        TcpPort("nowhere", 7000)


def test_a_server_that_takes_nothing(listener, monkeypatch):
    monkeypatch.setattr("celosia.host.transports.tcp.WRITE_TIMEOUT", 0.05)
    port = TcpPort("127.0.0.1", number(listener))
    with pytest.raises(LinkError, match=r"has taken no bytes for 0\.05 seconds"):
        port.write(bytes(1 << 26))
    port.close()
