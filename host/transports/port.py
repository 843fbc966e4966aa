"""What a framed link needs of something that carries bytes."""

from typing import Protocol


class BytePort(Protocol):
    """Carries bytes both ways: a serial port, a network connection.

    Bytes may be lost, added or changed on the way, but never overtake each other.
    """

    @property
    def name(self) -> str:
        """What sentences call it, such as ``/dev/ttyUSB0``."""
        ...

    @property
    def byte_rate(self) -> float | None:
        """Bytes per second in each direction; None if the time they take is negligible."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes; waits while there is no room for them.

        Raises
        ------
        LinkError
            Here and in `read`: the other side is gone, or takes nothing.
        """
        ...

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, at least one byte, or nothing if none came within `timeout` seconds."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...
