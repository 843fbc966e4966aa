"""SCALE-Sim's COMPUTE_REPORT.csv with Celosia's exact cycles, and every difference from SCALE-Sim's own explained.

SCALE-Sim 3.0.0, weight-stationary (`scalesim/compute/systolic_compute_ws.py`; compared with runs of it by
`bench/scalesim.py`): a *fold* is a block of R × C weights, R of the K inputs of a window times C of the N filters,
ceil(K / R) · ceil(N / C) of them, the last ones partly empty. A fold loads R rows of weights, is fed M rows of inputs,
one in a cycle, and is left by the last of them through R − 1 rows and C − 1 columns: 2R + C + M − 2 cycles, whole or
not. Folds follow each other without any overlap, and the total is the number of the last cycle, counted from 0.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from celosia.host.files import replacing
from celosia.hw.config import AcceleratorConfig
from celosia.sim.explore.count import count_cycles
from celosia.sim.explore.topology import Layer, Topology

COLUMNS: Final = (
    "LayerID",
    "Total Cycles (incl. prefetch)",
    "Total Cycles",
    "Stall Cycles",
    "Overall Util %",
    "Mapping Efficiency %",
    "Compute Util %",
)
"""Columns of SCALE-Sim 3.0.0 (`scalesim/simulator.py`), which come first."""

STALLS: Final = ("weights_load", "weights_wait", "output_wait", "hazard", "activations_wait", "results_wait")
"""Causes of cycles in which the array waits in the middle of a layer."""

_OUTSIDE: Final = ("fetch", "activations_wait", "results_wait", "drain")  # no fold is in the array yet, or any more

_WORDS: Final[Mapping[str, str]] = {
    "Skew Overlapped": "a fold enters the array while the one before leaves it",
    "Weight Loads": "the array waits {load} cycles for weights and not {rows}, as it computes while others are loaded",
    "Passes": "a tile takes channels of a pixel or of neighbours in a line, which makes {tiles} tiles of {folds} folds",
    "Window": "neighbours in a line are read before the first window of it and between windows",
    "Output Wait": "accumulators wait for the requantizer",
    "Hazard": "a sum is written before it is read again",
    "Stream Wait": "weights, inputs or results wait, a cycle for the end of the run included",
    "Drain": "the last results are also requantized and written",
    "Fetch": "the layer's descriptor is read",
    "Counted from 0": "SCALE-Sim gives the number of the last cycle, counted from 0",
}
PARTS: Final = tuple(_WORDS)
"""Columns that a difference is the sum of."""


@dataclass(frozen=True, kw_only=True)
class LayerCount:
    """What a layer takes on a systolic core.

    Parameters
    ----------
    causes : mapping of str to int
        Cycles by cause, from the start of a run of this layer alone to its end.
    tiles : int
        Blocks of weights of the size of the array or less, SCALE-Sim's folds; each counts once.
    """

    causes: Mapping[str, int]
    tiles: int

    @property
    def cycles(self) -> int:
        """All cycles."""
        return sum(self.causes.values())


def count(layer: Layer, config: AcceleratorConfig) -> LayerCount:
    """Count the cycles of a layer, exactly, on a core with memories that it fits.

    Inputs are in their memory and results stay in theirs. More weights than
    `celosia.host.fit.LARGEST_WEIGHTS` rows come from a stream that never waits.

    Parameters
    ----------
    layer : Layer
    config : AcceleratorConfig
        With a systolic engine; its memories are made deeper if need be.

    Raises
    ------
    CelosiaError
        The layer is too large for a network or a descriptor.
    """
    network = layer.network()
    counted = count_cycles(network, np.zeros((1, *network.input_shape), dtype=np.int8), config)
    fields = [step.fields for step in counted.program.steps]
    return LayerCount(causes=counted.causes, tiles=sum(each["k_tiles"] * each["n_tiles"] for each in fields))


def count_layers(topology: Topology, config: AcceleratorConfig) -> list[LayerCount]:
    """Count the cycles of every layer; of equal ones once. Errors as of `count`."""
    known: dict[Layer, LayerCount] = {}
    counts = []
    for layer in topology.layers:
        shape = replace(layer, name="")
        if shape not in known:
            known[shape] = count(layer, config)
        counts.append(known[shape])
    return counts


def scalesim_folds(layer: Layer, rows: int, cols: int) -> int:
    """Return SCALE-Sim's folds of a layer on an array of rows × cols PEs, weight-stationary."""
    _, K, N = layer.gemm
    return math.ceil(K / rows) * math.ceil(N / cols)


