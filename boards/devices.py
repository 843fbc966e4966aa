"""FPGA parts that designs are measured on: what is in them, and how place and route is told about them."""

from dataclasses import dataclass, field
from typing import Literal

Family = Literal["ecp5", "ice40", "xilinx"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """One FPGA in one package and speed grade.

    Counts are from the data sheets: Lattice FPGA-DS-02012 (ECP5), FPGA-DS-02008 (iCE40 UltraPlus) and FPGA-DS-02029
    (iCE40 LP/HX), AMD DS180 (Artix-7).

    Parameters
    ----------
    name : str
        Name on the command line.
    family : Family
        Family, as yosys names it.
    part : str
        The manufacturer's part number, without package and grade.
    options : tuple of str
        Arguments that select the part for nextpnr.
    luts, ffs : int
        Look-up tables, of six inputs in Artix-7 and four elsewhere, and flip-flops.
    dsps : int
        Hardware multipliers: MULT18X18D, SB_MAC16 of 16 × 16 bits, or DSP48E1.
    brams, bram_bits : int
        Block RAMs, and bits of one.
    large_rams, large_ram_bits : int
        Single-port RAMs, and bits of one.
    """

    name: str
    family: Family
    part: str
    options: tuple[str, ...]
    luts: int
    ffs: int
    dsps: int
    brams: int
    bram_bits: int
    large_rams: int = 0
    large_ram_bits: int = field(default=0)

    def least_brams(self, width: int, depth: int) -> int:
        """Return the fewest block RAMs that hold `depth` words of `width` bits, in any of their shapes."""
        shapes = _SHAPES[self.bram_bits]
        return min(-(-width // bits) * -(-depth // words) for bits, words in shapes)


_SHAPES = {
    18 * 1024: ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
    4 * 1024: ((16, 256), (8, 512), (4, 1024), (2, 2048)),
}
"""Bits of a block RAM → bits of a word and words, in each of its shapes."""


def _ecp5(size: int, package: str, *, luts: int, dsps: int, brams: int) -> Device:
    return Device(
        name=f"ecp5-{size}f",
        family="ecp5",
        part=f"LFE5U-{size}F",
        options=(f"--{size}k", "--package", package, "--speed", "6"),
        luts=luts,
        ffs=luts,
        dsps=dsps,
        brams=brams,
        bram_bits=18 * 1024,
    )


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        _ecp5(25, "CABGA381", luts=24_288, dsps=28, brams=56),
        _ecp5(45, "CABGA554", luts=43_848, dsps=72, brams=108),
        _ecp5(85, "CABGA756", luts=83_640, dsps=156, brams=208),
        Device(
            name="ice40-up5k",
            family="ice40",
            part="iCE40UP5K",
            options=("--up5k", "--package", "sg48"),
            luts=5_280,
            ffs=5_280,
            dsps=8,
            brams=30,
            bram_bits=4 * 1024,
            large_rams=4,
            large_ram_bits=256 * 1024,
        ),
        Device(
            name="ice40-hx8k",
            family="ice40",
            part="iCE40HX8K",
            options=("--hx8k", "--package", "ct256"),
            luts=7_680,
            ffs=7_680,
            dsps=0,
            brams=32,
            bram_bits=4 * 1024,
        ),
    )
}
"""Every known part, by name."""


def artix(size: int, *, luts: int, dsps: int, brams: int) -> Device:
    """Return an Artix-7 of that size, in thousands of logic cells, with block RAMs of 18 kbit."""
    return Device(
        name=f"xc7a{size}t",
        family="xilinx",
        part=f"xc7a{size}ticsg324-1L",
        options=(),
        luts=luts,
        ffs=2 * luts,
        dsps=dsps,
        brams=brams,
        bram_bits=18 * 1024,
    )


ARTIX_35 = artix(35, luts=20_800, dsps=90, brams=100)
ARTIX_100 = artix(100, luts=63_400, dsps=240, brams=270)


def find_device(name: str) -> Device:
    """Return the part of that name.

    Raises
    ------
    ValueError
        There is none; the message lists those there are.
    """
    try:
        return DEVICES[name]
    except KeyError:
        raise ValueError(f"Unknown device {name!r}; known are {', '.join(DEVICES)}.") from None
