"""ECPIX-5 (LambdaConcept): ECP5 with a USB serial port."""

from celosia.boards.board import Board, on_board
from celosia.boards.designs import LARGE, MEDIUM
from celosia.boards.devices import find_device


def _ecpix5(size: int, designs: dict) -> Board:
    return Board(
        name=f"ecpix5-{size}f",
        summary=f"ECPIX-5 with an ECP5 LFE5UM5G-{size}F",
        platform=f"amaranth_boards.ecpix5:ECPIX5{size}Platform",
        device=on_board(find_device(f"ecp5-{size}f"), "CABGA554", "8", size=f"--um5g-{size}k"),
        clock="clk100",
        clock_hz=100e6,
        serial="micro USB connector, FT2232H: pins R26 (rx), R24 (tx)",
        leds={"alive": ("rgb_led", 0, "g"), "busy": ("rgb_led", 0, "b"), "error": ("rgb_led", 0, "r")},
        designs=designs,
        pack=("--compress",),
        program=("openFPGALoader", "-b", "ecpix5", "{bitstream}"),
    )


BOARDS = (_ecpix5(85, LARGE), _ecpix5(45, MEDIUM))
