"""Which candidates are worth more than others: dominance, ranks, and a choice that keeps the ends of a front."""

import numpy as np


def front(costs: np.ndarray) -> np.ndarray:
    """Return the indices of the rows that no other row dominates, in ascending order.

    A row dominates another if it is nowhere larger and somewhere smaller. Of equal rows all are returned.

    Parameters
    ----------
    costs : ndarray of float, (candidates, objectives)
        Smaller is better.

    Notes
    -----
    Rows sorted by their first column are compared with the front so far: candidates × front comparisons.
    """
    costs = np.asarray(costs, dtype=np.float64)
    order = np.lexsort(costs.T[::-1])
    kept = np.empty((0, costs.shape[1]))
    members: list[int] = []
    for index in order:
        row = costs[index]
        # Sorted rows are never dominated by later ones; an equal row is no reason to go.
        if not len(kept) or not (np.all(kept <= row, axis=1) & np.any(kept < row, axis=1)).any():
            kept = np.vstack([kept, row])
            members.append(int(index))
    return np.array(sorted(members), dtype=np.int64)


def crowding(costs: np.ndarray) -> np.ndarray:
    """Return how far each row is from its neighbours; infinite at the ends of each objective.

    Source: crowding distance of NSGA-II, Deb et al., IEEE Trans. Evol. Comput. 6(2), 2002, III-B.
    """
    count, objectives = costs.shape
    distance = np.zeros(count)
    for column in range(objectives):
        order = np.argsort(costs[:, column], kind="stable")
        values = costs[order, column]
        span = values[-1] - values[0]
        distance[order[[0, -1]]] = np.inf
        if span:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / span
    return distance


def select(costs: np.ndarray, count: int) -> list[int]:
    """Return the indices of the best `count` rows: front after front, and of the last those farthest from others.

    The least crowded are chosen one by one: whoever goes leaves room for its neighbours.
    """
    costs = np.asarray(costs, dtype=np.float64)
    left = np.arange(len(costs))
    chosen: list[int] = []
    while len(left) and len(chosen) < count:
        members = left[front(costs[left])]
        left = np.setdiff1d(left, members)
        while len(members) > count - len(chosen):
            members = np.delete(members, np.argmin(crowding(costs[members])))
        chosen += members.tolist()
    return chosen
