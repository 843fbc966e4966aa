"""Reports in SCALE-Sim's columns: its cycles as it gives them itself, and differences that add up."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore import compute_report as module
from celosia.sim.explore.compute_report import (
    PARTS,
    compute_report,
    count,
    count_layers,
    scalesim_cycles,
    write_compute_report,
)
from celosia.sim.explore.topology import ConvLayer, GemmLayer, Topology, read_topology

HEADER = (
    "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, "
    "Compute Util %, "
)


def gemm(M: int, K: int, N: int) -> GemmLayer:
    return GemmLayer(name=f"{M}x{K}x{N}", M=M, K=K, N=N)


def conv(image: tuple[int, int], kernel: int, channels: int, filters: int, stride: int) -> ConvLayer:
    return ConvLayer(
        name=f"{image[0]}x{image[1]}x{channels}",
        image=image,
        kernel=(kernel, kernel),
        channels=channels,
        filters=filters,
        strides=(stride, stride),
    )


def array(rows: int, cols: int) -> AcceleratorConfig:
    return AcceleratorConfig(engine=SystolicConfig(rows=rows, cols=cols))


# Source: "Total Cycles" of COMPUTE_REPORT.csv, SCALE-Sim 3.0.0 with numpy 2.3.5, Dataflow ws, InterfaceBandwidth CALC.
MEASURED = [
    (gemm(64, 64, 64), 8, 8, 5_503),
    (gemm(10, 30, 20), 8, 16, 319),
    (gemm(1, 70, 100), 32, 32, 1_139),
    (gemm(33, 9, 5), 16, 4, 133),
    (gemm(3, 1, 1), 1, 1, 3),
    (gemm(5, 6, 7), 64, 64, 194),
    (gemm(196, 384, 192), 32, 32, 20_879),
    (conv((10, 11), 3, 5, 7, 2), 8, 8, 281),
    (conv((10, 11), 3, 5, 7, 3), 8, 8, 227),
    (conv((56, 56), 1, 64, 128, 2), 32, 32, 7_479),
    (conv((56, 56), 1, 64, 128, 2), 16, 16, 28_383),
    (conv((224, 224), 11, 3, 96, 4), 32, 32, 112_283),
]


@pytest.mark.parametrize(("layer", "rows", "cols", "cycles"), MEASURED)
def test_scalesim_cycles(layer: ConvLayer | GemmLayer, rows: int, cols: int, cycles: int) -> None:
    assert scalesim_cycles(layer, rows, cols) == cycles


@pytest.mark.parametrize(("layer", "rows", "cols", "cycles"), MEASURED)
def test_differences_add_up(layer: ConvLayer | GemmLayer, rows: int, cols: int, cycles: int) -> None:
    config = array(rows, cols)
    counted = count(layer, config)
    (row,) = compute_report(Topology(name="one", layers=(layer,)), config, [counted])
    assert row["Total Cycles"] == row["Total Cycles (incl. prefetch)"] == counted.cycles
    assert row["SCALE-Sim Cycles (ws)"] == cycles
    assert sum(row[part] for part in PARTS) == row["Difference"] == counted.cycles - cycles
    assert f"{abs(row['Difference'])} cycles" in row["Explanation"]
    assert 0 < row["Overall Util %"] <= row["Compute Util %"] <= row["Mapping Efficiency %"] <= 100


def test_random_layers() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        rows, cols = (int(rng.integers(1, 20)) for _ in range(2))
        if rng.integers(2):
            layer: ConvLayer | GemmLayer = gemm(*(int(rng.integers(1, 90)) for _ in range(3)))
        else:
            image, kernel = (int(rng.integers(3, 15)), int(rng.integers(3, 15))), int(rng.integers(1, 4))
            layer = conv(image, kernel, int(rng.integers(1, 30)), int(rng.integers(1, 30)), int(rng.integers(1, 4)))
        config = array(rows, cols)
        (row,) = compute_report(Topology(name="one", layers=(layer,)), config, [count(layer, config)])
        assert sum(row[part] for part in PARTS) == row["Difference"], (layer, rows, cols)
        assert row["Mapping Efficiency %"] <= 100


def test_parts_of_a_product() -> None:
    config = array(8, 8)
    (row,) = compute_report(Topology(name="one", layers=(gemm(64, 64, 64),)), config, [count(gemm(64, 64, 64), config)])
    assert (row["Total Cycles"], row["Difference"], row["Tiles"], row["SCALE-Sim Folds (ws)"]) == (
        4_219,
        -1_284,
        64,
        64,
    )
    assert {part: row[part] for part in PARTS if part not in ("Drain", "Fetch")} == {
        "Skew Overlapped": -64 * 14,
        "Weight Loads": 8 - 64 * 8,  # the first tile's alone are waited for
        "Passes": 0,
        "Window": 0,
        "Output Wait": 0,
        "Hazard": 0,
        "Stream Wait": 1,
        "Counted from 0": 1,
    }
    assert row["Stall Cycles"] == 8 + 1
    assert row["Overall Util %"] == pytest.approx(100 * 64 / 4_219 * 64)
    assert row["Mapping Efficiency %"] == 100


def test_rows_do_not_fill_tiles() -> None:
    """A GEMV waits for weights, whichever way it is counted; tiles are partly empty."""
    config, layer = array(8, 8), gemm(1, 20, 12)
    (row,) = compute_report(Topology(name="one", layers=(layer,)), config, [count(layer, config)])
    assert row["Tiles"] == 6
    assert row["Mapping Efficiency %"] == pytest.approx(100 * 240 / (6 * 64))  # as SCALE-Sim 3.0.0 has it: 62.5
    assert row["Stall Cycles"] > 20


def test_equal_layers_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counting(layer: GemmLayer, config: AcceleratorConfig) -> module.LayerCount:
        asked.append(layer)
        return count(layer, config)

    monkeypatch.setattr(module, "count", counting)
    layers = (gemm(4, 5, 6), GemmLayer(name="other", M=4, K=5, N=6), gemm(5, 5, 6))
    config = array(4, 4)
    counts = count_layers(Topology(name="three", layers=layers), config)
    assert counts == [count(layer, config) for layer in layers]
    assert len(asked) == 2


def test_written_as_scalesim_does(tmp_path: Path) -> None:
    config, layers = array(4, 4), (gemm(4, 5, 6), conv((6, 6), 3, 2, 4, 1))
    topology = Topology(name="two", layers=layers)
    rows = compute_report(topology, config, count_layers(topology, config))
    path = tmp_path / "COMPUTE_REPORT.csv"
    write_compute_report(path, rows)
    lines = path.read_text().splitlines()
    assert lines[0].startswith(HEADER)
    assert all(line.endswith(",") for line in lines)
    assert {line.count(",") for line in lines} == {len(rows[0])}
    with path.open(newline="") as file:
        read = list(csv.DictReader(file, skipinitialspace=True))
    assert [{name: row[name] for name in rows[0]} for row in read] == [
        {name: str(value) for name, value in row.items()} for row in rows
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["COMPUTE_REPORT.csv"]


@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the topologies")
@pytest.mark.parametrize("name", ["Resnet18", "alexnet", "mobilenet", "vit_s"])
def test_published_topologies(name: str) -> None:
    topology = read_topology(Path(os.environ["CELOSIA_DATA"]) / "scalesim" / f"{name}.csv")
    config = array(32, 32)
    for row in compute_report(topology, config, count_layers(topology, config)):
        assert sum(row[part] for part in PARTS) == row["Difference"]
