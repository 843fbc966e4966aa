"""Finds where a wrong word of the binary engine's weight memory comes from: the stream, the loader, or the memory."""

from typing import NamedTuple

from celosia.hw.binary.timing import LOADED_CYCLES
from celosia.sim.mismatch.binary_output import Output
from celosia.sim.mismatch.binary_place import step_beats
from celosia.sim.mismatch.report import Bits
from celosia.sim.mismatch.stage import Stage

WRITE = tuple(f"weights.write__{port}" for port in ("enable", "address", "data"))
OFFERED = "i_weights__payload"
IDLE = "engine.loader.idle"


def loaded(output: Output, address: int, wanted: int, held: int, cycle: int) -> Stage:
    """Return where a weight word was changed.

    Parameters
    ----------
    output : Output
        On whose behalf.
    address : int
        The word.
    wanted, held : int
        Weights of the output's PE in it, as they should be and as they are.
    cycle : int
        In which they met activations.
    """
    fields, expected, actual = output.fields, Bits(wanted), Bits(held)
    wrong = wanted ^ held
    lane = (wrong & -wrong).bit_length() - 1
    memory = Stage(f"weights memory, word {address}", "weights", expected, actual, cycle, lane=lane)
    if not fields["load_words"]:
        return memory
    first, is_loaded, writes = _load(output)
    if not is_loaded:
        return Stage("feeder", "wait for the weights,", 1, 0, first)
    order = address - int(fields["weights"])
    if order >= len(writes):
        return Stage("weight loader", "words written", int(fields["load_words"]), len(writes), first)
    at, there, word, offered = writes[order]
    if there != address:
        return Stage("weight loader", "address of the write", address, there, at)
    mask, shift = (1 << output.engine.simd) - 1, output.pe * output.engine.simd
    if word >> shift & mask != wanted:
        place = "weight loader" if offered >> shift & mask == wanted else "stream of weights"
        return Stage(place, "weights", expected, actual, at, lane=lane)
    again = [write.cycle for write in writes[order + 1 :] if write.address == address]
    return Stage("weight loader", "second write of a word,", 0, 1, again[0]) if again else memory


class _Write(NamedTuple):
    cycle: int
    address: int
    word: int
    offered: int  # by the stream


def _load(output: Output) -> tuple[int, bool, list[_Write]]:
    """Return the first beat of the output's step, whether the loader was idle in time, and its writes for the step.

    They are the last ones before that: the loader takes a step when the one before has been taken, which is when all
    beats of the one before that have been sent.
    """
    run, steps = output.run, output.run.plan.steps
    layers = run.replay.program.layers
    before = steps[output.step - 1] if output.step else layers[run.index - 1].steps[-1]
    since = output.step_beat - step_beats(before.fields) - 1
    cycles = run.replay.cycles_of([since, output.step_beat] if since >= 0 else [output.step_beat])
    start, first = cycles[0] if since >= 0 else 1, cycles[-1]
    waves = run.replay.record((*WRITE, OFFERED, IDLE), (start, first + 1))
    writes = [cycle for cycle in range(start, first) if waves.at(WRITE[0], cycle)]
    of_step = writes[-int(output.fields["load_words"]) :]
    told = [_Write(cycle, *(waves.at(name, cycle) for name in (*WRITE[1:], OFFERED))) for cycle in of_step]
    return first, bool(waves.at(IDLE, first - LOADED_CYCLES)), told
