"""Train perceptrons with weights of one bit, and write digits_binary.npz and digits_tiny.npz to host/data.

    python examples/train_binary.py [--network digits_tiny] [--output host/data] [--folds 4]

Data: see training.py; pixels are rounded to 4 bits, or for the tiny network, which the smallest accelerators hold, to
one. Sizes, input type, epochs and learning rate of the larger one were chosen by cross-validation on the training
images, which `--folds` repeats for the settings as they are; host/data/README.md has what came out.

Method: BinaryNet (Courbariaux et al. 2016, arXiv 1602.02830). Each layer multiplies by the signs of latent real
weights; batch-norm follows (Ioffe and Szegedy 2015), then, but in the last layer, the sign. Gradients pass a sign as if
it were the identity where its argument is within ±1 (straight-through estimator), and latent weights stay within ±1.
At the end the statistics of batch-norm are those of a large batch, and batch-norm and sign become integer thresholds;
the last batch-norm becomes scale and bias of the sums. Seed and order are fixed, so the same machine writes the same
bytes again.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from training import INK, Arrays, augment, descend, split_digits

from celosia.host.binarize import sign_layer
from celosia.host.models.binary import BinaryDense
from celosia.host.models.integers import BIPOLAR, SUM, integer_range, quantize_values
from celosia.host.models.ir import Network
from celosia.host.models.npz import write_npz
from celosia.sim.golden import binary as golden

SEED = 1
NETWORKS = {"digits_binary": ((64, 256, 256, 10), "uint4"), "digits_tiny": ((64, 128, 128, 10), "uint1")}
"""Name → sizes, and type of the pixels."""
EPOCHS = 200
LEARNING_RATE = 2e-2
COPIES = 20  # of the training images, each augmented in its own way, for the statistics of batch-norm
EPSILON = np.float32(1e-3)  # added to variances


def signs(values: np.ndarray) -> np.ndarray:
    """−1 below 0, else +1; float32."""
    return np.where(values >= 0, np.float32(1), np.float32(-1))


class BinaryPerceptron:
    """Layers of signs of latent weights (K, N), with batch-norm that has gains and offsets (N,)."""

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        self.name = name
        sizes, self._dtype = NETWORKS[name]
        self._scale = float(np.float32(INK / integer_range(self._dtype)[1]))
        shapes = list(itertools.pairwise(sizes))
        self._latent = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
        self._gains = [np.ones(n, np.float32) for _, n in shapes]
        self._gains[-1] /= np.float32(4)  # small scores at first, so that softmax does not saturate
        self._offsets = [np.zeros(n, np.float32) for _, n in shapes]

    def train(self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
        """Train on images (n, 64) with pixels from 0 to 16, and labels (n,)."""
        parameters = self._latent + self._gains + self._offsets
        descend(parameters, images, labels, rng, self._gradients, epochs=EPOCHS, learning_rate=LEARNING_RATE)

    def _gradients(self, pixels: np.ndarray, labels: np.ndarray) -> Arrays:
        """Gradients of the mean cross-entropy for pixels from 0 to 1."""
        for latent in self._latent:  # the step before may have left the range
            np.clip(latent, -1, 1, out=latent)
        inputs, normalized, deviations, scores = self._forward(pixels)
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = exponentials / exponentials.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= np.float32(len(labels))
        weight_gradients: Arrays = []
        gain_gradients: Arrays = []
        offset_gradients: Arrays = []
        for index in reversed(range(len(self._latent))):
            unit = normalized[index]
            gain_gradients.insert(0, (error * unit).sum(axis=0))
            offset_gradients.insert(0, error.sum(axis=0))
            error = error * self._gains[index]
            error = (error - error.mean(axis=0) - unit * (error * unit).mean(axis=0)) / deviations[index]
            weight_gradients.insert(0, inputs[index].T @ error)
            if index:
                outputs = normalized[index - 1] * self._gains[index - 1] + self._offsets[index - 1]
                error = (error @ signs(self._latent[index]).T) * (np.abs(outputs) <= 1)
        return weight_gradients + gain_gradients + offset_gradients

    def _forward(self, pixels: np.ndarray) -> tuple[Arrays, Arrays, Arrays, np.ndarray]:
        """Inputs of each layer, its sums normalized over the batch, their deviations, and the last layer's outputs."""
        values = quantize_values(pixels * INK, self._scale, 0, self._dtype).astype(np.float32)
        inputs, normalized, deviations = [], [], []
        for latent, gain, offset in zip(self._latent, self._gains, self._offsets, strict=True):
            inputs.append(values)
            sums = values @ signs(latent)
            deviations.append(np.sqrt(sums.var(axis=0) + EPSILON))
            normalized.append((sums - sums.mean(axis=0)) / deviations[-1])
            outputs = normalized[-1] * gain + offset
            values = signs(outputs)
        return inputs, normalized, deviations, outputs

    def fold(self, images: np.ndarray, rng: np.random.Generator) -> Network:
        """Return the network in integers, with batch-norm's statistics from augmented copies of the images."""
        pixels = np.concatenate([augment(images, rng) for _ in range(COPIES)])
        inputs, _, deviations, _ = self._forward(pixels)
        folded = []
        for latent, gain, offset, values, deviation in zip(
            self._latent, self._gains, self._offsets, inputs, deviations, strict=True
        ):
            weights = signs(latent)
            scale = gain.astype(np.float64) / deviation
            folded.append(
                (weights.astype(np.int8), scale, offset - scale * (values @ weights).mean(axis=0, dtype=float))
            )
        layers = [
            sign_layer(f"hidden{index + 1}", *layer, input_dtype=BIPOLAR if index else self._dtype)
            for index, layer in enumerate(folded[:-1])
        ]
        weights, scale, bias = folded[-1]
        layers.append(BinaryDense(name="classes", weights=weights, output_dtype=SUM))
        return Network(
            name=self.name.replace("_", "-"),
            layers=layers,
            input_shape=(64,),
            input_scale=self._scale,
            output_scale=scale,
            output_bias=bias,
            labels=[str(digit) for digit in range(10)],
        )


