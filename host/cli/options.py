"""Options that several commands share, and the config they describe."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import Engine, find_engine

EXIT_CODES: Final = "Exit codes: 0 all is well, 1 something differs, 2 bad input, 130 interrupted."
DEFAULTS: Final = {"rows": 16, "cols": 16, "pes": 16, "simd": 32}
"""Values of parameters without a default, where no config file gives them."""

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="JSON file of a config; see celosia list.")
]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", "-e", metavar="NAME", help="Engine; without it and --config: the model's, or systolic."),
]
Rows = Annotated[
    int | None, typer.Option("--rows", metavar="R", help="Systolic: rows of PEs, along K; 16 without --config.")
]
Cols = Annotated[
    int | None,
    typer.Option("--cols", metavar="C", help="Systolic: columns of PEs, along N; 16 without --config."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="Any other parameter of celosia list; may be repeated."),
]
DeviceAddress = Annotated[
    str | None,
    typer.Option(
        "--device",
        "-d",
        metavar="ADDRESS",
        help="Run on this device, with its config: a serial port such as /dev/ttyUSB0, or tcp:HOST:PORT.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, nothing else.")]


def epilog(*examples: str) -> str:
    """Return the end of a command's help: examples, then exit codes."""
    return "\n\n".join(["Examples:", *(f"  {example}" for example in examples), EXIT_CODES])


def refuse_beside_device(options: dict[str, object]) -> None:
    """Refuse options about a simulator, name → value, beside a device.

    Raises
    ------
    CelosiaError
        One of them is given.
    """
    given = [name for name, value in options.items() if value]
    if given:
        raise CelosiaError(
            f"{given[0]} is about a simulator, and --device has a config of its own; leave one of them out."
        )


def read_config(
    engine: str | None = None,
    *,
    file: Path | None = None,
    rows: int | None = None,
    cols: int | None = None,
    settings: list[str] | None = None,
    base: AcceleratorConfig | None = None,
) -> AcceleratorConfig:
    """Build the config that the options describe; single values win over the file's, and these over those of `base`.

    Raises
    ------
    CelosiaError
        The file or a value is not right; the sentence names it.
    """
    values = _read_json(file) if file else base.to_json() if base else {}
    name = str(values.get("engine", engine or "systolic"))
    if engine and name != engine:
        raise CelosiaError(f"{file}: the config is for engine {name!r}, not {engine!r}.")
    known = {field.name: field for field in fields(_find_engine(name, file).config)}
    others = {field.name for field in fields(AcceleratorConfig)} - {"engine"}
    given = values.get(name, {})
    if not isinstance(given, dict):
        raise CelosiaError(f"{file}: {name!r} must be a JSON object of the engine's parameters.")
    required = [key for key, field in known.items() if field.default is MISSING]
    parts = {**({} if file else {key: DEFAULTS[key] for key in required if key in DEFAULTS}), **given}
    rest = {key: value for key, value in values.items() if key not in ("engine", name)}
    for key, value in {"rows": rows, "cols": cols}.items():
        if value is not None:
            if key not in known:
                raise CelosiaError(f"--{key} {value}: the {name} engine has no {key}; celosia list shows what it has.")
            parts[key] = value
    for setting in settings or []:
        key, value = _parse_setting(setting)
        if key not in known and key not in others:
            raise CelosiaError(f"--set {setting!r}: there is no parameter {key!r}; celosia list shows those there are.")
        (parts if key in known else rest)[key] = value
    missing = [key for key in required if key not in parts]
    if missing:
        raise CelosiaError(f"{file}: the {name} config lacks {missing[0]!r}; give it there or with --set.")
    try:
        return AcceleratorConfig.from_json({**rest, "engine": name, name: parts})
    except ValueError as error:
        raise CelosiaError(f"{file}: {error}" if file else str(error)) from None


def given_names(settings: list[str] | None) -> list[str]:
    """Return the names that --set was given."""
    return [setting.partition("=")[0].strip() for setting in settings or []]


def _find_engine(name: str, file: Path | None) -> Engine:
    try:
        return find_engine(name)
    except ValueError as error:
        raise CelosiaError(f"{file}: {error}" if file else str(error)) from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise CelosiaError(f"{file}: it is no text; a config is a JSON object.") from None
    except json.JSONDecodeError as error:
        raise CelosiaError(f"{file}: it is no JSON, {error.msg} in line {error.lineno}.") from None
    if not isinstance(values, dict):
        raise CelosiaError(f"{file}: it holds a JSON {type(values).__name__}; a config is a JSON object.")
    return values


def _parse_setting(setting: str) -> tuple[str, Any]:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise CelosiaError(f"--set {setting!r} must be NAME=VALUE, such as weight_depth=4096.")
    try:
        return name.strip(), json.loads({"none": "null"}.get(text.lower(), text.lower()))
    except json.JSONDecodeError:
        raise CelosiaError(f"--set {setting!r}: the value must be a number, true, false or none.") from None
