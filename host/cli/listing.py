"""celosia list: engines, what can be chosen about them, and their memories."""

import re
from dataclasses import MISSING, fields
from typing import Any, Final

from celosia.host.cli.machines import describe
from celosia.host.cli.options import DEFAULTS, Json, read_config
from celosia.host.cli.output import emit, show, table
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import ENGINES, find_engine

_SECTION: Final = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY: Final = re.compile(r"^(\w[\w, ]*) : (.+)\n((?:(?: {4}.*)?\n)*)", re.MULTILINE)


def parameters_of(config: type) -> list[dict[str, Any]]:
    """Return name, type, default and meaning of each parameter of a config class, as its docstring tells them."""
    lines = (config.__doc__ or "").expandtabs().splitlines()
    text = "\n".join(line.removeprefix("    ") for line in lines) + "\n"
    section = _SECTION.search(text)
    told: dict[str, tuple[str, str]] = {}
    for names, kind, meaning in _ENTRY.findall(section[1] + "\n" if section else ""):
        for name in names.split(", "):
            told[name] = (kind, " ".join(meaning.split()))
    return [
        {
            "name": field.name,
            "type": told.get(field.name, ("", ""))[0],
            "default": DEFAULTS.get(field.name) if field.default is MISSING else field.default,
            "meaning": told.get(field.name, ("", ""))[1],
        }
        for field in fields(config)
        if field.name != "engine"
    ]


def describe_engine(name: str) -> dict[str, Any]:
    """Return what there is to know about an engine, as plain values."""
    config = read_config(name)
    return {
        "engine": name,
        "summary": find_engine(name).summary,
        "parameters": parameters_of(find_engine(name).config),
        "accelerator_parameters": parameters_of(AcceleratorConfig),
        "memories": [
            {"name": memory.name, "id": memory.id, "width": memory.width, "depth": memory.depth}
            for memory in config.memories
        ],
        "causes": list(config.causes),
        "config": config.to_json(),
        "config_hash": config.hash,
    }


def list_engines(as_json: Json = False) -> None:
    """List the engines, their parameters and their memories.

    A config file is a JSON object such as {"engine": "systolic", "systolic": {"rows": 8, "cols": 8}, "weight_depth":
    4096}; whatever is left out takes its default.
    """
    for name in ENGINES:
        engine = describe_engine(name)
        if as_json:
            emit(engine)
            continue
        show(f"[bold]{name}[/bold]: {engine['summary']}", "")
        show(_parameter_table(f"Parameters of {name}", engine["parameters"]), "")
        show(_parameter_table("Parameters of every accelerator", engine["accelerator_parameters"]), "")
        memories = table("memory", "bits", "words", "kbit", title=f"Memories of {describe(read_config(name))}")
        for memory in engine["memories"]:
            bits, depth = memory["width"], memory["depth"]
            memories.add_row(memory["name"], str(bits), str(depth), f"{bits * depth / 1024:.0f}")
        show(memories)


def _parameter_table(title: str, parameters: list[dict[str, Any]]) -> Any:
    grid = table("parameter", "default", "meaning", left=3, title=title)
    for parameter in parameters:
        grid.add_row(parameter["name"], str(parameter["default"]), parameter["meaning"])
    return grid
