"""Cycles of a run, exactly: what the core's counters will show, without simulating a cycle.

Times are cycles after the strobe that starts the run, which is cycle 0. The model follows events (a tile swapped in, a
row drained, a word accepted) and never a clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import find_engine
from celosia.hw.timing import READ_LATENCY, RESULT_QUEUE_DEPTH, fetch_cycles

Gates = np.ndarray  # bool, (cycles,): whether a stream's other side is willing, by cycle from cycle 0 on


class RunNumbers(Protocol):
    """The numbers of a run that decide its cycles; `celosia.hw.protocol.RunParameters` has them."""

    @property
    def iterations(self) -> int: ...  # noqa: D102
    @property
    def input_words(self) -> int: ...  # noqa: D102
    @property
    def output_words(self) -> int: ...  # noqa: D102
    @property
    def ring_base(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Cycles by cause, as the core counts them; `by_layer` has the same for each layer of each iteration."""

    causes: dict[str, int]
    by_layer: list[dict[str, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Cycles from start to end."""
        return sum(self.causes.values())


class Stream:
    """The outer side of a stream, which offers or takes one word in each cycle in which its gate is open.

    Parameters
    ----------
    gates : bool array or None
        Whether it is willing, by cycle; None: always. It must be long enough for the whole run.
    """

    def __init__(self, gates: Gates | None = None) -> None:
        self._open = None if gates is None else np.flatnonzero(gates)

    @property
    def always_open(self) -> bool:
        """Whether it is willing in every cycle."""
        return self._open is None

    def from_cycle(self, cycle: int) -> int:
        """Return the first cycle at or after `cycle` in which the gate is open.

        Raises
        ------
        ValueError
            The gates are too short.
        """
        if self._open is None:
            return cycle
        index = int(np.searchsorted(self._open, cycle))
        if index == len(self._open):
            raise ValueError(f"the gates of a stream end before cycle {cycle}; give more of them.")
        return int(self._open[index])


class Source(Stream):
    """A stream into the core: a word is offered from an open gate on until it is accepted."""

    def __init__(self, gates: Gates | None = None) -> None:
        super().__init__(gates)
        self._free = 0  # first cycle in which the next word may be offered

    def accept(self, ready: int) -> int:
        """Return the cycle in which the next word is accepted, if the core is ready from cycle `ready` on."""
        accepted = max(self.from_cycle(self._free), ready)
        self._free = accepted + 1
        return accepted


class InputTimes:
    """When the halves of the input memory are full; the twin of `celosia.hw.buffers.InputFiller`."""

    def __init__(self, words: int, source: Source) -> None:
        self.words, self._source = words, source
        self._released: list[int] = []
        self._ready: list[int] = []

    def ready(self, iteration: int) -> int:
        """Return the first cycle in which the inputs of an iteration are there."""
        while self.words and len(self._ready) <= iteration:
            half = len(self._ready)
            free = self._released[half - 2] + 1 if half >= 2 else 1
            self._ready.append(max(self._source.accept(free) for _ in range(self.words)) + 1)
        return self._ready[iteration] if self.words else 0

    def release(self, cycle: int) -> None:
        """Note that the next half was released in that cycle."""
        self._released.append(cycle)


class ResultTimes:
    """When results leave; the twin of `celosia.hw.buffers.ResultSender`."""

    def __init__(self, words: int, sink: Stream) -> None:
        self.words, self._sink = words, sink
        self._taken: list[int] = []  # by word, of the last RESULT_QUEUE_DEPTH
        self._read = -1  # cycle of the last read
        self._freed: list[int] = []  # cycle of each half's last read

    def ready(self, iteration: int) -> int:
        """Return the first cycle in which there is a half for an iteration's results."""
        return self._freed[iteration - 2] + 1 if self.words and iteration >= 2 else 0

    def produce(self, cycle: int) -> None:
        """Note that a half was written, its last word in that cycle, and send it."""
        for _ in range(self.words):
            read = max(self._read + 1, cycle + 1)
            if len(self._taken) == RESULT_QUEUE_DEPTH:
                read = max(read, self._taken.pop(0) + 1)
            offered = read + READ_LATENCY + 1
            self._taken.append(self._sink.from_cycle(max(offered, self._taken[-1] + 1 if self._taken else 0)))
            self._read = read
        self._freed.append(self._read)

    @property
    def empty(self) -> int:
        """First cycle in which nothing is left to send."""
        return self._taken[-1] + 1 if self._taken else 0


def predict(
    config: AcceleratorConfig,
    layers: Sequence[Mapping[str, int]],
    run: RunNumbers,
    *,
    works: Sequence[Sequence[Any]] | None = None,
    inputs: Gates | None = None,
    weights: Gates | None = None,
    results: Gates | None = None,
) -> Cycles:
    """Return the cycles of a run.

    Parameters
    ----------
    config : AcceleratorConfig
        The accelerator.
    layers : sequence of mappings
        Fields of the layer descriptors of one iteration.
    run : RunNumbers
        Iterations and streams.
    works : sequence of sequences or None
        For each iteration and layer, what its cycles depend on besides; from the `works` of the engine's model.
    inputs, weights, results : bool array or None
        Gates of the three streams: cycles in which the outer side is willing. None: always.

    Notes
    -----
    A layer of the systolic engine costs microseconds for each N tile that differs from those before; weights that
    stream through a gate are followed row by row.

    Returns
    -------
    Cycles
        Equal to the counters of the RTL.
    """
    fetch = fetch_cycles(config)
    input_times = InputTimes(run.input_words, Source(inputs))
    result_times = ResultTimes(run.output_words, Stream(results))
    engine = find_engine(config.engine_name).cycles.EngineTimes(config, run.ring_base, Source(weights))
    total = dict.fromkeys(config.causes, 0)
    by_layer: list[dict[str, int]] = []
    offered = fetch  # first cycle in which the next layer is offered
    done = 0  # last cycle of the layer before
    for iteration in range(run.iterations):
        for index, layer in enumerate(layers):
            inputs_ready = input_times.ready(iteration) if index == 0 else 0
            results_ready = result_times.ready(iteration) if layer["destination_is_outputs"] else 0
            causes = dict.fromkeys(config.causes, 0)
            idle = done + 1  # first cycle in which the engine is idle
            seen = max(offered, idle)
            free = max(seen, inputs_ready, results_ready)
            take = free + engine.take_cycles
            causes["fetch"] = max(offered - idle, 0) + engine.take_cycles + 1
            causes["activations_wait"] = max(inputs_ready - seen, 0)
            causes["results_wait"] = free - max(seen, inputs_ready)
            work = works[iteration][index] if works else None
            done, engine_causes = engine.run(layer, offered, take, work)
            causes |= engine_causes
            by_layer.append(causes)
            offered = take + fetch
        input_times.release(done)
        result_times.produce(done)
    by_layer[-1]["results_wait"] += max(done + 1, result_times.empty) - done
    for causes in by_layer:
        for name, cycles in causes.items():
            total[name] += cycles
    return Cycles(causes=total, by_layer=by_layer)
