"""Runs one program again and again, cycle for cycle the same, to look at it from closer each time."""

import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from celosia.hw.counters import CycleCounters
from celosia.sim.core import CoreSimulator, Stalls
from celosia.sim.rtl import Model, SimulationError
from celosia.sim.vcd import Waves, join_waves, read_waves

CHUNK = 256  # cycles between two notes of how far the run is
COUNTERS_BEHIND = CycleCounters.LATENCY  # cycles from a cycle to the counters that include it
LONGEST_SPAN = 4096  # cycles in one waveform file
RECORD_SPAN = 512  # cycles in each file of a record

Words = np.ndarray  # uint32, (entries, 32-bit words of a memory word)
Span = tuple[int, int]  # first cycle, and the one after the last


class Replay:
    """A program with its inputs and stalls, run on a core from its power-up state as often as wanted.

    Cycles count from the start of the run, which is cycle 0. A *beat* is a cycle of one cause, chosen so that its
    descriptors alone decide how many a layer takes; the first is beat 0. What the program loads in a run of its own is
    loaded before.

    Parameters
    ----------
    program : celosia.host.program.Program
        What runs.
    words : ndarray of uint32
        Inputs of all iterations, packed.
    iterations : int
        Batches of inputs.
    stream : bool
        Whether inputs and results stream; else they are in their memories before and after.
    stalls : Stalls
        Of the streams.
    model : Model
        The core, with a waveform writer.
    limit : int
        Cycles after which the run is given up.
    cause : str
        The cause whose cycles are beats.
    """

    def __init__(
        self,
        program: Any,
        words: Words,
        iterations: int,
        *,
        stream: bool,
        stalls: Stalls,
        model: Model,
        limit: int,
        cause: str,
    ) -> None:
        self.program, self.config, self.iterations, self.stream = program, program.config, iterations, stream
        self.words, self._stalls, self._model, self._limit, self._cause = words, stalls, model, limit, cause
        self._cycles: list[int] = []
        self._beats: list[int] = []  # counted before the cycle of the same index

    @property
    def last_cycle(self) -> int:
        """Cycle in which the run was over, to within CHUNK; known after `results`."""
        return self._cycles[-1]

    @property
    def beats(self) -> int:
        """Beats of the whole run; known after `results`."""
        return self._beats[-1]

    def address_in(self, iteration: int, memory: str, address: int) -> int:
        """Return an address in an iteration: odd ones have the other half of what streams."""
        halves = {"inputs": self.config.input_depth // 2, "outputs": self.config.output_depth // 2}
        return address ^ halves.get(memory, 0) if self.stream and iteration % 2 else address

    def results(self) -> Words:
        """Run to the end, and return the result words of all iterations.

        Raises
        ------
        SimulationError
            The run does not end.
        """
        core = self._begin()
        self._cycles, self._beats = [], []
        self._note(core)
        while core.sim.get("busy"):
            core.sim.run(CHUNK)
            self._note(core)
            if self._cycle(core) >= self._limit:
                raise SimulationError(f"the run did not end within {self._limit} cycles.")
        words = self.program.output_words
        results = core.sim.receive("o_results") if self.stream else core.read("outputs", words)
        core.sim.close()
        if len(results) != words * self.iterations:
            raise SimulationError(f"the run gave {len(results)} of {words * self.iterations} result words.")
        return results

    def cycles_of(self, beats: Sequence[int]) -> list[int]:
        """Return the cycles of some beats, given in their order."""
        core = self._begin()
        cycles = []
        for beat in beats:
            self._run_to_beat(core, beat)
            cycles.append(self._cycle(core) - COUNTERS_BEHIND)
        core.sim.close()
        return cycles

    def memory_before(self, beat: int, memory: str, count: int, address: int) -> Words:
        """Return memory words as they are just after that beat, before anything can come of it; or at the end."""
        core = self._begin()
        self._run_to_beat(core, beat)
        if core.sim.get("busy"):
            core.abort()
        words = core.read(memory, count, address)
        core.sim.close()
        return words

    def waves(self, names: Iterable[str], spans: Sequence[Span], optional: Sequence[str] = ()) -> Iterator[Waves]:
        """Yield, for each span of cycles, in order, what signals below the core held in it, and maybe after it.

        Those that are `optional` may be missing, if synthesis has left nothing of them.
        """
        core = self._begin()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "window.vcd"
            waves: Waves | None = None
            for index, (start, stop) in enumerate(spans):
                if waves is None or stop > waves.stop:
                    waves = self._window(core, path, names, start, _joined(spans[index:]), optional)
                yield waves
        core.sim.close()

    def record(self, names: Sequence[str], span: Span, optional: Sequence[str] = ()) -> Waves:
        """Return what signals below the core held in a span of any length, from cycle 1 on."""
        spans = [(begin, min(begin + RECORD_SPAN, span[1])) for begin in range(*span, RECORD_SPAN)]
        core = self._begin()
        parts: list[Waves] = []
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{begin}.vcd" for begin, _ in spans]
            for number, each in enumerate(spans):
                self._trace(core, paths[number], *each)  # which completes the file before
                if number:
                    parts.append(_taken(paths[number - 1], names, spans[number - 1][0], optional))
                core.sim.run(each[1] - self._cycle(core))
            core.sim.close()
            parts.append(_taken(paths[-1], names, spans[-1][0], optional))
        return join_waves(parts)

    def write_waves(self, path: Path, span: Span) -> None:
        """Write the waveform of a span of cycles, all signals."""
        core = self._begin()
        self._trace(core, path, *span)
        core.sim.run(span[1])
        core.sim.close()

    def _window(
        self, core: CoreSimulator, path: Path, names: Iterable[str], start: int, stop: int, optional: Sequence[str]
    ) -> Waves:
        if self._cycle(core) > start:  # it overlaps the one before: begin again
            core.sim.close()
            fresh = self._begin()
            core.sim = fresh.sim
        self._trace(core, path, start, stop)
        core.sim.run(stop + 1 - self._cycle(core))
        return read_waves(path, names, start=start, top="core", optional=optional)

    def _cycle(self, core: CoreSimulator) -> int:
        """Return the number of the cycle that comes next; the simulator counts from the reset before the run."""
        return core.sim.cycle - self.config.engine.reset_cycles

    def _trace(self, core: CoreSimulator, path: Path, start: int, stop: int) -> None:
        before = self.config.engine.reset_cycles
        core.sim.trace(str(path), before + start, before + stop)

    def _beats_so_far(self, core: CoreSimulator) -> int:
        return core.causes()[self._cause]

    def _note(self, core: CoreSimulator) -> None:
        self._cycles.append(self._cycle(core))
        self._beats.append(self._beats_so_far(core))

    def _begin(self) -> CoreSimulator:
        """Return a core in the first cycle after the start of the run."""
        core = CoreSimulator(self.config, model=self._model)
        for memory, image in self.program.image.items():
            core.write(memory, image)
        if self.program.load_stream is not None:
            core.run(self.program.load_parameters(), weights=self.program.load_stream, limit=self._limit)
        if not self.stream:
            core.write("inputs", self.words)
        stream = self.program.weight_stream
        core.start(
            self.program.run_parameters(self.iterations, stream=self.stream),
            inputs=self.words if self.stream else None,
            weights=None if stream is None else np.concatenate([stream] * self.iterations),
            stalls=self._stalls,
        )
        return core

    def _run_to_beat(self, core: CoreSimulator, beat: int) -> None:
        """Stop where the counters first include that beat, or where the run is over."""
        chunk = self._cycles[bisect_right(self._beats, beat) - 1]
        core.sim.run(max(chunk - self._cycle(core), 0))
        while self._beats_so_far(core) <= beat and core.sim.get("busy"):
            core.sim.run(1)


def _taken(path: Path, names: Iterable[str], start: int, optional: Iterable[str]) -> Waves:
    """Read a waveform file, and remove it: all of a record's may be large."""
    waves = read_waves(path, names, start=start, top="core", optional=optional)
    path.unlink()
    return waves


def _joined(spans: Sequence[Span]) -> int:
    """Return where the first span ends, together with those that overlap it."""
    start, stop = spans[0]
    for after, until in spans[1:]:
        if after > stop or until - start > LONGEST_SPAN:
            break
        stop = max(stop, until)
    return stop
