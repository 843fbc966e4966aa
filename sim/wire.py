# amaranth: UnusedElaboratable=no
"""A simulated accelerator at the end of a wire: bytes in, bytes out, as a board's link carries them."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.sim.rtl import simulate


class Wire:
    """Bytes to and from a running simulator whose component has streams `i` and `o` of 8 bits.

    Time passes only in `run`.

    Parameters
    ----------
    sim : celosia.sim.rtl.Simulator
    config : AcceleratorConfig
        Of the accelerator at the end of it.
    """

    def __init__(self, sim: Any, config: AcceleratorConfig) -> None:
        self.sim, self.config = sim, config

    @property
    def cycle(self) -> int:
        """Clock cycles simulated so far."""
        return self.sim.cycle

    @property
    def unsent(self) -> int:
        """Bytes that the wire has not taken yet."""
        return self.sim.unsent("i")

    def send(self, data: bytes) -> None:
        """Queue bytes for the device."""
        self.sim.send("i", np.frombuffer(data, np.uint8).astype(np.uint32))

    def run(self, cycles: int) -> None:
        """Let time pass."""
        self.sim.run(cycles)

    def receive(self) -> bytes:
        """Take what has come from the device."""
        return self.sim.receive("o").astype(np.uint8).tobytes()

    def close(self) -> None:
        """End the simulation."""
        self.sim.close()


def byte_wire(config: AcceleratorConfig, *, progress: Callable[[str], None] | None = None) -> Wire:
    """Return a wire that takes and gives a byte per clock cycle, such as a network's.

    Parameters
    ----------
    config : AcceleratorConfig
    progress : callable, optional
        Told about each stage of a build that is not in the cache.
    """
    from celosia.hw.link.table import find_link  # Amaranth takes a while to import
    from celosia.hw.top import LinkedAccelerator

    top = LinkedAccelerator(config, find_link("bytes").build(config))
    sim = simulate(top, name="byte_accelerator", identity=config.hash, progress=progress)
    return Wire(sim, config)


def serial_wire(
    config: AcceleratorConfig, *, clock_hz: float, baud: float, progress: Callable[[str], None] | None = None
) -> Wire:
    """Return a serial line, bit by bit: the accelerator's UART, and another at the host's end of the line.

    Parameters
    ----------
    config : AcceleratorConfig
    clock_hz, baud : float
        Of the accelerator; only their ratio matters here, 4 or more.
    progress : callable, optional
        Told about each stage of a build that is not in the cache.
    """
    from celosia.sim.serial_line import SerialLine

    top = SerialLine(config, clock_hz=clock_hz, baud=baud)
    # The cache knows the sources in `celosia.hw` only.
    identity = f"{config.hash} {clock_hz!r} {baud!r} {inspect.getsource(SerialLine)}"
    sim = simulate(top, name="serial_accelerator", identity=identity, progress=progress)
    return Wire(sim, config)
