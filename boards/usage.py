"""How much of a chip is used. Pure Python."""

from dataclasses import dataclass
from typing import Final

KINDS: Final = {"luts": "LUT", "ffs": "FF", "dsps": "DSP", "brams": "BRAM", "large_rams": "SPRAM"}
"""What is counted, and its name in tables."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How many of a kind are used, and how many there are."""

    used: int
    available: int

    @property
    def share(self) -> float:
        """Used per available; infinite if there are none."""
        if not self.used:
            return 0.0
        return self.used / self.available if self.available else float("inf")
