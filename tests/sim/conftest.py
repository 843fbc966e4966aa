"""One case of the promise: golden == RTL and cycle model == RTL counters, whatever the engine."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.sim import reference
from celosia.sim.core import CoreSimulator, Stalls

CYCLES = 200_000  # more than any case takes

Inputs = Callable[[np.random.Generator, int], np.ndarray]  # draws a batch of that many


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
    gates = stalls.gates(config, CYCLES)
    simulator = core(config)
    about = f"seed {seed}, {[layer.shape for layer in program.layers]}, {stalls}, streaming {stream}, {options}"
    for memory, image in program.image.items():
        simulator.write(memory, image)
    if program.load_stream is not None:
        loaded = simulator.run(program.load_parameters(), weights=program.load_stream, stalls=stalls, limit=CYCLES)
        assert loaded.causes == reference.predict_loads(program, gates=gates).causes, about
    iterations = -(-batch // program.vectors)
    run = program.run_parameters(iterations, stream=stream)
    words = program.pack_inputs(x)
    weights = None if program.weight_stream is None else np.concatenate([program.weight_stream] * iterations)
    if not stream:
        simulator.write("inputs", words)
    result = simulator.run(run, inputs=words if stream else None, weights=weights, stalls=stalls, limit=CYCLES)
    outputs = result.results if stream else simulator.read("outputs", program.output_words)
    golden = reference.golden(program, x)
    np.testing.assert_array_equal(program.unpack_outputs(outputs, batch), golden, err_msg=about)
    cycles = reference.predict(program, x, stream=stream, gates=gates)
    assert result.causes == cycles.causes, about
    assert result.total_cycles == cycles.total == sum(result.causes.values()), about
    return program, result.causes


@pytest.fixture(scope="session")
def check_case() -> Callable[..., tuple[Program, dict[str, int]]]:
    return run_case
