"""Columns, entries and activations that such engines get wrong."""

import numpy as np
import pytest

from celosia.host.pack.sparse_layers import EIE, SparseOptions

IN_ORDER = SparseOptions(group=1, balance=False)  # row i in PE i mod PEs
RELATIVE = SparseOptions(group=1, balance=False, relative_width=4)
KEPT = SparseOptions(group=1, balance=False, relative_width=4, keep_empty=True)
WAYS = pytest.mark.parametrize("options", [IN_ORDER, RELATIVE, KEPT, EIE], ids=["rows", "zeros", "kept", "EIE"])
HIGH, LOW = (1 << 15) - 1, -(1 << 15)


def entries(outcome, pe=0):
    """Codes and indices of a PE."""
    (tile,) = outcome.program.layers[0].arranged.tiles
    count = tile.entries.pointers[-1, pe]
    return tile.entries.codes[:count, pe].tolist(), tile.entries.indices[:count, pe].tolist()


@pytest.mark.parametrize("options", [RELATIVE, EIE], ids=["zeros", "EIE"])
def test_the_published_example(bench, make, options):
    column = [0, 0, 1, 2, *[0] * 18, 3]
    outcome = bench.check(make.layer(make.on_one_pe([column])), [[5]], options)
    assert entries(outcome) == ([1, 2, 0, 3], [2, 0, 15, 2])
    assert outcome.outputs[0, ::3].tolist() == [0, 0, 5, 10, *[0] * 18, 15]
    assert not outcome.outputs[0, 1::3].any()


@pytest.mark.parametrize(
    ("zeros", "expected"),
    [
        (14, ([1], [14])),
        (15, ([1], [15])),
        (16, ([0, 1], [15, 0])),
        (17, ([0, 1], [15, 1])),
        (31, ([0, 1], [15, 15])),
        (32, ([0, 0, 1], [15, 15, 0])),
        (33, ([0, 0, 1], [15, 15, 1])),
    ],
)
@pytest.mark.parametrize("before", [0, 1], ids=["first", "after a hit"])
def test_runs_of_zeros(bench, make, zeros, expected, before):
    """Padding may be a column's first entry, and may follow another one."""
    columns = np.zeros((3, 63), dtype=int)
    columns[1, [*[0] * before, before + zeros]] = 7  # the columns around it are empty, or have one entry
    columns[2, 62] = 7
    outcome = bench.check(make.layer(make.on_one_pe(columns)), [[1, 100, 1], [1, -100, 0]], RELATIVE)
    codes, indices = entries(outcome)
    assert (codes[before : before + len(expected[0])], indices[before : before + len(expected[1])]) == expected
    assert codes[: before + len(expected[0])].count(1) == before + 1
    assert outcome.outputs[:, 3 * (before + zeros)].tolist() == [700 + 7 * (before + zeros == 62), -700]


@pytest.mark.parametrize("options", [RELATIVE, KEPT], ids=["skipped", "kept"])
def test_padding_writes_nothing_where_code_0_is_not_zero(bench, make, options):
    """Padding beside hits in its row, of columns before and behind, in all distances that the adder forwards over."""
    rng = np.random.default_rng(1)
    columns = np.zeros((40, 64), dtype=int)
    for column in columns:  # entries at 15, 31, 47 or none, so that padding falls on rows that are being added to
        places = np.flatnonzero(rng.random(4) < 0.5) * 16 + 15
        column[places] = rng.integers(1, 9, len(places))
    network = make.layer(make.on_one_pe(columns))
    codebook = np.array([12345, *network.codebook[1:], *[777] * (16 - len(network.codebook))], np.uint32)
    x = rng.integers(1, 50, (4, 40))
    outcome = bench.check(network, x, options, memories={"codebooks": codebook[:, None]})
    (tile,) = outcome.program.layers[0].arranged.tiles
    assert tile.entries.pads.sum() > 20


@WAYS
@pytest.mark.parametrize("where", ["one PE", "all PEs", "all but the last", "every other", "everywhere"])
def test_empty_columns(bench, make, where, options):
    rng = np.random.default_rng(2)
    K, pes = 60, 3
    weights = rng.integers(1, 10, (K, 30)) * (rng.random((K, 30)) < 0.3)
    match where:
        case "one PE":
            weights[:, 1::pes] = 0
        case "all PEs":
            weights[20:50] = 0
        case "all but the last":
            weights[:-1] = 0
        case "every other":
            weights[::2] = 0
        case "everywhere":
            weights[:] = 0
    outcome = bench.check(make.layer(weights, bias=np.arange(30)), rng.integers(-99, 99, (3, K)), options)
    if options.keep_empty:
        assert outcome.causes["empty_column"] > (20 if where != "one PE" else 5)
    else:
        assert outcome.causes["empty_column"] == 0


@WAYS
@pytest.mark.parametrize("row", [0, 1, 2, 95, 189, 191], ids="row {}".format)
def test_one_row_of_all_that_there_are(bench, make, row, options):
    """The first and the last one of a PE, and of all."""
    weights = np.zeros((9, 192), dtype=int)
    weights[:, row] = np.arange(1, 10)
    x = np.arange(-9, 9).reshape(2, 9)
    outcome = bench.check(make.layer(weights, bias=1), x, options)
    expected = np.ones((2, 192), dtype=int)
    expected[:, row] += [sum((k + 1) * value for k, value in enumerate(vector)) for vector in x.tolist()]
    assert np.array_equal(outcome.outputs, expected)


