"""Train a convolutional network, quantize it to int8 with onnxruntime, and write host/data/digits_cnn.npz.

    python examples/train_digits_cnn.py [--output host/data] [--folds 4]

Data: see training.py. Channels, epochs and learning rate were chosen by cross-validation on the training images, which
`--folds` repeats for the settings as they are; host/data/README.md has what came out.

Method: cross-entropy, Adam (Kingma and Ba 2015) with a cosine schedule, shifted and noisy images. The network has the
parts of MobileNet (Howard et al. 2017, arXiv 1704.04861) and of residual networks (He et al. 2016). Convolutions keep
the size of images, and ReLU follows each of them and the addition:

    8 × 8 × 1 → 3 × 3 convolution → depthwise 3 × 3 → 1 × 1 → + what the first convolution gave → 2 × 2 maximum
    → 4 × 4 → depthwise 3 × 3 → 1 × 1 → 3 × 3 convolution → average → 10

What is trained becomes a float ONNX graph; onnxruntime's static quantizer makes it int8 (QDQ, weights symmetric and per
channel, ranges from the training images), and Celosia's reader makes that layers in integers. Seed and order are fixed,
so the same machine with the same onnxruntime writes the same bytes again.
"""

import argparse
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from training import INK, Arrays, descend, split_digits

from celosia.host.models.ir import Network
from celosia.host.models.npz import write_npz
from celosia.host.models.onnx import read_onnx
from celosia.sim.golden.network import tensors

SEED = 1
SIDE = 8  # rows and columns of an image
CHANNELS, FEATURES = 16, 32  # of the 8 × 8 images, and of the 4 × 4 ones
EPOCHS = 200
LEARNING_RATE = 1e-2
NAME = "digits-cnn"
SHAPES = {  # of the weights: inputs of an output, outputs
    "conv1": (9, CHANNELS),
    "depthwise1": (9, CHANNELS),
    "pointwise1": (CHANNELS, CHANNELS),
    "depthwise2": (9, CHANNELS),
    "pointwise2": (CHANNELS, FEATURES),
    "conv2": (9 * FEATURES, FEATURES),
    "classes": (FEATURES, 10),
}
KERNEL = [(row, column) for row in range(3) for column in range(3)]

Result = tuple[np.ndarray, Callable[[np.ndarray], Any]]
"""Output of a layer, and what turns its gradient into that of the input; with those of weights and bias, in a tuple."""


