"""Table of boards. Commands and tests find theirs here; a board's file is imported when it is asked for."""

from collections.abc import Iterator
from importlib import import_module
from typing import Final

from celosia.boards.board import Board

_FILES: Final = {
    "ulx3s-85f": "ulx3s",
    "ulx3s-45f": "ulx3s",
    "ulx3s-25f": "ulx3s",
    "orangecrab-85f": "orangecrab",
    "orangecrab-25f": "orangecrab",
    "ecpix5-85f": "ecpix5",
    "ecpix5-45f": "ecpix5",
    "ice40-hx8k": "ice40_hx8k",
    "icebreaker": "icebreaker",
    "upduino": "upduino",
    "arty-a7-100": "arty_a7",
    "arty-a7-35": "arty_a7",
}

BOARDS: Final = tuple(_FILES)
"""Name of every board."""


def find_board(name: str) -> Board:
    """Return the board of that name.

    Raises
    ------
    ValueError
        There is none; the sentence names those there are.
    """
    if name not in _FILES:
        raise ValueError(f"board {name!r} is unknown; there are: {', '.join(_FILES)}.")
    module = import_module(f"celosia.boards.{_FILES[name]}")
    return next(board for board in module.BOARDS if board.name == name)


def all_boards() -> Iterator[Board]:
    """Return every board, in the order of the table."""
    return (find_board(name) for name in _FILES)
