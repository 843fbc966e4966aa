"""Size and clock rate of an accelerator on a board, before any tool has run: with what error, see `estimate_errors`.

Multipliers and block RAMs follow from the config, exactly where a memory is made of instances (`celosia.hw.block_ram`).
Look-up tables, flip-flops and clock rate are fitted, engine by engine, on designs that were synthesized, placed and
routed: `routed.csv`, which `bench/characterize.py` makes. What an estimate is fitted on is never what its error is
told from.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from celosia.boards.board import Board
from celosia.boards.counts import count_brams, count_dsps
from celosia.boards.features import DEVICE, features_of
from celosia.hw.config import AcceleratorConfig

CLOCK_SHARE: Final = 0.9
"""How much of the estimated clock rate a design is placed and routed for."""
TABLE: Final = Path(__file__).with_name("routed.csv")
FITTED: Final = ("luts", "ffs", "fmax_mhz")
_HELD_OUT: Final = 4  # every so many designs of an engine are not fitted on
_RIDGE: Final = 1e-1
"""Added to the squares of relative errors: keeps coefficients small that the designs say nothing of."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an accelerator with its serial port takes on a board, and its clock rate, MHz."""

    luts: int
    ffs: int
    dsps: int
    brams: int
    fmax_mhz: float

    @property
    def figures(self) -> dict[str, float]:
        """By name."""
        return {"luts": self.luts, "ffs": self.ffs, "dsps": self.dsps, "brams": self.brams, "fmax_mhz": self.fmax_mhz}


@dataclass(frozen=True, kw_only=True)
class Routed:
    """A design of the table: its config, and what came out; `fmax_mhz` is 0 where it was not routed."""

    config: AcceleratorConfig
    figures: Mapping[str, float]
    held_out: bool


def check_board(board: Board) -> None:
    """Refuse a board that the table says nothing of.

    Raises
    ------
    ValueError
        Its chip is of another family than ECP5.
    """
    if board.device.family != "ecp5":
        raise ValueError(
            f"there are no estimates for {board.name}, whose chip is of the family {board.device.family}; "
            "those there are come from designs on ECP5."
        )


def estimate(config: AcceleratorConfig, board: Board) -> Estimate:
    """Estimate what an accelerator takes on a board.

    Parameters
    ----------
    config : AcceleratorConfig
    board : Board
        Of the family ECP5: all others are not in the table.

    Raises
    ------
    ValueError
        See `check_board`.
    """
    check_board(board)
    device = board.device
    guesses = {name: _Fit.of(config.engine_name, name).guess(config) for name in FITTED}
    return Estimate(
        luts=round(guesses["luts"]),
        ffs=round(guesses["ffs"]),
        dsps=count_dsps(config, device),
        brams=count_brams(config, device),
        fmax_mhz=guesses["fmax_mhz"],
    )


def estimate_errors(engines: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the error of estimates of engines on designs that were not fitted on.

    Returns
    -------
    dict
        By figure: ``median`` and ``p95``, the 95th percentile, of the distance to what came out, as shares of that; and
        ``designs``, how many of them there are.
    """
    errors: dict[str, list[float]] = {}
    for engine in sorted(engines):
        for design in read_table():
            if design.held_out and design.config.engine_name == engine:
                for name, actual in design.figures.items():
                    if actual or name != "fmax_mhz":
                        guess = _guess(design.config, name)
                        errors.setdefault(name, []).append(
                            abs(guess - actual) / actual if actual else float(guess != 0)
                        )
    return {
        name: {"median": float(np.median(of)), "p95": float(np.percentile(of, 95)), "designs": len(of)}
        for name, of in errors.items()
    }


def _guess(config: AcceleratorConfig, name: str) -> float:
    exact = {"dsps": count_dsps, "brams": count_brams}
    return exact[name](config, DEVICE) if name in exact else _Fit.of(config.engine_name, name).guess(config)


@cache
def read_table() -> tuple[Routed, ...]:
    """Return the designs of the table."""
    designs = []
    seen: dict[str, int] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            config = AcceleratorConfig.from_json(json.loads(row["config"]))
            figures = {name: float(row[name] or 0) for name in ("luts", "ffs", "dsps", "brams", "fmax_mhz")}
            number = seen[config.engine_name] = seen.get(config.engine_name, -1) + 1
            designs.append(Routed(config=config, figures=figures, held_out=number % _HELD_OUT == _HELD_OUT - 1))
    return tuple(designs)


class _Fit:
    """A figure of an engine as a sum of features, each times a coefficient.

    Coefficients make the sum of squares of relative errors small; of a clock rate, those of its period.
    """

    def __init__(self, engine: str, name: str) -> None:
        self._inverse = name == "fmax_mhz"
        designs = [each for each in read_table() if each.config.engine_name == engine and not each.held_out]
        designs = [each for each in designs if each.figures[name]]
        rows = np.array([self._row(each.config) for each in designs])
        goal = np.array([self._bent(each.figures[name]) for each in designs])
        self._scale = np.maximum(np.abs(rows).max(axis=0), 1e-9) / goal.mean()
        relative = rows / self._scale / goal[:, None]
        prior = np.sqrt(_RIDGE) * np.eye(rows.shape[1])
        prior[0] = 0  # the constant is free
        system = np.vstack([relative, prior])
        self._coefficients = np.linalg.lstsq(system, np.r_[np.ones(len(goal)), np.zeros(len(prior))], rcond=None)[0]

    @staticmethod
    @cache
    def of(engine: str, name: str) -> "_Fit":
        """Return the fit, which is made once."""
        return _Fit(engine, name)

    def _bent(self, value: float) -> float:
        return 1e3 / value if self._inverse else value

    def _row(self, config: AcceleratorConfig) -> list[float]:
        kind = "delay" if self._inverse else "area"
        return [1.0, *features_of(config, kind).values()]

    def guess(self, config: AcceleratorConfig) -> float:
        """Return what a config is expected to have."""
        value = float(np.array(self._row(config)) / self._scale @ self._coefficients)
        return self._bent(max(value, 1e-3))