def neighbours(images: np.ndarray) -> list[np.ndarray]:
    """The nine images (n, H, W, C) that a 3 × 3 kernel sees, zeros outside."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    return [padded[:, row : row + height, column : column + width] for row, column in KERNEL]


def back_to_image(gradients: Arrays) -> np.ndarray:
    """Gradient of images from those of their :func:`neighbours`."""
    n, height, width, channels = gradients[0].shape
    padded = np.zeros((n, height + 2, width + 2, channels), np.float32)
    for (row, column), gradient in zip(KERNEL, gradients, strict=True):
        padded[:, row : row + height, column : column + width] += gradient
    return padded[:, 1:-1, 1:-1]


def pointwise(values: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Result:
    """Dense layer over the last axis: 1 × 1 convolution of images, classes of vectors; weights (K, N)."""
    rows = values.reshape(-1, len(weights))

    def backward(gradient: np.ndarray) -> Any:
        flat = gradient.reshape(-1, len(bias))
        return (flat @ weights.T).reshape(values.shape), rows.T @ flat, flat.sum(axis=0)

    return (rows @ weights + bias).reshape(*values.shape[:-1], -1), backward


def convolution(images: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Result:
    """3 × 3 convolution; weights (9 · C, N), kernel elements first."""
    outputs, back = pointwise(np.concatenate(neighbours(images), axis=-1), weights, bias)

    def backward(gradient: np.ndarray) -> Any:
        error, *rest = back(gradient)
        return back_to_image(np.split(error, len(KERNEL), axis=-1)), *rest

    return outputs, backward


def depthwise(images: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Result:
    """3 × 3 convolution of each channel; weights (9, C)."""
    seen = neighbours(images)

    def backward(gradient: np.ndarray) -> Any:
        error = back_to_image([gradient * weight for weight in weights])
        return error, np.stack([(each * gradient).sum(axis=(0, 1, 2)) for each in seen]), gradient.sum(axis=(0, 1, 2))

    return sum(image * weight for image, weight in zip(seen, weights, strict=True)) + bias, backward


def relu(values: np.ndarray) -> Result:
    """Largest of the values and 0."""
    return np.maximum(values, 0), lambda gradient: gradient * (values > 0)


def maximum(images: np.ndarray) -> Result:
    """Largest of 2 × 2 pixels; equal ones share the gradient."""
    n, height, width, channels = images.shape
    windows = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    outputs = windows.max(axis=(2, 4), keepdims=True)
    share = (windows == outputs).astype(np.float32)
    share /= share.sum(axis=(2, 4), keepdims=True)
    return outputs[:, :, 0, :, 0], lambda gradient: (share * gradient[:, :, None, :, None]).reshape(images.shape)


def average(images: np.ndarray) -> Result:
    """Average of all pixels."""
    size = np.float32(images.shape[1] * images.shape[2])
    return images.mean(axis=(1, 2)), lambda gradient: np.broadcast_to(gradient[:, None, None] / size, images.shape)


def sequence(values: np.ndarray, *layers: tuple[Callable[..., Result], Arrays]) -> Result:
    """Layers one after the other, each with its weights and bias; gradients of these are in one list, in order."""
    steps = []
    for layer, parameters in layers:
        values, backward = layer(values, *parameters)
        steps.append(backward)

    def all_backward(gradient: np.ndarray) -> tuple[np.ndarray, Arrays]:
        gradients: Arrays = []
        for backward in reversed(steps):
            made = backward(gradient)
            gradient, *rest = made if isinstance(made, tuple) else (made,)
            gradients = [*rest, *gradients]
        return gradient, gradients

    return values, all_backward


class ConvolutionalNetwork:
    """Weights and bias of each layer in turn, and what they make of pixels from 0 to 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.layers: dict[str, Arrays] = {}
        for name, (k, n) in SHAPES.items():
            weights = rng.normal(0, (2 / k) ** 0.5, (k, n)).astype(np.float32)
            self.layers[name] = [weights, np.zeros(n, np.float32)]
        self.layers["pointwise1"][0] /= np.float32(2)  # what is added to another image

    @property
    def parameters(self) -> Arrays:
        """All weights and biases."""
        return [values for layer in self.layers.values() for values in layer]

    def forward(self, pixels: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], Arrays]]:
        """Pixels (n, 64) to scores (n, 10), and what turns gradients of scores into those of the parameters."""
        conv1, depthwise1, pointwise1, depthwise2, pointwise2, conv2, classes = self.layers.values()
        images = pixels.reshape(-1, SIDE, SIDE, 1).astype(np.float32)
        stem, stem_back = sequence(images, (convolution, conv1), (relu, []))
        block, block_back = sequence(stem, (depthwise, depthwise1), (relu, []), (pointwise, pointwise1))
        scores, head_back = sequence(
            stem + block,
            (relu, []),
            (maximum, []),
            (depthwise, depthwise2),
            (relu, []),
            (pointwise, pointwise2),
            (relu, []),
            (convolution, conv2),
            (relu, []),
            (average, []),
            (pointwise, classes),
        )

        def backward(gradient: np.ndarray) -> Arrays:
            total, of_head = head_back(gradient)
            through_block, of_block = block_back(total)
            _, of_stem = stem_back(total + through_block)
            return of_stem + of_block + of_head

        return scores, backward

    def gradients(self, pixels: np.ndarray, labels: np.ndarray) -> Arrays:
        """Gradients of the mean cross-entropy."""
        scores, backward = self.forward(pixels)
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = exponentials / exponentials.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        return backward(error / np.float32(len(labels)))

    def hits(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Return how many of the images (n, 64), pixels from 0 to 16, are read."""
        return int((self.forward(images / INK)[0].argmax(axis=1) == labels).sum())

    def graph(self) -> onnx.ModelProto:
        """The network in float32 for pixels from 0 to 16: images (n, 1, 8, 8) to scores (n, 10)."""
        arrays: dict[str, np.ndarray] = {}
        for name, (weights, bias) in self.layers.items():
            side = 1 if name.startswith("pointwise") else 3
            scaled = weights / INK if name == "conv1" else weights
            kernel = scaled if name == "classes" else scaled.reshape(side, side, -1, len(bias)).transpose(3, 2, 0, 1)
            arrays |= {f"{name}_weights": kernel, f"{name}_bias": bias}

        def node(kind: str, name: str, inputs: str, **options: Any) -> onnx.NodeProto:
            """A node whose output has its name."""
            own = [f"{name}_weights", f"{name}_bias"] if name in self.layers else []
            return helper.make_node(kind, [*inputs.split(), *own], [name], name=name, **options)

        around: dict[str, Any] = {"pads": [1, 1, 1, 1]}
        nodes = [
            node("Conv", "conv1", "pixels", **around),
            node("Relu", "conv1_relu", "conv1"),
            node("Conv", "depthwise1", "conv1_relu", group=CHANNELS, **around),
            node("Relu", "depthwise1_relu", "depthwise1"),
            node("Conv", "pointwise1", "depthwise1_relu"),
            node("Add", "sum", "pointwise1 conv1_relu"),
            node("Relu", "sum_relu", "sum"),
            node("MaxPool", "maximum", "sum_relu", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "depthwise2", "maximum", group=CHANNELS, **around),
            node("Relu", "depthwise2_relu", "depthwise2"),
            node("Conv", "pointwise2", "depthwise2_relu"),
            node("Relu", "pointwise2_relu", "pointwise2"),
            node("Conv", "conv2", "pointwise2_relu", **around),
            node("Relu", "conv2_relu", "conv2"),
            node("GlobalAveragePool", "average", "conv2_relu"),
            node("Flatten", "features", "average"),
            node("Gemm", "classes", "features"),
        ]
        graph = helper.make_graph(
            nodes,
            NAME,
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 10])],
            [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def train(images: np.ndarray, labels: np.ndarray) -> ConvolutionalNetwork:
    """Return the network that some images (n, 64) and labels (n,) make."""
    rng = np.random.default_rng(SEED)
    network = ConvolutionalNetwork(rng)
    real = images.astype(np.float32)
    descend(network.parameters, real, labels, rng, network.gradients, epochs=EPOCHS, learning_rate=LEARNING_RATE)
    return network


class Calibration(CalibrationDataReader):
    """Batches of images (n, 64) for onnxruntime's quantizer."""

    def __init__(self, images: np.ndarray) -> None:
        pixels = images.reshape(-1, 1, SIDE, SIDE).astype(np.float32)
        self._batches = iter([{"pixels": batch} for batch in np.array_split(pixels, 8)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch; None after the last one."""
        return next(self._batches, None)


def quantize(network: ConvolutionalNetwork, images: np.ndarray) -> Network:
    """Return the network in integers, with ranges from some images (n, 64)."""
    logging.disable(logging.WARNING)  # the quantizer would like another tool to simplify the graph first
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(network.graph(), source)
        quantize_static(
            source,
            target,
            Calibration(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"WeightSymmetric": True},
        )
        read = read_onnx(target)
    assert isinstance(read, Network), "the graph is quantized"
    return Network(
        name=NAME,
        layers=read.layers,
        input_shape=read.input_shape,
        input_scale=read.input_scale,
        output_scale=read.output_scale,
        output_bias=read.output_bias,
        channels_first=read.channels_first,
        labels=[str(digit) for digit in range(10)],
        sources=read.sources,
    )


def integer_hits(network: Network, images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many of the images (n, 64) the network reads, in integers."""
    integers = network.quantize_input(images.reshape(-1, *network.input_shape).astype(np.float32))
    return int((tensors(network, network.layer_inputs(integers))[-1].argmax(axis=1) == labels).sum())


def cross_validate(images: np.ndarray, labels: np.ndarray, folds: int) -> tuple[int, int]:
    """Return how many of the images are read by networks trained without their fold: in float, and in integers."""
    fold = np.empty(len(labels), dtype=int)
    for digit in range(10):
        of_digit = np.flatnonzero(labels == digit)
        fold[of_digit] = np.arange(len(of_digit)) % folds
    real, integer = 0, 0
    for part in (fold == index for index in range(folds)):
        network = train(images[~part], labels[~part])
        real += network.hits(images[part], labels[part])
        integer += integer_hits(quantize(network, images[~part]), images[part], labels[part])
    return real, integer


def main() -> None:
    """Train and quantize; report accuracies and size; write digits_cnn.npz."""
    parser = argparse.ArgumentParser(description="Train the convolutional network of Celosia's demo.")
    parser.add_argument("--output", type=Path, default=Path("host/data"), help="folder for the file")
    parser.add_argument("--folds", type=int, metavar="N", help="cross-validate on the training images, write nothing")
    arguments = parser.parse_args()
    data = split_digits()
    images, labels = data["train_images"], data["train_labels"]
    if arguments.folds:
        for kind, right in zip(("float", "int8"), cross_validate(images, labels, arguments.folds), strict=True):
            print(f"{arguments.folds} folds, {kind}: {right} of {len(labels)} right, {right / len(labels):.2%}")
        return
    network = train(images, labels)
    integers = quantize(network, images)
    for part in ("train", "test"):
        of_part, size = (data[f"{part}_images"], data[f"{part}_labels"]), len(data[f"{part}_labels"])
        for kind, right in (("float", network.hits(*of_part)), ("int8", integer_hits(integers, *of_part))):
            print(f"{part}, {kind}: {right} of {size} right, {right / size:.2%}")
    path = arguments.output / "digits_cnn.npz"
    write_npz(path, integers)
    print(f"{path.name}: {path.stat().st_size} bytes, {sum(each.size for each in network.parameters[::2])} weights")


if __name__ == "__main__":
    main()
