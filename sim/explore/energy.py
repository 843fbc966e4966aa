"""Energy of a run, as a model to rank designs by: operations and memory accesses, at published costs of each.

Horowitz, "Computing's energy problem", ISSCC 2014, figure 1.1.9, 45 nm at 0.9 V: an 8-bit multiplication 0.2 pJ, a
32-bit addition 0.1 pJ, 64 bits from an 8-kbyte SRAM 10 pJ, from DRAM 1.3 nJ. An FPGA takes a multiple of this, and its
clocks and idle logic take power, too: figures are for comparison with each other only.
"""

from typing import Any, Final

MULTIPLICATION_PJ: Final = 0.2 / 64
"""Of a multiplication, per bit × bit."""
ADDITION_PJ: Final = 0.1 / 32
"""Of an addition, per bit."""
MEMORY_PJ: Final = 10 / 8
"""Of a memory on the chip, per byte."""
STREAM_PJ: Final = 1300 / 8
"""Of what comes from outside of the chip, per byte."""


def energy_uj(program: Any) -> float | None:
    """Return the energy of an iteration, microjoules; None if what is read depends on the inputs.

    Parameters
    ----------
    program : celosia.host.program.Program
    """
    engine: Any = program.config.engine
    product = getattr(engine, "activation_width", 1) * getattr(engine, "weight_width", 1)
    width = getattr(engine, "resolved_accumulator_width", None) or engine.accumulator_width
    word_bytes = program.config.memory("weights").width / 8
    total = 0.0
    for layer in program.layers:
        if layer.on_host:
            continue
        if layer.weight_read_bytes is None:
            return None
        moved = layer.read_bytes + layer.written_bytes + layer.weight_read_bytes
        total += layer.macs * (product * MULTIPLICATION_PJ + width * ADDITION_PJ)
        total += moved * MEMORY_PJ + layer.streamed_words * word_bytes * STREAM_PJ
    return total / 1e6
