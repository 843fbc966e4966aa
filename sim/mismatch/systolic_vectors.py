"""Finds where a lane of an activation vector of the systolic engine is first wrong: walks, memory, padding, packing."""

from collections.abc import Iterator
from dataclasses import dataclass

from celosia.hw.systolic.timing import PLACE_CYCLES, WALK_CYCLES, WINDOW_CYCLES
from celosia.hw.systolic.walks import COORDINATE_WIDTH
from celosia.hw.timing import READ_LATENCY
from celosia.sim.mismatch.stage import Stage, first_wrong, right
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.mismatch.systolic_seen import View, record

FEEDER = "engine.feeder"
WALKS = {"pixel walk": f"{FEEDER}.pixels.place", "K walk": f"{FEEDER}.kernel.place"}
NAMES = [
    *(f"{FEEDER}.{name}" for name in ("beat", "tile_begin", "accumulate__valid", "address", "pad")),
    *WALKS.values(),
    "engine.source__data",
    "engine.source_is_activations",
    *(f"engine.packing.{port}" for port in ("i", "pad", "o")),
    "engine.array.activations",
]


@dataclass(frozen=True)
class Read(Stage):
    """A lane of a word, as it is read from the memory of tensors."""

    address: int = 0


def vector_fault(output: Output, k_tile: int, cycle: int, beat: int, source: tuple[int, int]) -> Stage | None:
    """Return where an activation of a sum is first wrong; None if it is right in front of the array.

    Parameters
    ----------
    output : Output
    k_tile, cycle, beat : int
        K tile, cycle of the run, and number in the tile of the beat that ends in the sum.
    source : tuple of int
        Number of the beat with the activation, and its lane.
    """
    first = output.tile_beat(k_tile)
    cycles = output.replay.cycles_of([first - 1, first] if first else [first])
    start = cycles[0] + 1 if first else 1
    view = record(output, NAMES, start, max(cycle, cycles[-1]) + WINDOW_CYCLES + 1)
    begin = next(
        (at for at in range(start, cycle + 1) if view.at(f"{FEEDER}.beat", at) and view.at(f"{FEEDER}.tile_begin", at)),
        None,
    )
    if begin is None:
        return Stage("feeder", "beginning of the tile", 1, 0, cycle)
    return first_wrong(_walked(view, output, k_tile, begin, beat)) or first_wrong(
        _fetched(view, output, k_tile, begin, *source)
    )


def _walked(view: View, output: Output, k_tile: int, begin: int, beat: int) -> Iterator[Stage]:
    """Yield what both walks give from the tile's first beat to that one."""
    tile, beats = output.tile.k_tiles[k_tile], output.tile.beats
    width = next(field.width for field in output.step.run.config.layer_fields if field.name == "source")
    for number in range(beat + 1):
        at = begin + number
        at_place = {"beat": (number, number)}
        yield Stage("feeder", "beat of the tile", 1, view.at(f"{FEEDER}.beat", at), at, at_place)
        pixel = beats.address[number], beats.row[number], beats.col[number]
        for walk, place in (("K walk", (tile.address, tile.row, tile.col)), ("pixel walk", pixel)):
            for name, value, low, bits in zip(
                ("address", "row", "column"),
                place,
                (0, width, width + COORDINATE_WIDTH),
                (width, COORDINATE_WIDTH, COORDINATE_WIDTH),
                strict=True,
            ):
                walked = at + WALK_CYCLES
                seen = view.bits(WALKS[walk], walked, low, bits)
                yield Stage(walk, f"{name} of a beat", int(value) & ((1 << bits) - 1), seen, walked, at_place)
        summed = view.at(f"{FEEDER}.accumulate__valid", at)
        yield Stage("pixel walk", "sum of a beat,", int(beats.sums[number]), summed, at, at_place)


def _fetched(view: View, output: Output, k_tile: int, begin: int, beat: int, lane: int) -> Iterator[Stage]:
    """Yield what a lane passes from its place to the array, the walks being right."""
    engine, tile, fields = output.engine, output.tile.k_tiles[k_tile], output.fields
    width, signed = engine.activation_width, engine.activation_signed
    lanes = 1 << (fields["pack"] - 1) if fields["pack"] else engine.rows
    read = beat - lane // lanes  # beat in which the lane's word was read
    if read >= 0:
        at, word_lane = begin + read, lane % lanes
        outside, value = bool(tile.outside[read]), int(tile.words[read, word_lane])
        there = at + PLACE_CYCLES
        yield Stage("feeder", "padding", int(outside), view.at(f"{FEEDER}.pad", there + 1), there + 1)
        if not outside:
            address = int(tile.addresses[read])
            yield Stage("feeder", "address of the activations", address, view.at(f"{FEEDER}.address", there), there)
            memory = int(output.step.source_memory == "activations")
            chosen = view.at("engine.source_is_activations", there + READ_LATENCY)
            yield Stage("engine", "memory of the activations", memory, chosen, there + READ_LATENCY)
            found = view.part("engine.source__data", there + READ_LATENCY, word_lane, width, signed=signed)
            place = f"{output.step.source_memory} memory, word {address}, lane {word_lane}"
            yield Read(place, "activation", value, found, there + READ_LATENCY, lane=word_lane, address=address)
        last = at + WINDOW_CYCLES - 1
        yield Stage("padding of activations", "padding", int(outside), view.at("engine.packing.pad", last), last)
        packed = view.part("engine.packing.o", last + 1, word_lane, width, signed=signed)
        yield Stage("packing", "activation", value, packed, last + 1, right({"padding": int(outside)}))
    at = begin + beat + WINDOW_CYCLES
    for place, name in (("packing", "engine.packing.o"), ("activations into the array", "engine.array.activations")):
        seen = view.part(name, at, lane, width, signed=signed)
        yield Stage(place, "activation", int(tile.vectors[beat, lane]), seen, at)
