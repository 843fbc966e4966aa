"""iCEBreaker (1BitSquared): iCE40UP5K with a USB serial port."""

from celosia.boards.board import Board
from celosia.boards.designs import MINIMAL
from celosia.boards.devices import find_device

BOARDS = (
    Board(
        name="icebreaker",
        summary="iCEBreaker with an iCE40UP5K",
        platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
        device=find_device("ice40-up5k"),
        clock="clk12",
        clock_hz=12e6,
        clock_pad=True,
        serial="USB connector, FT2232H: pins 6 (rx), 9 (tx)",
        leds={"alive": ("led", 1), "error": ("led", 0)},
        designs=MINIMAL,
        program=("iceprog", "{bitstream}"),
    ),
)
