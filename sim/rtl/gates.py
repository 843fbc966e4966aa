"""Stall generator: which cycles a stream port lets a word through.

A port's gate is a pure function of (seed, threshold, cycle), so that a cycle model can predict every stall. The draw of
cycle ``t`` is the upper half of the SplitMix64 output number ``t`` (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014): counter based, so any window of cycles is computed without those before.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["gate_open", "gate_pattern", "stall_threshold"]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def stall_threshold(probability: float) -> int:
    """Threshold that stalls a cycle with the given probability.

    Parameters
    ----------
    probability : float
        Share of cycles that stall, 0 (never) to 1 (always).

    Returns
    -------
    int
        0 to 2**32; a cycle stalls when its 32-bit draw is below it.

    Raises
    ------
    ValueError
        The probability is not within 0 to 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"stall probability is {probability}, must be between 0 and 1")
    return round(probability * 2**32)


def gate_open(seed: int, threshold: int, cycle: int) -> bool:
    """Whether the gate is open in one cycle; see `gate_pattern`."""
    z = (seed + (cycle + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 32) >= threshold


def gate_pattern(seed: int, threshold: int, cycles: int, *, start: int = 0) -> NDArray[np.bool_]:
    """Gate of a port over a window of cycles, as the simulator computes it.

    Parameters
    ----------
    seed : int
        Seed of the port, 0 to 2**64 - 1.
    threshold : int
        See `stall_threshold`; 0 never stalls.
    cycles : int
        Length of the window in cycles.
    start : int
        First cycle of the window; the simulator counts from 0 after reset.

    Returns
    -------
    ndarray of bool, shape (cycles,)
        True: a source may begin to offer a word, a sink is ready.
    """
    t = np.arange(start + 1, start + 1 + cycles, dtype=np.uint64)
    z = np.uint64(seed) + t * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)) >= np.uint64(threshold)
