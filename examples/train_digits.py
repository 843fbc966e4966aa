"""Train the digits network that Celosia's demo runs, and write both data files of host/data.

    python examples/train_digits.py [--output host/data]

Data: see training.py. Widths, noise, weight decay and epochs were chosen on a part of the training images.

Method: a 64-48-32-10 perceptron with ReLU, cross-entropy, Adam (Kingma and Ba 2015) with a cosine schedule; each batch
is shifted by up to one pixel and gets Gaussian noise. Seed and order are fixed, so the same machine writes the same
bytes again.
"""

import argparse
from pathlib import Path

import numpy as np
from training import initialize, minimize, split_digits, to_network

from celosia.host.files import replacing, write_arrays
from celosia.host.models.npz import write_npz

SEED = 1
SIZES = (64, 48, 32, 10)
EPOCHS = 200
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3


def main() -> None:
    """Train, report the accuracies, write digits.npz and digits_mlp.npz."""
    parser = argparse.ArgumentParser(description="Train the digits network of Celosia's demo.")
    parser.add_argument("--output", type=Path, default=Path("host/data"), help="folder for the two files")
    folder = parser.parse_args().output
    data = split_digits()
    rng = np.random.default_rng(SEED)
    weights, biases = initialize(SIZES, rng)
    minimize(
        weights + biases,
        data["train_images"].astype(np.float32),
        data["train_labels"],
        rng,
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    network = to_network("digits", weights, biases)
    for part in ("train", "test"):
        hits = network.evaluate(data[f"{part}_images"]).argmax(axis=1) == data[f"{part}_labels"]
        print(f"{part}: {hits.sum()} of {hits.size} right, {hits.mean():.2%}")
    write_npz(folder / "digits_mlp.npz", network)
    with replacing(folder / "digits.npz") as file:
        write_arrays(file, data)


if __name__ == "__main__":
    main()
