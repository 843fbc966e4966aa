import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from celosia.host.cli.serve import split_address
from celosia.host.errors import CelosiaError
from celosia.host.serving import PATIENCE, FrameCounter, PseudoTerminal, TcpEndpoint, check_link, serve

FRAME = b"\x7eabcd\x7e"


class EchoWire:
    """Gives a frame back once 3 slices of cycles have passed, like a device that has to compute first."""

    def __init__(self) -> None:
        self.unsent = 0
        self.cycles = 0
        self._waiting: list[tuple[int, bytes]] = []

    def send(self, data: bytes) -> None:
        self._waiting.append((self.cycles + 3000, data))

    def run(self, cycles: int) -> None:
        self.cycles += cycles

    def receive(self) -> bytes:
        ripe = [data for when, data in self._waiting if when <= self.cycles]
        self._waiting = [entry for entry in self._waiting if entry[0] > self.cycles]
        return b"".join(ripe)


@contextmanager
def served(endpoint: Any, wire: Any) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=serve, args=(wire, endpoint), kwargs={"until": stopped.is_set})
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        endpoint.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def connect(endpoint: TcpEndpoint) -> socket.socket:
    _, host, port = endpoint.address.split(":")
    client = socket.create_connection((host, int(port)))
    client.settimeout(30)
    return client


def take(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := client.recv(size - len(data))):
        data += piece
    return data


@pytest.mark.parametrize(
    ("pieces", "frames"),
    [
        ([b"\x7e\x7e\x7e"], 0),
        ([b"\x7eab\x7e\x7ecd\x7e"], 2),
        ([b"\x7eab\x7ecd\x7e"], 2),
        ([b"\x7eab", b"", b"cd", b"\x7e", b"\x7e"], 1),
        ([b"ab", b"\x7e"], 1),
        ([b"ab\x7ecd", b"ef"], 1),
        ([b"a"] * 5 + [b"\x7e"], 1),
    ],
)
def test_frames_are_counted(pieces, frames):
    counter = FrameCounter()
    for piece in pieces:
        counter.feed(piece)
    assert counter.frames == frames


def test_bytes_pass_over_tcp_one_client_after_the_other():
    endpoint, wire = TcpEndpoint("localhost", 0), EchoWire()
    with served(endpoint, wire):
        for _ in range(3):
            with connect(endpoint) as client:
                client.sendall(FRAME * 1000)
                assert take(client, 1000 * len(FRAME)) == FRAME * 1000


def test_a_second_client_is_hung_up_on():
    endpoint = TcpEndpoint("localhost", 0)
    with served(endpoint, EchoWire()), connect(endpoint) as client:
        client.sendall(FRAME)
        assert take(client, len(FRAME)) == FRAME
        with connect(endpoint) as second:
            assert second.recv(1) == b""
        client.sendall(FRAME)
        assert take(client, len(FRAME)) == FRAME


def test_time_stands_still_when_nothing_is_asked():
    endpoint, wire = TcpEndpoint("localhost", 0), EchoWire()
    with served(endpoint, wire), connect(endpoint) as client:
        client.sendall(FRAME)
        assert take(client, len(FRAME)) == FRAME
        cycles = wire.cycles
        time.sleep(0.2)
        assert wire.cycles == cycles


def test_an_answer_that_never_comes_is_given_up():
    class Deaf(EchoWire):
        def send(self, data: bytes) -> None:
            pass

    endpoint, wire = TcpEndpoint("localhost", 0), Deaf()
    with served(endpoint, wire), connect(endpoint) as client:
        client.sendall(FRAME)
        wait_for(lambda: wire.cycles >= PATIENCE)
        cycles = wire.cycles
        time.sleep(0.2)
        assert wire.cycles <= cycles + 1024


def test_a_port_in_use_is_one_sentence():
    endpoint = TcpEndpoint("localhost", 0)
    port = int(endpoint.address.rpartition(":")[2])
    with pytest.raises(CelosiaError, match=rf"cannot listen on localhost:{port}: Address already in use\."):
        TcpEndpoint("localhost", port)
    endpoint.close()


def test_bytes_pass_through_a_pseudo_terminal(tmp_path):
    link = tmp_path / "board"
    link.symlink_to("/nowhere")  # left behind by a server that was killed
    endpoint = PseudoTerminal(link)
    with served(endpoint, EchoWire()):
        for _ in range(2):  # the line stays when a client goes
            line = os.open(endpoint.address, os.O_RDWR | os.O_NOCTTY)
            data = bytes(range(256)) + FRAME  # a raw line: nothing means anything
            os.write(line, data)
            found = b""
            while len(found) < len(data):
                found += os.read(line, 1024)
            assert found == data
            os.close(line)
    assert not link.is_symlink()


def test_a_file_is_not_replaced_by_a_link(tmp_path):
    precious = tmp_path / "board"
    precious.write_text("precious")
    with pytest.raises(CelosiaError, match="exists and is no symbolic link"):
        PseudoTerminal(precious)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "address"), [("7000", ("localhost", 7000)), ("0.0.0.0:1", ("0.0.0.0", 1)), ("::1:5", ("::1", 5))]
)
def test_addresses(text, address):
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", "a:b", "70000", "-1"])
def test_bad_addresses(text):
    with pytest.raises(CelosiaError, match="must be PORT or HOST:PORT"):
        split_address(text)


def test_a_link_needs_a_folder(tmp_path):
    link = tmp_path / "missing" / "board"
    with pytest.raises(CelosiaError, match="missing is no folder; give another name to --pty-link"):
        check_link(link)


def test_the_address_of_a_link_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    terminal = PseudoTerminal(Path("board"))
    try:
        assert terminal.address == str(tmp_path / "board")
    finally:
        terminal.close()
