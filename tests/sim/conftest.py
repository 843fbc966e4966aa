"""One case of the promise: golden == RTL and cycle model == RTL counters, whatever the engine."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.sim import reference
from celosia.sim.core import CoreSimulator, Stalls
from celosia.sim.rtl import compiler

CYCLES = 200_000  # more than almost any case takes
SLOWEST = 40  # times that stalls make a case slower, at most

Inputs = Callable[[np.random.Generator, int], np.ndarray]  # draws a batch of that many


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """A run that gave what the models say: its program, outputs (n, N) and cycles by cause."""

    program: Program
    outputs: np.ndarray
    causes: dict[str, int]


@functools.cache
def core(config: AcceleratorConfig) -> CoreSimulator:
    return CoreSimulator(config)


def run_case(
    config: AcceleratorConfig,
    network: Network,
    draw: Inputs,
    rng: np.random.Generator,
    seed: int,
    options: Any = None,
) -> tuple[Program, dict[str, int]]:
    """Compile, run and compare; return what ran and its cycles by cause.

    Batch, stalls of every stream, and whether inputs and results stream are drawn, too.
    """
    batch = int(rng.choice([1, 2, 3, rng.integers(1, 40)]))
    stream = bool(rng.integers(0, 2))
    program = compile_network(network, config, batch=batch, options=options)
    if stream and 2 * max(program.input_words // (config.input_depth + 1), program.output_words) > config.output_depth:
        stream = False
    if stream and rng.random() < 0.7:  # several iterations of a part of the batch
        program = compile_network(network, config, batch=-(-batch // int(rng.integers(1, 5))), options=options)
    if 2 * max(program.input_words, program.output_words) > config.input_depth:
        stream = False
        batch = min(batch, program.vectors)
    elif batch > program.vectors:
        stream = True
    x = draw(rng, batch)
    stalls = Stalls(
        **{name: float(rng.choice([0, 0.1, 0.5, 0.9])) for name in ("inputs", "weights", "results")}, seed=seed
    )
    about = f"seed {seed}, {[layer.shape for layer in program.layers]}, {stalls}, streaming {stream}, {options}"
    load(program, stalls, about)
    return program, run(program, x, stream, stalls, about).causes


def load(program: Program, stalls: Stalls | None = None, about: str = "") -> None:
    """Write a program's images into the core's memories, and run its loads, if it has some."""
    simulator = core(program.config)
    if simulator.sim.get("busy"):  # a case before failed
        simulator.sim.reset()
    for memory, image in program.image.items():
        simulator.write(memory, image)
    if program.load_stream is not None:
        loaded = simulator.run(program.load_parameters(), weights=program.load_stream, stalls=stalls, limit=CYCLES)
        gates = (stalls or Stalls()).gates(program.config, CYCLES)
        assert loaded.causes == reference.predict_loads(program, gates=gates).causes, about


def run(program: Program, x: np.ndarray, stream: bool, stalls: Stalls | None, about: str = "") -> Outcome:
    """Run a loaded program after a reset, and compare."""
    simulator = core(program.config)
    iterations = -(-len(x) // program.vectors)
    words = program.pack_inputs(x)
    weights = None if program.weight_stream is None else np.concatenate([program.weight_stream] * iterations)
    if not stream:
        simulator.write("inputs", words)
    cycles = max(CYCLES, SLOWEST * reference.predict(program, x, stream=stream).total)
    result = simulator.run(
        program.run_parameters(iterations, stream=stream),
        inputs=words if stream else None,
        weights=weights,
        stalls=stalls,
        limit=cycles,
    )
    results = result.results if stream else simulator.read("outputs", program.output_words)
    outputs = program.unpack_outputs(results, len(x))
    np.testing.assert_array_equal(outputs, reference.golden(program, x), err_msg=about)
    gates = (stalls or Stalls()).gates(program.config, cycles)
    foretold = reference.predict(program, x, stream=stream, gates=gates)
    assert result.causes == foretold.causes, about
    assert result.total_cycles == foretold.total == sum(result.causes.values()), about
    return Outcome(program=program, outputs=outputs, causes=result.causes)


@pytest.fixture(scope="session")
def check_case() -> Callable[..., tuple[Program, dict[str, int]]]:
    return run_case


@pytest.fixture(scope="session")
def promise() -> SimpleNamespace:
    """The parts of a case: the core of a config, the load of a program, and a run that is compared."""
    return SimpleNamespace(core=core, load=load, run=run)


@pytest.fixture
def unoptimized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile simulators without optimization: for tests that build many, and run each for a moment."""
    flags = tuple("-O0" if flag.startswith("-O") else flag for flag in compiler.CXX_FLAGS)
    monkeypatch.setattr(compiler, "CXX_FLAGS", flags)
