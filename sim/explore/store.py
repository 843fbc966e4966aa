"""Results of evaluations, kept in an SQLite file that several sweeps may use at a time."""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from celosia.host.errors import CelosiaError

BUSY_SECONDS: Final = 60.0  # how long a writer waits for another one
_AT_A_TIME: Final = 500  # keys in one query, below SQLite's least limit of 999


class Store:
    """Results by key; what is in it stays, also if the process is killed in the middle of a write.

    Write-ahead logging lets others read while one writes; writers take turns.

    Parameters
    ----------
    path : path or None
        The file, made if need be, as are the folders above it; None: in memory, for this process alone.

    Raises
    ------
    CelosiaError
        It cannot be made, or is no such file.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(":memory:" if path is None else path, BUSY_SECONDS, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS results "
                "(key TEXT PRIMARY KEY, level TEXT NOT NULL, made REAL NOT NULL, value TEXT NOT NULL) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise CelosiaError(
                f"{path}: it cannot be used as a store of results, {error}; give another --store."
            ) from None

    def get(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the results that there are, by key."""
        found: dict[str, dict[str, Any]] = {}
        for begin in range(0, len(keys), _AT_A_TIME):
            some = keys[begin : begin + _AT_A_TIME]
            marks = ",".join("?" * len(some))
            rows = self._run(f"SELECT key, value FROM results WHERE key IN ({marks})", some)
            found |= {key: json.loads(value) for key, value in rows}
        return found

    def put(self, level: str, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Add results, all or none; what is there already is replaced, by the same if nothing is wrong."""
        now = time.time()
        rows = [(key, level, now, json.dumps(value)) for key, value in results.items()]
        self._run("BEGIN IMMEDIATE")
        try:
            self._base.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", rows)
            self._run("COMMIT")
        except BaseException:
            self._base.rollback()
            raise

    def count(self) -> dict[str, int]:
        """Return how many results there are, by level."""
        return dict(self._run("SELECT level, COUNT(*) FROM results GROUP BY level"))

    def _run(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        try:
            return self._base.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise CelosiaError(f"{self._path}: the store of results cannot be used, {error}.") from None

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
