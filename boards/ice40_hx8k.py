"""iCE40HX-8K Breakout Board (Lattice): iCE40HX8K with a USB serial port."""

from celosia.boards.board import Board
from celosia.boards.designs import TINY
from celosia.boards.devices import find_device

BOARDS = (
    Board(
        name="ice40-hx8k",
        summary="iCE40HX-8K Breakout Board, ICE40HX8K-B-EVN",
        platform="amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform",
        device=find_device("ice40-hx8k"),
        clock="clk12",
        clock_hz=12e6,
        serial="USB connector, FT2232H: pins B10 (rx), B12 (tx)",
        leds={"alive": ("led", 0), "busy": ("led", 1), "error": ("led", 7)},
        designs=TINY,
        program=("iceprog", "-S", "{bitstream}"),
        note="Set the jumpers J6 for loading the chip itself.",
    ),
)
