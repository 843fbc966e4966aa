"""The RTL under Verilator, or under the Amaranth simulator where there is no C++ compiler.

::

    from celosia.sim.rtl import StopReason, simulate

    with simulate(component, name="fifo") as sim:      # compiled once, then from the cache
        sim.stall("i", 0.3, seed=1)                    # streams never stall unless told to
        sim.set("run__start", 1)                       # plain ports by their flattened names
        sim.send("i", words)                           # uint32 (payloads, words per payload), or 1-D up to 32 bits
        sim.expect("o", len(words))
        assert sim.run(100_000, until="received") is StopReason.RECEIVED
        results = sim.receive("o")                     # uint32 (payloads, words per payload)
        print(sim.cycle, sim.get("level"))

``sim.run(1)`` steps; ``sim.run(n, until="done")`` runs until the 1-bit output ``done`` was high in a cycle;
``sim.run(n, until="sent")`` until every source is empty; at ``n`` it returns ``StopReason.LIMIT`` and raises nothing.
``build(component, ...)`` gives a `Model` whose ``start()`` makes independent simulators.
``simulate(..., waves="vcd")`` and ``sim.trace(path, start, stop)`` write a waveform of a window of cycles.
``gate_pattern(seed, stall_threshold(probability), cycles)`` predicts the stalls exactly.
"""

from celosia.sim.rtl.build import Model, SlowSimulation, build, simulate
from celosia.sim.rtl.errors import SimulationError
from celosia.sim.rtl.gates import gate_pattern, stall_threshold
from celosia.sim.rtl.simulator import Simulator, StopReason, Words

__all__ = [
    "Model",
    "SimulationError",
    "Simulator",
    "SlowSimulation",
    "StopReason",
    "Words",
    "build",
    "gate_pattern",
    "simulate",
    "stall_threshold",
]
