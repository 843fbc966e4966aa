"""A sweep as a table for other programs: one row per candidate, CSV or Parquet."""

import csv
import importlib
import io
import json
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Final

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.host.files import replacing
from celosia.sim.explore.objectives import OBJECTIVES
from celosia.sim.explore.outcome import Outcome

SUFFIXES: Final = (".csv", ".parquet")
INT64: Final = 1 << 63

Columns = dict[str, tuple[str, list[Any]]]
"""Name → kind (``bool``, ``int``, ``float`` or ``text``) and a value per candidate; None where it is unknown."""


def choice_names(outcome: Outcome) -> list[str]:
    """Return the names of the parameters that are varied, in the order in which candidates name them."""
    return list(dict.fromkeys(name for candidate in outcome.candidates for name in candidate.choice))


def figure_names(outcome: Outcome) -> list[str]:
    """Return the names of the figures that any candidate has: those of objectives in their order, then the others."""
    known = dict.fromkeys(name for candidate in outcome.candidates for name in candidate.figures)
    return [*(name for name in OBJECTIVES if name in known), *(name for name in known if name not in OBJECTIVES)]


def load(package: str, module: str, what: str) -> ModuleType:
    """Import a module of a package that is an extra.

    Parameters
    ----------
    package : str
        What pip calls it.
    module : str
        What is imported.
    what : str
        What it is for, the beginning of a sentence: ``a .parquet file``.

    Raises
    ------
    CelosiaError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise CelosiaError(
            f"{what} needs the package {package}, which is missing; pip install 'celosia[explore]' installs it."
        ) from None


def check_table(path: Path) -> None:
    """Refuse a name that no table can have, or a table that cannot be written here.

    Raises
    ------
    CelosiaError
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CelosiaError(f"{path}: tables are {' or '.join(SUFFIXES)} files.")
    if path.suffix.lower() == ".parquet":
        load("pyarrow", "pyarrow.parquet", "a .parquet file")


def write_table(outcome: Outcome, path: Path) -> None:
    """Write one row per candidate, refused ones included.

    Columns: number; one for each parameter that is varied; one for each figure that any candidate has; level; on_front;
    refused; config_hash; config, as JSON. A parameter that has the name of another column is ``choice_`` and its name.

    Parameters
    ----------
    outcome : Outcome
    path : Path
        A .csv file, whose cells are empty where something is unknown, or a .parquet file, which has nulls there. In the
        latter columns have types: a parameter whose values differ in type is text, figures are float64. Its folder must
        exist; it appears whole or not at all.

    Raises
    ------
    CelosiaError
        Another kind of file; or pyarrow is missing.
    """
    check_table(path)
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    with replacing(path) as file:
        write(_columns(outcome), file)


def _columns(outcome: Outcome) -> Columns:
    candidates, on_front = outcome.candidates, {candidate.number for candidate in outcome.front}
    configs = [candidate.config for candidate in candidates]
    figures: Columns = {
        name: ("float", [_plain(candidate.figures.get(name)) for candidate in candidates])
        for name in figure_names(outcome)
    }
    numbers: Columns = {"number": ("int", [candidate.number for candidate in candidates])}
    rest: Columns = {
        "level": ("text", [candidate.level or None for candidate in candidates]),
        "on_front": ("bool", [candidate.number in on_front for candidate in candidates]),
        "refused": ("text", [candidate.refused or None for candidate in candidates]),
        "config_hash": ("text", [config and config.hash for config in configs]),
        "config": ("text", [config and json.dumps(config.to_json()) for config in configs]),
    }
    choices: Columns = {}
    for name in choice_names(outcome):
        # PEs are a figure of every engine, and a parameter of some.
        taken = {*numbers, *figures, *rest, *choices}
        column = f"choice_{name}" if name in taken else name
        choices[column] = _typed([_plain(candidate.choice.get(name)) for candidate in candidates])
    return {**numbers, **choices, **figures, **rest}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _typed(values: list[Any]) -> tuple[str, list[Any]]:
    """Return the kind of column that holds the values, and the values as such."""
    types = {type(value) for value in values if value is not None}
    if types == {bool}:
        return "bool", values
    if types == {int} and all(-INT64 <= value < INT64 for value in values if value is not None):
        return "int", values
    if types in ({float}, {int, float}):
        return "float", values
    return "text", [None if value is None else _text(value) for value in values]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_csv(columns: Columns, file: IO[bytes]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*(values for _, values in columns.values()), strict=True):
        writer.writerow("" if value is None else _text(value) for value in row)
    file.write(text.getvalue().encode())


def _write_parquet(columns: Columns, file: IO[bytes]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {"bool": pyarrow.bool_(), "int": pyarrow.int64(), "float": pyarrow.float64(), "text": pyarrow.string()}
    arrays = {}
    for name, (kind, values) in columns.items():
        # Beyond 2^53 pyarrow takes no integer for a float.
        exact = [None if value is None else float(value) for value in values] if kind == "float" else values
        arrays[name] = pyarrow.array(exact, types[kind])
    parquet.write_table(pyarrow.table(arrays), file)
