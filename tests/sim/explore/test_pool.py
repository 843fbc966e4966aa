"""Workers: answers come back whoever dies. Tasks are expressions, which any process can evaluate."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from celosia.host.errors import CelosiaError
from celosia.sim.explore.pool import DEATHS, LocalHands, Pool, WorkerDiedError, hands


def test_answers() -> None:
    with hands(2) as workers:
        pool = Pool(workers, eval)
        assert dict(pool.run([f"{number} * {number}" for number in range(20)])) == {
            f"{number} * {number}": number * number for number in range(20)
        }
        assert dict(pool.run(["1 + 1"])) == {"1 + 1": 2}  # again, with the same workers
        assert dict(pool.run([])) == {}


def test_errors_of_tasks_are_raised() -> None:
    with hands(2) as workers, pytest.raises(ZeroDivisionError):
        list(Pool(workers, eval).run(["1 / 0"]))


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """The first to come dies; whoever does that task again finds the trace of it, and answers."""
    trace = tmp_path / "trace"
    system = "__import__('os')"
    dies = f"'answer' if {system}.path.exists({str(trace)!r}) else (open({str(trace)!r}, 'w'), {system}._exit(1))"
    tasks = [dies, *(f"{number} + 1" for number in range(30))]
    with hands(2) as workers:
        answers = dict(Pool(workers, eval).run(tasks))
    assert answers == {dies: "answer", **{f"{number} + 1": number + 1 for number in range(30)}}


def test_a_task_that_kills_is_given_up_and_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    kills = f"(open({str(log)!r}, 'a').write('x'), open({str(log)!r}).close(), __import__('os')._exit(1))"
    tasks = [*(f"{number} + 1" for number in range(10)), kills, *(f"{number} + 2" for number in range(10))]
    with hands(2) as workers:
        answers = dict(Pool(workers, eval).run(tasks))
    assert len(answers) == len(tasks)
    assert isinstance(answers.pop(kills), WorkerDiedError)
    assert all(isinstance(answer, int) for answer in answers.values())
    assert DEATHS == 3


def test_killed_from_outside() -> None:
    with hands(2) as workers:
        assert isinstance(workers, LocalHands)
        pool = Pool(workers, eval)
        answers = {}
        for task, answer in pool.run([f"__import__('time').sleep(0.05) or {number}" for number in range(20)]):
            answers[task] = answer
            if len(answers) == 5:
                assert workers._executor is not None
                os.kill(next(iter(workers._executor._processes)), signal.SIGKILL)
        assert sorted(answers.values()) == list(range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_workers_end_with_a_sweep_that_is_killed(tmp_path: Path) -> None:
    """Also the tools that they run, of which each writes its number into a file."""
    code = (
        "import sys; from celosia.sim.explore.pool import *\n"
        "if __name__ == '__main__':\n"
        "    with hands(2) as workers:\n"
        "        list(Pool(workers, eval).run(sys.argv[1:]))\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    files = [tmp_path / f"tool{number}" for number in range(2)]
    tasks = [f"__import__('os').system('echo $$ > {file}; sleep 60')" for file in files]
    sweep = subprocess.Popen([sys.executable, str(script), *tasks])
    deadline = time.monotonic() + 30
    while not all(file.exists() and file.read_text().strip() for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    tools = [int(file.read_text()) for file in files]
    assert all(Path(f"/proc/{tool}").exists() for tool in tools)
    sweep.kill()
    sweep.wait()
    while any(_alive(tool) for tool in tools) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(tool) for tool in tools)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_no_scheduler_there() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(CelosiaError, match="no dask scheduler answers there"), hands(1, "tcp://127.0.0.1:9"):
        pass
