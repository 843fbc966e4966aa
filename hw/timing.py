"""Latencies that hardware and cycle models share, in cycles."""

from celosia.hw.config import AcceleratorConfig

READ_LATENCY = 2
"""From a scratchpad's address to its word: the read, and the output register."""

RESULT_QUEUE_DEPTH = 4
"""Words between the output memory and its stream: they cover the read latency at one word per cycle."""


def fetch_cycles(config: AcceleratorConfig) -> int:
    """From the start of a run, or the take of a layer, to the offer of the next layer."""
    return config.layer_fields.words + READ_LATENCY + 1
