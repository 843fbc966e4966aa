"""What the examples that train networks on the digits share: the data, the noise, gradients, and Adam.

Data: the 1,797 images that scikit-learn bundles, which are the test set of UCI "Optical Recognition of Handwritten
Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0). Of each digit's images, in file order, every fourth is a test image; no
network sees those.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.datasets import load_digits

from celosia.host.models.float_ir import FloatDense, FloatNetwork

BATCH = 64
NOISE = 1.5  # standard deviation, in pixel units
INK = np.float32(16)  # the darkest pixel

Arrays = list[np.ndarray]
Expand = Callable[[Arrays], tuple[Arrays, Arrays]]
"""Trained parameters to weights (K, N) and biases (N,) of each layer."""
Reduce = Callable[[Arrays, Arrays], Arrays]
"""Gradients of weights and of biases to those of the trained parameters."""


def split_digits() -> dict[str, np.ndarray]:
    """Images (n, 64) and labels (n,), both uint8, of the training and the test part."""
    images, labels = (array.astype(np.uint8) for array in load_digits(return_X_y=True))
    test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[3::4]] = True
    return {
        "train_images": images[~test],
        "train_labels": labels[~test],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Six of ten images shifted by up to a pixel each way, all with noise; float32 (n, 64) from 0 to 1."""
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    offsets = rng.integers(0, 3, (len(images), 2))
    offsets[rng.random(len(images)) < 0.4] = 1
    shifted = np.stack([image[y : y + 8, x : x + 8].ravel() for image, (y, x) in zip(padded, offsets, strict=True)])
    noise = rng.normal(0, NOISE, shifted.shape).astype(np.float32)
    return np.clip(shifted + noise, 0, INK) / INK


def initialize(sizes: Sequence[int], rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Random weights (K, N) (He et al. 2015) and zero biases (N,) of each layer, float32."""
    shapes = list(itertools.pairwise(sizes))
    weights = [rng.normal(0, (2 / k) ** 0.5, (k, n)).astype(np.float32) for k, n in shapes]
    return weights, [np.zeros(n, np.float32) for _, n in shapes]


def minimize(
    parameters: Arrays,
    images: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    expand: Expand | None = None,
    reduce: Reduce | None = None,
) -> None:
    """Train parameters in place: cross-entropy, Adam (Kingma and Ba 2015) with a cosine schedule, augmented images.

    Parameters
    ----------
    parameters : list of ndarray of float32
        The weights of each layer, then the biases, unless `expand` and `reduce` say otherwise.
    images : ndarray (n, 64) of float32
        Pixels from 0 to 16; the network sees them from 0 to 1.
    labels : ndarray (n,)
        The classes.
    rng : numpy.random.Generator
        Order and noise.
    epochs : int
        Passes over the images.
    learning_rate, weight_decay : float
        Of the first step; of all weights.
    expand, reduce : callable, optional
        What weights and biases the parameters stand for, and how their gradients become those of the parameters.
    """
    half = len(parameters) // 2
    expand = expand or (lambda values: (values[:half], values[half:]))
    reduce = reduce or (lambda weight_gradients, bias_gradients: weight_gradients + bias_gradients)

    def gradients_of(pixels: np.ndarray, classes: np.ndarray) -> Arrays:
        weights, biases = expand(parameters)
        return reduce(*backpropagate(weights, biases, pixels, classes, weight_decay))

    descend(parameters, images, labels, rng, gradients_of, epochs=epochs, learning_rate=learning_rate)


def descend(
    parameters: Arrays,
    images: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    gradients_of: Callable[[np.ndarray, np.ndarray], Arrays],
    *,
    epochs: int,
    learning_rate: float,
) -> None:
    """Change parameters in place, down their gradients, with Adam and a cosine schedule.

    Parameters
    ----------
    parameters : list of ndarray of float32
    images, labels, rng, epochs, learning_rate
        As for :func:`minimize`.
    gradients_of : callable
        Gradients at the parameters as they are, from a batch of augmented images, see :func:`augment`, and its labels.
    """
    first = [np.zeros_like(values) for values in parameters]
    second = [np.zeros_like(values) for values in parameters]
    batches = -(-len(images) // BATCH)
    order = np.arange(len(images))
    for step in range(epochs * batches):
        if step % batches == 0:
            order = rng.permutation(len(images))
        chosen = order[step % batches * BATCH :][:BATCH]
        gradients = gradients_of(augment(images[chosen], rng), labels[chosen])
        rate = learning_rate * 0.5 * (1 + np.cos(np.pi * step / (epochs * batches)))
        for values, mean, square, gradient in zip(parameters, first, second, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            update = mean / (1 - 0.9 ** (step + 1)) / (np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8)
            values -= (rate * update).astype(np.float32)


def backpropagate(
    weights: Arrays, biases: Arrays, pixels: np.ndarray, labels: np.ndarray, weight_decay: float
) -> tuple[Arrays, Arrays]:
    """Gradients of the mean cross-entropy plus weight decay: those of the weights and those of the biases."""
    activations = [pixels]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        activations.append(np.maximum(activations[-1] @ weight + bias, 0))
    scores = activations[-1] @ weights[-1] + biases[-1]
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    error = exponentials / exponentials.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    weight_gradients: Arrays = []
    bias_gradients: Arrays = []
    for weight, activation in zip(reversed(weights), reversed(activations), strict=True):
        weight_gradients.insert(0, activation.T @ error + weight_decay * weight)
        bias_gradients.insert(0, error.sum(axis=0))
        error = (error @ weight.T) * (activation > 0)
    return weight_gradients, bias_gradients


def to_network(name: str, weights: Arrays, biases: Arrays) -> FloatNetwork:
    """The trained layers as a network that takes pixels from 0 to 16, for which weights were trained from 0 to 1."""
    names = [f"hidden{index}" for index in range(1, len(weights))] + ["classes"]
    layers = [
        FloatDense(
            name=layer,
            weights=weight / INK if index == 0 else weight,
            bias=bias,
            activation="none" if layer == "classes" else "relu",
        )
        for index, (layer, weight, bias) in enumerate(zip(names, weights, biases, strict=True))
    ]
    return FloatNetwork(name=name, layers=layers, input_shape=(64,), labels=[str(digit) for digit in range(10)])
