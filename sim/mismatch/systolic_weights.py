"""Finds where a weight of the systolic engine is first wrong on its way to a PE: loader, memory, ring."""

from collections.abc import Iterator

from celosia.hw.systolic.timing import ROW_CYCLES, WINDOW_CYCLES
from celosia.hw.timing import READ_LATENCY
from celosia.sim.mismatch.stage import Stage, first_wrong
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.mismatch.systolic_seen import View, record

SWAP, SHIFT = "engine.feeder.swap", "engine.loader.shift"
NAMES = [
    SWAP,
    SHIFT,
    "engine.loader.take",
    "engine.weights__address",
    "engine.weights__data",
    "engine.array.weights",
]


def weight_fault(output: Output, k_tile: int, row: int) -> Stage | None:
    """Return where a weight of the output's column is first wrong; None if it comes to the array as it should."""
    before, first = output.weighted_before(k_tile), output.tile_beat(k_tile)
    cycles = output.replay.cycles_of([first] if before is None else [before[0], first])
    # Rows of the tile come from the swap of the tile before on, and before its own swap.
    start = 1 if before is None else cycles[0] - before[1]
    view = record(output, NAMES, start, cycles[-1] + 1 + WINDOW_CYCLES)
    swaps = [cycle for cycle in range(max(start, 1), cycles[-1] + 1) if view.at(SWAP, cycle)]
    if not swaps:
        return Stage("feeder", "swap of the weights", 1, 0, cycles[-1])
    begin = max(start, 1) if before is None or len(swaps) < 2 else swaps[-2]
    shifts = [cycle for cycle in range(begin, swaps[-1]) if view.at(SHIFT, cycle)]
    return first_wrong(_loaded(view, output, k_tile, row, shifts, swaps[-1]))


def _loaded(view: View, output: Output, k_tile: int, row: int, shifts: list[int], swap: int) -> Iterator[Stage]:
    engine, tile, stream = output.engine, output.tile.k_tiles[k_tile], bool(output.fields["weights_stream"])
    yield Stage("weight loader", "rows of weights", tile.loaded, len(shifts), swap)
    number = tile.loaded - 1 - row  # the first one that comes ends in the last row
    at, width, column = shifts[number], engine.weight_width, output.column
    address, expected = tile.first_word + number, int(tile.weights[row, column])
    found = view.at("engine.weights__address", at + ROW_CYCLES)
    if not stream:
        yield Stage("weight loader", "address of the weights", address, found, at + ROW_CYCLES)
    place = f"ring of streamed weights, word {found}" if stream else f"weights memory, word {address}"
    for name, where, cycle in (
        ("engine.weights__data", f"{place}, lane {column}", at + ROW_CYCLES + READ_LATENCY),
        ("engine.array.weights", f"weights into column {column}", at + WINDOW_CYCLES),
    ):
        yield Stage(where, "weight", expected, view.part(name, cycle, column, width, signed=True), cycle)
