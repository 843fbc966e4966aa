"""Workers: processes of this machine or of a dask cluster, behind the interface of `concurrent.futures`.

A worker that dies loses what it was at, which is done again by another one.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Final, Generic, Protocol, TypeVar

from celosia.host.errors import CelosiaError

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

DEATHS: Final = 3  # of workers at the same task, after which it is given up
AHEAD: Final = 2  # tasks given out per worker, so that none waits for the next
CONNECT_SECONDS: Final = 10
_WATCH_SECONDS: Final = 0.5


class WorkerDiedError(CelosiaError):
    """A task's workers died, again and again."""


class Hands(Protocol):
    """Something with workers."""

    workers: int

    def executor(self) -> Executor:
        """Return an executor that works, a new one if the last one is broken."""
        ...

    def is_loss(self, error: BaseException) -> bool:
        """Whether a worker was lost, rather than that a task failed."""
        ...

    def close(self) -> None:
        """End the workers of this sweep."""
        ...


class LocalHands:
    """Processes of this machine, which end with the process that made them, however that ends."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def executor(self) -> Executor:
        """Return an executor that works."""
        if self._executor is None or getattr(self._executor, "_broken", False):
            self.close()
            # Not forked: the process may have threads, as one has that shows progress.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_follow, initargs=(os.getpid(),)
            )
        return self._executor

    def is_loss(self, error: BaseException) -> bool:
        """Whether the pool is broken."""
        return isinstance(error, BrokenExecutor)

    def close(self) -> None:
        """Stop the workers, and the tools that they run."""
        if self._executor is None:
            return
        workers = list((getattr(self._executor, "_processes", None) or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            _end_group(worker.pid)
        self._executor = None


class DaskHands:
    """Workers of a dask scheduler.

    Raises
    ------
    CelosiaError
        dask.distributed is not installed, or nothing answers at that address.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client, KilledWorker
        except ImportError:
            raise CelosiaError(
                "--scheduler needs the package distributed; pip install 'celosia[explore]' installs it."
            ) from None
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise CelosiaError(f"--scheduler {address}: no dask scheduler answers there ({error}).") from None
        self._killed = KilledWorker
        threads: Any = self._client.nthreads()
        self.workers = max(sum(threads.values()), 1)

    def executor(self) -> Executor:
        """Return the cluster as an executor; tasks of workers that are lost go to others by themselves."""
        executor: Executor = self._client.get_executor(pure=False)
        return executor

    def is_loss(self, error: BaseException) -> bool:
        """Whether the scheduler gave a task up because its workers died."""
        return isinstance(error, self._killed)

    def close(self) -> None:
        """Leave the scheduler and its workers as they are."""
        self._client.close()


class Pool(Generic[_Task, _Answer]):
    """Gives tasks to workers, and results back as they come.

    Parameters
    ----------
    hands : Hands
    function : callable
        What workers do with a task; importable, as are tasks and answers.
    """

    def __init__(self, hands: Hands, function: Callable[[_Task], _Answer]) -> None:
        self._hands, self._function = hands, function

    @property
    def workers(self) -> int:
        """How many work at a time."""
        return self._hands.workers

    def run(self, tasks: Iterable[_Task]) -> Iterator[tuple[_Task, _Answer | WorkerDiedError]]:
        """Yield each task with its answer, as soon as there is one.

        Raises
        ------
        Exception
            What a task raised.
        """
        waiting = enumerate(tasks)
        again: deque[tuple[int, _Task]] = deque()  # of workers that died; one at a time, to see which one it is
        deaths: Counter[int] = Counter()
        pending: dict[Future[_Answer], tuple[int, _Task]] = {}
        executor = self._hands.executor()
        while True:
            while len(pending) < (1 if again else AHEAD * self.workers):
                numbered = again.popleft() if again else next(waiting, None)
                if numbered is None:
                    break
                pending[executor.submit(self._function, numbered[1])] = numbered
                if deaths[numbered[0]]:
                    break
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            lost: list[tuple[int, _Task]] = []
            for future in done:
                numbered = pending.pop(future)
                error = future.exception()
                if error is None:
                    yield numbered[1], future.result()
                elif self._hands.is_loss(error):
                    lost.append(numbered)
                else:
                    raise error
            if lost:
                lost += pending.values()
                pending.clear()
                executor = self._hands.executor()
            for number, task in sorted(lost, key=lambda each: each[0]):
                deaths[number] += 1
                if deaths[number] >= DEATHS:
                    yield task, WorkerDiedError(f"its worker died {DEATHS} times, for want of memory maybe.")
                else:
                    again.append((number, task))


@contextmanager
def hands(workers: int, scheduler: str = "") -> Iterator[Hands]:
    """Get workers: those of a scheduler if there is an address of one, else so many processes."""
    found: Hands = DaskHands(scheduler) if scheduler else LocalHands(workers)
    try:
        yield found
    finally:
        found.close()


def _follow(parent: int) -> None:
    """Have this worker end with its parent, and the tools that it runs with it."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        _end_group(os.getpid())

    threading.Thread(target=watch, daemon=True).start()


def _end_group(leader: Any) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (OSError, TypeError):  # gone, or it has no group of its own yet
        try:
            os.kill(leader, signal.SIGKILL)
        except (OSError, TypeError):
            return
