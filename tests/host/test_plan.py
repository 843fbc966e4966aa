from itertools import pairwise

import numpy as np

from celosia.host.plan import Buffer, plan


def check(buffers: list[Buffer]) -> int:
    made = plan(buffers)
    for a, (first, start) in enumerate(zip(buffers, made.addresses, strict=True)):
        assert start >= 0
        assert start + first.words <= made.words
        for second, other in zip(buffers[:a], made.addresses[:a], strict=True):
            apart = start + first.words <= other or other + second.words <= start
            assert apart or not first.meets(second)
    return made.words


def test_nothing():
    assert plan([]).words == 0


def test_chains_take_what_the_largest_two_neighbours_take():
    rng = np.random.default_rng(1)
    for _ in range(200):
        sizes = rng.integers(1, 50, rng.integers(1, 12)).tolist()
        buffers = [Buffer(words=size, first=index, last=index + 1) for index, size in enumerate(sizes)]
        most = max([*sizes, *(a + b for a, b in pairwise(sizes))])
        assert check(buffers) == most


def test_buffers_that_are_needed_at_a_time_do_not_overlap():
    rng = np.random.default_rng(2)
    waste = []
    for _ in range(300):
        buffers = []
        for _ in range(int(rng.integers(1, 15))):
            first, length = rng.integers(0, 20), rng.integers(0, 6)
            buffers.append(Buffer(words=int(rng.integers(1, 40)), first=int(first), last=int(first + length)))
        least = max(sum(each.words for each in buffers if each.first <= time <= each.last) for time in range(26))
        waste.append(check(buffers) / least)
    assert np.mean(waste) < 1.05


def test_dead_words_are_used_again():
    residual = [Buffer(words=16, first=0, last=3), Buffer(words=16, first=1, last=2), Buffer(words=16, first=2, last=3)]
    assert check([*residual, Buffer(words=16, first=3, last=4)]) == 48
