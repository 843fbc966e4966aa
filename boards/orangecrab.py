"""OrangeCrab r0.2 (Good Stuff Department): ECP5 in the shape of a Feather; a serial port on its header."""

from celosia.boards.board import Board, HeaderUart, on_board
from celosia.boards.designs import LARGE, SMALL
from celosia.boards.devices import find_device


def _orangecrab(size: int, designs: dict) -> Board:
    return Board(
        name=f"orangecrab-{size}f",
        summary=f"OrangeCrab r0.2 with an ECP5 LFE5U-{size}F",
        platform=f"amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_{size}FPlatform",
        device=on_board(find_device(f"ecp5-{size}f"), "CSFBGA285", "8"),
        clock="clk",
        clock_hz=48e6,
        serial="header pins 0 (rx, N17) and 1 (tx, M18), 3.3 V: a USB serial adapter",
        header=HeaderUart(connector=("io", 0), rx="0", tx="1", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
        leds={"alive": ("rgb_led", 0, "g"), "busy": ("rgb_led", 0, "b"), "error": ("rgb_led", 0, "r")},
        designs=designs,
        pack=("--compress", "--freq", "38.8"),
        program=("dfu-util", "--alt", "0", "--device", "1209:5af0", "--download", "{bitstream}"),
        note="Hold the button while it is plugged in: the bootloader then takes the bitstream.",
    )


BOARDS = (_orangecrab(85, LARGE), _orangecrab(25, SMALL))
