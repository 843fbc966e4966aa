"""Whether an accelerator has room on a board: told before synthesis where that is certain, and after it in figures."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from celosia.boards.devices import Device
from celosia.boards.usage import KINDS, Usage
from celosia.hw.config import AcceleratorConfig

_LUT_RAM_BITS = 2048  # what is smaller may become memory made of look-up tables
_DEPTHS = ("weight_depth", "activation_depth", "input_depth", "output_depth", "parameter_depth")


def least_usage(config: AcceleratorConfig, device: Device) -> dict[str, Usage]:
    """Return what an accelerator needs at least: multipliers of its engine, and block RAMs of the host's memories.

    Where a chip has no multipliers, look-up tables do their work.

    Parameters
    ----------
    config : AcceleratorConfig
    device : Device
    """
    multipliers = config.engine.multipliers if device.dsps else 0
    blocks = sum(
        memory.banks * device.least_brams(-(-memory.width // memory.banks), memory.depth)
        for memory in config.memories
        if memory.width * memory.depth > _LUT_RAM_BITS * memory.banks
    )
    return {
        "dsps": Usage(used=multipliers, available=device.dsps),
        "brams": Usage(used=blocks, available=device.brams),
    }


def too_much(usage: Mapping[str, Usage]) -> dict[str, Usage]:
    """Return the kinds of which more are used than there are."""
    return {kind: count for kind, count in usage.items() if count.used > count.available}


def describe_excess(usage: Mapping[str, Usage]) -> str:
    """Return the figures of what does not fit: ``310 of 208 BRAM, …``."""
    return ", ".join(f"{count.used:,} of {count.available:,} {KINDS[kind]}" for kind, count in too_much(usage).items())


def nearest(config: AcceleratorConfig, device: Device, usage: Mapping[str, Usage]) -> AcceleratorConfig | None:
    """Return the nearest smaller accelerator that would fit, by scaling; None if there is none.

    Memories are halved, the deepest in bits first, while there are too few block RAMs; the engine is halved while there
    is too little of anything else.

    Parameters
    ----------
    config : AcceleratorConfig
        What does not fit.
    device : Device
    usage : mapping of str to Usage
        What it uses: of the whole design after synthesis, else `least_usage`.
    """
    excess = too_much(usage)
    logic = max((count.share for kind, count in excess.items() if kind not in ("brams", "large_rams")), default=1.0)
    blocks = excess.get("brams")
    found: AcceleratorConfig | None = config
    if logic > 1:
        whole = config.engine.pe_count
        found = next((c for c in _smaller_engines(config) if c.engine.pe_count * logic <= whole), None)
    if found is None or blocks is None:
        return found
    # What is used beside the host's memories stays.
    hidden = max(blocks.used - least_usage(config, device)["brams"].used, 0)
    for smaller in _smaller_memories(found):
        if least_usage(smaller, device)["brams"].used + hidden <= blocks.available:
            return smaller
    return None


def settings(before: AcceleratorConfig, after: AcceleratorConfig) -> str:
    """Return the options that turn one config into another: ``--set rows=4 --set cols=4``."""
    pairs: list[tuple[Any, Any]] = [(before.engine, after.engine), (before, after)]
    return " ".join(
        f"--set {field.name}={json.dumps(getattr(new, field.name))}"
        for old, new in pairs
        for field in fields(old)
        if field.name != "engine" and getattr(old, field.name) != getattr(new, field.name)
    )


def _smaller_engines(config: AcceleratorConfig) -> Iterator[AcceleratorConfig]:
    """Halve the engine's larger side again and again."""
    engine: Any = config.engine
    sides = {"systolic": ("rows", "cols"), "binary": ("pes", "simd"), "sparse": ("pes",)}[config.engine_name]
    optional = {"post_lanes": None, "taps": None, "decoders": 0, "lookup_tables": 0}
    while True:
        side = max(sides, key=lambda name: getattr(engine, name))
        size = getattr(engine, side) // 2
        try:
            engine = replace(engine, **{side: size})
        except ValueError:
            names = {field.name for field in fields(engine)}
            try:
                rest = {name: value for name, value in optional.items() if name in names}
                engine = replace(engine, **{side: size, **rest})
            except ValueError:
                return
        yield replace(config, engine=engine)


def _smaller_memories(config: AcceleratorConfig) -> Iterator[AcceleratorConfig]:
    """Halve the memory with the most bits again and again."""
    bits = {"weight_depth": "weights", "activation_depth": "activations", "input_depth": "inputs"}
    bits |= {"output_depth": "outputs", "parameter_depth": "parameters"}
    yield config
    while True:
        sizes = {depth: config.memory(bits[depth]).width * config.memory(bits[depth]).depth for depth in _DEPTHS}
        largest = max(sizes, key=lambda name: sizes[name])
        depth = getattr(config, largest) // 2
        if depth < 2:
            return
        config = replace(config, **{largest: depth})
        yield config
