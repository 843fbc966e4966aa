"""Fronts against the definition of dominance, written out."""

import numpy as np
import pytest

from celosia.sim.explore.front import crowding, front, select


def dominated(costs: np.ndarray, index: int) -> bool:
    return any(bool((other <= costs[index]).all() and (other < costs[index]).any()) for other in costs)


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
@pytest.mark.parametrize("values", [3, 1000])
def test_front_is_what_nothing_dominates(objectives: int, values: int) -> None:
    random = np.random.default_rng(objectives * values)
    for count in (1, 2, 17, 120):
        costs = random.integers(0, values, (count, objectives)).astype(float)
        expected = [index for index in range(count) if not dominated(costs, index)]
        assert front(costs).tolist() == expected


def test_equal_candidates_are_all_on_the_front() -> None:
    assert front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])).tolist() == [0, 1]


def test_nothing_has_no_front() -> None:
    assert front(np.empty((0, 2))).tolist() == []


def test_crowding_of_a_line() -> None:
    distance = crowding(np.array([[0.0, 4.0], [1.0, 3.0], [4.0, 0.0]]))
    assert distance[1] == pytest.approx(2.0)
    assert np.isinf(distance[[0, 2]]).all()


def test_selection_keeps_ends_and_spreads() -> None:
    x = np.concatenate([np.linspace(0, 0.1, 20), np.linspace(0.1, 1, 20)])
    costs = np.stack([x, 1 - x], axis=1)
    chosen = sorted(select(costs, 5))
    assert {0, 39} <= set(chosen)
    assert np.diff(x[chosen]).max() < 0.5


def test_selection_takes_the_front_first() -> None:
    costs = np.array([[3.0, 3.0], [1.0, 2.0], [2.0, 1.0], [4.0, 4.0]])
    assert sorted(select(costs, 2)) == [1, 2]
    assert sorted(select(costs, 3)) == [0, 1, 2]
    assert sorted(select(costs, 9)) == [0, 1, 2, 3]
    assert select(costs, 0) == []