@WAYS
def test_all_inputs_are_zero(bench, make, options):
    """The run ends, and gives the bias."""
    rng = np.random.default_rng(3)
    bias = rng.integers(-500, 500, 20)
    outcome = bench.check(make.layer(rng.integers(1, 10, (50, 20)), bias=bias), np.zeros((4, 50), int), options)
    assert np.array_equal(outcome.outputs, np.broadcast_to(bias, (4, 20)))
    assert outcome.causes["compute"] == outcome.causes["queue_full"] == 0


@WAYS
def test_each_input_alone(bench, make, options):
    """Every lane and every word, the last input among them: K is no multiple of the lanes."""
    weights = np.random.default_rng(4).integers(-7, 8, (40, 10))
    outcome = bench.check(make.layer(weights), -3 * np.eye(40, dtype=int), options)
    assert np.array_equal(outcome.outputs, -3 * weights)


@pytest.mark.parametrize("idle", [1, 2, 7, 8, 9, 20])
@pytest.mark.parametrize("words", [1, 2, 5])
def test_idle_words(bench, make, idle, words):
    """Words without an active input, fewer and more than are read ahead, between some that are full."""
    active = np.tile(np.repeat([True, False], [3 * words, 3 * idle]), 4)
    x = np.where(active, np.arange(len(active)) - 17, 0)
    weights = np.random.default_rng(5).integers(-7, 8, (len(active), 10)) // 4
    bench.check(make.layer(weights), [x, x[::-1], np.zeros_like(x)], IN_ORDER)


def test_negative_and_extreme_activations(bench, make):
    x = np.array([[LOW, HIGH, -1, 1, 0], [LOW] * 5, [-1] * 5, [HIGH] * 5, [0, 0, LOW, 0, -1]])
    weights = np.random.default_rng(6).choice([LOW, HIGH, -1, 1, 0], (5, 20))
    outcome = bench.check(make.layer(weights, shift=15), x, IN_ORDER)
    assert outcome.outputs.min() < LOW // 2
    assert outcome.outputs.max() > HIGH // 2


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_one_pe_has_all_entries(bench, make, length, limit):
    """Its queue is full all the time, taken from and given to by turns, and the others starve."""
    options = SparseOptions(group=1, balance=False, queue_limit=limit)
    by_slot = np.ones((40, length), dtype=int)
    outcome = bench.check(make.layer(make.on_one_pe(by_slot, pe=1)), np.arange(1, 41), options)
    assert outcome.causes["compute"] == 0
    if length > 1 or limit == 1:
        assert outcome.causes["queue_full"] > (36 - 2 * limit) * max(length - 1, 1)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("pe", [0, 3])
def test_a_queue_of_one(bench, make, length, pe):
    by_slot = np.ones((12, length), dtype=int)
    layer = make.layer(make.on_one_pe(by_slot, make.narrow, pe))
    outcome = bench.check(layer, np.arange(1, 13), IN_ORDER, config=make.narrow)
    assert outcome.causes["queue_full"] > 10
    rng = np.random.default_rng(length)
    weights = rng.integers(1, 9, (20, 11)) * (rng.random((20, 11)) < 0.3)
    bench.check(make.layer(weights), rng.integers(-9, 9, (3, 20)), config=make.narrow)


@pytest.mark.parametrize("N", [1, 2, 3, 4, 5, 7, 190, 191])
def test_rows_are_no_multiple_of_pes(bench, make, N):
    """Lanes without a row hold the lower bound, and are inputs of the next layer that have no entries."""
    rng = np.random.default_rng(N)
    layers = [
        make.layer(rng.integers(-1, 3, (4, N)) // 2, bias=3, minimum=2, maximum=90, name="first"),
        make.layer(rng.integers(-9, 9, (N, 5)) // 5, name="second"),
    ]
    for options in (IN_ORDER, KEPT, None):
        bench.check(layers, rng.integers(-9, 9, (2, 4)), options)


def test_a_pe_with_as_many_entries_as_the_memory_has_words(bench, make):
    """The pointer behind the last column is one more than an address holds."""
    by_slot = np.ones((4, 64), dtype=int)
    outcome = bench.check(make.layer(make.on_one_pe(by_slot, pe=2)), [[1, 2, 3, 4]], IN_ORDER)
    (tile,) = outcome.program.layers[0].arranged.tiles
    assert tile.entries.pointers[-1].tolist() == [0, 0, make.wide.weight_depth]
    assert outcome.program.weight_stream is None


def test_as_many_columns_as_there_are_pointers(bench, make):
    K = 1023
    weights = np.zeros((K, 3), dtype=int)
    weights[::9] = np.arange(len(weights[::9]) * 3).reshape(-1, 3) % 7 - 3
    weights[-2:] = 5
    outcome = bench.check(make.layer(weights), np.arange(K) % 13 - 6)
    assert 2 * len(outcome.program.image["pointers"]) == make.wide.engine.pointer_depth == K + 1