def train(name: str, images: np.ndarray, labels: np.ndarray) -> Network:
    """Return the network of that name that some images (n, 64) and labels (n,) make."""
    rng = np.random.default_rng(SEED)
    perceptron = BinaryPerceptron(name, rng)
    real = images.astype(np.float32)
    perceptron.train(real, labels, rng)
    return perceptron.fold(real, rng)


def hits(network: Network, images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many of the images the network reads, in integers."""
    values = network.quantize_input(images)
    for layer in network.layers:
        values = golden.run_layer(layer, values)
    return int((network.dequantize_output(values).argmax(axis=1) == labels).sum())


def cross_validate(name: str, images: np.ndarray, labels: np.ndarray, folds: int) -> int:
    """Return how many of the images are read by the networks that were trained without their fold."""
    fold = np.empty(len(labels), dtype=int)
    for digit in range(10):
        of_digit = np.flatnonzero(labels == digit)
        fold[of_digit] = np.arange(len(of_digit)) % folds
    parts = (fold == index for index in range(folds))
    return sum(hits(train(name, images[~part], labels[~part]), images[part], labels[part]) for part in parts)


def main() -> None:
    """Train and fold; report accuracies and size; write the files."""
    parser = argparse.ArgumentParser(description="Train the binarized networks that come with Celosia.")
    parser.add_argument("--network", choices=NETWORKS, help="one of them")
    parser.add_argument("--output", type=Path, default=Path("host/data"), help="folder for the files")
    parser.add_argument("--folds", type=int, metavar="N", help="cross-validate on the training images, write nothing")
    arguments = parser.parse_args()
    data = split_digits()
    images, labels = data["train_images"], data["train_labels"]
    for name in [arguments.network] if arguments.network else NETWORKS:
        if arguments.folds:
            right = cross_validate(name, images, labels, arguments.folds)
            share = right / len(labels)
            print(f"{name}, {arguments.folds} folds: {right} of {len(labels)} training images right, {share:.2%}")
            continue
        network = train(name, images, labels)
        for part in ("train", "test"):
            size = len(data[f"{part}_labels"])
            right = hits(network, data[f"{part}_images"], data[f"{part}_labels"])
            print(f"{name}, {part}: {right} of {size} right, {right / size:.2%}")
        path = arguments.output / f"{name}.npz"
        write_npz(path, network)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
