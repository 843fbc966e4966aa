"""What of a config decides how large and how fast an accelerator is: sizes of its parts, as estimates add them up."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from celosia.boards.counts import count_brams, count_memory, stack
from celosia.boards.devices import DEVICES
from celosia.hw.config import AcceleratorConfig

DEVICE: Final = DEVICES["ecp5-85f"]
"""What designs are fitted on; block RAMs of all chips of its family are alike."""

Features = dict[str, float]


def features_of(config: AcceleratorConfig, kind: str) -> Features:
    """Return the features of a config by name.

    Parameters
    ----------
    config : AcceleratorConfig
    kind : str
        ``area``, in bits and cells, or ``delay``, of fan-outs, stacks and distances.
    """
    area, delay = _ENGINES[config.engine_name]
    return {**_core_area(config), **area(config)} if kind == "area" else {**_core_delay(config), **delay(config)}


def _core_area(config: AcceleratorConfig) -> Features:
    widths = {memory.name: memory.width for memory in config.memories}
    return {
        "memory bits beside each other": sum(widths.values()),
        "widest word": max(widths.values()),
        "address bits": sum((memory.depth - 1).bit_length() for memory in config.memories),
        # Memories that are made of look-up tables.
        "bits in look-up tables": sum(m.width * m.depth for m in config.memories if m.depth <= 64) / 16,
        "bits selected from stacks": sum(m.width * (stack(config, m) - 1) for m in config.memories),
        "bits of counters": len(config.causes) * config.counter_width,
    }


def _core_delay(config: AcceleratorConfig) -> Features:
    stacks = {memory: stack(config, memory) for memory in config.memories}
    return {
        "highest stack of block RAMs": math.log2(max(stacks.values())),
        "block RAMs in stacks": sum(count_memory(config, m, DEVICE) for m, height in stacks.items() if height > 1),
        # They lie in rows across the chip: how far apart.
        "block RAMs along a side": math.sqrt(count_brams(config, DEVICE)),
    }


def _systolic_area(config: AcceleratorConfig) -> Features:
    engine: Any = config.engine
    rows, cols, lanes, sums = engine.rows, engine.cols, engine.resolved_post_lanes, engine.resolved_accumulator_width
    return {
        "bits of psums": cols * sum(engine.psum_width(row) for row in range(rows)),
        "bits of weights": rows * cols * engine.weight_width,
        "bits of sums": cols * sums,
        "bits of lanes": lanes * sums,
        "bits of a vector": rows * engine.activation_width,
        "bits of taps": engine.resolved_taps * rows * engine.activation_width,
        "bits of tables": rows * sums * (engine.lookup_tables > 0),
        "bits of packing": rows * engine.activation_width * math.log2(rows),
    }


def _systolic_delay(config: AcceleratorConfig) -> Features:
    engine: Any = config.engine
    return {
        "multipliers": math.log2(engine.multipliers),
        "columns of sums": math.log2(engine.cols * engine.resolved_accumulator_width),
        "groups of columns": math.log2(engine.cols / engine.resolved_post_lanes),
    }


def _sparse_area(config: AcceleratorConfig) -> Features:
    engine: Any = config.engine
    return {
        "PEs": engine.pes,
        "bits of queues": engine.pes * engine.queue_depth,
        "bits of products": engine.pes * (engine.weight_width + engine.activation_width),
        "bits of sums": engine.pes * engine.accumulator_width,
        "bits of entries": engine.pes * engine.entry_width,
        "banks": engine.pes * math.log2(2 * engine.group),
        "rows in look-up tables": engine.pes * engine.group * (engine.bank_rows <= 64),
        "decoders": engine.decoders,
    }


def _sparse_delay(config: AcceleratorConfig) -> Features:
    engine: Any = config.engine
    return {"PEs": engine.pes, "banks": math.log2(engine.group)}


def _binary_area(config: AcceleratorConfig) -> Features:
    engine: Any = config.engine
    lanes = engine.resolved_post_lanes
    return {
        "XNORs": engine.pes * engine.simd,
        "bits of sums": engine.pes * engine.accumulator_width,
        "bits of counts": engine.pes * engine.count_width,
        "bits of lanes": lanes * engine.accumulator_width,
        "bits of outputs": lanes * engine.output_width,
        "bits of a plane": engine.simd,
        "bits of planes": engine.activation_width,
        "bits of sides": engine.side_width,
        "bits of loops": engine.loop_width,
    }


def _binary_delay(config: AcceleratorConfig) -> Features:
    engine: Any = config.engine
    return {"PEs": math.log2(engine.pes), "synapses": math.log2(engine.simd)}


_ENGINES: Final[
    Mapping[str, tuple[Callable[[AcceleratorConfig], Features], Callable[[AcceleratorConfig], Features]]]
] = {
    "systolic": (_systolic_area, _systolic_delay),
    "sparse": (_sparse_area, _sparse_delay),
    "binary": (_binary_area, _binary_delay),
}
"""Engine → features of its area, and of its delay."""
