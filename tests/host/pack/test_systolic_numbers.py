"""Integers of the systolic engine's packer against the golden model's and plain definitions."""

from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.errors import CompileError
from celosia.host.pack.systolic_layout import ViewError, celled, in_order, plain, stacked, viewed
from celosia.host.pack.systolic_pool import reciprocal
from celosia.host.pack.systolic_tiles import cut
from celosia.host.pack.systolic_weights import rounded
from celosia.hw.post.parameters import ROUNDINGS
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.golden.requantize import requantize

ENGINE = SystolicConfig(rows=4, cols=4)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_summands_are_rounded_as_the_golden_model_does(rounding):
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.integers(-(2**28), 2**28, 300), np.arange(-300, 300), [0, 2**28, -(2**28)]])
    for multiplier in (0, 1, 2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1, *rng.integers(0, 2**31, 20).tolist()):
        for shift in range(-31, 1):
            expected = requantize(
                values, 0, multiplier, shift, rounding=rounding, zero_point=0, minimum=-(2**40), maximum=2**40
            )
            assert np.array_equal(rounded(values, multiplier, shift, rounding), expected), (multiplier, shift)


def test_averages_are_exact_for_every_sum():
    layer = SimpleNamespace(name="pool", input_dtype="int8")
    for count in [*range(1, 300), 1023, 1024, 1025, 3 * 5 * 7 * 11]:
        multiplier, shift = reciprocal(ENGINE, layer, count)
        sums = np.arange(-128 * count, 127 * count + 1)
        expected = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
        made = requantize(sums, 0, multiplier, shift, rounding="away", zero_point=0, minimum=-128, maximum=127)
        assert np.array_equal(made, expected), count


def test_averages_that_a_multiplier_does_not_divide_are_refused():
    layer = SimpleNamespace(name="pool", input_dtype="int16")
    with pytest.raises(CompileError, match="layer 'pool' takes averages of 32767 inputs of type int16, which a multi"):
        reciprocal(ENGINE, layer, 32767)


def test_blocks():
    engine = SystolicConfig(rows=16, cols=16)
    blocks = [cut(engine, Mode.MATRIX, sums, 1) for sums in (1, 32, 33, 100)]
    assert [(each.count, each.rows, each.last) for each in blocks] == [(1, 1, 1), (1, 32, 32), (2, 17, 16), (4, 25, 25)]
    lines = cut(engine, Mode.MATRIX, 7 * 12, 12)  # two lines at a time
    assert (lines.count, lines.rows, lines.last) == (4, 24, 12)
    channels = cut(engine, Mode.CHANNELS, 5 * 25, 25)
    assert (channels.count, channels.rows, channels.last) == (5, 25, 25)
    streamed = cut(engine, Mode.MATRIX, 1024, 1, stream=True)
    assert (streamed.count, streamed.rows, streamed.last) == (2, 512, 512)
    for sums in range(1, 200):
        made = cut(engine, Mode.CHANNELS, 3 * sums, 3)
        assert (made.count - 1) * made.rows + made.last == 3 * sums
        assert 0 < made.last <= made.rows <= 9


def test_layouts():
    image = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    layout = plain((2, 3, 5), in_order(5, 4), exchanged=False)
    memory = np.full(layout.span * 4, -1)
    memory[layout.positions] = image.ravel()
    assert memory.reshape(2, 3, 2, 4)[1, 2].tolist() == [[25, 26, 27, 28], [29, -1, -1, -1]]
    exchanged = plain((2, 3, 5), in_order(5, 4), exchanged=True)
    memory[:] = -1
    memory[exchanged.positions] = image.ravel()
    assert memory.reshape(3, 2, 2, 4)[2, 1].tolist() == [[25, 26, 27, 28], [29, -1, -1, -1]]
    assert exchanged.grid == (3, 2)
    spread = layout.spread(7)
    assert spread.positions.max() == (5 * 7 + 1) * 4
    assert spread.is_even


def test_cells():
    image = np.arange(1, 3 * 5 + 1).reshape(3, 5, 1)
    layout = celled((3, 5, 1), (2, 2), (1, 0), 4, exchanged=False)
    memory = np.zeros(layout.span * 4, dtype=int)
    memory[layout.positions] = image.ravel()
    memory[layout.padding] = -1
    assert layout.grid == (2, 3)
    assert memory.reshape(2, 3, 4).tolist() == [
        [[-1, -1, 1, 2], [-1, -1, 3, 4], [-1, -1, 5, -1]],
        [[6, 7, 11, 12], [8, 9, 13, 14], [10, -1, 15, -1]],
    ]


def test_views():
    layout = plain((2, 3, 8), in_order(8, 4), exchanged=True)
    flat = viewed(layout, (48,), exchanged=True)
    assert flat.words == 12
    assert flat.lanes[2].tolist() == [24, 25, 26, 27]  # the pixel below the first one
    line = viewed(plain((2, 3, 8), in_order(8, 4), exchanged=False), (6, 8), exchanged=False)
    assert (line.grid, line.pitches) == ((1, 6), (12, 2))
    assert np.array_equal(line.positions, plain((2, 3, 8), in_order(8, 4), exchanged=False).positions)
    for shape in ((6, 8), (3, 2, 8), (12, 4)):  # columns first; pixels of another image; halves of pixels
        with pytest.raises(ViewError):
            viewed(layout, shape, exchanged=False)
    assert stacked([in_order(3, 4), in_order(5, 4)]).tolist() == [[0, 1, 2, -1], [3, 4, 5, 6], [7, -1, -1, -1]]
