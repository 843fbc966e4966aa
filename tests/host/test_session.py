"""The Python API: what the commands do, without them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.data import digits_network, load_digits
from celosia.host.device import Device
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network
from celosia.host.prepare import check_inputs, prepare
from celosia.host.quantize import quantize
from celosia.host.session import DeviceMachine, run
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.device import SimulatedDevice

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4))
IMAGES = load_digits()[0][:150]  # two iterations, of which the last is not full


def test_run():
    network, inputs = prepare(digits_network(), IMAGES, CONFIG)
    told = []
    with Device(SimulatedDevice(CONFIG)) as device:
        outcome = run(
            network, inputs, DeviceMachine(device), reference, progress=lambda done, of: told.append((done, of))
        )
    assert outcome.exact
    assert outcome.bit_exact is outcome.cycle_exact is True
    assert outcome.mismatch == ""
    assert outcome.outputs is not None
    assert outcome.outputs.shape == (150, 10)
    assert told == [(number, outcome.iterations) for number in range(1, outcome.iterations + 1)]
    assert outcome.iterations > 1
    assert outcome.cycles == sum(outcome.causes.values()) == pytest.approx(outcome.cycles_per_input * 150)
    assert outcome.utilization == pytest.approx(150 * network.macs / (16 * outcome.cycles))
    models = run(network, inputs, None, reference, config=CONFIG)
    assert np.array_equal(models.results, outcome.outputs)
    assert models.causes == outcome.causes
    assert models.bit_exact is models.cycle_exact is None
    assert models.exact


def test_without_a_machine_or_a_config():
    network, inputs = prepare(digits_network(), IMAGES, CONFIG)
    with pytest.raises(ValueError, match="needs the config"):
        run(network, inputs, None, reference)


def test_float_networks_take_the_widths_of_the_config():
    config = AcceleratorConfig(
        engine=SystolicConfig(rows=4, cols=4, activation_width=5, weight_width=4, activation_signed=False)
    )
    network, inputs = prepare(digits_network(), IMAGES, config)
    assert network.input_dtype == "uint5"
    assert max(layer.weight_width for layer in network.layers) == 4  # type: ignore[attr-defined]
    assert (inputs.min(), inputs.max()) == (0, 31)


def test_calibration_is_another_than_the_inputs():
    calibrated, _ = prepare(digits_network(), IMAGES, CONFIG, calibration=IMAGES * 2)
    own, _ = prepare(digits_network(), IMAGES, CONFIG)
    assert calibrated.input_scale == pytest.approx(2 * own.input_scale)


@pytest.fixture(scope="module")
def quantized() -> Network:
    return quantize(digits_network(), IMAGES).network


def test_quantized_networks_take_integers_and_real_values(quantized):
    integers = quantized.quantize_input(IMAGES)
    for given in (integers, integers.astype(np.int64), IMAGES.astype(float), IMAGES.astype(np.float32)):
        network, inputs = prepare(quantized, given, CONFIG)
        assert network is quantized
        assert inputs.dtype == np.int8
        assert np.array_equal(inputs, integers)


def test_inputs_take_the_shape_of_the_model(quantized):
    assert check_inputs(quantized, np.zeros((3, 8, 8), np.int8)).shape == (3, 64)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (np.full((2, 64), 128), "reach from 128 to 128, but int8 holds -128 to 127"),
        (np.full((2, 64), np.inf), "NaN or infinity"),
        (np.zeros((2, 64), bool), "are of type bool"),
        (np.zeros((2, 64), complex), "are of type complex128"),
        (np.zeros((0, 64)), r"have shape \(0, 64\), but the model takes \(batch, 64\)"),
        (np.zeros(64), r"have shape \(64,\)"),
    ],
)
def test_bad_inputs(quantized, inputs, told):
    with pytest.raises(ModelError, match=told):
        check_inputs(quantized, inputs)


def test_counters_that_overflow_are_compared_as_far_as_they_count():
    config = replace(CONFIG, counter_width=24)
    network, inputs = prepare(digits_network(), IMAGES[:3], config)
    models = run(network, inputs, None, reference, config=config)
    much = [SimpleNamespace(causes=dict.fromkeys(config.causes, (1 << 24) + 5))]
    counted = replace(models, predictions=much, runs=[dict.fromkeys(config.causes, 5)])
    assert counted.cycle_exact is True
    assert counted.causes == dict(much[0].causes)
    assert counted.mismatch == ""
    wrong = replace(counted, runs=[dict.fromkeys(config.causes, 6)])
    assert wrong.cycle_exact is False
    assert wrong.causes == dict.fromkeys(config.causes, 6)
    assert "spent 6 cycles on fetch, the cycle model says 5." in wrong.mismatch
