"""Schedules a sparse layer: which processing elements work on which rows, and which of them on which entry.

A layer takes as long as its slowest PE, and PEs wait for each other whenever one falls a queue behind. Therefore the
groups should have equally many entries not only in the whole layer but also in every block of columns, and in every
column: which ones will be active is not known. Rows are dealt to groups in rounds, each group one row per round and the
longest rows first, so that the sum of the squares of all these loads grows least. Later rounds take one row of every
group away and deal them again. Within a group, the entries of a column are divided evenly.

Against rows that are only dealt by their length, longest first, that saves 45 % of what imbalance costs with groups of
one PE, and 25 % with groups of eight (the layers of bench/eie_layers.py, queues of 16 columns).
"""

from dataclasses import dataclass

import numpy as np

BLOCKS = ((1, 5), (8, 1), (64, 1), (512, 1), (1 << 30, 1))
"""Columns of the blocks whose loads are balanced, and what the square of such a load weighs; the last is the layer."""

ROUNDS = 2  # times that all rows are dealt again


@dataclass(frozen=True, eq=False, kw_only=True)
class Schedule:
    """Where the rows and the entries of a layer are.

    Parameters
    ----------
    pes : int
        Processing elements.
    group : int
        PEs that share the same rows. Group i has the PEs from `i · group` on.
    row_group : ndarray of int32, (N_out,)
        Group of each row.
    row_slot : ndarray of int32, (N_out,)
        Place of each row in its group, 0, 1, 2, … in the order of the rows.
    entry_pe : ndarray of int32, (nnz,)
        PE of each entry, 0 to `pes` - 1, in the order in which they were given.
    """

    pes: int
    group: int
    row_group: np.ndarray
    row_slot: np.ndarray
    entry_pe: np.ndarray

    @property
    def rows(self) -> int:
        """Rows of the group that has most."""
        return int(self.row_slot.max(initial=-1)) + 1


def schedule(
    rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], *, pes: int, group: int, balance: bool = True
) -> Schedule:
    """Schedule the entries of a sparse layer.

    Parameters
    ----------
    rows, cols : ndarray of int, (nnz,)
        Output and input of each entry, sorted by column, then row.
    shape : (int, int)
        Inputs K and outputs N_out of the layer.
    pes : int
        Processing elements.
    group : int
        PEs that share the same rows, a divisor of `pes`.
    balance : bool
        Whether rows go to the groups by their entries. False: row i to group i mod (pes / group), as in EIE.

    Returns
    -------
    Schedule
        No group has more than ceil(N_out / groups) rows. The PEs of a group differ by one entry at most in every
        column, and in all columns from the first to any other.
    """
    groups = pes // group
    N_out = shape[1]
    row_group = _balance(rows, cols, shape, groups) if balance else np.arange(N_out) % groups
    order = np.argsort(row_group, kind="stable")
    sizes = np.bincount(row_group, minlength=groups)
    row_slot = np.empty(N_out, dtype=np.int32)
    row_slot[order] = np.arange(N_out) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Schedule(
        pes=pes,
        group=group,
        row_group=row_group.astype(np.int32),
        row_slot=row_slot,
        entry_pe=_divide(row_group[rows], cols, shape[0], groups, group),
    )


def _divide(entry_group: np.ndarray, cols: np.ndarray, K: int, groups: int, group: int) -> np.ndarray:
    """Divide the entries of each group and column over its PEs, in runs, the first ones to the first PE.

    PEs get one entry more than others in turn, from column to column.
    """
    counts = np.bincount(entry_group.astype(np.int64) * K + cols, minlength=groups * K).reshape(groups, K, 1)
    rest = counts % group
    turn = np.cumsum(rest, axis=1) - rest
    pe = np.arange(group)
    sizes = counts // group + ((pe - turn) % group < rest)
    by_group = np.argsort(entry_group.astype(np.uint16), kind="stable")  # which numpy sorts in linear time
    entry_pe = np.empty(cols.size, dtype=np.int32)
    of_cell = np.broadcast_to(np.arange(groups)[:, None, None] * group + pe, sizes.shape)
    entry_pe[by_group] = np.repeat(of_cell.ravel(), sizes.ravel())
    return entry_pe


def _balance(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], groups: int) -> np.ndarray:
    """Return a group for each row: int64, (N_out,)."""
    K, N_out = shape
    slots = -(-N_out // groups)
    lengths = np.zeros(slots * groups, dtype=np.int64)  # with rows of no entries, so that all groups have as many
    lengths[:N_out] = np.bincount(rows, minlength=N_out)
    by_row = cols[np.argsort(rows.astype(np.uint16) if N_out <= 1 << 16 else rows, kind="stable")].astype(np.int64)
    begin = np.cumsum(lengths) - lengths
    sizes = [(columns, -(-K // columns)) for columns, _ in BLOCKS]
    weights = np.repeat([float(weight) for _, weight in BLOCKS], [blocks for _, blocks in sizes])
    total = np.zeros((groups, weights.size))  # entries of each group in each block: integers, so that sums are exact
    place = np.full(slots * groups, -1)

    def block_loads(dealt: np.ndarray) -> np.ndarray:
        """Return the entries of rows in blocks of every size: int64, (rows dealt, blocks)."""
        size = lengths[dealt]
        lane = np.repeat(np.arange(groups), size)
        column = by_row[np.arange(size.sum()) + np.repeat(begin[dealt] - (np.cumsum(size) - size), size)]
        loads = [
            np.bincount(lane * blocks + column // columns, minlength=groups * blocks).reshape(groups, blocks)
            for columns, blocks in sizes
        ]
        return np.concatenate(loads, axis=1)

    def deal(dealt: np.ndarray, to: np.ndarray, loads: np.ndarray) -> None:
        # The sum of squares grows by twice the product of loads, and by squares that are the same in every group.
        to = _exchange((loads * weights) @ total.T, to)
        total[to] += loads
        place[dealt] = to

    longest_first = np.argsort(-lengths, kind="stable").reshape(slots, groups)
    for dealt in longest_first:
        deal(dealt, np.argsort(total[:, -1], kind="stable"), block_loads(dealt))
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        members = rng.permuted(np.argsort(place, kind="stable").reshape(groups, slots), axis=1)
        for dealt in members.T:
            loads = block_loads(dealt)
            total -= loads
            deal(dealt, np.arange(groups), loads)
    return place[:N_out]


def _exchange(costs: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Let rows change places, two by two, as long as that lowers the sum of their costs.

    Parameters
    ----------
    costs : ndarray of float64, (rows, groups)
        What a row costs in a group, an integer; as many rows as groups.
    to : ndarray of int, (rows,)
        A group for each row, each group once.

    Returns
    -------
    ndarray of int, (rows,)
        The same for the rows after the exchange.
    """
    lane = np.arange(to.size)
    while True:
        cost = costs[:, to]
        now = cost.diagonal()
        gain = cost + cost.T - now - now[:, None]
        best = gain.argmin(axis=1)
        agreed = (best[best] == lane) & (gain[lane, best] < 0)
        if not agreed.any():
            return to
        to = np.where(agreed, to[best], to)
