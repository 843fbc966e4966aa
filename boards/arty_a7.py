"""Arty A7 (Digilent): Artix-7 with a USB serial port; Vivado builds the bitstream."""

from celosia.boards.board import Board
from celosia.boards.designs import LARGE, SMALL
from celosia.boards.devices import ARTIX_35, ARTIX_100, Device


def _arty(size: int, device: Device, designs: dict) -> Board:
    return Board(
        name=f"arty-a7-{size}",
        summary=f"Arty A7 with an Artix-7 XC7A{size}T",
        platform=f"amaranth_boards.arty_a7:ArtyA7_{size}Platform",
        device=device,
        clock="clk100",
        clock_hz=100e6,
        serial="micro USB connector J10, FT2232H: pins A9 (rx), D10 (tx)",
        leds={"alive": ("led", 0)},
        pins={"clock": "E3", "reset_n": "C2", "rx": "A9", "tx": "D10", "alive": "H5"},
        designs=designs,
        program=("openFPGALoader", "-b", f"arty_a7_{size}t", "{bitstream}"),
    )


BOARDS = (_arty(100, ARTIX_100, LARGE), _arty(35, ARTIX_35, SMALL))
