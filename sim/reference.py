"""What a run is compared with: the outputs of the golden model and the cycles of the cycle model.

Both functions take any object with the members they read, so that this folder needs nothing of the host's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.registry import find_engine
from celosia.sim.cycles.model import Cycles, Gates
from celosia.sim.cycles.model import predict as predict_run

__all__ = ["golden", "predict"]


def golden(layers: Sequence[Any], inputs: np.ndarray, config: AcceleratorConfig) -> np.ndarray:
    """Outputs of a chain of layers.

    Parameters
    ----------
    layers : sequence of layers
        Of `celosia.host.models.ir`.
    inputs : ndarray (n, …), integers of the first layer's input type
    config : AcceleratorConfig
        Says which engine's model computes the layers.

    Returns
    -------
    ndarray of int64, (n, N)
        Equal to the RTL's.
    """
    model = find_engine(config.engine_name).golden
    values = inputs
    for layer in layers:
        values = model.run_layer(layer, values)
    return values


def predict(program: Any, *, iterations: int = 1, stream: bool = False, **gates: Gates | None) -> Cycles:
    """Cycles of a program.

    Parameters
    ----------
    program : celosia.host.program.Program
    iterations : int
        Batches of `program.vectors` inputs.
    stream : bool
        Whether inputs and results stream; else they are in their memories before and after.
    **gates
        See `celosia.sim.cycles.model.predict`; streams without one never wait.

    Returns
    -------
    Cycles
        Equal to the RTL's counters.
    """
    fields = [layer.fields for layer in program.layers]
    return predict_run(program.config, fields, program.run_parameters(iterations, stream=stream), **gates)
