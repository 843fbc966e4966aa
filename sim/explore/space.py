"""A design space, declared once by the fields of configs: each parameter with the values that it may take."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from typing import Any

from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig

_CORE = tuple(field.name for field in fields(AcceleratorConfig) if field.name != "engine")
MOST_VALUES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Space:
    """All combinations of some parameters, on one or more engines.

    Parameters
    ----------
    bases : sequence of AcceleratorConfig
        One for each engine; whatever is not varied is as there.
    dimensions : mapping of str to sequence
        Name of a field of the engine's or the accelerator's config → its values. Engines without that field leave it
        out.

    Raises
    ------
    CelosiaError
        No engine has one of the fields.
    """

    bases: Sequence[AcceleratorConfig]
    dimensions: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        for name in self.dimensions:
            if not any(has_field(base, name) for base in self.bases):
                engines = ", ".join(base.engine_name for base in self.bases)
                raise CelosiaError(
                    f"--vary {name}: {engines} has no parameter {name!r}; celosia list shows what it has."
                )

    @cached_property
    def grids(self) -> list[dict[str, Sequence[Any]]]:
        """For each base what is varied: the dimensions that it has, the engine first where there are several."""
        several = len(self.bases) > 1
        return [
            ({"engine": (base.engine_name,)} if several else {})
            | {name: values for name, values in self.dimensions.items() if has_field(base, name)}
            for base in self.bases
        ]

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return sum(prod(len(values) for values in grid.values()) for grid in self.grids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a combination by its number: name → value; the last parameter varies fastest."""
        for grid in self.grids:
            count = prod(len(values) for values in grid.values())
            if index < count:
                choice: dict[str, Any] = {}
                for name, values in reversed(grid.items()):
                    index, place = divmod(index, len(values))
                    choice[name] = values[place]
                return {name: choice[name] for name in grid}
            index -= count
        raise IndexError(index)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(self.size))

    def config(self, choice: Mapping[str, Any]) -> AcceleratorConfig:
        """Return the config of a combination.

        Raises
        ------
        ValueError
            There is none: the values do not go together.
        """
        name = choice.get("engine", self.bases[0].engine_name)
        base = next(each for each in self.bases if each.engine_name == name)
        chosen = {key: value for key, value in choice.items() if key != "engine"}
        core = {key: value for key, value in chosen.items() if key in _CORE}
        engine: Any = base.engine
        return replace(base, engine=replace(engine, **{k: v for k, v in chosen.items() if k not in core}), **core)


def has_field(config: AcceleratorConfig, name: str) -> bool:
    """Return whether a config, or its engine's, has a field of that name."""
    engine: Any = config.engine
    return name in _CORE or name in {field.name for field in fields(engine)}


def parse_dimension(text: str) -> tuple[str, tuple[Any, ...]]:
    """Read ``NAME=VALUES``: values with commas between, each a JSON value, ``none``, or a range of integers.

    A range is ``1..8`` (each), ``4..32:4`` (in steps of 4) or ``64..1024*2`` (each the double of the one before).

    Raises
    ------
    CelosiaError
        It is not of that form, a range is empty or too long, or a value is there twice.
    """
    name, equals, listed = text.partition("=")
    name = name.strip()
    if not equals or not name or not listed.strip():
        raise CelosiaError(f"--vary {text!r} must be NAME=VALUES, such as rows=4..16 or accumulator_rows=64..1024*2.")
    values = [value for item in listed.split(",") for value in _parse_item(text, item.strip())]
    if len({json.dumps(value) for value in values}) < len(values):
        raise CelosiaError(f"--vary {text!r} has a value twice.")
    return name, tuple(values)


def _parse_item(text: str, item: str) -> list[Any]:
    if ".." not in item:
        if item.isalpha() and item.lower() not in ("true", "false", "none", "null"):
            return [item]  # the name of an engine
        try:
            return [json.loads({"none": "null"}.get(item.lower(), item.lower()))]
        except json.JSONDecodeError:
            raise CelosiaError(f"--vary {text!r}: {item!r} must be a number, true, false, none, or a range.") from None
    first, _, rest = item.partition("..")
    last, sign, step = next(
        ((end, mark, by) for mark in ":*" for end, found, by in [rest.partition(mark)] if found), (rest, ":", "1")
    )
    try:
        begin, end, by = int(first), int(last), int(step)
    except ValueError:
        raise CelosiaError(
            f"--vary {text!r}: {item!r} must be a range of integers: 1..8, 4..32:4 or 64..1024*2."
        ) from None
    if begin > end or by < 1 or (sign == "*" and (by < 2 or begin < 1)):
        raise CelosiaError(f"--vary {text!r}: {item!r} must rise: 1..8, 4..32:4 or 64..1024*2.")
    if sign == ":":
        found = range(begin, end + 1, by)
        if len(found) > MOST_VALUES:
            raise CelosiaError(f"--vary {text!r}: {item!r} has {len(found)} values, more than {MOST_VALUES}.")
        return list(found)
    values = [begin]
    while values[-1] * by <= end:
        values.append(values[-1] * by)
    return values
