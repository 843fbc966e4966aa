"""Additions for all pairs of inputs, against fractions."""

from fractions import Fraction

import numpy as np
import pytest

from celosia.host.models.elementwise import Add
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import integer_range
from celosia.host.models.onnx_addition import exact_addition
from celosia.host.models.onnx_values import Grid
from celosia.sim.golden.elementwise import run_add

SEED = 43


def expected(first: Grid, second: Grid, output: Grid, minimum: int, maximum: int) -> np.ndarray:
    """All pairs, in whole multiples of the smallest unit that scales have; Python's integers have no end."""
    scales = [Fraction(grid.scale) for grid in (first, second, output)]
    unit = max(scale.denominator for scale in scales)
    a, b, c = (int(scale * unit) for scale in scales)
    steps = [np.arange(low, high + 1) - g.zero_point for g in (first, second) for low, high in [integer_range(g.dtype)]]
    doubled = 2 * (steps[0].astype(object)[:, None] * a + steps[1].astype(object) * b)
    below = doubled // (2 * c)
    rest = doubled - below * 2 * c
    up = (rest > c) | ((rest == c) & (below % 2 == 1))
    return np.clip(below + up.astype(int) + output.zero_point, minimum, maximum).astype(np.int64)


def check(first: Grid, second: Grid, output: Grid, minimum: int, maximum: int) -> Add:
    layer = Add(
        name="add",
        shape=(256,),
        input_zero_points=(first.zero_point, second.zero_point),
        output_zero_point=output.zero_point,
        minimum=minimum,
        maximum=maximum,
        input_dtype=first.dtype,
        output_dtype=output.dtype,
        **exact_addition(first, second, output, minimum, maximum),
    )
    low, high = integer_range(first.dtype)
    values = np.arange(low, high + 1)
    got = run_add(layer, values[:, None], values[None])
    assert np.array_equal(got, expected(first, second, output, minimum, maximum))
    return layer


@pytest.mark.parametrize("seed", range(40))
def test_random_scales(seed):
    rng = np.random.default_rng([SEED, seed])
    dtype = ("int8", "uint8")[seed % 2]
    low, high = integer_range(dtype)
    scales = np.exp(rng.normal(-3, 1, 3)).astype(np.float32)
    grids = [Grid(float(scale), int(rng.integers(low, high + 1)), dtype) for scale in scales]
    minimum = grids[2].zero_point if seed % 3 == 0 else low
    check(*grids, minimum, high)


@pytest.mark.parametrize(
    "scales",
    [
        (1.0, 1.0, 1.0),
        (1.0, 1.0, 2.0),  # half of all sums are ties
        (0.3, 0.3, 0.6),
        (0.1, 0.2, 0.1),
        (0.1, 0.05, 0.4),
        (0.75, 0.25, 0.5),
        (1.5, 0.5, 1.0),
        (0.1, 1e-30, 0.1),
        (3e38, 1e-3, 1e38),
        (1e-40, 1e-40, 2e-40),
        (0.1, 0.1, 1.0),
        (7.0, 3.0, 8.0),
        (2.0**-10, 1.0, 1.0),
    ],
)
def test_scales_with_ties_and_extreme_ones(scales):
    check(*(Grid(float(np.float32(scale)), 3, "int8") for scale in scales), -128, 127)


@pytest.mark.parametrize("output", [2, 3, 6, 10, 14, 510])
def test_whole_scales(output):
    """Ties that need both directions: one multiplier that is a little off would round them all to the same side."""
    for first, second in ((1, 1), (1, 3), (5, 2)):
        check(*(Grid(float(scale), 0, "int8") for scale in (first, second, output)), -128, 127)


def test_sums_that_are_no_sums_are_refused():
    first, second, output = (Grid(scale, 0, "int8") for scale in (1e10, 1.0, 1.0))
    with pytest.raises(ModelError, match=r"no multipliers of 31 bits add scales 1e\+10 and 1 to 1 exactly"):
        exact_addition(first, second, output, -128, 127)


def test_other_types_are_refused():
    byte, other, wide = (Grid(1.0, 0, dtype) for dtype in ("int8", "uint8", "int16"))
    with pytest.raises(ModelError, match="adds int8 and uint8"):
        exact_addition(byte, other, byte, -128, 127)
    with pytest.raises(ModelError, match="at most 8 bits"):
        exact_addition(wide, wide, byte, -128, 127)
    with pytest.raises(ModelError, match="at most 8 bits"):
        exact_addition(byte, byte, wide, -128, 127)
