"""A sweep: candidates are counted, the promising ones synthesized, placed and routed, and simulated."""

import hashlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celosia.boards.board import Board
from celosia.boards.clocks import MHZ, plan_clock
from celosia.boards.estimate import CLOCK_SHARE, check_board, estimate_errors
from celosia.boards.limits import describe_excess, least_usage, too_much
from celosia.boards.table import find_board
from celosia.boards.tools import SynthesisError
from celosia.boards.usage import KINDS, Usage
from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.sim.explore.candidate import CHECK, LEVELS, Candidate
from celosia.sim.explore.evaluate import Result, Task
from celosia.sim.explore.front import select
from celosia.sim.explore.objectives import Objective
from celosia.sim.explore.outcome import Outcome, distinct
from celosia.sim.explore.pool import Pool
from celosia.sim.explore.requirement import Requirement
from celosia.sim.explore.search import Search, in_rounds
from celosia.sim.explore.space import Space
from celosia.sim.explore.store import Store
from celosia.sim.explore.version import code_digest, versions
from celosia.sim.explore.workload import Workload

TASK_CONFIGS = 16  # configs whose cycles one task counts: some tenths of a second
Progress = Callable[[str, int, int, Sequence[Candidate]], None]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is looked for.

    Parameters
    ----------
    space : Space
    workload : Workload
    objectives : sequence of Objective
        The first one decides which candidate is the best.
    search : Search
        Of that space.
    board : str
        Name of the board; empty for none, and then nothing is known of area and clock.
    clock_mhz : float or None
        The clock to reach; None: what each candidate is estimated to reach.
    requirements : sequence of Requirement
    promoted : mapping of str to int
        By level after the first: how many of the best of the level before go on to it.
    keep : tuple of str
        Parameters that stay as the space has them, where memories are otherwise made deep enough.
    """

    space: Space
    workload: Workload
    objectives: Sequence[Objective]
    search: Search
    board: str = ""
    clock_mhz: float | None = None
    requirements: Sequence[Requirement] = ()
    promoted: Mapping[str, int] = field(default_factory=dict)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        needing = [objective.name for objective in self.objectives if objective.needs_board]
        if needing and not self.board:
            raise CelosiaError(f"objective {needing[0]} is known for a board only; name one with --board.")
        if not self.board and any(self.promoted.get(level) for level in ("synthesis", "route")):
            raise CelosiaError("synthesis, place and route are for a board; name one with --board.")
        if self.board:
            check_board(find_board(self.board))
        if any(self.promoted.get(level) for level in LEVELS[1:]):
            from celosia.boards.bitstream import tool_versions

            try:
                tool_versions(find_board(self.board))
            except SynthesisError as error:
                raise CelosiaError(str(error)) from None
        if self.clock_mhz is not None and not 0 < self.clock_mhz < float("inf"):
            raise CelosiaError(f"--clock {self.clock_mhz} must be a positive number of MHz.")


def explore(
    sweep: Sweep, *, store: Store, pool: "Pool[Task, list[Result]] | None", progress: Progress | None = None
) -> Outcome:
    """Run a sweep.

    Parameters
    ----------
    sweep : Sweep
    store : Store
        What is in it is not evaluated again; what is evaluated is put there at once.
    pool : Pool or None
        Workers that evaluate; None: only what is in the store counts, the rest is left out.
    progress : callable or None
        Told the level, how many candidates are through, of how many, and all candidates so far.

    Raises
    ------
    CelosiaError
        An objective is not known for such candidates, or the store cannot be used.
    """
    return _Run(sweep, store, pool, progress or (lambda *_: None)).outcome()


class _Run:
    def __init__(self, sweep: Sweep, store: Store, pool: "Pool[Task, list[Result]] | None", progress: Progress) -> None:
        self.sweep, self.store, self.pool, self.progress = sweep, store, pool, progress
        self.board: Board | None = find_board(sweep.board) if sweep.board else None
        self.candidates: list[Candidate] = []
        self.numbers: dict[str, int] = {}  # choice, as JSON → number
        self.evaluated: Counter[str] = Counter()
        self.reused: Counter[str] = Counter()
        self._plans: dict[float, float] = {}

    def outcome(self) -> Outcome:
        begin = time.monotonic()
        for choices in in_rounds(self.sweep.search):
            asked = [self._candidate(choice) for choice in choices]
            self._look("cycles", [number for number in dict.fromkeys(asked) if self._is_new(number)])
            self.sweep.search.tell([self._costs(self.candidates[number]) for number in asked])
        for level in (*LEVELS[1:], CHECK):
            if count := self.sweep.promoted.get(level, 0):
                self._look(level, self._promising(count))
        engines = {base.engine_name for base in self.sweep.space.bases}
        return Outcome(
            workload=self.sweep.workload.name,
            board=self.sweep.board,
            objectives=tuple(self.sweep.objectives),
            candidates=tuple(self.candidates),
            evaluated=dict(self.evaluated),
            reused=dict(self.reused),
            seconds=time.monotonic() - begin,
            errors=estimate_errors(engines) if self.board else {},
        )

    def _candidate(self, choice: Mapping[str, Any]) -> int:
        """Return the number of a choice's candidate, a new one if it is new."""
        name = json.dumps(choice)
        if name not in self.numbers:
            self.numbers[name] = len(self.candidates)
            candidate = Candidate(number=len(self.candidates), choice=choice)
            try:
                config = self.sweep.space.config(choice)
                candidate = replace(candidate, config=config, refused=self._excess(config))
            except ValueError as error:
                candidate = replace(candidate, refused=str(error))
            self.candidates.append(candidate)
        return self.numbers[name]

    def _is_new(self, number: int) -> bool:
        return not self.candidates[number].level and not self.candidates[number].refused

    def _excess(self, config: AcceleratorConfig) -> str:
        """Return how a config is certain not to fit on the board, or an empty text."""
        if self.board is None:
            return ""
        usage = least_usage(config, self.board.device)
        return f"does not fit: {describe_excess(usage)}" if too_much(usage) else ""

    def _costs(self, candidate: Candidate) -> list[float] | None:
        if candidate.refused or not candidate.level:
            return None
        missing = [each.name for each in self.sweep.objectives if each.name not in candidate.figures]
        if missing:
            raise CelosiaError(f"{missing[0]} is not known for {candidate.name}; choose another --objective.")
        return [objective.cost(candidate.figures) for objective in self.sweep.objectives]

    def _promising(self, count: int) -> list[int]:
        """Return the numbers of the best candidates of the furthest level."""
        fine = [candidate for candidate in self.candidates if candidate.level and not candidate.refused]
        last = max((LEVELS.index(candidate.level) for candidate in fine), default=0)
        fine = [candidate for candidate in fine if LEVELS.index(candidate.level) == last]
        costs, different = distinct(fine, self.sweep.objectives)
        return [different[index].number for index in select(costs, count)]

    def _look(self, level: str, numbers: Sequence[int]) -> None:
        """Look at candidates at a level."""
        waiting: dict[str, list[int]] = {}
        for number in numbers:
            waiting.setdefault(self._key(level, self.candidates[number]), []).append(number)
        total = len(waiting)

        def take(results: Mapping[str, Mapping[str, Any]], counter: Counter[str] | None) -> None:
            for key, result in results.items():
                for number in waiting.pop(key):
                    self._take(level, number, result)
                if counter is not None:
                    counter[level] += 1
            self.progress(level, total - len(waiting), total, self.candidates)

        chunks: dict[int, tuple[Task, list[str]]] = {}

        def tasks() -> Iterator[Task]:
            for chunk in self._chunks(level, list(waiting)):
                take(self.store.get(chunk), self.reused)
                left = [key for key in chunk if key in waiting]
                if left and self.pool is not None:
                    task = self._task(level, [self.candidates[waiting[key][0]] for key in left])
                    chunks[id(task)] = task, left
                    yield task

        if self.pool is None:
            deque(tasks(), maxlen=0)  # which looks what the store has
            return
        for task, answer in self.pool.run(tasks()):
            _, keys = chunks.pop(id(task))
            if isinstance(answer, CelosiaError):  # which says nothing about the config that is worth keeping
                take({key: {"refused": str(answer)} for key in keys}, None)
                continue
            results = dict(zip(keys, answer, strict=True))
            self.store.put(level, {key: result for key, result in results.items() if not result.get("again")})
            take(results, self.evaluated)

    def _chunks(self, level: str, keys: list[str]) -> list[list[str]]:
        """Cut keys into tasks, in any order: sweeps that share a store are then at different ones."""
        size = TASK_CONFIGS if level == "cycles" and len(self.sweep.workload.models) == 1 else 1
        chunks = [keys[begin : begin + size] for begin in range(0, len(keys), size)]
        random.shuffle(chunks)
        return chunks

    def _task(self, level: str, candidates: Sequence[Candidate]) -> Task:
        return Task(
            level=level,
            configs=tuple(candidate.config for candidate in candidates if candidate.config is not None),
            workload=self.sweep.workload.pickled if level in ("cycles", CHECK) else b"",
            keep=self._kept if level == "cycles" else (),
            board=self.sweep.board,
            clocks=tuple(map(self._aim, candidates)) if level in ("synthesis", "route") else (),
        )

    @property
    def _kept(self) -> tuple[str, ...]:
        return tuple(sorted({*self.sweep.keep, *self.sweep.space.dimensions}))

    def _key(self, level: str, candidate: Candidate) -> str:
        """Return what names a result: the level, the config, and all that it depends on."""
        assert candidate.config is not None
        parts: list[Any] = [level, candidate.config.to_json(), self.sweep.board, code_digest(), versions(level)]
        if level in ("cycles", CHECK):
            parts += [self._kept, self.sweep.workload.digest]
        else:
            parts.append(self._aim(candidate))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _aim(self, candidate: Candidate) -> float:
        """Return the clock rate to place and route for, MHz."""
        assert self.board is not None
        if self.sweep.clock_mhz is not None:
            return self._plan(self.sweep.clock_mhz)
        estimated = candidate.figures.get("estimated_fmax_mhz", candidate.figures["fmax_mhz"])
        return self._plan(max(int(CLOCK_SHARE * estimated), 1))

    def _plan(self, wanted: float) -> float:
        """Return the highest clock rate that the board can have and is not above what is wanted, MHz."""
        assert self.board is not None
        if wanted not in self._plans:
            self._plans[wanted] = plan_clock(self.board.device.family, self.board.clock_hz, wanted * MHZ).mhz
        return self._plans[wanted]

    def _take(self, level: str, number: int, result: Mapping[str, Any]) -> None:
        """Take a result into a candidate."""
        candidate = self.candidates[number]
        if "refused" in result:
            self.candidates[number] = replace(candidate, refused=result["refused"])
            return
        before = {
            f"estimated_{name}": candidate.figures[name] for name in result["figures"] if name in candidate.figures
        }
        figures = {**before, **candidate.figures, **result["figures"]}
        config = AcceleratorConfig.from_json(result["config"]) if "config" in result else candidate.config
        # A simulation adds nothing that candidates are compared by.
        candidate = replace(
            candidate, figures=figures, config=config, level=candidate.level if level == CHECK else level
        )
        if self.board is not None:
            candidate = replace(candidate, figures=self._at_clock(candidate))
        self.candidates[number] = replace(candidate, refused=self._wrong(candidate))

    def _at_clock(self, candidate: Candidate) -> dict[str, float]:
        """Return the figures with those that follow from a clock rate."""
        assert self.board is not None
        figures = dict(candidate.figures)
        aim = self._aim(candidate)
        if candidate.level == "route" and figures["fmax_mhz"] < aim and self.sweep.clock_mhz is None:
            aim = self._plan(int(figures["fmax_mhz"]))
        figures["clock_mhz"] = aim
        inputs = self.sweep.workload.batch
        figures["latency_us"] = figures["cycles"] * inputs / aim
        figures["inputs_per_second"] = aim * 1e6 / figures["cycles"]
        figures["inputs_per_second_per_lut"] = figures["inputs_per_second"] / max(figures["luts"], 1)
        return figures

    def _wrong(self, candidate: Candidate) -> str:
        """Return why a candidate is out, or an empty text."""
        figures = candidate.figures
        if self.board is not None:
            device = self.board.device
            usage = {
                kind: Usage(used=round(figures[kind]), available=getattr(device, kind))
                for kind in KINDS
                if kind in figures
            }
            if too_much(usage):
                return f"does not fit: {describe_excess(usage)}"
            if figures["fmax_mhz"] < figures["clock_mhz"]:
                return f"too slow: reaches {figures['fmax_mhz']:.1f} of {figures['clock_mhz']:g} MHz"
        return next(filter(None, (requirement.broken(figures) for requirement in self.sweep.requirements)), "")
