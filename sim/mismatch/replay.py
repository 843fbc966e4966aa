"""Runs one program again and again, cycle for cycle the same, to look at it from closer each time."""

import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from celosia.sim.core import CoreSimulator, Stalls
from celosia.sim.rtl import Model, SimulationError
from celosia.sim.vcd import Waves, read_waves

CHUNK = 256  # cycles between two notes of how far the run is
COUNTERS_BEHIND = 2  # cycles from a cycle to the counters that include it
LONGEST_SPAN = 4096  # cycles in one waveform file

Words = np.ndarray  # uint32, (entries, 32-bit words of a memory word)
Span = tuple[int, int]  # first cycle, and the one after the last


class Replay:
    """A program with its inputs and stalls, run on a core from its power-up state as often as wanted.

    Cycles count from the start of the run, which is cycle 0. A *beat* is a cycle of the cause `compute`, the first
    being beat 0.

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
    """

    def __init__(
        self, program: Any, words: Words, iterations: int, *, stream: bool, stalls: Stalls, model: Model, limit: int
    ) -> None:
        self.program, self.config, self.iterations = program, program.config, iterations
        self._words, self._stream, self._stalls, self._model, self._limit = words, stream, stalls, model, limit
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
            if core.sim.cycle >= self._limit:
                raise SimulationError(f"the run did not end within {self._limit} cycles.")
        words = self.program.output_words
        results = core.sim.receive("o_results") if self._stream else core.read("outputs", words)
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
            cycles.append(core.sim.cycle - COUNTERS_BEHIND)
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

    def waves(self, names: Iterable[str], spans: Sequence[Span]) -> Iterator[Waves]:
        """Yield, for each span of cycles, in order, what signals below the core held in it."""
        core = self._begin()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "window.vcd"
            waves: Waves | None = None
            for index, (start, stop) in enumerate(spans):
                if waves is None or stop > waves.stop:
                    waves = self._window(core, path, names, start, _joined(spans[index:]))
                yield waves
        core.sim.close()

    def write_waves(self, path: Path, span: Span) -> None:
        """Write the waveform of a span of cycles, all signals."""
        core = self._begin()
        core.sim.trace(str(path), *span)
        core.sim.run(span[1])
        core.sim.close()

    def _window(self, core: CoreSimulator, path: Path, names: Iterable[str], start: int, stop: int) -> Waves:
        if core.sim.cycle > start:  # it overlaps the one before: begin again
            core.sim.close()
            fresh = self._begin()
            core.sim = fresh.sim
        core.sim.trace(str(path), start, stop)
        core.sim.run(stop + 1 - core.sim.cycle)
        return read_waves(path, names, start=start, top="core")

    def _note(self, core: CoreSimulator) -> None:
        self._cycles.append(core.sim.cycle)
        self._beats.append(core.causes()["compute"])

    def _begin(self) -> CoreSimulator:
        """Return a core in the first cycle after the start of the run."""
        core = CoreSimulator(self.config, model=self._model)
        for memory, image in self.program.image.items():
            core.write(memory, image)
        if not self._stream:
            core.write("inputs", self._words)
        stream = self.program.weight_stream
        core.start(
            self.program.run_parameters(self.iterations, stream=self._stream),
            inputs=self._words if self._stream else None,
            weights=None if stream is None else np.concatenate([stream] * self.iterations),
            stalls=self._stalls,
        )
        return core

    def _run_to_beat(self, core: CoreSimulator, beat: int) -> None:
        """Stop where the counters first include that beat, or where the run is over."""
        chunk = self._cycles[bisect_right(self._beats, beat) - 1]
        core.sim.run(max(chunk - core.sim.cycle, 0))
        while core.causes()["compute"] <= beat and core.sim.get("busy"):
            core.sim.run(1)


def _joined(spans: Sequence[Span]) -> int:
    """Return where the first span ends, together with those that overlap it."""
    start, stop = spans[0]
    for after, until in spans[1:]:
        if after > stop or until - start > LONGEST_SPAN:
            break
        stop = max(stop, until)
    return stop
