"""Bytes over a serial port."""

import errno
import time
from importlib import import_module
from types import ModuleType
from typing import Any

from celosia.host.errors import LinkError

BITS = 10  # of a byte on the line: start, eight, stop
SLICE = 0.005  # seconds that the system is asked to wait at a time: a change of its timeout would be slow
WRITE_TIMEOUT = 30.0  # seconds without room for more bytes


def _pyserial() -> ModuleType:
    try:
        return import_module("serial")
    except ImportError:
        raise LinkError("serial ports need pyserial; pip install 'celosia[serial]' installs it.") from None


class SerialPort:
    """A serial port with 8 data bits, no parity, one stop bit, and no flow control, opened for this process alone.

    Parameters
    ----------
    path : str
        Such as ``/dev/ttyUSB0`` or ``COM3``; also a pseudo-terminal.
    baud : int
        Bits per second.

    Raises
    ------
    LinkError
        It cannot be opened: the sentence says why, and what would help. In `read` and `write`: it was unplugged.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.name, self.byte_rate = path, baud / BITS
        serial = _pyserial()
        self._failures = (serial.SerialException, OSError, TypeError)  # TypeError: closed while it was in use
        self._timeouts = serial.SerialTimeoutException
        try:
            self._port: Any = serial.Serial(path, baud, timeout=SLICE, write_timeout=WRITE_TIMEOUT, exclusive=True)
        except ValueError:
            raise LinkError(f"{path} cannot be set to {baud} baud; name the device's rate behind an @.") from None
        except OSError as error:
            raise LinkError(f"{_refusal(path, error)}.") from None

    def write(self, data: bytes) -> None:
        """Send bytes; waits while there is no room for them."""
        try:
            self._port.write(data)
        except self._timeouts:
            raise LinkError(f"{self.name} has taken no bytes for {WRITE_TIMEOUT:g} seconds.") from None
        except self._failures:
            raise self._gone() from None

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, at least one byte, or nothing if none came within `timeout` seconds."""
        end = time.monotonic() + timeout
        try:
            while not (first := self._port.read(1)):
                if time.monotonic() >= end:
                    return b""
            waiting = self._port.in_waiting
            return bytes(first + self._port.read(waiting) if waiting else first)
        except self._failures:
            raise self._gone() from None

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def _gone(self) -> LinkError:
        if not self._port.is_open:
            return LinkError(f"{self.name} is closed.")
        return LinkError(f"{self.name} is gone: the device was unplugged, or another program reads from it.")


def _refusal(path: str, error: OSError) -> str:
    """Return why a port could not be opened, and what would help."""
    text = str(error)
    if error.errno in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text:
        return f"{path} is in use by another program; close that one first"
    if error.errno == errno.EACCES or "PermissionError" in text:
        return (
            f"{path} may not be opened by you, or is in use; on Linux, be a member of its group: "
            "sudo usermod -aG dialout $USER, and log in again"
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFoundError" in text:
        found = _ports()
        return f"there is no serial port {path}; " + (
            f"there are: {', '.join(found)}" if found else "none is plugged in"
        )
    if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EISDIR) or "not configure" in text:
        return f"{path} is no serial port"
    return f"{path} cannot be opened: {error.strerror or text}"


def _ports() -> list[str]:
    return sorted(port.device for port in import_module("serial.tools.list_ports").comports())
