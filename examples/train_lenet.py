"""Train, prune and share the weights of a network of LeNet-300-100's shape, and write host/data/digits_lenet.npz.

    python examples/train_lenet.py [--output host/data]

Data: see training.py. Densities, rounds, epochs and weight decay were chosen by cross-validation on the training
images; host/data/README.md says how often the test images were looked at before.

Method: Deep Compression (Han, Mao and Dally 2016, arXiv 1510.00149) on a 64-300-100-10 perceptron with ReLU. It is
trained; pruned by magnitude in rounds, with training of the remaining weights after each; its non-zero weights are
clustered to 15 values per layer; the values are trained with gradients summed per cluster. What is written is that
network in float32. Seed and order are fixed, so the same machine writes the same bytes again.
"""

import argparse
from pathlib import Path

import numpy as np
from training import INK, Arrays, initialize, minimize, split_digits, to_network

from celosia.host.cluster import share_weights
from celosia.host.compress import Compression, compress
from celosia.host.compression_report import compression_report
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.models.npz import write_npz
from celosia.host.prune import Masks, prune

SEED = 1
SIZES = (64, 300, 100, 10)
DENSITIES = (0.06, 0.03, 0.2)  # share of each layer's weights that stay
ROUNDS = 15
EPOCHS = {"dense": 200, "round": 30, "last round": 150, "codebooks": 40}
LEARNING_RATES = {"dense": 3e-3, "pruned": 2e-3, "codebooks": 1e-3}
WEIGHT_DECAY = 1e-3
CODEBOOK_WIDTH = 4  # bits of a code: 15 values beside 0
NAME = "digits-lenet"


def parameters_of(network: FloatNetwork) -> tuple[Arrays, Arrays]:
    """Weights, for pixels from 0 to 1, and biases of each layer, to be trained: copies."""
    weights = [layer.weights * (INK if index == 0 else 1) for index, layer in enumerate(network.layers)]
    return weights, [layer.bias.copy() for layer in network.layers]


class Trainer:
    """Trains networks on one set of images with one stream of random numbers."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images = images.astype(np.float32)
        self._labels = labels
        self._rng = np.random.default_rng(SEED)
        self._rounds = 0

    def train(self) -> FloatNetwork:
        """The dense network."""
        weights, biases = initialize(SIZES, self._rng)
        self._minimize(weights + biases, "dense", EPOCHS["dense"])
        return to_network(NAME, weights, biases)

    def retrain(self, network: FloatNetwork, masks: Masks) -> FloatNetwork:
        """A pruned network, trained on: pruned weights get no gradient."""
        self._rounds += 1
        weights, biases = parameters_of(network)
        epochs = EPOCHS["last round" if self._rounds == ROUNDS else "round"]
        self._minimize(
            weights + biases,
            "pruned",
            epochs,
            reduce=lambda gradients, rest: [each * mask for each, mask in zip(gradients, masks, strict=True)] + rest,
        )
        return to_network(NAME, weights, biases)

    def share(self, network: FloatNetwork) -> tuple[FloatNetwork, FloatNetwork]:
        """A pruned network with shared weights, before and after its codebooks and biases are trained."""
        weights, biases = parameters_of(network)
        shared = [share_weights(each, CODEBOOK_WIDTH) for each in weights]
        codes = [each.codes for each in shared]
        before = to_network(NAME, [each.weights for each in shared], [bias.copy() for bias in biases])
        count = len(codes)

        def expand(parameters: Arrays) -> tuple[Arrays, Arrays]:
            centroids, biases = parameters[:count], parameters[count:]
            zero = np.float32(0)
            return [np.append(zero, values)[code] for values, code in zip(centroids, codes, strict=True)], biases

        def reduce(gradients: Arrays, rest: Arrays) -> Arrays:
            sums = [
                np.bincount(code.ravel(), gradient.ravel(), minlength=len(each.centroids) + 1)[1:]
                for code, gradient, each in zip(codes, gradients, shared, strict=True)
            ]
            return [each.astype(np.float32) for each in sums] + rest

        parameters = [each.centroids.copy() for each in shared] + biases
        self._minimize(parameters, "codebooks", EPOCHS["codebooks"], weight_decay=0.0, expand=expand, reduce=reduce)
        return before, to_network(NAME, *expand(parameters))

    def _minimize(self, parameters: Arrays, kind: str, epochs: int, **options) -> None:
        minimize(
            parameters,
            self._images,
            self._labels,
            self._rng,
            epochs=epochs,
            learning_rate=LEARNING_RATES[kind],
            **{"weight_decay": WEIGHT_DECAY, **options},
        )


def evaluate(network: Network, images: np.ndarray) -> np.ndarray:
    """Outputs of a compressed network in plain integers: (n, 64) real -> (n, 10)."""
    values = network.quantize_input(images).astype(np.int64)
    for layer in network.layers:
        assert isinstance(layer, CompressedDense)
        acc = values @ layer.weights.astype(np.int64) + layer.bias
        values = np.clip((acc + (1 << layer.shift >> 1)) >> layer.shift, layer.minimum, layer.maximum)
    return values


def main() -> None:
    """Train, prune, share; report accuracies and sizes; write digits_lenet.npz."""
    parser = argparse.ArgumentParser(description="Train and compress the LeNet-300-100 of Celosia's demo.")
    parser.add_argument("--output", type=Path, default=Path("host/data"), help="folder for the file")
    folder = parser.parse_args().output
    data = split_digits()
    images, labels = data["test_images"], data["test_labels"]
    trainer = Trainer(data["train_images"], data["train_labels"])

    def report(step: str, outputs: np.ndarray) -> None:
        hits = outputs.argmax(axis=1) == labels
        print(f"{step:30} {hits.sum()} of {hits.size} test images right, {hits.mean():.2%}")

    dense = trainer.train()
    report("float, dense", dense.evaluate(images))
    pruned = prune(dense, DENSITIES, rounds=ROUNDS, retrain=trainer.retrain)
    report("float, pruned and retrained", pruned.evaluate(images))
    clustered, network = trainer.share(pruned)
    report("float, shared weights", clustered.evaluate(images))
    report("float, codebooks trained", network.evaluate(images))
    for width in (8, 16):
        options = Compression(codebook_width=CODEBOOK_WIDTH, weight_width=width)
        integers = compress(network, data["train_images"], options).network
        report(f"int8, codebooks of {width} bits", evaluate(integers, images))
        for row in compression_report(integers):
            print(
                f"  {row['name']:8} {row['nonzeros']:5} of {row['weights']:5} weights, {row['density']:6.2%}; bits per "
                f"entry: code {row['code_bits']:.2f} → {row['code_bits_huffman']:.2f}, index {row['index_bits']:.2f} → "
                f"{row['index_bits_huffman']:.2f}; {row['total_bytes']} → {row['total_bytes_huffman']} bytes (biases "
                f"{row['bias_bytes']}) of {row['float_bytes']}: {row['ratio']:.1f} → {row['ratio_huffman']:.1f} ×"
            )
    write_npz(folder / "digits_lenet.npz", network)
    print(f"digits_lenet.npz: {(folder / 'digits_lenet.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
