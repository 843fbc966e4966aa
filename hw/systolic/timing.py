"""Latencies of the systolic engine, in cycles: hardware and cycle model share them."""

from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.hw.timing import READ_LATENCY

HAZARD_CYCLES = READ_LATENCY + 2
"""From the read of an accumulator to the first read that sees the sum written back: read, add, write."""

TAKE_CYCLES = 1
"""From the cycle in which nothing is in the way of a layer, or of a look ahead at it, to the one in which it is taken,
or looked at."""

ROOM_CYCLES = 1
"""From the cycle in which accumulator rows are free to the first in which an N tile may begin that takes them."""

WALK_CYCLES = 2
"""From a beat to a pixel's place and a K tile's: the step from one to the next is chosen, then made."""

PLACE_CYCLES = WALK_CYCLES + 1
"""From a beat to the address of its vector: both places are added."""

WINDOW_CYCLES = PLACE_CYCLES + READ_LATENCY + 1
"""From a beat to its vector at the array: place, read, padding and packing."""

LOOKUP_CYCLES = READ_LATENCY
"""From an activation at its lane to its entry at the accumulator below."""

ROW_CYCLES = 1
"""From the issue of a row of weights to its address at the memory."""

POOL_CYCLES = 1
"""From a requantized activation to the greatest of its pool."""


def sum_cycles(config: SystolicConfig, mode: Mode, lead: int) -> int:
    """From a vector's entry into the array to its sum in front of column 0's accumulator.

    In CHANNELS mode a sum enters the array with the oldest of its vectors, `lead` cycles earlier.
    """
    match mode:
        case Mode.MATRIX:
            return config.array_latency
        case Mode.CHANNELS:
            return config.array_latency - lead
        case Mode.LOOKUP:
            return LOOKUP_CYCLES


def row_ready_cycles(config: SystolicConfig, mode: Mode, lead: int) -> int:
    """From a vector's last beat to the first cycle in which its sums may be drained.

    The accumulator reads as long ahead of its psum as its memory takes; it is column by column later, then reads, adds,
    writes.
    """
    ahead = WINDOW_CYCLES - READ_LATENCY
    return ahead + sum_cycles(config, mode, lead) + config.cols - 1 + HAZARD_CYCLES


def drain_cycles(config: SystolicConfig) -> int:
    """From the issue of a group of sums to the write of its activations: read, select, requantize, pool."""
    return READ_LATENCY + 1 + config.requantizer.latency + POOL_CYCLES
