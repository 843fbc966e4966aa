"""Accumulators: rows that repeat at once, the ends of their range, rounding, and what must not be left in them."""

import itertools

import numpy as np
import pytest

from celosia.host.pack.sparse_layers import SparseOptions

IN_ORDER = SparseOptions(group=1, balance=False)  # row i in PE i mod PEs
RELATIVE = SparseOptions(group=1, balance=False, relative_width=4)
LOW = -(1 << 15)
END = (1 << 23) - 1  # of the narrow accumulators


@pytest.mark.parametrize("period", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("options", [IN_ORDER, RELATIVE], ids=["rows", "zeros"])
def test_rows_repeat(bench, make, period, options):
    """Every `period` cycles the same row of one PE, over the ends of columns; all others are idle."""
    rows = np.sort(np.random.default_rng(period).permutation(15)[:period])
    by_slot = np.zeros((30, 15), dtype=int)
    by_slot[:, rows] = np.random.default_rng(1).integers(-7, 8, (30, period)) | 1
    outcome = bench.check(make.layer(make.on_one_pe(by_slot)), np.arange(1, 31), options)
    assert outcome.program.layers[0].arranged.tiles[0].entries.count == 30 * period
    dense = np.full((20, 3 * period), 3)  # and all PEs alike: an entry in every cycle
    outcome = bench.check(make.layer(dense), [np.arange(1, 21), np.arange(-20, 0)], options)
    assert outcome.causes["compute"] > 2 * 20 * period - 20


@pytest.mark.parametrize("rows", [2, 3, 5])
@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_rows_repeat_in_any_order(bench, make, rows, name):
    """Columns of some of a few rows, so that the same row comes after any number of cycles; with gaps in between."""
    rng = np.random.default_rng(rows)
    config = getattr(make, name)
    for _ in range(6):
        by_slot = rng.integers(1, 8, (40, rows)) * (rng.random((40, rows)) < 0.6)
        weights = make.on_one_pe(by_slot, config)
        weights += make.on_one_pe(rng.integers(0, 2, (40, rows)), config, 1)  # whose queue fills up by turns
        x = rng.integers(-9, 9, (2, 40)) * (rng.random((2, 40)) < 0.7)
        bench.check(make.layer(weights), x, IN_ORDER, config=config)


@pytest.mark.parametrize("apart", [2, 3, 4, 5, 6, 7])
def test_rows_repeat_after_idle_cycles(bench, make, apart):
    """Columns far apart: inactive inputs between them, where no column is queued."""
    x = np.zeros(60, dtype=int)
    x[:: 3 * apart] = 5
    bench.check(make.layer(make.on_one_pe(np.full((60, 1), 3))), [x, np.roll(x, 1)], IN_ORDER)


@pytest.mark.parametrize(
    ("weights", "x", "total"),
    [
        ([256, 1, 0], [32767, 255, 1], END),  # not beyond it
        ([256, 1, 1], [32767, 255, 1], None),
        ([256, 0, 0], [-32768, 1, 1], -END - 1),
        ([256, -1, 0], [-32768, 1, 1], None),
        ([LOW, 0, 0], [LOW, 1, 1], None),
        ([LOW, 0, 0], [32767, 1, 1], None),
    ],
)
def test_the_ends_of_the_range(bench, make, weights, x, total):
    """A sum at an end is right and does not saturate; one beyond stays there, and says so."""
    layer = make.layer(np.array(weights)[:, None], shift=9)
    outcome = bench.check(layer, x, IN_ORDER, config=make.narrow)
    assert make.saturates(outcome.program, np.array([x])) == (total is None)
    exact = int(np.dot(weights, x))
    stays = min(max(exact, -END - 1), END)
    assert outcome.outputs.tolist() == [[(stays + 256) >> 9]]
    assert total in (None, exact)


@pytest.mark.parametrize(("sign", "first", "last"), [(1, 10525, 16384), (-1, -10525, -16384)])
def test_a_sum_that_saturates_goes_on_from_there(bench, make, sign, first, last):
    """−2¹⁵ · −2¹⁵ first, then 3,000,000 back; and the other way round: products come in the order of the inputs."""
    for order, expected in (([0, 1], first), ([1, 0], last)):
        weights = np.array([[LOW], [-100 * sign]])[order]
        x = np.array([LOW if sign > 0 else 32767, 30000])[order]
        outcome = bench.check(make.layer(weights, shift=9), x, IN_ORDER, config=make.narrow)
        assert outcome.outputs.tolist() == [[expected]]


def test_saturated_sums_are_merged_exactly(bench, make):
    """Two PEs share the only row; both sums are at an end, the merged one is twice that."""
    weights = np.full((2, 1), LOW)
    for x, expected in ([LOW, LOW], 2 * END), ([32767, 32767], -2 * END - 2), ([LOW, 32767], -1):
        outcome = bench.check(make.layer(weights, shift=10, bias=3), x, config=make.narrow)
        assert outcome.program.layers[0].arranged.tiles[0].schedule.group == 2
        assert outcome.outputs.tolist() == [[(expected + 3 + 512) >> 10]]


def test_the_bias_does_not_saturate(bench, make):
    """It is added to what was merged, with the half that rounds."""
    bias = np.array([END - 256, -END - 1 - 256])
    layer = make.layer([[256, 256], [1, 0]], bias=bias, shift=9)
    outcome = bench.check(layer, [[32767, 255], [-32768, 0]], config=make.narrow)
    sums = np.array([[END, 256 * 32767], [-END - 1, -END - 1]])
    assert np.array_equal(outcome.outputs, np.clip((sums + bias + 256) >> 9, LOW, -LOW - 1))


@pytest.mark.parametrize("products", [511, 512, 520])
def test_forty_bits_hold_511_of_the_largest_products(bench, make, products):
    """In pieces: their sum stays in the PE from step to step."""
    weights = np.zeros((520, 1), dtype=int)
    weights[:products] = LOW
    x = np.full(520, LOW)
    outcome = bench.check(make.layer(weights, shift=25), x)
    assert len(outcome.program.steps) > 4
    assert make.saturates(outcome.program, x[None]) == (products > 511)
    assert outcome.outputs.tolist() == [[16352 if products == 511 else 16384]]


def test_saturated_is_about_the_last_run(bench, make):
    """It is set by any layer, stays until the next run starts, and no later."""
    layers = [
        make.layer([[LOW], [1]], shift=9, minimum=0, maximum=5, name="first"),
        make.layer([[2]], name="second"),
    ]
    program = bench.check(layers, [LOW, 0], config=make.narrow).program
    sim = bench.core(make.narrow).sim
    assert sim.get("saturated")
    sim.run(200)
    assert sim.get("saturated")
    for x in ([1, 0], [LOW, 3], [0, 0], [0, 7]):
        bench.core(make.narrow).write("inputs", program.pack_inputs(np.array([x])))
        bench.again(program, [x])
        assert sim.get("saturated") == (x[0] == LOW)


@pytest.mark.parametrize(
    ("shift", "sums", "expected"),
    [
        (0, [-3, -1, 0, 1, 2, 3], [-3, -1, 0, 1, 2, 3]),
        (1, [-4, -3, -2, -1, 0, 1, 2, 3], [-2, -1, -1, 0, 0, 1, 1, 2]),
        (2, [-7, -6, -5, -3, -2, -1, 1, 2, 3, 5, 6, 7], [-2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2]),
        (8, [-385, -384, -383, -129, -128, -127, 127, 128, 129, 384], [-2, -1, -1, -1, 0, 0, 0, 1, 1, 2]),
    ],
)
@pytest.mark.parametrize("bias", [0, 5, -1000])
def test_ties_are_rounded_up(bench, make, shift, sums, expected, bias):
    """Negative ones, too: towards plus infinity."""
    rest = np.array(sums) - bias
    layer = make.layer([np.full(len(sums), 1), np.full(len(sums), -1)], shift=shift, bias=rest)
    for config in (make.wide, make.narrow):
        outcome = bench.check(layer, [[bias, 0], [0, -bias], [bias + 3, 3]], config=config)
        assert outcome.outputs.tolist() == [expected] * 3


def test_the_largest_shift(bench, make):
    half = 1 << 38
    bias = np.array([half - 1, half - 1, -half, -half])
    outcome = bench.check(make.layer([[0, 1, 0, -1]], shift=39, bias=bias), [[1]])
    assert outcome.outputs.tolist() == [[0, 1, 0, -1]]


@pytest.mark.parametrize("bounds", [(-5, 7), (0, 0), (3, 3), (-9, -2), (LOW, LOW)])
def test_results_are_clamped(bench, make, bounds):
    minimum, maximum = bounds
    weights = np.arange(-10, 11)[None, :] // 2
    outcome = bench.check(make.layer(weights, minimum=minimum, maximum=maximum), [[3], [-30000], [0]])
    assert np.array_equal(outcome.outputs, np.clip(np.array([[3], [-30000], [0]]) * weights, minimum, maximum))


@pytest.mark.parametrize("groups", [(1, 1, 1), (2, 2, 2), (2, 1, 2), (1, 2, 1)])
def test_nothing_is_left_for_the_next_layer(bench, make, groups):
    """A wide layer, a narrow one, then a wide one without entries: each of its results is its bias."""
    rng = np.random.default_rng(1)
    for group in set(groups):
        layers = [
            make.layer(rng.integers(1, 8, (3, 13)), name="fills"),
            make.layer(rng.integers(0, 2, (13, 3)), shift=3, name="some"),
            make.layer(np.zeros((3, 16), int), bias=np.arange(16), name="nothing"),
            make.layer(np.eye(16, dtype=int), name="copies"),
        ]
        x = rng.integers(1, 99, (5, 3))
        outcome = bench.check(layers, x, SparseOptions(group=group), config=make.narrow)
        assert outcome.outputs.tolist() == [list(range(16))] * 5


def test_layers_of_different_groups(bench, make):
    """The packer takes as many PEs to a group as the rows allow, which differs from layer to layer."""
    rng = np.random.default_rng(2)
    sizes = [5, 30, 2, 16, 17, 3]
    layers = [
        make.layer(rng.integers(-3, 9, (K, N)) * (rng.random((K, N)) < 0.3), shift=3, name=f"{K} to {N}")
        for K, N in itertools.pairwise(sizes)
    ]
    x = rng.integers(-99, 99, (3, 5))
    outcome = bench.check(layers, x, config=make.narrow)
    assert [plan.arranged.tiles[0].schedule.group for plan in outcome.program.layers] == [1, 2, 2, 1, 2]
