"""Cycles of EIE, as its authors' simulator counts them, and of Celosia's sparse engine, from events instead of RTL.

    python bench/eie_model.py [--seed 1] [--group 8] [--queue 16] [--table 4]

How the authors' simulator (github.com/RalphMao/EIE-simulator) counts was settled on its published cycles of the real
FC8, for rings of 2, 3, 4, 8 and 16: 10,194, 8,827, 8,386, 7,926 and 7,794. A ring of S holds S − 1 columns; a column
leaves it when its PE begins it, not when it ends; the place that becomes free is seen one cycle later; a column without
entries costs the PE one cycle. On the thirteen of 24 FC8-like layers whose fullest PE is within 1 % of the real one's,
this model is on average off by +0.4, +0.4, +0.2, −0.1 and +0.4 %. Columns that leave at their end would be off by
+79 % at ring 2, a place seen at once by −4 %, one more register between ring and PE by −12 %. Over the nine layers, it
is 1.03 times as fast as published, at 76 % of the ideal.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from eie_layers import LAYERS, PES, SparseLayer, draw_fc8, draw_layer
from rich.console import Console
from rich.table import Table

from celosia.host.pack.schedule import Schedule, schedule

OVERHEAD = 35  # cycles of start and flush of a layer
FC8_CYCLES = 7_926  # of the real FC8 in the simulator of EIE's authors


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Where the cycles of a layer go.

    Parameters
    ----------
    compute : int
        From the first broadcast until the last entry is done.
    drain : int
        Merging and writing the results.
    ideal : float
        Non-zeros in active columns / PEs.
    """

    compute: int
    drain: int
    ideal: float

    @property
    def total(self) -> int:
        return self.compute + self.drain + OVERHEAD

    @property
    def of_ideal(self) -> float:
        return self.ideal / self.total


def queue_cycles(counts: np.ndarray, *, depth: int, enter_always: bool = False) -> int:
    """Run columns through the queues of the PEs.

    One column per cycle is broadcast, while no queue is full as the cycle begins. A PE takes the column at the head of
    its queue, in the cycle after the broadcast or later, as it does the last entry of the column before.

    Parameters
    ----------
    counts : ndarray of int, (columns, pes)
        Entries of each PE in each active column.
    depth : int
        Columns at which a queue is full.
    enter_always : bool
        Whether columns without entries enter the queue, too; such a one costs the PE a cycle.

    Returns
    -------
    int
        Cycles until the last entry is done.
    """
    pes = counts.shape[1]
    lane = np.arange(pes)
    enters = np.ones_like(counts, dtype=bool) if enter_always else counts > 0
    work = np.maximum(counts, 1) if enter_always else counts
    taken = np.full((pes, depth), -1)  # cycle in which each of the last `depth` columns of a PE was taken
    entered = np.zeros(pes, dtype=np.int64)  # of these, the oldest one
    busy = np.full(pes, -1)  # cycle of the last entry of what has entered
    broadcast = -1
    for enter, entries in zip(enters, work, strict=True):
        broadcast = max(broadcast, int(taken[lane, entered].max())) + 1
        take = np.maximum(broadcast + 1, busy)
        taken[lane[enter], entered[enter]] = take[enter]
        busy = np.where(enter, take + entries, busy)
        entered += enter
        entered[entered == depth] = 0
    return int(busy.max()) + 1


def eie_counts(layer: SparseLayer, *, pes: int = PES, index_width: int = 4) -> np.ndarray:
    """Return EIE's entries per active column, then per bias, and PE: int64, (active columns + 1, pes).

    Row i is in PE i mod `pes`. An entry counts the zeros before it in the rows of its PE; where `index_width` bits are
    too few, entries of padding come before it.
    """
    slot, pe = np.divmod(layer.rows.astype(np.int64), pes)
    key = layer.cols.astype(np.int64) * pes + pe
    order = np.argsort(key, kind="stable")
    key, slot = key[order], slot[order]
    first = np.diff(key, prepend=-1) != 0
    zeros = np.where(first, slot, np.diff(slot, prepend=0) - 1)
    entries = 1 + (zeros >> index_width)
    counts = np.bincount(key, weights=entries, minlength=layer.inputs * pes).astype(np.int64).reshape(-1, pes)
    bias = np.bincount(np.arange(layer.outputs) % pes, minlength=pes)
    return np.vstack([counts[layer.active], bias])


def eie_cycles(layer: SparseLayer, *, ring: int = 8, pes: int = PES) -> Cycles:
    """Return EIE's cycles, as the authors' simulator counts them: no drain, no overhead are in them."""
    compute = queue_cycles(eie_counts(layer, pes=pes), depth=ring - 1, enter_always=True)
    return Cycles(compute=compute, drain=-OVERHEAD, ideal=layer.active_entries / pes)


def celosia_cycles(layer: SparseLayer, plan: Schedule, *, queue: int = 16, enter_always: bool = False) -> Cycles:
    """Return the cycles of Celosia's sparse engine with the entries where the schedule has them."""
    key = layer.cols.astype(np.int64) * plan.pes + plan.entry_pe
    counts = np.bincount(key, minlength=layer.inputs * plan.pes).reshape(-1, plan.pes)[layer.active]
    compute = queue_cycles(counts, depth=queue, enter_always=enter_always)
    return Cycles(compute=compute, drain=-(-plan.rows // plan.group), ideal=layer.active_entries / plan.pes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--queue", type=int, default=16)
    parser.add_argument("--table", type=int, default=4, choices=(3, 4), help="whose activation shares")
    options = parser.parse_args()
    table = Table(title=f"{PES} PEs in groups of {options.group}, queues of {options.queue} columns")
    for column in ("layer", "ideal", "published", "EIE, modelled", "of ideal", "Celosia", "of ideal", "speed-up"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    gains: list[tuple[float, float, float, float]] = []
    for name in [*LAYERS, "FC8-like"]:
        layer = draw_layer(name, seed=options.seed, table=options.table) if name in LAYERS else draw_fc8()
        published = layer.published.actual_cycles if layer.published else FC8_CYCLES
        plan = schedule(layer.rows, layer.cols, layer.shape, pes=PES, group=options.group)
        eie, celosia = eie_cycles(layer), celosia_cycles(layer, plan, queue=options.queue)
        if name in LAYERS:
            gains.append((published / eie.total, eie.of_ideal, published / celosia.total, celosia.of_ideal))
        table.add_row(
            name,
            f"{celosia.ideal:,.1f}",
            f"{published:,.0f}",
            f"{eie.total:,}",
            f"{eie.of_ideal:.1%}",
            f"{celosia.total:,}",
            f"{celosia.of_ideal:.1%}",
            f"{published / celosia.total:.3f}",
        )
    eie_gain, eie_share, gain, share = np.array(gains).T
    table.add_section()
    table.add_row(
        "nine layers",
        "",
        "",
        f"{np.exp(np.log(eie_gain).mean()):.3f} ×",
        f"{eie_share.mean():.1%}",
        "",
        f"{share.mean():.1%}",
        f"{np.exp(np.log(gain).mean()):.3f} ×",
    )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
