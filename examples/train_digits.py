"""Train the digits network that Celosia's demo runs, and write both data files of host/data.

    python examples/train_digits.py [--output host/data]

Data: the 1,797 images that scikit-learn bundles, which are the test set of UCI "Optical Recognition of Handwritten
Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0). Of each digit's images, in file order, every fourth is a test image; the
network never sees those. Widths, noise, weight decay and epochs were chosen on a part of the training images.

Method: a 64-48-32-10 perceptron with ReLU, cross-entropy, Adam (Kingma and Ba 2015) with a cosine schedule; each batch
is shifted by up to one pixel and gets Gaussian noise. Seed and order are fixed, so the same machine writes the same
bytes again.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from celosia.host.files import replacing, write_arrays
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.npz import write_npz

SEED = 1
SIZES = (64, 48, 32, 10)
EPOCHS = 200
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3
NOISE = 1.5  # standard deviation, in pixel units
INK = np.float32(16)  # the darkest pixel


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


def train(images: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (K, N) and biases (N,) of each layer, for pixels from 0 to 1."""
    rng = np.random.default_rng(SEED)
    shapes = list(itertools.pairwise(SIZES))
    weights = [rng.normal(0, (2 / k) ** 0.5, (k, n)).astype(np.float32) for k, n in shapes]
    biases = [np.zeros(n, np.float32) for _, n in shapes]
    parameters = weights + biases
    first = [np.zeros_like(values) for values in parameters]
    second = [np.zeros_like(values) for values in parameters]
    batches = -(-len(images) // BATCH)
    order = np.arange(len(images))
    for step in range(EPOCHS * batches):
        if step % batches == 0:
            order = rng.permutation(len(images))
        chosen = order[step % batches * BATCH :][:BATCH]
        gradients = backpropagate(weights, biases, augment(images[chosen], rng), labels[chosen])
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / (EPOCHS * batches)))
        for values, mean, square, gradient in zip(parameters, first, second, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            update = mean / (1 - 0.9 ** (step + 1)) / (np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8)
            values -= (rate * update).astype(np.float32)
    return weights, biases


def backpropagate(
    weights: list[np.ndarray], biases: list[np.ndarray], pixels: np.ndarray, labels: np.ndarray
) -> list[np.ndarray]:
    """Gradients of the mean cross-entropy plus weight decay: those of the weights, then those of the biases."""
    activations = [pixels]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        activations.append(np.maximum(activations[-1] @ weight + bias, 0))
    scores = activations[-1] @ weights[-1] + biases[-1]
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    error = exponentials / exponentials.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    weight_gradients, bias_gradients = [], []
    for weight, activation in zip(reversed(weights), reversed(activations), strict=True):
        weight_gradients.insert(0, activation.T @ error + WEIGHT_DECAY * weight)
        bias_gradients.insert(0, error.sum(axis=0))
        error = (error @ weight.T) * (activation > 0)
    return weight_gradients + bias_gradients


def main() -> None:
    """Train, report the accuracies, write digits.npz and digits_mlp.npz."""
    parser = argparse.ArgumentParser(description="Train the digits network of Celosia's demo.")
    parser.add_argument("--output", type=Path, default=Path("host/data"), help="folder for the two files")
    folder = parser.parse_args().output
    data = split_digits()
    weights, biases = train(data["train_images"].astype(np.float32), data["train_labels"])
    weights[0] /= INK  # the network takes the pixels as they are
    names = [f"hidden{index}" for index in range(1, len(weights))] + ["classes"]
    layers = [
        FloatDense(name=name, weights=weight, bias=bias, activation="none" if name == "classes" else "relu")
        for name, weight, bias in zip(names, weights, biases, strict=True)
    ]
    network = FloatNetwork(name="digits", layers=layers, input_shape=(64,), labels=[str(digit) for digit in range(10)])
    for part in ("train", "test"):
        hits = network.evaluate(data[f"{part}_images"]).argmax(axis=1) == data[f"{part}_labels"]
        print(f"{part}: {hits.sum()} of {hits.size} right, {hits.mean():.2%}")
    write_npz(folder / "digits_mlp.npz", network)
    with replacing(folder / "digits.npz") as file:
        write_arrays(file, data)


if __name__ == "__main__":
    main()
