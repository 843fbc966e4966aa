"""Latencies of the systolic engine, in cycles: hardware and cycle model share them."""

from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.timing import READ_LATENCY

HAZARD_CYCLES = READ_LATENCY + 2
"""From the read of an accumulator to the first read that sees the sum written back: read, add, write."""


def row_ready_cycles(config: SystolicConfig) -> int:
    """From a vector's last beat to the first cycle in which its sums may be drained.

    Through the array to the last column's accumulator, which reads as long ahead of its psum as the array's input reads
    ahead of the array; then read, add, write.
    """
    return config.array_latency + config.cols - 1 + HAZARD_CYCLES


def drain_cycles(config: SystolicConfig) -> int:
    """From the issue of a group of sums to the write of its activations: read, select, requantize."""
    return READ_LATENCY + 1 + config.requantizer.latency
