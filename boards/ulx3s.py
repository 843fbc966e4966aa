"""ULX3S (Radiona): ECP5 with 12k to 85k LUTs, USB serial port, eight LEDs."""

from celosia.boards.board import Board, on_board
from celosia.boards.designs import LARGE, MEDIUM, SMALL
from celosia.boards.devices import find_device


def _ulx3s(size: int, designs: dict) -> Board:
    return Board(
        name=f"ulx3s-{size}f",
        summary=f"ULX3S with an ECP5 LFE5U-{size}F",
        platform=f"amaranth_boards.ulx3s:ULX3S_{size}F_Platform",
        device=on_board(find_device(f"ecp5-{size}f"), "CABGA381"),
        clock="clk25",
        clock_hz=25e6,
        serial="USB connector US1, FT231X: pins M1 (rx), L4 (tx)",
        leds={"alive": ("led", 0), "busy": ("led", 1), "error": ("led", 7)},
        designs=designs,
        pack=("--compress",),
        program=("openFPGALoader", "-b", "ulx3s", "{bitstream}"),
    )


BOARDS = (_ulx3s(85, LARGE), _ulx3s(45, MEDIUM), _ulx3s(25, SMALL))
