import numpy as np
import pytest

from celosia.hw.binary.tree import LEAF_LANES, count_tree

LANES = range(2, 521)


def is_adder(adder):
    """Whether it adds: else it passes a number on."""
    return len(adder.sources) + (adder.carry is not None) > 1


def lanes_of(tree):
    """All lanes, in the order in which the adders have them."""
    leaves = [lane for adder in tree.levels[0] for lane in adder.sources]
    carries = [adder.carry for level in tree.levels for adder in level if adder.carry is not None]
    return [*leaves, *carries, tree.last_lane]


def test_every_lane_is_counted_once():
    for lanes in LANES:
        assert sorted(lanes_of(count_tree(lanes))) == list(range(lanes))


def test_every_number_is_added_once():
    for lanes in LANES:
        tree = count_tree(lanes)
        for before, level in zip(tree.levels, tree.levels[1:], strict=False):
            assert sorted(source for adder in level for source in adder.sources) == list(range(len(before)))
            assert all(1 <= len(adder.sources) <= 2 for adder in level)
        assert len(tree.levels[-1]) == 1
        assert all(1 <= len(adder.sources) <= 2 for adder in tree.levels[0])


def test_widths_hold_the_largest_results_and_no_more():
    for lanes in LANES:
        tree = count_tree(lanes)
        before = []
        for number, level in enumerate(tree.levels):
            most = [
                (len(adder.sources) if number == 0 else sum(before[source] for source in adder.sources))
                + (adder.carry is not None)
                for adder in level
            ]
            assert most == [adder.most for adder in level]
            assert [adder.width for adder in level] == [each.bit_length() for each in most]
            before = most
        assert before == [lanes - 1]
        assert tree.width == (lanes - 1).bit_length()


def test_as_few_adders_and_levels_as_the_docstring_says():
    """`leaves` adders count 3 + 4 · (leaves − 1) lanes, one of all more; a level for each doubling of the leaves."""
    for lanes in LANES:
        tree = count_tree(lanes)
        leaves = len(tree.levels[0])
        assert LEAF_LANES + 4 * (leaves - 2) < lanes - 1 <= LEAF_LANES + 4 * (leaves - 1)
        assert sum(len(adder.sources) == 2 for level in tree.levels[1:] for adder in level) == leaves - 1
        assert len(tree.levels) == 1 + (leaves - 1).bit_length()
        assert all(len(adder.sources) + (adder.carry is not None) <= LEAF_LANES for adder in tree.levels[0])


def test_passed_on_numbers_take_no_lane():
    for lanes in LANES:
        for level in count_tree(lanes).levels[1:]:
            assert all(is_adder(adder) == (len(adder.sources) == 2) for adder in level)


@pytest.mark.parametrize("lanes", [2, 3, 4, 5, 8, 9, 31, 33, 64, 65, 100, 512])
def test_delays_are_the_lanes_levels(lanes):
    """Bits that enter at the level that their delay says are counted together, beat after beat."""
    seed = lanes
    tree = count_tree(lanes)
    delays = tree.delays()
    assert sorted(delays) == list(range(lanes))
    assert delays[tree.last_lane] == len(tree.levels)
    beats = np.random.default_rng(seed).integers(0, 2, (20, lanes))
    for beat in beats:
        numbers: list[int] = []
        for number, level in enumerate(tree.levels):
            arriving = {lane: int(beat[lane]) for lane, late in delays.items() if late == number}
            used = 0
            following = []
            for adder in level:
                mine = [*(adder.sources if number == 0 else ()), *(() if adder.carry is None else (adder.carry,))]
                used += len(mine)
                before = 0 if number == 0 else sum(numbers[source] for source in adder.sources)
                following.append(before + sum(arriving[lane] for lane in mine))
            assert used == len(arriving)
            numbers = following
        assert numbers[0] + beat[tree.last_lane] == beat.sum(), f"{seed=}"
