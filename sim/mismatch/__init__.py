"""Names the first mismatch: when the RTL and the golden model differ, where, when and with which operands.

    mismatch = find_mismatch(program, inputs, waves=Path("mismatch.vcd"))
    if mismatch:
        print(mismatch)

The run is repeated under Verilator, each time from power-up and with the same stalls, and looked at from closer: first
the results, then each layer's tensor, then the partial sums of every PE of one column on their way down, then the
accumulator and the requantizer behind it. All that is known of the inside is the waveform of a few cycles: whoever
looks at the waveform sees what was seen here.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from celosia.hw.core import Core
from celosia.hw.registry import find_engine
from celosia.sim.core import Stalls
from celosia.sim.mismatch.replay import Replay
from celosia.sim.mismatch.report import Fault, Mismatch
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
    replay = Replay(
        program,
        program.pack_inputs(inputs),
        iterations,
        stream=stream,
        stalls=stalls or Stalls(),
        # From the RTL as it is now, never from a cache by config: it is the RTL that is in doubt.
        model=build(Core(program.config), name="core", waves="vcd", progress=progress),
        limit=limit,
    )
    return _Hunt(program, inputs, replay, stream).find(waves)


class _Hunt:
    """From results to the first wrong layer."""

    def __init__(self, program: Any, inputs: np.ndarray, replay: Replay, stream: bool) -> None:
        self.program, self.replay, self.stream = program, replay, stream
        engine = find_engine(program.config.engine_name)
        self.locate = import_module(f"celosia.sim.mismatch.{engine.name}")
        self.unpack = engine.packer.unpack_activations
        self.tensors = [np.asarray(inputs).reshape(len(inputs), -1).astype(np.int64)]
        for layer in program.network.layers:
            self.tensors.append(engine.golden.run_layer(layer, self.tensors[-1]))
        self.offsets = [program.input_offset]
        for plan, layer in zip(program.layers, program.network.layers, strict=True):
            self.offsets.append(plan.steps[0].fields["zero_point"] - layer.output_zero_point)
        self.beats = [self.locate.beats(plan.steps[0].fields) for plan in program.layers]

    def find(self, waves: Path | None) -> Mismatch | None:
        golden = self.tensors[-1]
        words = self.replay.results()
        results = self.program.unpack_outputs(words, len(golden)).reshape(golden.shape)
        wrong = np.flatnonzero((results != golden).any(axis=1))
        if not len(wrong):
            return None
        iteration = int(wrong[0]) // self.program.vectors
        for index in range(len(self.program.layers)):
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
        """Compare the tensor that a layer wrote with the golden one."""
        vectors, plan = self.program.vectors, self.program.layers[index]
        fields = dict(plan.steps[0].fields)
        if self.stream and fields["destination_is_outputs"] and iteration % 2:
            fields["destination"] ^= self.program.config.output_depth // 2
        first_beat = iteration * sum(self.beats) + sum(self.beats[:index])
        words = self.replay.memory_before(
            first_beat + self.beats[index],
            "outputs" if fields["destination_is_outputs"] else "activations",
            vectors * fields["destination_pitch"],
            fields["destination"],
        )
        rows = slice(iteration * vectors, (iteration + 1) * vectors)
        golden, x = self.tensors[index + 1][rows], self.tensors[index][rows]
        lanes = self.unpack(self.program.config, words, plan.arranged.output_words)[: len(golden)]
        tensor = lanes[:, plan.arranged.output_positions] - self.offsets[index + 1]
        searches = [
            self.locate.Search(
                config=self.program.config,
                replay=self.replay,
                fields=fields,
                layer=self.program.network.layers[index],
                x=x + self.offsets[index],
                input_offset=self.offsets[index],
                output_offset=self.offsets[index + 1],
                first_beat=first_beat,
                vector=int(vector),
                channel=int(channel),
            )
            for vector, channel in np.argwhere(tensor != golden)
        ]
        if not searches:
            return None
        first = min(searches, key=lambda search: search.order())
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

    def _in_stream(self, iteration: int, results: np.ndarray) -> Mismatch:
        """Describe results that were right in memory."""
        golden, last = self.tensors[-1], len(self.program.layers) - 1
        vector, channel = (int(index) for index in np.argwhere(results != golden)[0])
        expected, actual = int(golden[vector, channel]), int(results[vector, channel])
        return Mismatch(
            layer=last,
            layer_name=self.program.layers[last].name,
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
