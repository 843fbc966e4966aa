import json

import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.fields import Field, Fields
from celosia.hw.registry import ENGINES, find_engine
from celosia.hw.systolic.config import SystolicConfig


def test_json_round_trip_keeps_the_hash() -> None:
    config = AcceleratorConfig(engine=SystolicConfig(rows=3, cols=5, weight_width=4), weight_depth=100)
    again = AcceleratorConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.hash == config.hash
    assert len(config.hash) == 16


def test_every_value_changes_the_hash() -> None:
    base = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4))
    others = [
        AcceleratorConfig(engine=SystolicConfig(rows=4, cols=8)),
        AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4, activation_signed=False)),
        AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4), weight_depth=4096),
        AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4), watchdog_cycles=1000),
    ]
    assert len({config.hash for config in (base, *others)}) == len(others) + 1
    assert base.differences(others[0]) == ["systolic.cols: 4, not 8"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"engine": "quantum"}, "engine 'quantum' is unknown; there are: systolic"),
        ({"systolic": {"rows": 4, "cols": 4, "depth": 3}}, "config key 'depth' is unknown; there are: rows"),
        ({"systolic": {"rows": 4, "cols": 4}, "speed": 3}, "config key 'speed' is unknown; there are: program_depth"),
        ({"systolic": {"rows": 4}}, "incomplete"),
        ({"systolic": {"rows": 65, "cols": 4}}, "rows=65 must be"),
        ({"systolic": {"rows": 4, "cols": 4}, "input_depth": 1000}, "input_depth=1000 must be a power of two"),
        ({"systolic": {"rows": 4, "cols": 4}, "weight_depth": 0}, "weight_depth=0 must be"),
        ({"systolic": 3}, "'systolic' must be a JSON object"),
        ([], "a config must be a JSON object, not list"),
    ],
)
def test_bad_values_are_named(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AcceleratorConfig.from_json(values)  # type: ignore[arg-type]


def test_fields_round_trip_and_refuse() -> None:
    fields = Fields((Field("a", 3), Field("b", 40, signed=True), Field("c", 1)))
    values = {"a": 5, "b": -(2**39), "c": 1}
    assert fields.words == 2
    assert fields.unpack(fields.pack(values)) == values
    with pytest.raises(ValueError, match="a=8 must be from 0 to 7"):
        fields.pack({**values, "a": 8})
    with pytest.raises(ValueError, match=r"fields \['c'\] are missing"):
        fields.pack({"a": 1, "b": 1})


@pytest.mark.parametrize("name", ENGINES)
def test_engines_have_their_parts(name: str) -> None:
    """What the registry promises is there, and every generic user can rely on it."""
    engine = find_engine(name)
    assert engine.config.CAUSES
    assert callable(engine.rtl)
    assert callable(engine.layer_fields)
    assert callable(engine.golden.run_layer)
    assert callable(engine.cycles.EngineTimes)
    assert callable(engine.packer.arrange_network)
    assert engine.summary
