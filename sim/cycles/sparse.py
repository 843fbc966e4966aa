"""Cycles of steps on the sparse engine; the twin of `celosia.hw.sparse.engine`.

What takes time depends on which activations are zero, so the model is told them. It follows columns, not cycles: when
each is found, looked up and broadcast, and when each PE takes it from its queue. A column is broadcast when the one
before it has been, when it has been looked up, and when no queue is full; a PE takes it when it has read the entries of
the one before.
"""

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.timing import (
    COLUMNS_AHEAD,
    ENTRY_CYCLES,
    FLUSH_CYCLES,
    LOOKUP_CYCLES,
    WORD_CYCLES,
    WORDS_AHEAD,
    codebook_cycles,
    merge_cycles,
)
from celosia.sim.cycles.load import load_raw
from celosia.sim.cycles.model import Source
from celosia.sim.cycles.sparse_load import load_encoded
from celosia.sim.golden.sparse import run_layer


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What a step has to do.

    Parameters
    ----------
    active : ndarray (M, words · PEs) of bool
        Activations that are not zero, by position within the step's words.
    lengths : ndarray (words · PEs, PEs) of int64
        Entries of each column in each PE.
    pads : tuple of three ndarrays (n,) of int64
        Column, PE and place in the column of each padding entry.
    symbol_lengths : ndarray (decoders, n) or None
        Bits of each symbol that the decoders take.
    """

    active: np.ndarray
    lengths: np.ndarray
    pads: tuple[np.ndarray, np.ndarray, np.ndarray]
    symbol_lengths: Any = None


class EngineTimes:
    """Follows the engine from step to step."""

    take_cycles = 0  # from the cycle in which nothing is in the way of a step to the one in which it is taken

    def __init__(self, config: AcceleratorConfig, ring_base: int, weights: Source) -> None:  # noqa: ARG002
        assert isinstance(config.engine, SparseConfig)
        self.config, self.engine = config, config.engine
        self._weights = weights
        self._loaded = 0  # first cycle in which the loader is idle

    def run(self, step: Mapping[str, int], offered: int, take: int, work: Work) -> tuple[int, dict[str, int]]:
        """Return the cycle in which a step is done, and where its cycles went.

        Parameters
        ----------
        step : mapping
            Fields of the descriptor, see `celosia.hw.sparse.layer`.
        offered, take : int
            First cycle in which the loader may look at the step; cycle in which the engine takes it.
        work : Work
        """
        self._load(step, offered, take, work)
        ready = max(self._loaded, take + 1)
        if self.engine.codebook_width is not None:
            begin = ready if step["encoded"] else take
            ready = max(ready, begin + codebook_cycles(self.engine))
        walk = _Walk(self.engine, step, work, take, ready + 1)
        done = walk.run()
        return done, walk.causes(done)

    def _load(self, step: Mapping[str, int], offered: int, take: int, work: Work) -> None:
        words = step["load_words"]
        if not words:
            return
        start = max(offered, self._loaded) if step["load_ahead"] else take
        if step["encoded"]:
            load = load_encoded(self.engine, work.symbol_lengths, words, start, self._weights)
        else:
            load = load_raw(words, start, self._weights)
        self._loaded = load.idle


class _Walk:
    """One step, column by column."""

    def __init__(self, engine: SparseConfig, step: Mapping[str, int], work: Work, take: int, ready: int) -> None:
        self.engine, self.step, self.work = engine, step, work
        self.take = take
        self.ready = ready  # first cycle in which weights and codes are there
        self.limit = step["queue_limit"]
        # The look-up: what was found last, and in which cycle each of the last columns and barriers left it.
        self._found = take
        self._pops = deque([take] * COLUMNS_AHEAD, maxlen=COLUMNS_AHEAD)
        # The PEs: cycle in which each can take its next column; those in which it took the last ones.
        self._free = np.full(engine.pes, take)
        self._taken = np.full((self.limit, engine.pes), take)
        self._pushed = np.zeros(engine.pes, dtype=np.int64)
        # What happened, for the causes.
        self._first = -1  # cycle in which anything could be broadcast, were the weights there
        self._first_column = -1
        self._columns: list[int] = []
        self._starts: list[np.ndarray] = []  # cycle in which each PE took the column; -1: it did not
        self._held: list[tuple[int, int]] = []  # cycles in which a column waited for a queue
        self._drains: list[tuple[int, int]] = []  # from a barrier to the last read behind it

    def run(self) -> int:
        """Follow all vectors and return the cycle in which the step is done."""
        freed: list[int] = []  # cycles in which activation words made room for others
        read, scanned = self.take, self.take  # of the last word: its read; the cycle in which it was done
        words = self.step["source_words"]
        for vector in self.work.active.reshape(self.step["vectors"], words, self.engine.pes):
            for number, lanes in enumerate(vector):
                read += 1
                if len(freed) >= WORDS_AHEAD:
                    read = max(read, heapq.heappop(freed) + 1)
                columns = np.flatnonzero(lanes)
                last = number == words - 1
                if not len(columns) and not last:
                    heapq.heappush(freed, read + WORD_CYCLES - 1)
                    continue
                scan = max(read + WORD_CYCLES, scanned)
                heapq.heappush(freed, scan)
                self._found = max(self._found, scan)
                for column in columns:
                    self._broadcast(number * self.engine.pes + int(column))
                if last:
                    self._finish()
                scanned = self._found
            if not words:
                self._finish()
        return self._end()

    def _head(self) -> int:
        """Find one more column or barrier, and return the first cycle in which it is at the head of the look-up."""
        self._found = max(self._found, self._pops[0]) + 1
        head = max(self._found + LOOKUP_CYCLES, self._pops[-1] + 1)
        if self._first < 0:
            self._first = head
        return max(head, self.ready)

    def _broadcast(self, column: int) -> None:
        """Give a column to the PEs as soon as no queue is full."""
        head = self._head()
        # Each queue has room again in the cycle after the oldest of the last `limit` columns was taken.
        push = max(head, int(self._taken[self._pushed % self.limit, np.arange(self.engine.pes)].max()) + 1)
        self._pops.append(push)
        if self._first_column < 0:
            self._first_column = push
        if push > head:
            self._held.append((head, push))
        lengths = self.work.lengths[column]
        mine = np.flatnonzero((lengths > 0) | bool(self.step["keep_empty"]))
        taken = np.maximum(self._free[mine], push + 1)
        self._free[mine] = taken + np.maximum(lengths[mine], 1)
        self._taken[self._pushed[mine] % self.limit, mine] = taken
        self._pushed[mine] += 1
        starts = np.full(self.engine.pes, -1)
        starts[mine] = taken
        self._columns.append(column)
        self._starts.append(starts)

    def _finish(self) -> None:
        """Have a vector drained when all PEs are idle."""
        begin = max(self._head(), int(self._free.max()) + 1)
        last = begin + FLUSH_CYCLES + self.step["rows"] - 1 if self.step["rows"] else begin
        self._pops.append(last)
        self._drains.append((begin, last))

    def _end(self) -> int:
        last = self._drains[-1][1]
        return last + merge_cycles(self.engine) + 1 if self.step["rows"] else last + 1

    def causes(self, done: int) -> dict[str, int]:
        """Return the cycles of the step by cause, up to and including `done`.

        A cause is told ENTRY_CYCLES after the PEs have begun to read what explains it; until then it is `fill`.
        """
        names = self.engine.CAUSES
        span = done - ENTRY_CYCLES - self.take  # cycles take + 1 … are told
        cause = np.full(max(span, 0) + 1, names.index("starved"))
        at = -self.take  # cycle → place in `cause`; place 0 is the take itself

        def mark(begin: int, end: int, name: str) -> None:
            cause[max(begin + at, 0) : max(min(end + at, len(cause)), 0)] = names.index(name)

        for begin, end in self._held:
            mark(begin, end, "queue_full")
        self._mark_work(cause, at)
        begun = len(cause) - at if self._first_column < 0 else self._first_column
        for begin, last in self._drains:
            mark(begin, last + 1, "drain")
        mark(self._drains[-1][0], done + 1, "drain")
        mark(self._first, self.ready, "weights_wait")
        self._mark_fill(mark, begun)
        counts = np.bincount(cause[1:], minlength=len(names))
        counts[names.index("fill")] += ENTRY_CYCLES + min(span, 0)
        return {name: int(count) for name, count in zip(names, counts, strict=True)}

    def _mark_fill(self, mark: Any, begun: int) -> None:
        """Mark the cycles before the first column in which nothing is ready, between drains of empty vectors, too."""
        ready = self._first
        mark(self.take, min(ready, begun), "fill")
        for (_, last), (begin, _) in pairwise(self._drains):
            if last < begun:
                mark(last + 1, min(begin, begun), "fill")

    def _mark_work(self, cause: np.ndarray, at: int) -> None:
        """Mark the cycles in which every PE reads an entry, by what they read."""
        if not self._columns:
            return
        columns, starts = np.array(self._columns), np.array(self._starts)
        lengths = self.work.lengths[columns]
        took = starts >= 0
        begin = starts[took] + 1 + at
        size = len(cause) + 1
        reading = np.bincount(np.minimum(begin, size - 1), minlength=size) - np.bincount(
            np.minimum(begin + np.maximum(lengths[took], 1), size - 1), minlength=size
        )
        all_read = np.cumsum(reading)[:-1] == self.engine.pes
        names = self.engine.CAUSES
        cause[all_read] = names.index("compute")
        empty = starts[took & (lengths == 0)] + 1 + at
        marks = np.zeros(len(cause), dtype=bool)
        marks[empty[empty < len(cause)]] = True
        cause[all_read & marks] = names.index("empty_column")
        pads = self._pad_cycles(columns, starts) + at
        marks[:] = False
        marks[pads[pads < len(cause)]] = True
        cause[all_read & marks] = names.index("padding")

    def _pad_cycles(self, columns: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return the cycles in which padding is read."""
        column, pe, place = self.work.pads
        order = np.argsort(columns, kind="stable")  # a column may be broadcast once for each vector
        first = np.searchsorted(columns[order], column, side="left")
        count = np.searchsorted(columns[order], column, side="right") - first
        chosen = np.repeat(np.arange(len(column)), count)
        offset = np.arange(len(chosen)) - np.repeat(np.cumsum(count) - count, count)
        broadcast = order[first[chosen] + offset]
        return starts[broadcast, pe[chosen]] + 1 + place[chosen]


