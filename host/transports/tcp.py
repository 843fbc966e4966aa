"""Bytes over a network connection: a simulator that serves, or a serial port server."""

import contextlib
import select
import socket

from celosia.host.errors import LinkError

CONNECT_TIMEOUT = 5.0  # seconds
WRITE_TIMEOUT = 30.0  # seconds without room for more bytes: a simulated device takes them slowly
CHUNK = 1 << 16  # bytes read at once


class TcpPort:
    """A connection to a TCP server.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        Its TCP port.

    Raises
    ------
    LinkError
        Nobody answers there. In `read` and `write`: the other side closed the connection, or takes nothing.
    """

    byte_rate = None

    def __init__(self, host: str, port: int) -> None:
        self.name = f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
        except socket.gaierror:
            raise LinkError(f"{self.name} cannot be reached: host {host!r} is unknown.") from None
        except ConnectionRefusedError:
            raise LinkError(f"{self.name} refuses connections: start the server there, or name another port.") from None
        except OSError as error:
            raise LinkError(f"{self.name} cannot be reached: {error.strerror or error}.") from None
        self._served = False  # a byte has come
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(WRITE_TIMEOUT)

    def write(self, data: bytes) -> None:
        """Send bytes; waits while there is no room for them."""
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise LinkError(f"{self.name} has taken no bytes for {WRITE_TIMEOUT:g} seconds.") from None
        except OSError as error:
            raise self._gone(error) from None

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, at least one byte, or nothing if none came within `timeout` seconds."""
        try:
            if not select.select([self._socket], [], [], timeout)[0]:
                return b""
            data = self._socket.recv(CHUNK)
        except (OSError, ValueError) as error:  # ValueError: closed on this side
            raise self._gone(error) from None
        if not data:
            raise self._gone(ConnectionResetError())
        self._served = True
        return data

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _gone(self, error: Exception) -> LinkError:
        if self._socket.fileno() < 0:
            return LinkError(f"{self.name} is closed.")
        if isinstance(error, ConnectionError):
            hint = "" if self._served else "; does another program use it?"
            return LinkError(f"{self.name} was closed by the other side{hint or '.'}")
        return LinkError(f"{self.name} failed: {error}.")
