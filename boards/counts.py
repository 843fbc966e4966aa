"""Multipliers and block RAMs of an accelerator, counted from its config.

Exact where a memory is made of instances (`celosia.hw.block_ram`), and on ECP5 as yosys maps those that are not.
"""

from typing import Final

from celosia.boards.devices import Device
from celosia.hw.block_shapes import SHAPES, SMALL, blocks, has_shape, stacked_blocks
from celosia.hw.config import AcceleratorConfig, MemorySpec

_LUT_RAM: Final = (4, 16)  # bits and rows of a TRELLIS_DPR16X4
_LUT_RAM_COST, _BLOCK_COST, _MUX_COST = 4, 128, 0.5  # yosys' `lattice/*.txt` and `memory_libmap`


def count_dsps(config: AcceleratorConfig, device: Device) -> int:
    """Return the multipliers that an accelerator takes; 0 on a chip without any."""
    return config.engine.multipliers if device.dsps else 0


def count_brams(config: AcceleratorConfig, device: Device) -> int:
    """Return the block RAMs that an accelerator takes, those of its link included."""
    total = sum(count_memory(config, memory, device) for memory in config.memories)
    total += sum(count * _brams(width, 1, depth, device) for count, width, depth in config.engine.scratchpads)
    # What the device says of itself, packets that arrive, and many answers that wait; a few are in look-up tables.
    answers = _brams(33, 1, config.answer_words, device) if config.answer_words > SMALL else 0
    return total + 1 + _brams(32, 1, 2 * config.packet_words, device) + answers


def count_memory(config: AcceleratorConfig, memory: MemorySpec, device: Device) -> int:
    """Return the block RAMs of one memory; 0 if it is in look-up tables."""
    return memory.banks * _brams(memory.width // memory.banks, _lanes(config, memory), memory.depth, device)


def stack(config: AcceleratorConfig, memory: MemorySpec) -> int:
    """Return how many block RAMs of ECP5 have each bit of a memory, a part of the addresses each; 1 if one has all."""
    if memory.depth <= SHAPES[-1][1]:
        return 1
    return stacked_blocks(memory.width // memory.banks, _lanes(config, memory), memory.depth)[1]


def _lanes(config: AcceleratorConfig, memory: MemorySpec) -> int:
    return config.engine.write_lanes if memory.name in ("activations", "outputs") else 1


def _brams(width: int, lanes: int, depth: int, device: Device) -> int:
    if device.family != "ecp5":
        return device.least_brams(width, depth)
    if has_shape(depth):
        return blocks(width, lanes, depth)
    if depth > SHAPES[-1][1]:
        return stacked_blocks(width, lanes, depth)[0]
    # Left to synthesis, which compares what the two kinds of memory cost it.
    tall, wide = -(-depth // _LUT_RAM[1]), lanes * -(-(width // lanes) // _LUT_RAM[0])
    in_luts = _LUT_RAM_COST * tall * wide + _MUX_COST * width * (tall - 1)
    in_blocks = blocks(width, lanes, SHAPES[0][1])
    return in_blocks if in_luts > _BLOCK_COST * in_blocks else 0
