"""Accelerators that fit chips of several sizes, with memories for the networks that come with Celosia."""

from dataclasses import replace

from celosia.boards.board import Design
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig

_SPARSE_8 = Design(
    clock_mhz=40,
    config=AcceleratorConfig(
        engine=SparseConfig(pes=8, accumulator_rows=64, pointer_depth=1024),
        weight_depth=1024,
        parameter_depth=128,
        input_depth=256,
        activation_depth=256,
        output_depth=256,
    ),
)

LARGE = {
    "systolic": Design(
        clock_mhz=75,
        config=AcceleratorConfig(
            engine=SystolicConfig(rows=8, cols=8, lookup_tables=4),
            weight_depth=8192,
            activation_depth=4096,
        ),
    ),
    "sparse": replace(_SPARSE_8, clock_mhz=50),
    "binary": Design(
        clock_mhz=60,
        config=AcceleratorConfig(
            engine=BinaryConfig(pes=32, simd=32),
            weight_depth=1024,
            parameter_depth=1024,
        ),
    ),
}
"""ECP5-85F: 84k LUTs, 156 multipliers, 208 block RAMs of 18 kbit; Artix-7 100T."""

MEDIUM = {
    "systolic": Design(
        clock_mhz=50,
        config=AcceleratorConfig(
            engine=SystolicConfig(rows=8, cols=4),
            weight_depth=8192,
        ),
    ),
    "sparse": _SPARSE_8,
    "binary": Design(
        clock_mhz=50,
        config=AcceleratorConfig(
            engine=BinaryConfig(pes=16, simd=32),
            weight_depth=1024,
            parameter_depth=1024,
        ),
    ),
}
"""ECP5-45F: 44k LUTs, 72 multipliers, 108 block RAMs of 18 kbit."""

SMALL = {
    "systolic": Design(
        clock_mhz=50,
        config=AcceleratorConfig(
            engine=SystolicConfig(rows=4, cols=4, accumulator_rows=256),
            weight_depth=4096,
            activation_depth=1024,
            input_depth=1024,
            output_depth=1024,
        ),
    ),
    "sparse": Design(
        clock_mhz=40,
        config=AcceleratorConfig(
            engine=SparseConfig(pes=4, accumulator_rows=128, pointer_depth=512, codebook_depth=64),
            weight_depth=1024,
            parameter_depth=256,
            input_depth=128,
            activation_depth=128,
            output_depth=128,
        ),
    ),
    "binary": Design(
        clock_mhz=50,
        config=AcceleratorConfig(
            engine=BinaryConfig(pes=16, simd=16, activation_width=4),
            weight_depth=512,
            parameter_depth=512,
            input_depth=512,
            activation_depth=512,
            output_depth=512,
        ),
    ),
}
"""ECP5-25F: 24k LUTs, 28 multipliers, 56 block RAMs of 18 kbit; Artix-7 35T."""

TINY = {
    "sparse": Design(
        clock_mhz=24,
        config=AcceleratorConfig(
            engine=SparseConfig(
                pes=1,
                queue_depth=1,
                index_width=5,
                weight_width=8,
                activation_width=8,
                accumulator_width=24,
                accumulator_rows=512,
                pointer_depth=512,
                codebook_depth=64,
            ),
            program_depth=64,
            weight_depth=2560,
            parameter_depth=512,
            input_depth=64,
            activation_depth=512,
            output_depth=64,
            packet_words=64,
            watchdog_cycles=1 << 16,
        ),
    ),
}
"""iCE40HX8K: 7,680 logic cells, no multipliers, 32 block RAMs of 4 kbit."""

MINIMAL = {
    "binary": Design(
        clock_mhz=24,
        config=AcceleratorConfig(
            engine=BinaryConfig(
                pes=2,
                simd=4,
                activation_width=1,
                accumulator_width=10,
                output_width=1,
                side_width=2,
                loop_width=8,
            ),
            program_depth=64,
            weight_depth=3328,
            parameter_depth=280,
            input_depth=64,
            activation_depth=64,
            output_depth=64,
            packet_words=64,
            watchdog_cycles=1 << 16,
            counter_width=24,
        ),
    ),
}
"""iCE40UP5K: 5,280 logic cells, 30 block RAMs of 4 kbit."""
