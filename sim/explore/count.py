"""Exact cycles of a workload on a config, with the memories that it needs: what a sweep asks most often."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from celosia.host.fit import fit_program
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import find_engine
from celosia.sim.cycles.model import predict
from celosia.sim.explore.energy import energy_uj


@dataclass(frozen=True, kw_only=True)
class Count:
    """Cycles of a network's inputs.

    Parameters
    ----------
    config : AcceleratorConfig
        With memories that the network fits.
    program : Program
        What was counted; its addresses may be those of deeper memories.
    inputs : int
        How many inputs were counted.
    causes : dict of str to int
        Cycles of all of them from RUN to DONE, by cause; inputs and results are in their memories before and after.
    macs : int
        Multiply-accumulates of all of them.
    streamed_words : int
        Weight words that come from outside of the chip for that; the cycles are those of a stream that never waits.
    energy_uj : float or None
        Of all of them, see `celosia.sim.explore.energy`; None if it depends on the inputs.
    """

    config: AcceleratorConfig
    program: Program
    inputs: int
    causes: dict[str, int]
    macs: int
    streamed_words: int
    energy_uj: float | None

    @property
    def cycles(self) -> int:
        """Cycles of all inputs."""
        return sum(self.causes.values())


def count_cycles(
    network: Network, inputs: np.ndarray, config: AcceleratorConfig, *, keep: tuple[str, ...] = (), batch: int = 1
) -> Count:
    """Count the cycles of inputs, `batch` at a time, with memories as `celosia.host.fit.fit_memories` makes them.

    Equal to compiling for that config and asking `celosia.sim.reference.predict_each`, without packing any words.

    Parameters
    ----------
    network : Network
    inputs : ndarray (n, …), integers of the network's input type
    config : AcceleratorConfig
    keep : tuple of str
        Depths and numbers of the engine that stay as they are.
    batch : int
        Inputs that an iteration takes, or fewer where memories are kept too small for that.

    Raises
    ------
    CompileError
        The network does not run on it.
    """
    fitted, program = fit_program(network, config, keep=keep, batch=batch)
    model = find_engine(config.engine_name).cycles
    works = model.works(program, inputs)
    steps = [step.fields for step in program.steps]
    run = program.run_parameters(1, stream=False)
    run = replace(run, ring_base=min(run.ring_base, fitted.weight_depth))
    iterations = -(-len(inputs) // program.vectors)
    if works is None:
        once: dict[str, int] = predict(fitted, steps, run).causes
        causes = {cause: iterations * cycles for cause, cycles in once.items()}
    else:
        causes = dict.fromkeys(fitted.causes, 0)
        for work in works:
            for cause, cycles in predict(fitted, steps, run, works=[work]).causes.items():
                causes[cause] += cycles
    energy = energy_uj(program)
    return Count(
        config=fitted,
        program=program,
        inputs=len(inputs),
        causes=causes,
        macs=iterations * program.macs,
        streamed_words=iterations * sum(layer.streamed_words for layer in program.layers),
        energy_uj=None if energy is None else iterations * energy,
    )


def memory_bits(config: AcceleratorConfig) -> int:
    """Return the bits of all memories that the host sees."""
    return sum(memory.width * memory.depth for memory in config.memories)


def largest(configs: list[AcceleratorConfig]) -> AcceleratorConfig:
    """Return the config with the largest depth and number of each kind, of configs that differ in nothing else."""
    whole = configs[0]
    for config in configs[1:]:
        changes: dict[str, Any] = {
            name: max(getattr(whole, name), getattr(config, name))
            for name in whole.to_json()
            if name.endswith("_depth")
        }
        engine: Any = whole.engine
        if hasattr(engine, "lookup_tables"):
            tables = max(engine.lookup_tables, config.engine.lookup_tables)  # type: ignore[attr-defined]
            engine = replace(engine, lookup_tables=tables)
        whole = replace(whole, engine=engine, **changes)
    return whole
