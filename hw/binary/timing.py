"""Latencies that the binary engine and its cycle model share, in cycles."""

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.tree import count_tree
from celosia.hw.timing import READ_LATENCY

OPERAND_CYCLES = READ_LATENCY + 3
"""From a beat to its activations at the PEs: padding, and two steps on the way to the PEs."""

WINDOW_CYCLES = 4
"""From the take of a window to the next one."""

LEAST_DRAIN_CYCLES = WINDOW_CYCLES
"""From a pass's last beat to the next one's at least: that long it takes to find a window."""

FILL_CYCLES = 3
"""Between the take of a layer and its first beat."""

LOADED_CYCLES = 1
"""From the first cycle in which all streamed weights are there to the first beat at least."""

POST_CYCLES = READ_LATENCY + 5
"""From the step that asks for a parameter to the first write of what comes of it."""


def array_latency(engine: BinaryConfig) -> int:
    """From activations and weights at the array to the sums that they end: the tree, accumulator and capture."""
    return len(count_tree(engine.simd).levels) + 1


def capture_cycles(engine: BinaryConfig) -> int:
    """From the last beat of a pass to the first step of its drain."""
    return OPERAND_CYCLES + array_latency(engine) + 1
