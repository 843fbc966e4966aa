"""The benches, each on the Verilog of a small component, simulated by a program that knows nothing of Amaranth."""

from collections.abc import Callable
from typing import Any

import pytest

from celosia.hw.binary.array import BinaryArray
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.requantize import Requantizer
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.pe import SparsePE
from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.pe import PE
from celosia.hw.top import Accelerator

Bench = Callable[..., None]


@pytest.mark.slow  # the array's bench has PEs
@pytest.mark.parametrize("row", [0, 2, 5])
def test_pe(row: int, run_bench: Bench) -> None:
    settings = {"rows": 8, "cols": 1, "activation_width": 8, "weight_width": 8}
    run_bench(PE(SystolicConfig(**settings), row=row), "pe", "bench_pe", {**settings, "row": row})


@pytest.mark.parametrize(
    "shape",
    [
        {"rows": 3, "cols": 4},
        pytest.param({"rows": 5, "cols": 2, "activation_width": 16, "weight_width": 3}, marks=pytest.mark.slow),
        pytest.param({"rows": 1, "cols": 1, "activation_signed": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_array(shape: dict[str, int], run_bench: Bench) -> None:
    run_bench(SystolicArray(SystolicConfig(**shape)), "systolic_array", "bench_array", shape)


@pytest.mark.parametrize(
    "widths",
    [
        {"accumulator_width": 32, "output_width": 8},
        pytest.param({"accumulator_width": 48, "output_width": 16}, marks=pytest.mark.slow),
        pytest.param({"accumulator_width": 20, "output_width": 4, "output_signed": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_requantizer(widths: dict[str, int], run_bench: Bench) -> None:
    run_bench(Requantizer(RequantizerConfig(**widths)), "requantizer", "bench_requantizer", widths)


SPARSE = {"pes": 1, "index_width": 4, "accumulator_rows": 32, "accumulator_width": 32}


@pytest.mark.parametrize(
    "engine",
    [
        {**SPARSE, "queue_depth": 3},
        pytest.param({**SPARSE, "pes": 4, "group": 4, "queue_depth": 1, "codebook_width": 2}, marks=pytest.mark.slow),
        pytest.param(
            {**SPARSE, "accumulator_width": 24, "activation_width": 8, "activation_signed": False},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_sparse_pe(engine: dict[str, Any], run_bench: Bench) -> None:
    given = {"engine": engine, "weight_depth": 1024}
    config = AcceleratorConfig(**{**given, "engine": SparseConfig(**engine)})
    run_bench(SparsePE(config), "sparse_pe", "bench_sparse_pe", given)


@pytest.mark.parametrize(
    "engine",
    [
        {"pes": 3, "simd": 10, "accumulator_width": 9},
        pytest.param({"pes": 9, "simd": 33, "accumulator_width": 16}, marks=pytest.mark.slow),
        pytest.param({"pes": 1, "simd": 2, "activation_width": 1, "accumulator_width": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_binary_array(engine: dict[str, int], run_bench: Bench) -> None:
    run_bench(BinaryArray(BinaryConfig(**engine)), "binary_array", "bench_binary_array", engine)


DEVICE = {
    "engine": {"rows": 4, "cols": 4, "accumulator_rows": 8},
    "program_depth": 32,
    "weight_depth": 64,
    "parameter_depth": 32,
    "input_depth": 16,
    "activation_depth": 32,
    "output_depth": 16,
    "packet_words": 64,
}


def device() -> AcceleratorConfig:
    return AcceleratorConfig(**{**DEVICE, "engine": SystolicConfig(**DEVICE["engine"])})


def test_accelerator(run_bench: Bench) -> None:
    run_bench(Accelerator(device()), "accelerator", "bench_accelerator", DEVICE)


@pytest.mark.slow
def test_core(run_bench: Bench) -> None:
    small = {**DEVICE, "weight_depth": 16}
    config = AcceleratorConfig(**{**small, "engine": SystolicConfig(**DEVICE["engine"])})
    run_bench(Core(config), "core", "bench_core", small)