def scalesim_cycles(layer: Layer, rows: int, cols: int) -> int:
    """Return SCALE-Sim's "Total Cycles" of a layer on an array of rows × cols PEs, weight-stationary, without stalls.

    Source: SCALE-Sim 3.0.0, see the head of this file.
    """
    return scalesim_folds(layer, rows, cols) * (2 * rows + cols + layer.gemm[0] - 2) - 1


def difference_parts(layer: Layer, config: AcceleratorConfig, counted: LayerCount) -> dict[str, int]:
    """Return why a layer takes more (positive) or fewer cycles than SCALE-Sim says: cycles by `PARTS`.

    Their sum is ``counted.cycles − scalesim_cycles(…)``, because both are sums of them and of what they share.
    """
    engine: Any = config.engine
    folds, causes = scalesim_folds(layer, engine.rows, engine.cols), counted.causes
    return {
        "Skew Overlapped": -folds * (engine.rows + engine.cols - 2),
        "Weight Loads": causes["weights_load"] - folds * engine.rows,
        "Passes": causes["compute"] - folds * layer.gemm[0],
        "Window": causes["window"],
        "Output Wait": causes["output_wait"],
        "Hazard": causes["hazard"],
        "Stream Wait": causes["weights_wait"] + causes["activations_wait"] + causes["results_wait"],
        "Drain": causes["drain"],
        "Fetch": causes["fetch"],
        "Counted from 0": 1,
    }


def compute_report(topology: Topology, config: AcceleratorConfig, counts: Sequence[LayerCount]) -> list[dict[str, Any]]:
    """Return a row for each layer: values by column, those of `COLUMNS` first.

    Parameters
    ----------
    topology : Topology
    config : AcceleratorConfig
        With a systolic engine.
    counts : sequence of LayerCount
        Of the layers in order, such as from `count_layers`.

    Notes
    -----
    Of SCALE-Sim's columns, both totals are all cycles from start to end: nothing is prefetched before a run starts but
    what is in its memories. "Stall Cycles" are those of `STALLS`. "Overall Util %" is MACs / (PEs × cycles); "Mapping
    Efficiency %" the PEs that have a weight, on average over the tiles; "Compute Util %" MACs / (PEs × cycles from the
    first tile's load to the end of the last one), where SCALE-Sim takes the average over its folds, each of them
    C − 1 cycles longer than in its total.
    """
    engine: Any = config.engine
    rows = []
    for index, (layer, counted) in enumerate(zip(topology.layers, counts, strict=True)):
        M, K, N = layer.gemm
        cycles, pes = counted.cycles, engine.pe_count
        inside = cycles - sum(counted.causes[cause] for cause in _OUTSIDE)
        theirs, parts = scalesim_cycles(layer, engine.rows, engine.cols), difference_parts(layer, config, counted)
        values = (
            index,
            cycles,
            cycles,
            sum(counted.causes[cause] for cause in STALLS),
            100 * layer.macs / (pes * cycles),
            100 * K * N / (pes * counted.tiles),
            100 * layer.macs / (pes * inside),
        )
        folds = scalesim_folds(layer, engine.rows, engine.cols)
        rows.append(
            {
                **dict(zip(COLUMNS, values, strict=True)),
                "Layer": layer.name,
                "M": M,
                "K": K,
                "N": N,
                "Tiles": counted.tiles,
                "SCALE-Sim Folds (ws)": folds,
                "SCALE-Sim Cycles (ws)": theirs,
                "Difference": cycles - theirs,
                **parts,
                "Explanation": _explain(
                    parts,
                    tiles=counted.tiles,
                    folds=folds,
                    rows=folds * engine.rows,
                    load=counted.causes["weights_load"],
                ),
            }
        )
    return rows


def _explain(parts: Mapping[str, int], **numbers: int) -> str:
    """Say in words what makes the difference: parts of 5 % of all or more. No commas, which separate columns."""
    difference, whole = sum(parts.values()), sum(map(abs, parts.values()))
    total = (
        f"{abs(difference)} cycles {'more' if difference > 0 else 'fewer'} than SCALE-Sim" if difference else "equal"
    )
    told = [
        f"{_WORDS[name].format(**numbers).replace(',', '')} ({cycles:+d})"
        for name, cycles in sorted(parts.items(), key=lambda part: -abs(part[1]))
        if abs(cycles) >= whole / 20
    ]
    return f"{total}: {'; '.join(told)}"


def write_compute_report(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a report as SCALE-Sim writes it: cells behind a comma and a blank, a comma at the end of each line.

    Parameters
    ----------
    path : path
        The file, whose folder must exist; it appears whole or not at all.
    rows : sequence of mapping
        From `compute_report`; at least one.
    """
    lines = [", ".join(rows[0]) + ",\n", *(", ".join(map(str, row.values())) + ",\n" for row in rows)]
    with replacing(path) as file:
        file.write("".join(lines).encode())
