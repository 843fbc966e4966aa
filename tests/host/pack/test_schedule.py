import numpy as np
import pytest

from celosia.host.pack.schedule import Schedule, schedule


def random_entries(rng: np.random.Generator, K: int, N_out: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Entries whose rows and columns differ in density, sorted by column, then row."""
    likely = density * rng.uniform(0.5, 1.5, (K, 1)) * rng.uniform(0.3, 1.7, N_out)
    cols, rows = np.nonzero(rng.random((K, N_out)) < likely)
    return rows, cols


def loads(plan: Schedule, cols: np.ndarray, K: int) -> np.ndarray:
    """Entries of each column and PE: (K, pes)."""
    return np.bincount(cols * plan.pes + plan.entry_pe, minlength=K * plan.pes).reshape(K, plan.pes)


def check(plan: Schedule, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], message: str) -> None:
    K, N_out = shape
    groups = plan.pes // plan.group
    assert plan.row_group.dtype == plan.row_slot.dtype == np.int32, message
    assert plan.row_group.shape == plan.row_slot.shape == (N_out,), message
    assert plan.entry_pe.shape == rows.shape, message
    # every entry is in the group of its row
    assert np.array_equal(plan.entry_pe // plan.group, plan.row_group[rows]), message
    # slots of a group: 0, 1, 2, … in the order of the rows, and no more of them than there must be
    for group in range(groups):
        slots = plan.row_slot[plan.row_group == group]
        assert np.array_equal(slots, np.arange(slots.size)), message
    assert plan.rows == np.bincount(plan.row_group, minlength=1).max(initial=0) <= -(-N_out // groups), message
    # the PEs of a group are even in each column, and in all columns so far
    by_group = loads(plan, cols, K).reshape(K, groups, plan.group)
    assert np.ptp(by_group, axis=2).max(initial=0) <= 1, message
    assert np.ptp(by_group.cumsum(axis=0), axis=2).max(initial=0) <= 1, message


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize(("pes", "group"), [(1, 1), (4, 1), (4, 4), (6, 2), (16, 4), (64, 1), (64, 8)])
@pytest.mark.parametrize("shape", [(50, 70), (37, 64), (9, 5), (1, 1), (600, 1)])
def test_entries_and_rows(shape, pes, group, balance):
    seed = 3
    rows, cols = random_entries(np.random.default_rng(seed), *shape, 0.3)
    plan = schedule(rows, cols, shape, pes=pes, group=group, balance=balance)
    assert (plan.pes, plan.group) == (pes, group)
    check(plan, rows, cols, shape, f"seed {seed}")


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64])
def test_integer_types(kind):
    rows, cols = random_entries(np.random.default_rng(1), 300, 90, 0.2)
    expected = schedule(rows, cols, (300, 90), pes=16, group=2)
    plan = schedule(rows.astype(kind), cols.astype(kind), (300, 90), pes=16, group=2)
    assert np.array_equal(plan.entry_pe, expected.entry_pe)
    assert np.array_equal(plan.row_group, expected.row_group)


def test_as_in_eie():
    rows, cols = random_entries(np.random.default_rng(2), 40, 45, 0.4)
    plan = schedule(rows, cols, (40, 45), pes=8, group=1, balance=False)
    assert np.array_equal(plan.row_group, np.arange(45) % 8)
    assert np.array_equal(plan.row_slot, np.arange(45) // 8)
    assert np.array_equal(plan.entry_pe, rows % 8)
    assert plan.rows == 6


@pytest.mark.parametrize("balance", [True, False])
def test_without_entries(balance):
    none = np.zeros(0, dtype=int)
    plan = schedule(none, none, (20, 30), pes=8, group=2, balance=balance)
    check(plan, none, none, (20, 30), "no entries")
    assert plan.rows == 8


@pytest.mark.parametrize("balance", [True, False])
def test_one_group_has_all_entries(balance):
    """A single dense row: only its group works, each of its PEs on every fourth entry."""
    rows, cols = np.full(100, 7), np.arange(100)
    plan = schedule(rows, cols, (100, 12), pes=16, group=4, balance=balance)
    check(plan, rows, cols, (100, 12), "one row")
    assert sorted(loads(plan, cols, 100).sum(axis=0)) == [0] * 12 + [25] * 4


def test_entries_of_a_column_are_in_runs():
    """The PEs of a group take the slots of a column from the first on, in the order of the PEs."""
    rows, cols = random_entries(np.random.default_rng(4), 60, 64, 0.5)
    plan = schedule(rows, cols, (60, 64), pes=8, group=4)
    for column in range(60):
        for group in range(2):
            here = (cols == column) & (plan.row_group[rows] == group)
            assert np.all(np.diff(plan.row_slot[rows[here]]) > 0)
            assert np.all(np.diff(plan.entry_pe[here]) >= 0)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_groups_are_even(group):
    """Balanced, the fullest PE has hardly more than its share: in the layer, and in half of its columns at random."""
    seed = 5
    rng = np.random.default_rng(seed)
    K, N_out, pes = 1024, 512, 32
    rows, cols = random_entries(rng, K, N_out, 0.2)
    half = rng.random(K) < 0.5
    excess = {}
    for balance in (True, False):
        plan = schedule(rows, cols, (K, N_out), pes=pes, group=group, balance=balance)
        per_column = loads(plan, cols, K)
        excess[balance] = [
            some.sum(axis=0).max() / some.sum() * pes - 1 for some in (per_column, per_column[half], per_column[:64])
        ]
    whole, any_half, _ = excess[True]
    assert whole < 0.006, f"seed {seed}: {excess}"
    assert any_half < 0.04 / group**0.5, f"seed {seed}: {excess}"
    assert all(balanced < plain / 2 for balanced, plain in zip(*excess.values(), strict=True)), f"seed {seed}: {excess}"


def test_same_schedule_every_time():
    rows, cols = random_entries(np.random.default_rng(6), 200, 100, 0.2)
    plans = [schedule(rows, cols, (200, 100), pes=16, group=2) for _ in range(2)]
    assert np.array_equal(plans[0].row_group, plans[1].row_group)
    assert np.array_equal(plans[0].entry_pe, plans[1].entry_pe)
