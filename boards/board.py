"""What a board declares about itself, and what a design for it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import MappingProxyType
from typing import Any

from celosia.boards.devices import Device
from celosia.boards.tools import SynthesisError
from celosia.hw.config import AcceleratorConfig

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Design:
    """An accelerator for a board: its config, and its clock rate in MHz."""

    config: AcceleratorConfig
    clock_mhz: float


@dataclass(frozen=True, kw_only=True)
class HeaderUart:
    """A serial port on header pins, for boards without one.

    Parameters
    ----------
    connector : tuple of (str, int)
        Name and number of the platform's connector.
    rx, tx : str
        Pins of the connector: the accelerator's input, and its output.
    attributes : mapping of str to str
        Attributes of both pins.
    """

    connector: tuple[str, int]
    rx: str
    tx: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board: where its platform is, what is connected to what, and which accelerators suit it.

    Parameters
    ----------
    name : str
        Name on the command line.
    summary : str
        One sentence, or part of one.
    platform : str
        Module and class of the Amaranth platform, ``"amaranth_boards.ulx3s:ULX3S_85F_Platform"``.
    device : Device
        The part, with the board's package and speed grade.
    clock : str
        The platform's clock resource.
    clock_hz : float
        Its rate, Hz.
    clock_pad : bool
        iCE40: the clock comes in at the pad of the PLL, which then has to be used as such.
    serial : str
        Where a computer is connected to the serial port, in a few words.
    baud : int
        Symbols per second of the serial port, by default.
    header : HeaderUart or None
        Where the serial port is, if the platform has none.
    leds : mapping of str to tuple
        ``alive``, ``busy``, ``error`` → resource: its name, its number, and the name of a part if it has several.
    designs : mapping of str to Design
        Engine → accelerator that fits.
    pack : tuple of str
        Further arguments of the tool that makes the bitstream.
    program : tuple of str
        Command that loads it, with ``{bitstream}`` for the file.
    pins : mapping of str to str
        Where the manufacturer's tools make the bitstream: ``clock``, ``reset_n``, ``rx``, ``tx``, ``alive`` → pin.
    note : str
        What has to be done to the board first; empty: nothing.
    """

    name: str
    summary: str
    platform: str
    device: Device
    clock: str
    clock_hz: float
    clock_pad: bool = False
    serial: str
    baud: int = 1_000_000
    header: HeaderUart | None = None
    leds: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: _NOTHING)
    designs: Mapping[str, Design]
    pack: tuple[str, ...] = ()
    program: tuple[str, ...]
    pins: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    note: str = ""

    def load_platform(self) -> Any:
        """Return an instance of the platform; imports Amaranth.

        Raises
        ------
        SynthesisError
            amaranth-boards is not installed.
        """
        module, name = self.platform.split(":")
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            raise SynthesisError(
                "amaranth-boards is not installed; `pip install 'celosia[boards,synth]'` installs it."
            ) from None
        return getattr(found, name)()

    def command(self, bitstream: str) -> list[str]:
        """Return the command that loads a bitstream."""
        return [part.format(bitstream=bitstream) for part in self.program]


def on_board(device: Device, package: str, speed: str = "6", *, size: str = "") -> Device:
    """Return an ECP5 in another package and speed grade, and of another kind if `size` says so."""
    return replace(device, options=(size or device.options[0], "--package", package, "--speed", speed))
