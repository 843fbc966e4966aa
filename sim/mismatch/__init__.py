"""Names the first mismatch: when the RTL and the golden model differ, where, when and with which operands.

    mismatch = find_mismatch(program, inputs, waves=Path("mismatch.vcd"))
    if mismatch:
        print(mismatch)

The run is repeated under Verilator, each time from power-up and with the same stalls, and looked at from closer: first
the results, then each layer's tensor, then what made the first wrong output of a tensor: every sum on its way through
the engine, and what follows the last one. All that is known of the inside is the waveform of some cycles: whoever looks
at the waveform sees what was seen here.

The last part is the engine's own, in the module of its name, which has

* `BEAT_CAUSE`: the cause of cycles by which places in a run are found;
* `beats(plan, config)`: how many such cycles a layer takes in an iteration;
* `Search(run, vector, channel)`: a wrong output. `Search.first(run, wrong)` is the one of several that was written
  first, `find()` returns the fault behind it.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.registry import find_engine
from celosia.sim.core import Stalls
from celosia.sim.mismatch.layer import LayerRun
from celosia.sim.mismatch.replay import Replay
from celosia.sim.mismatch.report import Fault, Mismatch
from celosia.sim.reference import engine_tensors
from celosia.sim.rtl import build

__all__ = ["Fault", "Mismatch", "find_mismatch"]

MARGIN = 16  # cycles of waveform before and after the fault


def find_mismatch(
    program: Any,
    inputs: np.ndarray,
    *,
    stream: bool = False,
    stalls: Stalls | None = None,
    waves: Path | None = None,
    limit: int = 100_000_000,
    progress: Callable[[str], None] | None = None,
) -> Mismatch | None:
    """Run a program on the core's RTL; if an output is wrong, find the first one, and what made it so.

    Parameters
    ----------
    program : celosia.host.program.Program
        The compiled network.
    inputs : ndarray (n, …), integers of the network's input type
        Inputs; without `stream` at most `program.vectors`.
    stream : bool
        Whether inputs and results stream; else they are in their memories before and after.
    stalls : Stalls or None
        Of the streams; None: they never stall.
    waves : Path or None
        VCD file for the waveform around the fault; not written where there is none.
    limit : int
        Cycles after which the run is given up.
    progress : callable, optional
        Told about each stage of a build that is not in the cache.

    Returns
    -------
    Mismatch or None
        None: every output is right.

    Raises
    ------
    SimulationError
        The core cannot be built, or the run does not end within `limit` cycles.
    ValueError
        There are more inputs than one iteration takes, and they do not stream.
    """
    iterations = -(-len(inputs) // program.vectors)
    if iterations > 1 and not stream:
        raise ValueError(f"{len(inputs)} inputs must stream: one iteration takes {program.vectors}.")
    locate = import_module(f"celosia.sim.mismatch.{find_engine(program.config.engine_name).name}")
    replay = Replay(
        program,
        program.pack_inputs(inputs),
        iterations,
        stream=stream,
        stalls=stalls or Stalls(),
        # From the RTL as it is now, never from a cache by config: it is the RTL that is in doubt.
        model=build(Core(program.config), name="core", waves="vcd", progress=progress),
        limit=limit,
        cause=locate.BEAT_CAUSE,
    )
    return _Hunt(program, inputs, replay, locate).find(waves)


class _Hunt:
    """From results to the first wrong layer; from there on the engine's own module searches."""

    def __init__(self, program: Any, inputs: np.ndarray, replay: Replay, locate: Any) -> None:
        self.program, self.replay, self.locate = program, replay, locate
        config: AcceleratorConfig = program.config
        packer = find_engine(config.engine_name).packer
        self.tensors = [tensor.reshape(len(inputs), -1) for tensor in engine_tensors(program, np.asarray(inputs))]
        self.plans = [plan for plan in program.layers if not plan.on_host]
        dtypes = [self.plans[0].layer.input_dtype, *(plan.layer.output_dtype for plan in self.plans)]
        self.offsets = [packer.activation_offset(config, dtype) for dtype in dtypes]
        self.beats = [locate.beats(plan, config) for plan in self.plans]

    def find(self, waves: Path | None) -> Mismatch | None:
        golden = self.tensors[-1]
        words = self.replay.results()
        results = self.program.unpack_outputs(words, len(golden)).reshape(golden.shape)
        wrong = np.flatnonzero((results != golden).any(axis=1))
        if not len(wrong):
            return None
        iteration = int(wrong[0]) // self.program.vectors
        for index in range(len(self.plans)):
            if mismatch := self._in_layer(iteration, index):
                break
        else:
            mismatch = self._in_stream(iteration, results)
        if waves is None:
            return mismatch
        window = (max(mismatch.fault.cycle - MARGIN, 1), mismatch.fault.cycle + MARGIN + 1)
        self.replay.write_waves(waves, window)
        return Mismatch(**{**vars(mismatch), "waves": waves, "window": window})

    def _in_layer(self, iteration: int, index: int) -> Mismatch | None:
        """Compare the tensor that a layer wrote with the golden one; one that wrote nothing has no mismatch."""
        vectors, plan = self.program.vectors, self.plans[index]
        if not plan.steps:
            return None
        rows = slice(iteration * vectors, (iteration + 1) * vectors)
        taken = self.program.network.all_sources[index][0]
        golden = self.tensors[index + 1][rows]
        run = self._layer_run(iteration, index, self.tensors[taken][rows], taken, golden)
        place = self.program.tensor(index + 1)
        address = self.replay.address_in(iteration, place.memory, place.address)
        words = self.replay.memory_before(run.first_beat + self.beats[index], place.memory, place.words, address)
        tensor = self.program.unpack_tensor(index + 1, words)[: len(golden)].reshape(golden.shape)
        wrong = np.argwhere(tensor != golden)
        if not len(wrong):
            return None
        first = self.locate.Search.first(run, wrong)
        return Mismatch(
            layer=index,
            layer_name=plan.name,
            iteration=iteration,
            vector=rows.start + first.vector,
            channel=first.channel,
            expected=int(golden[first.vector, first.channel]),
            actual=int(tensor[first.vector, first.channel]),
            fault=first.find(),
        )

    def _layer_run(self, iteration: int, index: int, x: np.ndarray, taken: int, golden: np.ndarray) -> LayerRun:
        fields = self.plans[index].steps[0].fields
        memories = (
            "activations" if fields["source_is_activations"] else "inputs",
            "outputs" if fields["destination_is_outputs"] else "activations",
        )
        return LayerRun(
            replay=self.replay,
            index=index,
            iteration=iteration,
            golden=golden,
            x=x + self.offsets[taken],
            input_offset=self.offsets[taken],
            output_offset=self.offsets[index + 1],
            first_beat=iteration * sum(self.beats) + sum(self.beats[:index]),
            source=self.replay.address_in(iteration, memories[0], fields["source"]),
            destination=self.replay.address_in(iteration, memories[1], fields["destination"]),
        )

    def _in_stream(self, iteration: int, results: np.ndarray) -> Mismatch:
        """Describe results that were right in memory."""
        golden, last = self.tensors[-1], len(self.plans) - 1
        vector, channel = (int(index) for index in np.argwhere(results != golden)[0])
        expected, actual = int(golden[vector, channel]), int(results[vector, channel])
        return Mismatch(
            layer=last,
            layer_name=self.plans[last].name,
            iteration=iteration,
            vector=vector,
            channel=channel,
            expected=expected,
            actual=actual,
            fault=Fault(
                place="stream of results, though right in memory,",
                quantity="output",
                expected=expected,
                actual=actual,
                cycle=self.replay.last_cycle,
            ),
        )
