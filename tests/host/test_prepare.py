import numpy as np
import pytest

from celosia.host.data import digits_network, lenet_network, load_digits
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Dense
from celosia.host.prepare import prepare
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig

IMAGES = load_digits()[0][:20]


def sparse(**options) -> AcceleratorConfig:
    return AcceleratorConfig(engine=SparseConfig(pes=4, **options))


@pytest.mark.parametrize("network", [digits_network, lenet_network])
def test_the_sparse_engine_gets_compressed_layers(network):
    model = network()
    integers, inputs = prepare(model, IMAGES, sparse(codebook_width=4, weight_width=12, activation_width=8))
    assert inputs.dtype == np.int8
    for layer, source in zip(integers.layers, model.layers, strict=True):
        assert isinstance(layer, CompressedDense)
        assert len(layer.codebook) <= 16
        assert 2**10 <= np.abs(layer.codebook).max() < 2**11
        assert layer.nonzeros <= np.count_nonzero(source.weights)


def test_its_widths_are_those_of_the_config():
    integers, inputs = prepare(digits_network(), IMAGES, sparse(codebook_width=None, activation_width=16))
    assert all(layer.codebook is None for layer in integers.layers)
    assert inputs.dtype == np.int16
    with pytest.raises(ModelError, match=r'the outputs of layer "classes" reach down to .* uint8 has no negative'):
        prepare(digits_network(), IMAGES, sparse(activation_width=8, activation_signed=False))


def test_compressed_networks_pass_as_they_are():
    config = sparse(activation_width=8)
    integers, inputs = prepare(digits_network(), IMAGES, config)
    for given in (inputs, IMAGES.astype(float)):
        network, again = prepare(integers, given, config)
        assert network is integers
        assert np.array_equal(again, inputs)


def test_other_engines_get_quantized_layers():
    integers, _ = prepare(lenet_network(), IMAGES, AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4)))
    assert all(type(layer) is Dense for layer in integers.layers)
