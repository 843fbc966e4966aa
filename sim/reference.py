"""What a run is compared with: the outputs of the golden model and the cycles of the cycle model.

The functions take any object with the members they read, so that this folder needs nothing of the host's.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import find_engine
from celosia.sim.cycles.model import Cycles, Gates
from celosia.sim.cycles.model import predict as predict_run
from celosia.sim.golden import network

StreamGates = Mapping[str, Gates | None]

__all__ = ["engine_tensors", "finish", "golden", "predict", "predict_each", "predict_loads", "useful_macs"]


def golden(program: Any, inputs: np.ndarray) -> np.ndarray:
    """Results of a program's engine, before what the host computes.

    Parameters
    ----------
    program : celosia.host.program.Program
    inputs : ndarray (n, …), integers of the network's input type

    Returns
    -------
    ndarray of int64, (n, *program.output_shape)
        Equal to the RTL's.
    """
    return engine_tensors(program, inputs)[-1].reshape(len(inputs), *program.output_shape)


def finish(program: Any, results: np.ndarray) -> np.ndarray:
    """Outputs of the network from results of the engine: what the host computes, int64 (n, *output shape)."""
    for layer in program.host_layers:
        results = network.function_of(layer)(results).reshape(len(results), *layer.output_shape)
    return results


def engine_tensors(program: Any, inputs: np.ndarray) -> list[np.ndarray]:
    """Every tensor of a network up to the engine's result, the input first: int64, (n, *its shape)."""
    config: AcceleratorConfig = program.config
    model = find_engine(config.engine_name).golden
    computes = [
        None if plan.arranged is None else partial(model.run_layer, plan.arranged, engine=config.engine)
        for plan in program.layers
    ]
    made = network.tensors(program.network, inputs, computes)
    return made[: len(made) - len(program.host_layers)]


def useful_macs(program: Any, inputs: np.ndarray) -> list[int]:
    """Multiplications that each layer needs for some inputs; on an engine that skips zeros, those without one."""
    model = find_engine(program.config.engine_name).golden
    if all(plan.arranged is None for plan in program.layers):  # then zeros are not skipped
        return [len(inputs) * plan.layer.macs for plan in program.layers]
    tensors = engine_tensors(program, inputs)
    return [model.useful_macs(plan.arranged, x) for plan, x in zip(program.layers, tensors, strict=False)]


def predict(program: Any, inputs: np.ndarray, *, stream: bool = False, gates: StreamGates | None = None) -> Cycles:
    """Cycles of a run of a program.

    Parameters
    ----------
    program : celosia.host.program.Program
    inputs : ndarray (n, …), integers of the network's input type
        In as many iterations as they take.
    stream : bool
        Whether inputs and results stream; else they are in their memories before and after.
    gates : mapping or None
        Gates by stream, see `celosia.sim.cycles.model.predict`; streams without one never wait.

    Returns
    -------
    Cycles
        Equal to the RTL's counters.
    """
    works = find_engine(program.config.engine_name).cycles.works(program, inputs)
    run = program.run_parameters(-(-len(inputs) // program.vectors), stream=stream)
    return predict_run(program.config, [step.fields for step in program.steps], run, works=works, **(gates or {}))


def predict_each(program: Any, inputs: np.ndarray) -> list[Cycles]:
    """Cycles of a run of its own for each `program.vectors` inputs, streams never waiting."""
    config: AcceleratorConfig = program.config
    works = find_engine(config.engine_name).cycles.works(program, inputs)
    run, steps = program.run_parameters(1, stream=False), [step.fields for step in program.steps]
    if works is None:
        return [predict_run(config, steps, run)] * -(-len(inputs) // program.vectors)
    return [predict_run(config, steps, run, works=[work]) for work in works]


def predict_loads(program: Any, *, gates: StreamGates | None = None) -> Cycles:
    """Cycles of the run of a program's `loads`, of which there must be some; parameters as for `predict`."""
    config: AcceleratorConfig = program.config
    works = find_engine(config.engine_name).cycles.load_works(program)
    steps = [step.fields for step in program.loads]
    return predict_run(config, steps, program.load_parameters(), works=works, **(gates or {}))
