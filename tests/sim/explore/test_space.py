"""Spaces: what can be said of values, which configs follow, and what is refused."""

import pytest

from celosia.host.errors import CelosiaError
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore.space import Space, parse_dimension

SYSTOLIC = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4), weight_depth=99)
BINARY = AcceleratorConfig(engine=BinaryConfig(pes=4, simd=8))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rows=4", (4,)),
        ("rows=1..4", (1, 2, 3, 4)),
        ("rows=4..13:4", (4, 8, 12)),
        ("rows=64..1000*2", (64, 128, 256, 512)),
        (" rows = 1, 8..9 ,none", (1, 8, 9, None)),
        ("activation_signed=true,false", (True, False)),
        ("engine=systolic,binary", ("systolic", "binary")),
    ],
)
def test_values(text: str, values: tuple[object, ...]) -> None:
    name, parsed = parse_dimension(text)
    assert parsed == values
    assert name == text.split("=")[0].strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rows", "must be NAME=VALUES"),
        ("=4", "must be NAME=VALUES"),
        ("rows=", "must be NAME=VALUES"),
        ("rows=8..4", "must rise"),
        ("rows=0..8*2", "must rise"),
        ("rows=1..8*1", "must rise"),
        ("rows=1..8:0", "must rise"),
        ("rows=a..b", "must be a range of integers"),
        ("rows=4,2..5", "twice"),
        ("rows=4?", "must be a number"),
        ("weight_depth=1..100000", "more than 65536"),
    ],
)
def test_bad_values(text: str, said: str) -> None:
    with pytest.raises(CelosiaError, match=said):
        parse_dimension(text)


def test_combinations_of_one_engine() -> None:
    space = Space(bases=[SYSTOLIC], dimensions={"rows": (2, 4), "weight_depth": (64, 128, 256)})
    assert space.size == 6
    choices = list(space)
    assert choices[0] == {"rows": 2, "weight_depth": 64}
    assert choices[1] == {"rows": 2, "weight_depth": 128}
    assert choices[5] == {"rows": 4, "weight_depth": 256}
    config = space.config(choices[4])
    assert config.engine == SystolicConfig(rows=4, cols=4)
    assert config.weight_depth == 128
    with pytest.raises(IndexError):
        space[6]


def test_engines_have_their_own_parameters() -> None:
    space = Space(bases=[SYSTOLIC, BINARY], dimensions={"rows": (2, 4), "simd": (8, 16, 32), "weight_depth": (64, 128)})
    assert space.size == 2 * 2 + 3 * 2
    assert space[0] == {"engine": "systolic", "rows": 2, "weight_depth": 64}
    assert space[9] == {"engine": "binary", "simd": 32, "weight_depth": 128}
    assert space.config(space[9]).engine == BinaryConfig(pes=4, simd=32)


def test_no_parameter_varied_is_one_combination() -> None:
    space = Space(bases=[SYSTOLIC], dimensions={})
    assert list(space) == [{}]
    assert space.config({}) == SYSTOLIC


def test_unknown_parameter() -> None:
    with pytest.raises(CelosiaError, match=r"--vary simd: systolic has no parameter 'simd'"):
        Space(bases=[SYSTOLIC], dimensions={"simd": (8,)})


def test_values_that_do_not_go_together() -> None:
    space = Space(bases=[SYSTOLIC], dimensions={"accumulator_rows": (3,)})
    with pytest.raises(ValueError, match="power of two"):
        space.config(space[0])
