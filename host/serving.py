"""Serves a simulated accelerator's wire to other programs, behind a pseudo-terminal or a TCP port.

The program at the other end cannot tell it from a board, except by its pace: time passes for the device while there are
bytes that it has not taken or packets that it has not answered, and stands still otherwise.
"""

import contextlib
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from celosia.host.errors import CelosiaError
from celosia.hw.protocol import FLAG

SLICE = 1024  # cycles between looks at the outside: about as long as a packet takes
PATIENCE = 50_000_000  # cycles without a byte after which a missing answer is given up
CHUNK = 1 << 16  # bytes taken from the outside at once


class ServedWire(Protocol):
    """What is served; see `celosia.sim.wire.Wire`."""

    @property
    def unsent(self) -> int:
        """Bytes that it has not taken yet."""
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes for the device."""
        ...

    def run(self, cycles: int) -> None:
        """Let time pass."""
        ...

    def receive(self) -> bytes:
        """Take what has come from the device."""
        ...


class Endpoint(Protocol):
    """Where a client comes in."""

    @property
    def address(self) -> str:
        """What `celosia run --device` is given to get here."""
        ...

    def exchange(self, data: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Hand bytes to the client and take bytes from it.

        Parameters
        ----------
        data : bytes
            For the client; lost if there is none.
        timeout : float
            Seconds to wait for something to happen.

        Returns
        -------
        taken, left : bytes
            From the client; and what of `data` it has no room for yet.
        """
        ...

    def close(self) -> None:
        """Let no one in any more."""
        ...


def check_link(link: Path | None) -> None:
    """Refuse a path that a symbolic link must not replace.

    Raises
    ------
    CelosiaError
        There is something else, or no folder for it.
    """
    if link is not None and not link.parent.is_dir():
        raise CelosiaError(f"{link} cannot be made, as {link.parent} is no folder; give another name to --pty-link.")
    if link is not None and not link.is_symlink() and link.exists():
        raise CelosiaError(f"{link} exists and is no symbolic link; give another name to --pty-link.")


class PseudoTerminal:
    """A pseudo-terminal, which serial programs open like a serial port.

    Parameters
    ----------
    link : Path or None
        A symbolic link to make to it, since its own name is another each time; one that is there is replaced.

    Raises
    ------
    CelosiaError
        `link` exists and is no symbolic link, or this system has no pseudo-terminals.
    """

    def __init__(self, link: Path | None = None) -> None:
        try:
            import tty
        except ImportError:
            raise CelosiaError("this system has no pseudo-terminals; --tcp serves the simulator, too.") from None
        check_link(link)
        # The slave stays open here, too: the line is there whether anybody listens or not.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._link = link.absolute() if link else None
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(os.ttyname(self._slave))

    @property
    def address(self) -> str:
        """Path of the link, or else of the terminal."""
        return str(self._link or os.ttyname(self._slave))

    def exchange(self, data: bytes, timeout: float) -> tuple[bytes, bytes]:
        """See `Endpoint`."""
        readable, writable, _ = select.select([self._master], [self._master] if data else [], [], timeout)
        taken = os.read(self._master, CHUNK) if readable else b""
        written = os.write(self._master, data) if writable else 0
        return taken, data[written:]

    def close(self) -> None:
        """Hang up, and remove the symbolic link."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.unlink()
        os.close(self._slave)
        os.close(self._master)


class TcpEndpoint:
    """A TCP port that one client at a time may use; others are hung up on at once.

    Parameters
    ----------
    host : str
        Address of this machine to listen on.
    port : int
        0 takes a free one.

    Raises
    ------
    CelosiaError
        The port is in use, or the address is not this machine's.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            self._listener = socket.create_server((host, port))
        except socket.gaierror:
            raise CelosiaError(f"cannot listen on {host}:{port}: host {host!r} is unknown.") from None
        except (OSError, OverflowError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number and number > 0 else str(error)
            raise CelosiaError(f"cannot listen on {host}:{port}: {reason}.") from None
        self._host = host
        self._client: socket.socket | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"tcp:{self._host}:{self._listener.getsockname()[1]}"

    def exchange(self, data: bytes, timeout: float) -> tuple[bytes, bytes]:
        """See `Endpoint`."""
        client = self._client
        readers = [self._listener] if client is None else [self._listener, client]
        readable, writable, _ = select.select(readers, [client] if client and data else [], [], timeout)
        taken, left = b"", data if client else b""
        if client in readable or writable:
            assert client is not None, "only a client can be read or written"
            try:
                if writable:
                    left = data[client.send(data) :]
                if client in readable:
                    taken = client.recv(CHUNK)
                    if not taken:
                        self._hang_up()
            except BlockingIOError:
                pass
            except OSError:
                self._hang_up()
        if self._listener in readable:
            self._let_in()
        return taken, left if self._client else b""

    def _let_in(self) -> None:
        newcomer, _ = self._listener.accept()
        if self._client is not None:
            newcomer.close()
            return
        newcomer.setblocking(False)
        newcomer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = newcomer

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Hang up and stop listening."""
        self._hang_up()
        self._listener.close()


class FrameCounter:
    """Counts the frames that end in a stream of bytes."""

    def __init__(self) -> None:
        self.frames = 0
        self._open = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *ended, rest = data.split(bytes((FLAG,)))
        for index, piece in enumerate(ended):
            self.frames += bool(piece) or (index == 0 and self._open)
        self._open = bool(rest) or (not ended and self._open)


def serve(wire: ServedWire, endpoint: Endpoint, *, until: Callable[[], bool] = lambda: False) -> None:
    """Carry bytes between a wire and its clients, for ever or until `until` says so.

    Parameters
    ----------
    wire : ServedWire
    endpoint : Endpoint
    until : callable
        Asked before each look at the outside, at least twice a second.
    """
    asked, answered = FrameCounter(), FrameCounter()
    left, silence = b"", 0
    while not until():
        waiting = asked.frames > answered.frames and silence < PATIENCE
        busy = (waiting or wire.unsent > 0) and len(left) < CHUNK  # a client that does not read stops the device
        taken, left = endpoint.exchange(left, 0.0 if busy else 0.5)
        if taken:
            asked.feed(taken)
            wire.send(taken)
        if not (busy or taken):
            if silence >= PATIENCE:  # a torn packet was counted that the device took for the beginning of another
                asked.frames = answered.frames
                silence = 0
            continue
        wire.run(SLICE)
        given = wire.receive()
        answered.feed(given)
        left += given
        silence = 0 if taken or given else silence + SLICE
