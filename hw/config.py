"""Configuration of an accelerator: one engine, its memories, and its link; with a hash that names it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Protocol

from celosia.hw.checks import check_integer
from celosia.hw.fields import Fields
from celosia.hw.registry import ENGINES, find_engine

PROTOCOL_VERSION = 1  # part of the hash: a device of another protocol is another device


class EngineConfig(Protocol):
    """What an accelerator needs to know of any engine's config."""

    CAUSES: ClassVar[tuple[str, ...]]

    @property
    def pe_count(self) -> int:
        """Processing elements, which is also MACs per cycle."""
        ...

    @property
    def weight_word_width(self) -> int:
        """Bits of one word of the weight memory."""
        ...

    @property
    def parameter_word_width(self) -> int:
        """Bits of one word of the parameter memory."""
        ...

    @property
    def activation_word_width(self) -> int:
        """Bits of one word of the input, activation and output memories."""
        ...

    @property
    def write_lanes(self) -> int:
        """Parts of such a word that the engine writes separately."""
        ...

    @property
    def weight_banks(self) -> int:
        """Equal parts of a weight word that are read and written at addresses of their own."""
        ...

    @property
    def reset_cycles(self) -> int:
        """Cycles after a reset before the engine is ready for a run."""
        ...

    @property
    def multipliers(self) -> int:
        """Multipliers of up to 18 × 18 bits in the engine: those of its PEs, and of what is behind them."""
        ...

    @property
    def scratchpads(self) -> tuple[tuple[int, int, int], ...]:
        """Memories inside of the engine that the host does not see: how many, bits of a word, words."""
        ...

    def own_memories(self, weight_depth: int) -> tuple[tuple[str, int, int, int], ...]:
        """Name, bits of a word, words, and banks of up to two memories that only this engine has."""
        ...


