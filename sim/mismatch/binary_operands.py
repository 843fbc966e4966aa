"""Where the activations and weights of a beat of the binary engine come from: feeder, memories, what is on the way."""

from collections.abc import Iterator

from celosia.hw.binary.array import PES_TOGETHER
from celosia.hw.binary.feeder import PAD_CYCLES, WEIGHTS_CYCLES
from celosia.hw.binary.timing import OPERAND_CYCLES
from celosia.hw.timing import READ_LATENCY
from celosia.sim.mismatch.binary_loader import loaded
from celosia.sim.mismatch.binary_output import Beat, Output
from celosia.sim.mismatch.binary_seen import Window
from celosia.sim.mismatch.report import Bits
from celosia.sim.mismatch.stage import Seen, Stage

ARRAY_AHEAD = 2
"""Cycles by which activations and controls come to the array before weights."""


def together(output: Output) -> tuple[int, str]:
    """Return the first of the PEs that have activations and controls from the same registers as that of an output."""
    first = output.pe // PES_TOGETHER * PES_TOGETHER
    last = min(first + PES_TOGETHER, output.engine.pes) - 1
    return first, f"PEs {first} to {last}" if last > first else f"PE {first}"


def activation_stages(window: Window, beat: Beat, number: int, cycle: int) -> Iterator[Stage]:
    """Yield what the activations of a beat pass, from the feeder to the PE.

    Parameters
    ----------
    window : Window
    beat : Beat
    number, cycle : int
        Number of the beat in the run, and its cycle.
    """
    output, at, simd = window.output, window.at, window.output.engine.simd
    yield Stage("feeder", "padding", int(beat.outside), at("engine.feeder.pad", cycle + PAD_CYCLES), cycle + PAD_CYCLES)
    if not beat.outside:
        yield from _read(window, beat, number, cycle)
    yield Stage("feeder", "inversion", int(beat.inverted), at("engine.feeder.inverted", cycle), cycle)
    arrives = cycle + OPERAND_CYCLES - ARRAY_AHEAD
    place = "padding of activations" if beat.outside else "register of activations"
    yield _word(place, "activations", beat.stored, at("engine.activations", arrives), arrives)
    yield _word(
        "inversion of activations", "activations", beat.activations, at("engine.array.activations", arrives), arrives
    )
    place = f"activation registers of {together(output)[1]}"
    seen = window.together(f"engine.array.pe_{output.pe}.activations_{{}}.i", simd, arrives + 1)
    yield _word(place, "activations", beat.activations, seen, arrives + 1)


def _read(window: Window, beat: Beat, number: int, cycle: int) -> Iterator[Stage]:
    """Yield what a read of activations passes."""
    run, at, address = window.run, window.at, beat.address
    yield Stage("feeder", "address of the activations", address, at("engine.feeder.address", cycle), cycle)
    wanted, seen = int(window.output.fields["source_is_activations"]), at("engine.source_is_activations", cycle)
    yield Stage("engine", "source in the activations memory", wanted, seen, cycle)
    data = at("engine.source__data", cycle + READ_LATENCY)
    if data not in (None, beat.stored):
        is_stored = window.stored(number, run.source_memory, address) == beat.stored
        place = (
            f"read of the {run.source_memory} memory" if is_stored else f"{run.source_memory} memory, word {address}"
        )
        yield _word(place, "activations", beat.stored, data, cycle + READ_LATENCY)


def weight_stages(window: Window, beat: Beat, number: int, cycle: int) -> Iterator[Stage]:
    """Yield what the weights of a beat pass, from the feeder to the PE; parameters as for the activations."""
    output, simd, address = window.output, window.output.engine.simd, beat.weights_address
    sent = cycle + WEIGHTS_CYCLES
    yield Stage("feeder", "address of the weights", address, window.at("engine.feeder.weights", sent), sent)
    arrives = cycle + OPERAND_CYCLES
    asked = window.at("engine.weights__address", arrives - READ_LATENCY)
    yield Stage("address on its way to the weights", "address", address, asked, arrives - READ_LATENCY)
    data = window.part("engine.weights__data", arrives, output.pe, simd)
    if data not in (None, beat.weights):
        held = window.stored(number, "weights", address) >> output.pe * simd & ((1 << simd) - 1)
        if held == beat.weights:
            yield _word("read of the weights memory", "weights", beat.weights, data, arrives)
        else:
            yield loaded(output, address, beat.weights, held, arrives)
    seen = window.at(f"engine.array.pe_{output.pe}.weights", arrives)
    yield _word(f"weights on their way to PE {output.pe}", "weights", beat.weights, seen, arrives)


def _word(place: str, quantity: str, expected: int, actual: Seen, cycle: int) -> Stage:
    """Return a stage that a word passes, and its first wrong lane."""
    wrong = 0 if actual is None else expected ^ actual
    lane = (wrong & -wrong).bit_length() - 1 if wrong else None
    return Stage(place, quantity, Bits(expected), None if actual is None else Bits(actual), cycle, lane=lane)
