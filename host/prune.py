"""Pruning by magnitude: the smallest weights of each layer become zero, in rounds between which a network can retrain.

Sources: Han et al. 2015 (arXiv 1506.02626) for pruning and retraining in turns and for the threshold; Zhu and Gupta
2017 (arXiv 1710.01878) for densities that fall along a cubic.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from celosia.host.models.checks import layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatNetwork

Masks: TypeAlias = tuple[np.ndarray, ...]
"""For each layer a bool (K, N): True where a weight stays."""

Retrain: TypeAlias = Callable[[FloatNetwork, Masks], FloatNetwork]
"""Takes a pruned network and its masks and returns one of the same shape, trained; pruned weights are zeroed again."""


def quality_densities(network: FloatNetwork, quality: float | Sequence[float]) -> tuple[float, ...]:
    """Densities that remain when weights up to quality × the standard deviation of their layer's weights go.

    Parameters
    ----------
    network : FloatNetwork
    quality : float or sequence of float
        For all layers or for each; at least 0. The threshold is a multiple of the standard deviation of all weights of
        the layer, zeros included.

    Returns
    -------
    tuple of float
        For each layer the share of weights above the threshold, for :func:`prune`.

    Raises
    ------
    ModelError
        If a quality is negative, or if there are not as many as layers.
    """
    qualities = per_layer("quality", quality, len(network.layers))
    densities = []
    for layer, factor in zip(network.layers, qualities, strict=True):
        if not factor >= 0:
            raise ModelError(f"{layer_label(layer.name)}: quality is {factor}, but it must be at least 0.")
        threshold = factor * float(layer.weights.std(dtype=np.float64))
        densities.append(float(np.count_nonzero(np.abs(layer.weights) > threshold)) / layer.weights.size)
    return tuple(densities)


def magnitude_mask(weights: np.ndarray, density: float) -> np.ndarray:
    """Choose the largest magnitudes: float (any shape) -> bool of the same shape.

    ``round(density · size)`` weights stay, or all that are not zero if those are fewer. Among equal magnitudes the
    first stay.
    """
    magnitudes = np.abs(weights).ravel()
    keep = min(round(density * magnitudes.size), int(np.count_nonzero(magnitudes)))
    mask = np.zeros(magnitudes.size, dtype=bool)
    if keep:
        smallest = np.partition(magnitudes, magnitudes.size - keep)[magnitudes.size - keep]
        mask = magnitudes > smallest
        equal = np.flatnonzero(magnitudes == smallest)
        mask[equal[: keep - np.count_nonzero(mask)]] = True
    return mask.reshape(weights.shape)


def prune(
    network: FloatNetwork, density: float | Sequence[float], *, rounds: int = 1, retrain: Retrain | None = None
) -> FloatNetwork:
    """Prune a network to a density, at once or in rounds.

    Parameters
    ----------
    network : FloatNetwork
    density : float or sequence of float
        Share of the weights that stay, 0 to 1, in all layers or in each. A layer that is sparser already stays as it
        is.
    rounds : int
        Steps in which the density falls, at least 1. After step t of n it is
        ``density + (first − density) · (1 − t / n)^3``, with the density that the layer has at first.
    retrain : callable, optional
        Called after each step, the last one too.

    Returns
    -------
    FloatNetwork

    Raises
    ------
    ModelError
        If a density is out of its range, there are not as many as layers, or `retrain` returns other layers.
    """
    targets = per_layer("density", density, len(network.layers))
    for target in targets:
        if not 0 <= target <= 1:
            raise ModelError(f"density is {target}, but it must be from 0 to 1.")
    if rounds < 1:
        raise ModelError(f"rounds is {rounds}, but it must be at least 1.")
    first = [np.count_nonzero(layer.weights) / layer.weights.size for layer in network.layers]
    for step in range(1, rounds + 1):
        rest = (1 - step / rounds) ** 3
        masks = tuple(
            magnitude_mask(layer.weights, target + (start - target) * rest)
            for layer, start, target in zip(network.layers, first, targets, strict=True)
        )
        network = _masked(network, masks)
        if retrain is not None:
            network = _masked(_checked(retrain(network, masks), network), masks)
    return network


def per_layer(name: str, values: float | Sequence[float], count: int) -> tuple[float, ...]:
    """Return one value for each of `count` layers, from one for all or from a sequence.

    Raises
    ------
    ModelError
        If a sequence has another length.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.shape not in ((), (count,)):
        raise ModelError(f"{name} has {given.size} values for {count} layers, but one each, or one for all, is needed.")
    return tuple(np.broadcast_to(given, count).tolist())


def _masked(network: FloatNetwork, masks: Masks) -> FloatNetwork:
    layers = [
        replace(layer, weights=np.where(mask, layer.weights, np.float32(0)))
        for layer, mask in zip(network.layers, masks, strict=True)
    ]
    return replace(network, layers=layers)


def _checked(trained: FloatNetwork, network: FloatNetwork) -> FloatNetwork:
    before, after = ([layer.weights.shape for layer in each.layers] for each in (network, trained))
    if before != after:
        raise ModelError(f"retraining returned layers of shapes {after}, but those of the network are {before}.")
    return trained
