import numpy as np
import pytest

from celosia.host.pack.entries import Entries, make_entries

WIDTHS = [0, 2, 4, 6]


def entries_of(matrices: np.ndarray, relative_width: int, rng: np.random.Generator | None = None) -> Entries:
    """Entries of codes (PEs, columns, rows), given in the order of the array, or in a random one."""
    owners, columns, slots = np.nonzero(matrices)
    order = np.arange(len(owners)) if rng is None else rng.permutation(len(owners))
    return make_entries(
        columns[order],
        slots[order],
        owners[order],
        matrices[owners, columns, slots][order],
        column_count=matrices.shape[1],
        pes=len(matrices),
        relative_width=relative_width,
    )


def matrices_of(entries: Entries, shape: tuple[int, int, int]) -> np.ndarray:
    """What a PE makes of entries: column by column, in its own words."""
    matrices = np.zeros(shape, dtype=np.int64)
    for pe in range(shape[0]):
        for column in range(shape[1]):
            row = -1
            for place in range(entries.pointers[column, pe], entries.pointers[column + 1, pe]):
                code, index = entries.codes[place, pe], entries.indices[place, pe]
                if entries.relative_width:
                    row += 1 + index
                    if code == 0:
                        continue
                else:
                    row = index
                assert matrices[pe, column, row] == 0
                matrices[pe, column, row] = code
    return matrices


def column(*zeros: int) -> np.ndarray:
    """A column of one PE: before each entry, 1, 2, …, that many zeros."""
    rows = np.cumsum(np.array(zeros) + 1) - 1
    codes = np.zeros(rows[-1] + 1, dtype=np.int64)
    codes[rows] = np.arange(1, len(rows) + 1)
    return codes[None, None]


def test_the_published_example():
    """Han et al., ISCA 2016, section III: [0, 0, 1, 2, 0 × 18, 3] with 4-bit indices."""
    entries = entries_of(np.array([0, 0, 1, 2, *[0] * 18, 3])[None, None], 4)
    assert entries.codes[:, 0].tolist() == [1, 2, 0, 3]
    assert entries.indices[:, 0].tolist() == [2, 0, 15, 2]
    assert entries.pads[:, 0].tolist() == [False, False, True, False]
    assert entries.rows[:, 0].tolist() == [2, 3, 19, 22]
    assert entries.pointers.tolist() == [[0], [4]]
    absolute = entries_of(np.array([0, 0, 1, 2, *[0] * 18, 3])[None, None], 0)
    assert (absolute.codes[:, 0].tolist(), absolute.indices[:, 0].tolist()) == ([1, 2, 3], [2, 3, 22])


@pytest.mark.parametrize(
    ("zeros", "width", "codes", "indices"),
    [
        ([15], 4, [1], [15]),
        ([16], 4, [0, 1], [15, 0]),
        ([17], 4, [0, 1], [15, 1]),
        ([31], 4, [0, 1], [15, 15]),
        ([32], 4, [0, 0, 1], [15, 15, 0]),
        ([16, 0, 16], 4, [0, 1, 2, 0, 3], [15, 0, 0, 15, 0]),
        ([3], 2, [1], [3]),
        ([4], 2, [0, 1], [3, 0]),
        ([12], 2, [0, 0, 0, 1], [3, 3, 3, 0]),
        ([0, 63], 6, [1, 2], [0, 63]),
        ([0, 64], 6, [1, 0, 2], [0, 63, 0]),
        ([16], 0, [1], [16]),
    ],
)
def test_runs_of_zeros(zeros, width, codes, indices):
    given = column(*zeros)
    entries = entries_of(given, width)
    assert (entries.codes[:, 0].tolist(), entries.indices[:, 0].tolist()) == (codes, indices)
    assert (entries.depth, entries.count) == (len(codes), len(codes))
    assert np.array_equal(matrices_of(entries, given.shape), given)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 40), (3, 20, 7), (5, 1, 200), (8, 60, 64)])
