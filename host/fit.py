"""The engine and the memories that a network needs, for accelerators that are yet to be built."""

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from typing import Any

from celosia.host.compile import compile_network
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig

LARGEST_WEIGHTS = 1 << 16
"""Weight words that are kept in memory; what is more is streamed."""

_ROOM = 1 << 22  # words of each memory while it is found out what is needed
_MOST_TABLES = 256  # lookup tables meanwhile
_ENGINES: dict[type, str] = {CompressedDense: "sparse", BinaryDense: "binary", BinaryConv: "binary"}
_POWERS = ("input_depth", "activation_depth", "output_depth")  # depths that are powers of two
_DEPTHS = ("program_depth", "weight_depth", "parameter_depth", *_POWERS)


def engine_for(model: Network | FloatNetwork) -> str:
    """Return the name of the engine that takes a model's first layer; ``systolic`` for float models."""
    return _ENGINES.get(type(model.layers[0]), "systolic")


def fit_memories(network: Network, config: AcceleratorConfig, *, keep: Collection[str] = ()) -> AcceleratorConfig:
    """Return the config, with deeper memories where one input of the network does not fit.

    Parameters
    ----------
    network : Network
        Layers that the engine has.
    config : AcceleratorConfig
    keep : collection of str
        Depths and numbers of the engine that stay as they are, such as ``weight_depth`` or ``lookup_tables``.

    Raises
    ------
    CompileError
        A layer is of an unsupported kind, or its integers do not fit the engine's widths; or a memory that is kept is
        too small.
    """
    return fit_program(network, config, keep=keep)[0]


def fit_program(
    network: Network, config: AcceleratorConfig, *, keep: Collection[str] = (), batch: int = 1
) -> tuple[AcceleratorConfig, Program]:
    """Return what `fit_memories` does, and a program for as many cycles, compiled no more often than need be.

    Parameters
    ----------
    network, config, keep
        As for `fit_memories`.
    batch : int
        Inputs that an iteration takes, instead of one.

    Returns
    -------
    config : AcceleratorConfig
    program : Program
        What the network is on that config, but for where things lie: its own config may have deeper memories.

    Raises
    ------
    CompileError
        As for `fit_memories`.
    """
    engine: Any = config.engine
    looks_up = hasattr(engine, "lookup_tables") and engine.cols >= engine.rows and "lookup_tables" not in keep
    program = compile_network(network, _with_room(config, looks_up), batch=batch)
    weights = program.image.count("weights")
    if looks_up:
        tables = program.image.count("tables") >> engine.activation_width
        if tables > engine.lookup_tables:
            config = replace(config, engine=replace(engine, lookup_tables=tables))
    needed = {
        "weight_depth": weights,
        "parameter_depth": program.image.count("parameters"),
        "input_depth": program.input_words,
        "activation_depth": program.activation_words,
        "output_depth": program.output_words,
    }
    most = {**needed, "weight_depth": min(weights, LARGEST_WEIGHTS)}
    fitted = _deeper(config, keep, **most)
    if any(words > getattr(fitted, depth) for depth, words in needed.items()):
        # Some weights stream, which takes steps of its own; or else something is too small, and this says so.
        program = compile_network(network, replace(fitted, program_depth=_ROOM), batch=batch)
    # Descriptors are as long as the addresses in them.
    steps = len(program.steps) + len(program.loads)
    words = steps * fitted.layer_fields.words
    fitted = _deeper(fitted, keep, program_depth=words)
    if words > fitted.program_depth:
        compile_network(network, fitted, batch=batch)  # which says that it is too small
    return fitted, program


@lru_cache(maxsize=16)
def _with_room(config: AcceleratorConfig, looks_up: bool) -> AcceleratorConfig:
    """Return the config with memories, and lookup tables if it `looks_up`, for whatever may come."""
    depths: dict[str, Any] = dict.fromkeys(_DEPTHS, _ROOM)
    engine: Any = config.engine
    return replace(config, engine=replace(engine, lookup_tables=_MOST_TABLES) if looks_up else engine, **depths)


def _deeper(config: AcceleratorConfig, keep: Collection[str], **needed: int) -> AcceleratorConfig:
    """Return the config with at least these depths, but for those that are kept."""
    depths = {name: 1 << (words - 1).bit_length() if name in _POWERS else words for name, words in needed.items()}
    larger: dict[str, Any] = {
        name: depth for name, depth in depths.items() if name not in keep and depth > getattr(config, name)
    }
    return replace(config, **larger) if larger else config