@dataclass(frozen=True)
class MemorySpec:
    """One memory as the host sees it: name, number on the link, word width in bits, depth in words.

    `banks` equal parts of a word have addresses of their own inside; `is_engines` says that only this engine has it.
    """

    name: str
    id: int
    width: int
    depth: int
    banks: int = 1
    is_engines: bool = False

    @property
    def link_words(self) -> int:
        """32-bit link words that carry one memory word."""
        return -(-self.width // 32)


CORE_CAUSES = ("fetch", "activations_wait", "results_wait")
"""Causes of cycles outside any engine: fetching a layer, waiting for an input, waiting to hand over a result."""


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """An engine with its memories and its link.

    Parameters
    ----------
    engine : EngineConfig
        Config of the engine; its class says which engine.
    program_depth : int
        32-bit words of layer descriptors.
    weight_depth, parameter_depth : int
        Words of weights and of per-channel parameters.
    input_depth, output_depth : int
        Words of the network's inputs and results; each is two halves when inputs or results stream. Powers of two.
    activation_depth : int
        Words of the tensors between layers. A power of two.
    packet_words : int
        Largest payload of a packet, in 32-bit words. A power of two, 64 to 4096.
    watchdog_cycles : int
        Cycles without any progress after which a run is given up.
    counter_width : int
        Bits of a cycle counter, 24 to 48, modulo: of 48, two weeks at 200 MHz; of 32, six minutes at 12 MHz.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    engine: EngineConfig
    program_depth: int = 256
    weight_depth: int = 2048
    parameter_depth: int = 512
    input_depth: int = 2048
    activation_depth: int = 2048
    output_depth: int = 2048
    packet_words: int = 256
    watchdog_cycles: int = 1 << 20
    counter_width: int = 48

    def __post_init__(self) -> None:
        self.engine_name  # noqa: B018  (refuses a class that is no engine's config)
        for name in ("program_depth", "weight_depth", "parameter_depth"):
            self._check(name, 2, 1 << 24)
        for name in ("input_depth", "activation_depth", "output_depth"):
            self._check(name, 2, 1 << 23, power_of_two=True)
        self._check("packet_words", 64, 4096, power_of_two=True)
        self._check("watchdog_cycles", 64, (1 << 32) - 1)
        self._check("counter_width", 24, 48)
        widest = max(memory.link_words for memory in self.memories)
        if widest > self.packet_words:
            raise ValueError(
                f"packet_words={self.packet_words} must hold the widest memory word, {widest} words of 32 bits."
            )

    def _check(self, name: str, low: int, high: int, *, power_of_two: bool = False) -> None:
        value = getattr(self, name)
        check_integer(name, value, low, high)
        if power_of_two and value & (value - 1):
            raise ValueError(f"{name}={value} must be a power of two.")

    @property
    def engine_name(self) -> str:
        """Name of the engine in the registry."""
        package = type(self.engine).__module__.split(".")[-2]
        if package not in ENGINES:
            raise ValueError(f"engine={self.engine!r} must be the config of one of: {', '.join(ENGINES)}.")
        return package

    @cached_property
    def memories(self) -> tuple[MemorySpec, ...]:
        """The memories in the order of their numbers on the link."""
        engine = self.engine
        word = engine.activation_word_width
        shared = (
            ("program", 32, self.program_depth, 1),
            ("weights", engine.weight_word_width, self.weight_depth, engine.weight_banks),
            ("parameters", engine.parameter_word_width, self.parameter_depth, 1),
            ("inputs", word, self.input_depth, 1),
            ("activations", word, self.activation_depth, 1),
            ("outputs", word, self.output_depth, 1),
        )
        own = engine.own_memories(self.weight_depth)
        return tuple(
            MemorySpec(name, number, width, depth, banks, number >= len(shared))
            for number, (name, width, depth, banks) in enumerate((*shared, *own))
        )

    def memory(self, name: str) -> MemorySpec:
        """Return the memory of that name."""
        return next(memory for memory in self.memories if memory.name == name)

    @property
    def causes(self) -> tuple[str, ...]:
        """Names of the cycle counters: the core's own causes, then the engine's."""
        return CORE_CAUSES + self.engine.CAUSES

    @property
    def answer_words(self) -> int:
        """32-bit words of answers that wait to be sent: as many as reads on their way, at a word per cycle."""
        return 4 * max(memory.link_words for memory in self.memories) + 13

    def counted(self, causes: Mapping[str, int]) -> dict[str, int]:
        """Return cycles by cause as the counters have them: modulo 2^`counter_width`."""
        return {name: cycles % (1 << self.counter_width) for name, cycles in causes.items()}

    @cached_property
    def layer_fields(self) -> Fields:
        """Layout of a layer descriptor."""
        return find_engine(self.engine_name).layer_fields(self)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` turns back into an equal config."""
        return {"engine": self.engine_name, self.engine_name: _values(self.engine), **_values(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "AcceleratorConfig":
        """Build a config from `to_json`'s values; whatever is left out takes its default.

        Raises
        ------
        ValueError
            A key is unknown or a value is out of its range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a config must be a JSON object, not {type(values).__name__}.")
        rest = dict(values)
        engine = find_engine(str(rest.pop("engine", "systolic")))
        parts = rest.pop(engine.name, {})
        if not isinstance(parts, Mapping):
            raise ValueError(f"{engine.name!r} must be a JSON object of the engine's parameters.")
        for given, known in ((parts, engine.config), (rest, cls)):
            names = [field.name for field in fields(known) if field.name != "engine"]
            unknown = sorted(set(given) - set(names))
            if unknown:
                raise ValueError(f"config key {unknown[0]!r} is unknown; there are: {', '.join(names)}.")
        try:
            return cls(engine=engine.config(**parts), **rest)
        except TypeError as error:
            raise ValueError(f"the {engine.name} config is incomplete: {error}.") from error

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that name this config and the protocol."""
        text = json.dumps([PROTOCOL_VERSION, self.to_json()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: "AcceleratorConfig") -> list[str]:
        """Return one `name: mine, not theirs` for each value in which two configs differ."""
        mine, theirs = _flatten(self.to_json()), _flatten(other.to_json())
        return [
            f"{name}: {mine.get(name)}, not {theirs.get(name)}"
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]


def _values(config: Any) -> dict[str, Any]:
    """Return the fields of a config but for its engine; `dataclasses.asdict` is slow, as it copies each deeply."""
    return {field.name: getattr(config, field.name) for field in fields(config) if field.name != "engine"}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
