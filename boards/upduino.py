"""UPduino v3 (tinyVision.ai): iCE40UP5K; a serial port on its header.

The chip has 5,280 logic cells, of which the smallest accelerator takes 4,800.
"""

from celosia.boards.board import Board, HeaderUart
from celosia.boards.designs import MINIMAL
from celosia.boards.devices import find_device

BOARDS = (
    Board(
        name="upduino",
        summary="UPduino v3 with an iCE40UP5K",
        platform="amaranth_boards.upduino_v3:UpduinoV3Platform",
        device=find_device("ice40-up5k"),
        clock="clk12",
        clock_hz=12e6,
        serial="header pins 28 (rx) and 38 (tx), 3.3 V: a USB serial adapter",
        header=HeaderUart(connector=("j", 0), rx="20", tx="19", attributes={"IO_STANDARD": "SB_LVCMOS"}),
        leds={"alive": ("rgb_led", 0, "g"), "busy": ("rgb_led", 0, "b"), "error": ("rgb_led", 0, "r")},
        designs=MINIMAL,
        program=("iceprog", "{bitstream}"),
        note="Close the solder jumper OSC: the chip's own oscillator is too inexact for a serial port.",
    ),
)