@pytest.mark.parametrize("density", [0.02, 0.3, 1])
def test_round_trip(shape, density, width):
    seed = 7
    rng = np.random.default_rng(seed)
    given = rng.integers(-9, 10, shape) * (rng.random(shape) < density)
    given[:, rng.random(shape[1]) < 0.2] = 0  # columns that are empty everywhere
    given[rng.integers(shape[0])] *= rng.random((shape[1], 1)) < 0.7  # and in one PE
    entries = entries_of(given, width, rng)
    assert np.array_equal(matrices_of(entries, shape), given), f"seed {seed}"
    check_parts(entries, given, f"seed {seed}")


def check_parts(entries: Entries, given: np.ndarray, message: str) -> None:
    """Properties that follow from the matrices: rows, pads, counts, and zeros behind a PE's last entry."""
    pes = len(given)
    sizes = entries.pointers[-1]
    assert entries.pads.sum() + np.count_nonzero(given) == entries.count == sizes.sum(), message
    assert entries.depth == sizes.max(), message
    assert entries.codes.shape == entries.indices.shape == entries.rows.shape == (entries.depth, pes), message
    for pe in range(pes):
        real = ~entries.pads[: sizes[pe], pe]
        columns, rows = np.nonzero(given[pe])
        assert entries.rows[: sizes[pe], pe][real].tolist() == rows.tolist(), message
        assert entries.codes[: sizes[pe], pe][real].tolist() == given[pe][columns, rows].tolist(), message
        behind = slice(sizes[pe], None)
        for part in (entries.codes, entries.indices, entries.rows, entries.pads):
            assert not part[behind, pe].any(), message
    assert not entries.pads.any() or entries.indices[entries.pads].min() == (1 << entries.relative_width) - 1, message


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_at_all(width):
    entries = entries_of(np.zeros((3, 5, 9), dtype=int), width)
    assert (entries.depth, entries.count) == (0, 0)
    assert np.array_equal(entries.pointers, np.zeros((6, 3)))
    assert entries.rows.shape == entries.pads.shape == (0, 3)
    part = entries.between(1, 4)
    assert (part.depth, part.count, part.pointers.shape) == (0, 0, (4, 3))


@pytest.mark.parametrize("width", WIDTHS)
def test_one_pe_has_all(width):
    given = np.zeros((4, 6, 33), dtype=int)
    given[2] = np.arange(6 * 33).reshape(6, 33) % 5
    entries = entries_of(given, width)
    assert np.array_equal(matrices_of(entries, given.shape), given)
    assert np.array_equal(entries.pointers[-1] > 0, [False, False, True, False])


@pytest.mark.parametrize("width", WIDTHS)
def test_between(width):
    """Any range of columns is what entries of these columns alone are."""
    seed = 8
    rng = np.random.default_rng(seed)
    shape = (3, 12, 40)
    given = rng.integers(0, 5, shape) * (rng.random(shape) < 0.1)
    given[1, 3:9] = 0
    entries = entries_of(given, width)
    for first in range(13):
        for last in range(first, 13):
            part, alone = entries.between(first, last), entries_of(given[:, first:last], width)
            for name in ("codes", "indices", "pointers", "rows", "pads"):
                assert np.array_equal(getattr(part, name), getattr(alone, name)), f"seed {seed} {first} {last} {name}"
            assert part.relative_width == width


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32])
def test_integer_types(kind):
    given = ([1, 0, 1], [2, 40, 0], [0, 0, 0], [3, 200, 5])
    entries = make_entries(*(np.array(values, kind) for values in given), column_count=2, pes=1, relative_width=4)
    assert entries.codes[:, 0].tolist() == [0, 0, 200, 5, 3]
    assert entries.indices[:, 0].tolist() == [15, 15, 8, 0, 1]
    assert entries.codes.dtype == entries.indices.dtype == entries.pointers.dtype == np.int64