def works(program: Any, inputs: np.ndarray) -> list[list[Work]]:
    """Return what each step of each iteration has to do.

    Parameters
    ----------
    program : celosia.host.program.Program
    inputs : ndarray (n, …), integers of the network's input type
        Missing ones of the last iteration are zeros.
    """
    config: AcceleratorConfig = program.config
    pes, vectors = config.engine.pe_count, program.vectors
    iterations = -(-len(inputs) // vectors)
    values = np.zeros((iterations * vectors, math.prod(program.network.input_shape)), dtype=np.int64)
    values[: len(inputs)] = inputs.reshape(len(inputs), -1)
    result: list[list[Work]] = [[] for _ in range(iterations)]
    positions, words, unused = np.arange(values.shape[1]), program.layers[0].arranged.input_words, 0
    for plan in program.layers:
        lanes = np.full((len(values), words * pes), unused != 0)
        lanes[:, positions] = values != 0
        for step in plan.steps:
            begin = (step.fields["source"] - plan.steps[0].fields["source"]) * pes
            active = lanes[:, begin : begin + step.fields["source_words"] * pes]
            work = _work(step)
            for iteration in range(iterations):
                part = active[iteration * vectors : (iteration + 1) * vectors]
                result[iteration].append(replace(work, active=part))
        values = run_layer(plan.arranged, values, config.engine)
        layer = plan.arranged.layer
        positions, words = plan.arranged.output_positions, plan.arranged.output_words
        unused = min(max(0, layer.minimum), layer.maximum)  # what lanes without a row hold
    return result


def load_works(program: Any) -> list[list[Work]]:
    """Return what each step of a program's `loads` has to do, for their one iteration."""
    return [[_work(step) for step in program.loads]]


def _work(step: Any) -> Work:
    """Return what a step has to do on no activations."""
    entries, pes = step.detail.entries, step.detail.entries.pointers.shape[1]
    lengths = np.diff(entries.pointers, axis=0)
    place, pe = np.nonzero(entries.pads)
    column = np.zeros(len(place), dtype=np.int64)
    for one in np.unique(pe):
        mine = pe == one
        column[mine] = np.searchsorted(entries.pointers[:, one], place[mine], side="right") - 1
    return Work(
        active=np.zeros((step.fields["vectors"], step.fields["source_words"] * pes), dtype=bool),
        lengths=lengths,
        pads=(column, pe, place - entries.pointers[column, pe]),
        symbol_lengths=step.detail.symbol_lengths,
    )
