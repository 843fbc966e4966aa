"""Machines that commands run programs on: simulated ones, built on first use and timed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celosia.host.cli.output import notices, progress_bar, working
from celosia.host.device import Device
from celosia.host.errors import CelosiaError
from celosia.host.program import Program
from celosia.host.session import CoreMachine, DeviceMachine, Machine
from celosia.host.transports.address import open_port
from celosia.host.transports.framed import FramedTransport
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words

LONG_TRANSFER = 1 << 16  # bytes of an exchange that is worth a bar of its own


class TimedMachine:
    """A simulated machine with a stopwatch."""

    def __init__(self, machine: Machine, clock: Any) -> None:
        self._machine, self._clock = machine, clock
        self.cycles, self.seconds = 0, 0.0

    @property
    def config(self) -> AcceleratorConfig:
        """Config of the machine."""
        return self._machine.config

    @property
    def weights_never_wait(self) -> bool:
        """See `celosia.host.session.Machine`."""
        return self._machine.weights_never_wait

    @property
    def cycles_per_second(self) -> float:
        """Clock cycles simulated per second, transfers included."""
        return self.cycles / self.seconds if self.seconds else 0.0

    def load(self, program: Program) -> None:
        """Take a program."""
        with self._watch():
            self._machine.load(program)

    def iterate(self, inputs: Words) -> tuple[Words, Mapping[str, int]]:
        """Run one iteration."""
        with self._watch():
            return self._machine.iterate(inputs)

    @contextmanager
    def _watch(self) -> Iterator[None]:
        cycle, begin = self._clock.cycle, time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin
        # A core begins to count anew with each run.
        self.cycles += self._clock.cycle - cycle if self._clock.cycle >= cycle else self._clock.cycle


@contextmanager
def simulated_device(config: AcceleratorConfig) -> Iterator[TimedMachine]:
    """Build or fetch the whole accelerator's simulator."""
    from celosia.sim.device import SimulatedDevice
    from celosia.sim.rtl import SlowSimulation

    with notices(SlowSimulation), working(f"building the simulator of {describe(config)}") as report:
        transport = SimulatedDevice(config, progress=report)
    with Device(transport) as device:
        yield TimedMachine(DeviceMachine(device), transport)


@contextmanager
def simulated_core(config: AcceleratorConfig, *, waves: str = "") -> Iterator[Any]:
    """Build or fetch the core's simulator, a `celosia.sim.core.CoreSimulator`; waveforms need a C++ compiler."""
    from celosia.sim.core import CoreSimulator, build_core
    from celosia.sim.rtl import SimulationError, SlowSimulation

    with notices(SlowSimulation), working(f"building the simulator of {describe(config)}") as report:
        try:
            model = build_core(config, waves=waves, progress=report) if waves else None
        except SimulationError as error:
            if waves != "fst" or "lz4" not in str(error):
                raise
            raise CelosiaError("an .fst waveform needs the headers of lz4 (liblz4-dev); a .vcd does not.") from None
        core = CoreSimulator(config, report, model=model)
    try:
        yield core
    finally:
        core.close()


@contextmanager
def simulated(part: str, config: AcceleratorConfig) -> Iterator[TimedMachine]:
    """Build or fetch the simulator of an accelerator or of a core."""
    if part == "core":
        with simulated_core(config) as core:
            yield TimedMachine(CoreMachine(core), core.sim)
    else:
        with simulated_device(config) as machine:
            yield machine


@contextmanager
def connected(address: str, what: str) -> Iterator[tuple[Device, FramedTransport, Callable[[int, int], None]]]:
    """Open a device by its address, with a bar for long transfers.

    Parameters
    ----------
    address : str
        See `celosia.host.transports.address.open_port`.
    what : str
        What is done with it, for the bar.

    Yields
    ------
    device : Device
    transport : FramedTransport
        What it is reached by.
    progress : callable
        Takes what is done, and of how much, to show that in the bar.
    """
    transport = open_port(address)
    with Device(transport) as device, progress_bar(f"{what} at {address}") as bar:
        transport.progress = lambda done, total: bar(done, total) if total >= LONG_TRANSFER else None
        yield device, transport, bar


def describe(config: AcceleratorConfig) -> str:
    """Return a few words that name a config: its engine, and its PEs."""
    engine = config.engine
    rows, cols = getattr(engine, "rows", None), getattr(engine, "cols", None)
    if rows and cols:
        return f"{config.engine_name} {rows}×{cols}"
    pes, simd = getattr(engine, "pes", engine.pe_count), getattr(engine, "simd", None)
    return f"{config.engine_name} {pes}×{simd}" if simd else f"{config.engine_name} {pes}"
