"""Run a network on a machine and hold it against the golden model and the cycle model: what the commands do.

::

    from celosia.host.device import Device
    from celosia.host.models import read_model
    from celosia.host.prepare import prepare
    from celosia.host.session import DeviceMachine, run
    from celosia.hw.config import AcceleratorConfig
    from celosia.hw.systolic.config import SystolicConfig
    from celosia.sim import reference
    from celosia.sim.device import SimulatedDevice

    config = AcceleratorConfig(engine=SystolicConfig(rows=16, cols=16))
    network, inputs = prepare(read_model("digits.npz"), images, config)
    with Device(SimulatedDevice(config)) as device:
        outcome = run(network, inputs, DeviceMachine(device), reference)
    assert outcome.bit_exact and outcome.cycle_exact
    print(outcome.cycles_per_input, outcome.utilization, outcome.causes)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from celosia.host.compile import compile_network
from celosia.host.device import Device
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words

CORE_LIMIT: Final = 100_000_000
"""Most cycles of an iteration on a simulated core."""


class Prediction(Protocol):
    """Cycles that the cycle model foretells."""

    @property
    def causes(self) -> dict[str, int]:
        """Cycles by cause."""
        ...

    @property
    def by_layer(self) -> list[dict[str, int]]:
        """The same for each layer."""
        ...


class Reference(Protocol):
    """What a run is compared with; the module `celosia.sim.reference` is one."""

    @property
    def golden(self) -> Callable[[Program, np.ndarray], np.ndarray]:
        """Program and inputs to outputs."""
        ...

    @property
    def finish(self) -> Callable[[Program, np.ndarray], np.ndarray]:
        """Program and the engine's results to the network's outputs: what the host computes."""
        ...

    @property
    def useful_macs(self) -> Callable[[Program, np.ndarray], Sequence[int]]:
        """Program and inputs to the multiplications that each layer needs for them."""
        ...

    @property
    def predict_each(self) -> Callable[[Program, np.ndarray], Sequence[Prediction]]:
        """Program and inputs to cycles of each iteration."""
        ...


class Machine(Protocol):
    """What runs a program: a device, or a simulated core."""

    @property
    def weights_never_wait(self) -> bool:
        """Whether a streamed weight word is there in every cycle, as the cycle model assumes."""
        ...

    @property
    def config(self) -> AcceleratorConfig:
        """Its config."""
        ...

    def load(self, program: Program) -> None:
        """Take a program."""
        ...

    def iterate(self, inputs: Words) -> tuple[Words, Mapping[str, int]]:
        """Run one iteration: input words to result words, and cycles by cause."""
        ...


class DeviceMachine:
    """A device as a machine: inputs are written before, results read after each run."""

    weights_never_wait = False

    def __init__(self, device: Device) -> None:
        self.device = device

    @property
    def config(self) -> AcceleratorConfig:
        """Config of the device."""
        return self.device.identity.config

    def load(self, program: Program) -> None:
        """Write the program's memories."""
        self.device.load(program)

    def iterate(self, inputs: Words) -> tuple[Words, Mapping[str, int]]:
        """Write inputs, run, read results; the cycles are those from RUN to DONE."""
        results, status = self.device.run_resident(inputs)
        return results, status.causes


