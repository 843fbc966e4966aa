# amaranth: UnusedElaboratable=no
"""Runs programs on the core's RTL without a link: random stalls on every stream, and the counters at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.core_port import HOST_READ_LATENCY
from celosia.hw.protocol import RUN_FIELDS, RunParameters
from celosia.sim.cycles.model import Gates
from celosia.sim.rtl import (
    Model,
    SimulationError,
    Simulator,
    StopReason,
    build,
    gate_pattern,
    simulate,
    stall_threshold,
)

Words = np.ndarray  # uint32, (entries, 32-bit words of a memory word)


@dataclass(frozen=True, kw_only=True)
class Stalls:
    """Probability that a stream's outer side is not willing in a cycle, for each stream, and the seed."""

    inputs: float = 0.0
    weights: float = 0.0
    results: float = 0.0
    seed: int = 1

    def gates(self, config: AcceleratorConfig, cycles: int) -> dict[str, Gates | None]:
        """Return the gates of the three streams from the start of a run, for `celosia.sim.cycles.model.predict`."""
        before = config.engine.reset_cycles  # each run follows a reset
        return {
            name: gate_pattern(self.seed + index, stall_threshold(probability), before + cycles)[before:]
            if probability
            else None
            for index, (name, probability) in enumerate(self.by_stream.items())
        }

    @property
    def by_stream(self) -> dict[str, float]:
        """Probabilities by stream, in the order of their seeds."""
        return {"inputs": self.inputs, "weights": self.weights, "results": self.results}


@dataclass(frozen=True, kw_only=True)
class CoreRun:
    """What a run left: streamed results, if any, and the counters."""

    results: Words
    total_cycles: int
    causes: dict[str, int] = field(default_factory=dict)


def build_core(config: AcceleratorConfig, *, waves: str = "", progress: Callable[[str], None] | None = None) -> Model:
    """Compile a core, or take it from the cache; see `celosia.sim.rtl.build`."""
    return build(Core(config), name="core", identity=config.hash, waves=waves, progress=progress)


def _simulate(config: AcceleratorConfig, progress: Callable[[str], None] | None) -> Simulator:
    return simulate(Core(config), name="core", identity=config.hash, progress=progress)


class CoreSimulator:
    """A core in the simulator, between runs open to its host port."""

    def __init__(
        self,
        config: AcceleratorConfig,
        progress: Callable[[str], None] | None = None,
        *,
        model: Model | None = None,
    ) -> None:
        self.config = config
        self.sim: Simulator = model.start() if model else _simulate(config, progress)
        self._waveform: tuple[str, int, int | None] | None = None

    def trace(self, path: str, start: int = 0, stop: int | None = None) -> None:
        """Write a waveform of the next run's cycles from `start` up to but not including `stop`.

        It needs a model that was built with `waves`.
        Cycle 0 is that of the start. The file is complete after `close`.
        """
        before = self.config.engine.reset_cycles
        self._waveform = (path, before + start, None if stop is None else before + stop)

    def close(self) -> None:
        """End the simulation."""
        self.sim.close()

    def write(self, memory: str, words: Words, address: int = 0) -> None:
        """Write memory words from `address` on."""
        self.sim.set("host_memory", self.config.memory(memory).id)
        self.sim.set("host_write_enable", 1)
        for index, word in enumerate(words):
            self.sim.set("host_address", address + index)
            self.sim.set("host_write_data", int.from_bytes(np.ascontiguousarray(word, dtype="<u4").tobytes(), "little"))
            self.sim.run(1)
        self.sim.set("host_write_enable", 0)

    def read(self, memory: str, count: int, address: int = 0) -> Words:
        """Read memory words from `address` on."""
        spec = self.config.memory(memory)
        self.sim.set("host_memory", spec.id)
        rows = []
        for index in range(count):
            self.sim.set("host_address", address + index)
            self.sim.run(HOST_READ_LATENCY + 1)
            data = int(self.sim.get("host_read_data")) & ((1 << (32 * spec.link_words)) - 1)
            rows.append(np.frombuffer(data.to_bytes(4 * spec.link_words, "little"), dtype="<u4"))
        return np.array(rows, dtype=np.uint32).reshape(count, spec.link_words)

    def run(
        self,
        run: RunParameters,
        *,
        inputs: Words | None = None,
        weights: Words | None = None,
        stalls: Stalls | None = None,
        limit: int = 10_000_000,
    ) -> CoreRun:
        """Execute a run to its end.

        Parameters
        ----------
        run : RunParameters
            What to run.
        inputs, weights : ndarray of uint32 or None
            Memory words that stream in, of all iterations.
        stalls : Stalls or None
            Stalls of the streams, counted from the cycle of the start; None: they never stall.
        limit : int
            Cycles after which the run is given up.

        Raises
        ------
        SimulationError
            The run did not end within `limit` cycles, or the watchdog ended it.
        """
        self.start(run, inputs=inputs, weights=weights, stalls=stalls)
        for _ in range(limit // 64):
            if self.sim.run(64, until="fault") is StopReason.SIGNAL:
                raise SimulationError(f"the watchdog ended the run in cycle {self.sim.cycle}.")
            if not self.sim.get("busy"):
                break
        else:
            raise SimulationError(f"the run did not end within {limit} cycles.")
        self.sim.run(4)  # the counters follow behind
        expected = run.iterations * run.output_words
        width = self.config.memory("outputs").link_words
        results = self.sim.receive("o_results") if expected else np.zeros((0, width), dtype=np.uint32)
        return CoreRun(results=results, total_cycles=int(self.sim.get("total_cycles")), causes=self.causes())

    def causes(self) -> dict[str, int]:
        """Return the cycles by cause so far; they follow a few cycles behind."""
        counters = int(self.sim.get("cause_cycles"))
        width = self.config.counter_width
        mask = (1 << width) - 1
        return {name: (counters >> (width * index)) & mask for index, name in enumerate(self.config.causes)}

    def abort(self) -> None:
        """End a run in this cycle; the memories keep what they hold."""
        self.sim.set("run_abort", 1)
        self.sim.run(1)
        self.sim.set("run_abort", 0)

    def start(
        self,
        run: RunParameters,
        *,
        inputs: Words | None = None,
        weights: Words | None = None,
        stalls: Stalls | None = None,
    ) -> None:
        """Start a run, whose first cycle is then over; parameters as for `run`."""
        self.sim.reset()
        if self._waveform:
            self.sim.trace(*self._waveform)
            self._waveform = None
        self.sim.run(self.config.engine.reset_cycles)
        if not self.sim.get("ready"):
            raise SimulationError(f"the core was not ready {self.config.engine.reset_cycles} cycles after its reset.")
        packed = offset = 0
        for name, width in RUN_FIELDS.items():
            packed |= getattr(run, name) << offset
            offset += width
        self.sim.set("run", packed)
        expected = run.iterations * run.output_words
        for port, words in (("i_inputs", inputs), ("i_weights", weights)):
            if words is not None:
                self.sim.send(port, words)
        if expected:
            self.sim.expect("o_results", expected)
        for index, (name, probability) in enumerate((stalls or Stalls()).by_stream.items()):
            port = f"o_{name}" if name == "results" else f"i_{name}"
            self.sim.stall(port, probability, seed=(stalls or Stalls()).seed + index)
        self.sim.set("run_start", 1)
        self.sim.run(1)
        self.sim.set("run_start", 0)
