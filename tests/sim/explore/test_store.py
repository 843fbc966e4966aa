"""The store: results stay, whoever else uses it and however a writer ends."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from celosia.host.errors import CelosiaError
from celosia.sim.explore.store import Store


def test_results_stay(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    with Store(path) as store:
        store.put("cycles", {"a": {"figures": {"cycles": 1.5}}, "b": {"refused": "no “room”"}})
        store.put("route", {"c": {"figures": {}}})
    with Store(path) as store:
        assert store.get(["a", "b", "x"]) == {"a": {"figures": {"cycles": 1.5}}, "b": {"refused": "no “room”"}}
        assert store.count() == {"cycles": 2, "route": 1}


def test_many_keys(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        results = {f"key{number}": {"number": number} for number in range(2345)}
        store.put("cycles", results)
        assert store.get(list(results)) == results


def test_memory_only() -> None:
    with Store(None) as store:
        store.put("cycles", {"a": {}})
        assert store.get(["a"]) == {"a": {}}


def test_readable_while_another_writes(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as writer, Store(tmp_path / "store.db") as reader:
        writer.put("cycles", {"a": {}})
        assert reader.get(["a"]) == {"a": {}}


def test_no_store(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("this is no database, but it is long enough to be looked at " * 40)
    with pytest.raises(CelosiaError, match=r"other\.db: it cannot be used as a store"):
        Store(other)
    assert other.read_text().startswith("this is")
    with pytest.raises(CelosiaError, match="cannot be used as a store"):
        Store(other / "below")


def _write(path: Path, first: int, ready: str) -> None:
    with Store(path) as store:
        Path(ready).touch()
        for number in range(first, first + 100_000):
            store.put("cycles", {f"{first}-{number}": {"number": number}})


def test_killed_writers_leave_a_sound_store(tmp_path: Path) -> None:
    """Two processes write at a time until both are killed in the middle: what one of them read back is there."""
    path = tmp_path / "store.db"
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_write, args=(path, first, str(tmp_path / str(first)))) for first in (0, 1_000_000)
    ]
    for writer in writers:
        writer.start()
    while not all((tmp_path / name).exists() for name in ("0", "1000000")):
        time.sleep(0.01)
    with Store(path) as reader:
        while len(seen := reader.get([f"0-{number}" for number in range(50)])) < 50:
            time.sleep(0.01)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    with Store(path) as store:
        assert store.get(list(seen)) == seen
        count = store.count()["cycles"]
        store.put("cycles", {"after": {}})
        assert store.count()["cycles"] == count + 1
        assert store._run("PRAGMA integrity_check") == [("ok",)]
