import itertools
from dataclasses import replace

import numpy as np
import pytest

from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.prune import magnitude_mask, prune, quality_densities


def network(seed: int = 1, sizes=(20, 15, 10)) -> FloatNetwork:
    rng = np.random.default_rng(seed)
    layers = [
        FloatDense(name=f"fc{index}", weights=rng.normal(size=(k, n)), bias=rng.normal(size=n), activation="relu")
        for index, (k, n) in enumerate(itertools.pairwise(sizes))
    ]
    return FloatNetwork(name="net", layers=layers, input_shape=(sizes[0],))


def nonzeros(net: FloatNetwork) -> list[int]:
    return [int(np.count_nonzero(layer.weights)) for layer in net.layers]


@pytest.mark.parametrize("density", [0.0, 0.001, 0.1, 0.5, 0.999, 1.0])
def test_the_largest_magnitudes_stay(density):
    weights = network().layers[0].weights
    mask = magnitude_mask(weights, density)
    assert mask.shape == weights.shape
    assert mask.sum() == round(density * weights.size)
    if 0 < mask.sum() < mask.size:
        assert np.abs(weights[mask]).min() > np.abs(weights[~mask]).max()


def test_equal_magnitudes_and_zeros():
    weights = np.float32([[1, -1, 2, 1], [0, -1, 1, 0]])
    assert magnitude_mask(weights, 0.5).tolist() == [[True, True, True, True], [False] * 4]
    assert magnitude_mask(weights, 1.0).sum() == 6
    assert not magnitude_mask(np.zeros((2, 2), np.float32), 0.5).any()


def test_prune_changes_nothing_else():
    net = network()
    pruned = prune(net, (0.1, 0.3))
    assert nonzeros(pruned) == [30, 45]
    for before, after in zip(net.layers, pruned.layers, strict=True):
        kept = after.weights != 0
        assert np.array_equal(after.weights[kept], before.weights[kept])
        assert np.array_equal(after.bias, before.bias)
        assert after.activation == before.activation
    assert nonzeros(prune(pruned, 0.2)) == [30, 30]  # a sparser layer stays


def test_quality_is_a_multiple_of_the_standard_deviation():
    net = network()
    for quality in (0.5, (1.5, 0.7)):
        pruned = prune(net, quality_densities(net, quality))
        for before, after, factor in zip(net.layers, pruned.layers, np.broadcast_to(quality, 2), strict=True):
            threshold = factor * before.weights.astype(float).std()
            assert np.array_equal(after.weights != 0, np.abs(before.weights) > threshold)


def test_rounds_fall_along_a_cubic_and_retrain_between():
    seen = []

    def retrain(net, masks):
        seen.append(nonzeros(net))
        assert [int(mask.sum()) for mask in masks] == seen[-1]
        assert all(not layer.weights[~mask].any() for layer, mask in zip(net.layers, masks, strict=True))
        # a bad trainer: it revives every weight
        return replace(net, layers=[replace(layer, weights=layer.weights + 0.001) for layer in net.layers])

    pruned = prune(network(), 0.1, rounds=4, retrain=retrain)
    shares = [0.1 + 0.9 * (1 - step / 4) ** 3 for step in (1, 2, 3, 4)]
    assert seen == [[round(share * 300), round(share * 150)] for share in shares]
    assert nonzeros(pruned) == seen[-1]
    kept = pruned.layers[0].weights != 0  # through all rounds
    change = pruned.layers[0].weights - network().layers[0].weights
    np.testing.assert_allclose(change[kept], 0.004, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: prune(net, 1.5), "density is 1.5, but it must be from 0 to 1"),
        (lambda net: prune(net, float("nan")), "density is nan"),
        (lambda net: prune(net, (0.1, 0.2, 0.3)), "density has 3 values for 2 layers"),
        (lambda net: prune(net, 0.5, rounds=0), "rounds is 0, but it must be at least 1"),
        (
            lambda net: prune(net, 0.5, retrain=lambda _net, _masks: network(sizes=(20, 4))),
            "retraining returned layers",
        ),
        (lambda net: quality_densities(net, -1), 'layer "fc0": quality is -1.0, but it must be at least 0'),
        (lambda net: quality_densities(net, [1]), "quality has 1 values for 2 layers"),
    ],
)
def test_what_is_wrong_is_named(call, words):
    with pytest.raises(ModelError, match=words):
        call(network())