class CoreMachine:
    """A simulated core without its link, as a machine: a streamed weight word is there in every cycle.

    Parameters
    ----------
    core : celosia.sim.core.CoreSimulator
    """

    weights_never_wait = True

    def __init__(self, core: Any) -> None:
        self.core = core
        self._program: Program | None = None

    @property
    def config(self) -> AcceleratorConfig:
        """Config of the core."""
        return self.core.config

    def load(self, program: Program) -> None:
        """Write the program's memories."""
        for memory, words in program.image.items():
            self.core.write(memory, words)
        if program.load_stream is not None:
            self.core.run(program.load_parameters(), weights=program.load_stream)
        self._program = program

    def iterate(self, inputs: Words) -> tuple[Words, Mapping[str, int]]:
        """Write inputs, run, read results."""
        assert self._program is not None, "load comes before iterate"
        program = self._program
        self.core.write("inputs", inputs)
        run = self.core.run(program.run_parameters(1, stream=False), weights=program.weight_stream, limit=CORE_LIMIT)
        return self.core.read("outputs", program.output_words), run.causes


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """A run and what it was compared with.

    Parameters
    ----------
    program : Program
        What ran.
    golden : ndarray of int64, (n, *program.output_shape)
        Results by the golden model, those of the engine's last layer.
    predictions : sequence of Prediction
        Cycles of each iteration by the cycle model, streams never waiting.
    useful_macs : sequence of int
        Multiplications that each layer needs for all inputs; without zeros where the engine skips them.
    outputs : ndarray of int64 or None, (n, *program.output_shape)
        Results of the machine; None if nothing but the golden model ran.
    results : ndarray of int64, (n, *output shape)
        Outputs of the network: what the host makes of the machine's results, or else of the golden model's.
    runs : sequence of mapping
        Cycles by cause of each iteration on the machine.
    comparable : bool
        Whether the cycle model foretells the runs: not if weights came over a link, whose pace it does not know.
    """

    program: Program
    golden: np.ndarray
    predictions: Sequence[Prediction]
    useful_macs: Sequence[int]
    outputs: np.ndarray | None
    results: np.ndarray
    runs: Sequence[Mapping[str, int]]
    comparable: bool = True

    @property
    def iterations(self) -> int:
        """Iterations that the inputs take."""
        return -(-len(self.golden) // self.program.vectors)

    @property
    def bit_exact(self) -> bool | None:
        """Whether every output of every input equals the golden model's; None without a machine."""
        return None if self.outputs is None else bool(np.array_equal(self.outputs, self.golden))

    @property
    def cycle_exact(self) -> bool | None:
        """Whether every counter of every run equals the cycle model's.

        None without a machine, or if the runs are not `comparable`.
        """
        if not self.runs or not self.comparable:
            return None
        count = self.program.config.counted
        pairs = zip(self.runs, self.predictions, strict=True)
        return all(dict(causes) == count(prediction.causes) for causes, prediction in pairs)

    @property
    def exact(self) -> bool:
        """Whether nothing that was compared differs."""
        return self.bit_exact is not False and self.cycle_exact is not False

    @property
    def causes(self) -> dict[str, int]:
        """Cycles of all iterations by cause.

        The machine's counters; the model's without a machine, and where they are equal, as narrow counters overflow.
        """
        modelled = self.cycle_exact or not self.runs
        runs = [prediction.causes for prediction in self.predictions] if modelled else self.runs
        return {name: sum(causes[name] for causes in runs) for name in self.program.config.causes}

    @property
    def cycles(self) -> int:
        """Cycles of all iterations."""
        return sum(self.causes.values())

    @property
    def cycles_per_input(self) -> float:
        """Cycles per input of the network."""
        return self.cycles / len(self.golden)

    @property
    def utilization(self) -> float:
        """Useful MACs / (PEs × cycles), 0 to 1; inputs that only fill up the last iteration are not useful."""
        return sum(self.useful_macs) / (self.program.config.engine.pe_count * self.cycles)

    @property
    def mismatch(self) -> str:
        """One sentence about the first difference; empty if there is none."""
        if self.bit_exact is False and self.outputs is not None:
            first = tuple(np.argwhere(self.outputs != self.golden)[0].tolist())
            wrong = int(np.count_nonzero(self.outputs != self.golden))
            return (
                f"{wrong} of {self.golden.size} outputs differ, first output {first[1:]} of input {first[0]}: "
                f"RTL {self.outputs[first]}, golden {self.golden[first]}."
            )
        if self.cycle_exact is False:
            for number, (causes, prediction) in enumerate(zip(self.runs, self.predictions, strict=True)):
                for name, cycles in self.program.config.counted(prediction.causes).items():
                    if causes[name] != cycles:
                        return f"run {number} spent {causes[name]} cycles on {name}, the cycle model says {cycles}."
        return ""


def run(
    network: Network,
    inputs: np.ndarray,
    machine: Machine | None,
    reference: Reference,
    *,
    config: AcceleratorConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Compile a network, run it on all inputs, and compare.

    Parameters
    ----------
    network : Network
    inputs : ndarray (n, …), integers of the network's input type
    machine : Machine or None
        What runs it; None: only the golden model and the cycle model.
    reference : Reference
        The module `celosia.sim.reference`.
    config : AcceleratorConfig or None
        What to compile for; needed without a machine.
    progress : callable, optional
        Told after each iteration: how many are done, of how many.

    Raises
    ------
    CompileError
        The network does not fit the config.
    DeviceError
        The device failed.
    """
    target = config if machine is None else machine.config
    if target is None:
        raise ValueError("without a machine, run needs the config to compile for.")
    program = compile_network(network, target, batch=len(inputs))
    golden = reference.golden(program, inputs)
    outputs, runs = None, []
    comparable = machine is None or machine.weights_never_wait or program.weight_stream is None
    if machine is not None:
        machine.load(program)
        words = program.pack_inputs(inputs)
        blocks = words.reshape(-1, program.input_words, words.shape[1])
        results = []
        for number, block in enumerate(blocks, 1):
            result, causes = machine.iterate(block)
            results.append(result)
            runs.append(causes)
            if progress:
                progress(number, len(blocks))
        outputs = program.unpack_outputs(np.concatenate(results), len(inputs))
    return Outcome(
        program=program,
        golden=golden,
        predictions=reference.predict_each(program, inputs),
        useful_macs=reference.useful_macs(program, inputs),
        outputs=outputs,
        results=reference.finish(program, golden if outputs is None else outputs),
        runs=runs,
        comparable=comparable,
    )
