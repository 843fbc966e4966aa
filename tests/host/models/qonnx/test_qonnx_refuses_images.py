"""Convolutions, pools and padding that cannot be read are refused in one sentence."""

import re

import numpy as np
import pytest

FILTER = np.ones((3, 2, 3, 3), np.float32)


def conv(graph, weights=FILTER, **attributes):
    graph.bipolar()
    graph.then("Conv", weights, **attributes)


def falling_then(graph, pads, last: str):
    """A pool of sums whose batch-norm falls, then a convolution or nothing."""
    graph.quant(1, 0, 2)
    graph.then("Conv", FILTER)
    graph.then("MaxPool", kernel_shape=[2, 2])
    graph.then("Mul", np.float32(-0.3))
    _ = graph.quant(1, 0, 2, signed=0) if last == "uint" else graph.bipolar()
    if last == "Pad":
        graph.then("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(-1))
    if last == "output":
        graph.then("Transpose", perm=[0, 2, 3, 1])
    else:
        graph.then("Conv", np.ones((2, 3, 3, 3), np.float32), pads=pads)


IMAGES = {
    "groups": (lambda graph: conv(graph, np.ones((2, 1, 3, 3), np.float32), group=2), "it has 2 groups"),
    "dilations": (lambda graph: conv(graph, dilations=[2, 2]), r"its dilations are \[2, 2\]"),
    "one dimension": (lambda graph: conv(graph, np.ones((3, 2, 3), np.float32)), "only two-dimensional convolutions"),
    "other channels": (lambda graph: conv(graph, np.ones((3, 4, 3, 3), np.float32)), "it needs images of 4 channels"),
    "a kernel that is too large": (
        lambda graph: conv(graph, np.ones((3, 2, 9, 3), np.float32)),
        r"its kernel \(9, 3\) is larger than the image \(8, 6\)",
    ),
    "too much padding": (lambda graph: conv(graph, pads=[3, 0, 0, 0]), "is not less than its kernel"),
    "negative padding": (lambda graph: conv(graph, pads=[-1, 0, 0, 0]), r"its pads are \[-1, 0, 0, 0\]"),
    "an unknown auto_pad": (lambda graph: conv(graph, auto_pad="BEST"), "its auto_pad 'BEST' is not NOTSET, VALID"),
    "zeros among values without one": (
        lambda graph: (
            graph.then("MultiThreshold", np.float32([[0, 1]]), out_bias=-0.5, out_dtype="INT2"),
            graph.then("Conv", FILTER, pads=[1, 1, 1, 1]),
        ),
        "its padding of 0 is not among the integers that its inputs can be",
    ),
    "a padding among no integers": (
        lambda graph: (
            graph.bipolar(),
            graph.then("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0.5)),
            graph.then("Conv", FILTER),
        ),
        "its padding of 0.5 is not among the integers",
    ),
    "padding of the input": (
        lambda graph: (graph.then("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1])), conv(graph)),
        "it pads inputs that are not quantized",
    ),
    "reflected padding": (
        lambda graph: (graph.bipolar(), graph.then("Pad", np.int64([0] * 8), mode="reflect")),
        "its mode is reflect, but only constant",
    ),
    "padding of channels": (
        lambda graph: (graph.bipolar(), graph.then("Pad", np.int64([0, 1, 0, 0, 0, 0, 0, 0]))),
        "but only numbers put around H and W can be used",
    ),
    "padding before no convolution": (
        lambda graph: (
            conv(graph),
            graph.bipolar(),
            graph.then("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1])),
            graph.then("Relu"),
        ),
        'Relu "Relu_4": it follows Pad "Pad_3", which only a convolution can do',
    ),
    "padding twice": (
        lambda graph: (
            graph.bipolar(),
            graph.then("Pad", np.int64([0, 0, 1, 1, 0, 0, 1, 1])),
            graph.then("Conv", FILTER, pads=[1, 1, 1, 1]),
        ),
        'it pads what Pad "Pad_1" has padded already',
    ),
    "a padded pool": (
        lambda graph: (conv(graph), graph.then("MaxPool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])),
        "it pads the image, but only pools whose windows are all inside",
    ),
    "ceil_mode": (
        lambda graph: (conv(graph), graph.then("MaxPool", kernel_shape=[2, 2], ceil_mode=1)),
        "it has ceil_mode",
    ),
    "two pools": (
        lambda graph: (
            conv(graph),
            graph.then("MaxPool", kernel_shape=[2, 2]),
            graph.then("MaxPool", kernel_shape=[2, 2]),
        ),
        "it pools what is pooled already",
    ),
    "a pool of the input": (
        lambda graph: (graph.bipolar(), graph.then("MaxPool", kernel_shape=[2, 2])),
        "follow a con",
    ),
    "a pool of one dimension": (
        lambda graph: (conv(graph), graph.then("MaxPool", kernel_shape=[2])),
        r"its kernel_shape is \[2\]",
    ),
    "averages": (
        lambda graph: (conv(graph), graph.bipolar(), graph.then("GlobalAveragePool")),
        'GlobalAveragePool "G.*_3": averages are no binarized values; a MaxPool after a convolution can be used',
    ),
    "constants for each pixel": (
        lambda graph: (conv(graph), graph.then("Add", np.random.default_rng(0).random((3, 6, 4), np.float32))),
        'Add "Add_2": it has other constants for each position in an image',
    ),
    "an image at the end": (lambda graph: conv(graph), "the graph's output is an image with channels first"),
    "pooled sums at the end": (
        lambda graph: (
            conv(graph),
            graph.then("MaxPool", kernel_shape=[2, 2]),
            graph.then("Transpose", perm=[0, 2, 3, 1]),
        ),
        'MaxPool "MaxPool_2" pools sums that nothing quantizes',
    ),
    "an image on its side": (
        lambda graph: (
            conv(graph),
            graph.bipolar(),
            graph.then("Transpose", perm=[0, 1, 3, 2]),
            graph.then("Conv", np.ones((2, 3, 3, 3), np.float32)),
        ),
        "its images are transposed or reshaped in a way that cannot be used",
    ),
    "an image of a dense layer": (
        lambda graph: (
            graph.bipolar(),
            graph.then("Flatten"),
            graph.then("MatMul", np.ones((96, 18), np.float32)),
            graph.bipolar(),
            graph.then("Reshape", np.int64([1, 18, 1, 1])),
            graph.then("Conv", np.ones((2, 18, 1, 1), np.float32)),
        ),
        "it takes an image made of the outputs of a fully connected layer",
    ),
    "a falling pool, then zeros among uint": (
        lambda graph: falling_then(graph, [1, 1, 1, 1], "uint"),
        "its padding of 0 cannot be used, because channel 0 of its inputs falls with the sums that were pooled",
    ),
    "a falling pool, then −1": (lambda graph: falling_then(graph, [0] * 4, "Pad"), "its padding of -1 cannot be used"),
    "a falling pool at the end": (
        lambda graph: falling_then(graph, [0] * 4, "output"),
        'Conv "Conv_1": what is pooled at the end of the graph falls with what is computed from it in output 0',
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(name, build, refused):
    write, words = IMAGES[name]
    graph = build.Graph((1, 2, 8, 6))
    write(graph)
    assert re.search(words, refused(graph))
