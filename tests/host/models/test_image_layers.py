"""Convolution, pooling and the layers between: what they refuse, and the golden model against plain definitions."""

import math
from fractions import Fraction

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.models.arrangement import Concat, Reshape
from celosia.host.models.convolution import Conv2d
from celosia.host.models.elementwise import Add, Rescale
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Dense, Network
from celosia.host.models.npz import read_npz, write_npz
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.models.softmax import Softmax
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.sim.golden.network import tensors

SEED = 8
REQUANTIZATION = {"rounding": "double", "input_zero_point": 3, "output_zero_point": -4, "minimum": -100, "maximum": 90}
CLAMP = {"zero_point": 3, "minimum": -100, "maximum": 90}


def channels(count: int) -> dict[str, np.ndarray]:
    return {"bias": np.arange(count), "multiplier": np.full(count, 2**30 + 12345), "shift": np.full(count, -5)}


def conv(**changes) -> Conv2d:
    fields = {"name": "conv", "weights": np.ones((3, 2, 2, 4), np.int8), "input_size": (5, 6)} | REQUANTIZATION
    fields |= changes
    return Conv2d(**(channels(np.shape(fields["weights"])[-1]) | fields))


def max_pool(**changes) -> MaxPool2d:
    return MaxPool2d(**({"name": "pool", "input_shape": (5, 6, 2), "kernel": (3, 2)} | CLAMP | changes))


def add(**changes) -> Add:
    fields = {
        "name": "add",
        "shape": (2, 3),
        "multipliers": (2**30, 2**31 - 1),
        "shifts": (0, -3),
        "output_multiplier": 1_500_000_000,
        "output_shift": -17,
        "rounding": "double",
        "input_zero_points": (3, -100),
        "output_zero_point": 7,
        "minimum": -128,
        "maximum": 127,
    }
    return Add(**(fields | changes))


def rescale(**changes) -> Rescale:
    return Rescale(**({"name": "rescale", "shape": (4,), "multiplier": 2**30, "shift": 1} | REQUANTIZATION | changes))


def softmax(**changes) -> Softmax:
    return Softmax(**({"name": "s", "shape": (4,), "multiplier": 2**30, "shift": 20, "input_zero_point": 0} | changes))


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (conv, {"weights": np.ones((3, 2, 2, 4))}, "the weights are float64, but they must be int8"),
        (conv, {"weights": np.ones((3, 2, 4), np.int8)}, r"have shape \(3, 2, 4\), but a convolution needs"),
        (conv, {"weights": np.ones((3, 0, 2, 4), np.int8), "bias": [0]}, "but a convolution needs"),
        (conv, {"groups": 3}, "4 output channels cannot be shared by 3 groups equally"),
        (conv, {"groups": 0}, "groups is 0, but it must be from 1 to 4"),
        (conv, {"strides": (0, 1)}, "strides is 0, but it must be from 1"),
        (conv, {"strides": (1,)}, r"strides is \(1,\), but 2 integers are needed"),
        (conv, {"strides": 2}, "strides is 2, but 2 integers are needed"),
        (conv, {"padding": (0, 0, -1, 0)}, "padding is -1"),
        (conv, {"padding": (0, 0, 2**20, 0)}, "padding is 1048576, but it must be from 0 to 32768"),
        (conv, {"dilations": (True, 1)}, "dilations is True, but it must be an integer"),
        (conv, {"dilations": (3, 1)}, r"window spans 7 × 2, which is larger than the image .* 5 × 6 and padding"),
        (conv, {"bias": np.zeros(3, int)}, r"bias has shape \(3,\), but 4 outputs need \(4,\)"),
        (conv, {"shift": np.full(4, 8)}, r"shift\[0\] is 8, but it must be from -31 to 7"),
        (conv, {"rounding": "down"}, "rounding 'down' is not one of"),
        (conv, {"minimum": 91}, "minimum 91 is above maximum 90"),
        (conv, {"name": ""}, "a name must be a string that is not empty"),
        (max_pool, {"padding": (3, 0, 0, 0)}, r"padding \(3, 0, 0, 0\) must be less than the kernel, \(3, 2\)"),
        (max_pool, {"kernel": (6, 1)}, "window spans 6 × 1"),
        (max_pool, {"input_shape": (5, 6)}, "3 integers are needed"),
        (max_pool, {"zero_point": 128}, "zero_point is 128"),
        (max_pool, {"dtype": "int99"}, "'int99' is not an activation type"),
        (add, {"shifts": (1, 0)}, "shifts is 1, but it must be from -31 to 0"),
        (add, {"multipliers": (2**31, 0)}, "multipliers is 2147483648"),
        (add, {"left_shift": 21}, "left_shift is 21"),
        (add, {"shape": ()}, "a tuple of one or more sizes is needed"),
        (add, {"input_zero_points": (0, 0, 0)}, "2 integers are needed"),
        (rescale, {"shape": (0,)}, "a size of shape is 0"),
        (rescale, {"multiplier": -1}, "multiplier is -1"),
        (rescale, {"output_dtype": "uint4"}, "output_zero_point is -4, but it must be from 0 to 15"),
        (softmax, {"shape": (5000,)}, "5000 values are too many for a softmax in 32 bits; at most 4095"),
        (softmax, {"multiplier": 5}, "multiplier is 5"),
        (softmax, {"shift": 32}, "shift is 32"),
    ],
)
def test_fields_out_of_range(make, changes, words):
    with pytest.raises(ModelError, match=words):
        make(**changes)


def test_arrangements_that_do_not_fit():
    with pytest.raises(ModelError, match=r"shapes \(\(2, 3\), \(3, 3\)\) differ in more than their last size"):
        Concat(name="c", input_shapes=((2, 3), (3, 3)), zero_point=0)
    with pytest.raises(ModelError, match="two or more shapes are needed"):
        Concat(name="c", input_shapes=((2, 3),), zero_point=0)
    with pytest.raises(ModelError, match=r"shape \(2, 3\) cannot become \(7,\)"):
        Reshape(name="r", input_shape=(2, 3), output_shape=(7,), zero_point=0)


def test_derived_sizes():
    layer = conv(strides=(2, 1), padding=(1, 0, 0, 1), dilations=(1, 2))
    assert (layer.input_shape, layer.output_shape, layer.span) == ((5, 6, 2), (2, 5, 4), (3, 3))
    assert layer.macs == 2 * 5 * 48
    assert not layer.is_depthwise
    depthwise = conv(weights=np.full((3, 3, 1, 6), -3, np.int8), groups=3)
    assert depthwise.input_shape == (5, 6, 3)
    assert depthwise.is_depthwise
    assert depthwise.weight_width == 3
    assert depthwise.accumulator_width == (9 * 3 * 131).bit_length() + 1
    assert not layer.weights.flags.writeable


def definition(layer: Conv2d, image: np.ndarray) -> np.ndarray:
    """One output after the other, in Python's integers."""
    depth, outputs = layer.weights.shape[2:]
    result = np.empty(layer.output_shape, dtype=object)
    for (y, x, n), _ in np.ndenumerate(result):
        total = int(layer.bias[n])
        for i in range(layer.kernel[0]):
            for j in range(layer.kernel[1]):
                row = y * layer.strides[0] + i * layer.dilations[0] - layer.padding[0]
                column = x * layer.strides[1] + j * layer.dilations[1] - layer.padding[1]
                if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                    for c in range(depth):
                        value = int(image[row, column, n * layer.groups // outputs * depth + c])
                        total += (value - layer.input_zero_point) * int(layer.weights[i, j, c, n])
        result[y, x, n] = scaled(total, int(layer.multiplier[n]), int(layer.shift[n]))
    return np.clip(result + layer.output_zero_point, layer.minimum, layer.maximum).astype(np.int64)


def scaled(value: int, multiplier: int, shift: int) -> int:
    """gemmlowp's two roundings, in rational numbers."""
    first = math.floor(Fraction(value) * multiplier * Fraction(2) ** (max(shift, 0) - 31) + Fraction(1, 2))
    exact = Fraction(first, 2 ** max(-shift, 0))
    return math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)


@pytest.mark.parametrize("case", range(25))
def test_convolutions_by_their_definition(case):
    rng = np.random.default_rng([SEED, case])
    groups, depth = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    outputs = groups * int(rng.integers(1, 4))
    kernel = rng.integers(1, 4, 2).tolist()
    layer = conv(
        weights=rng.integers(-128, 128, (*kernel, depth, outputs)).astype(np.int8),
        input_size=(int(rng.integers(6, 9)), int(rng.integers(6, 9))),
        strides=tuple(rng.integers(1, 4, 2).tolist()),
        padding=tuple(rng.integers(0, 4, 4).tolist()),  # also more than the kernel
        dilations=tuple(rng.integers(1, 3, 2).tolist()),
        groups=groups,
        bias=rng.integers(-5000, 5000, outputs),
        multiplier=rng.integers(2**30, 2**31, outputs),
        shift=rng.integers(-9, -4, outputs),
        input_zero_point=int(rng.integers(-128, 128)),
    )
    images = rng.integers(-128, 128, (3, *layer.input_shape))
    images[2] = -128 if case % 2 else 127
    made = tensors(Network(name="n", layers=[layer], input_shape=layer.input_shape), images)[1]
    for image, outputs in zip(images, made, strict=True):
        np.testing.assert_array_equal(outputs, definition(layer, image))


def test_sums_that_float32_does_not_hold():
    """More than 2^24 in a sum: the golden model has to take a wider type."""
    weights = np.full((1, 1, 4000, 2), 127, np.int8)
    weights[0, 0, 0, 1] = 126
    layer = conv(
        weights=weights, input_size=(1, 1), multiplier=[2**30] * 2, shift=[-19] * 2, input_zero_point=-128, minimum=-128
    )
    image = np.full((1, 1, 1, 4000), 127)
    made = tensors(Network(name="n", layers=[layer], input_shape=(1, 1, 4000)), image)[1]
    np.testing.assert_array_equal(made[0], definition(layer, image[0]))


@pytest.mark.parametrize("case", range(25))
def test_pooling_by_its_definition(case):
    rng = np.random.default_rng([SEED, 1, case])
    kernel = tuple(rng.integers(1, 5, 2).tolist())
    padding = tuple(int(rng.integers(0, side)) for side in (*kernel, *kernel))
    fields = {"kernel": kernel, "strides": tuple(rng.integers(1, 4, 2).tolist()), "padding": padding}
    fields |= {"input_shape": (6, 5, 3), "name": "pool"} | CLAMP
    for kind in (MaxPool2d, AveragePool2d):
        layer = kind(**fields)
        images = rng.integers(-128, 128, (2, 6, 5, 3))
        made = tensors(Network(name="n", layers=[layer], input_shape=(6, 5, 3)), images)[1]
        for (m, y, x, c), value in np.ndenumerate(made):
            top, left = y * layer.strides[0] - padding[0], x * layer.strides[1] - padding[1]
            window = images[m, max(top, 0) : top + kernel[0], max(left, 0) : left + kernel[1], c]
            if kind is MaxPool2d:
                expected = int(window.max())
            else:
                mean = Fraction(int(window.sum()), window.size)
                expected = math.floor(abs(mean) + Fraction(1, 2)) * (1 if mean >= 0 else -1)
            assert value == min(max(expected, -100), 90)


def test_addition_by_its_definition():
    layer, rng = add(), np.random.default_rng(SEED)
    network = Network(
        name="n",
        layers=[rescale(shape=(2, 3), output_zero_point=-100, minimum=-128, maximum=127), layer],
        input_shape=(2, 3),
        sources=[(0,), (0, 1)],
    )
    inputs, other, outputs = tensors(network, rng.integers(-128, 128, (50, 2, 3)))
    for a, b, y in zip(inputs.ravel(), other.ravel(), outputs.ravel(), strict=True):
        first = scaled((int(a) - 3) << 20, layer.multipliers[0], layer.shifts[0])
        second = scaled((int(b) + 100) << 20, layer.multipliers[1], layer.shifts[1])
        total = scaled(first + second, layer.output_multiplier, layer.output_shift) + 7
        assert y == min(max(total, -128), 127)


def branched(**changes) -> Network:
    """x → a, x → b, a + b → the output, side by side with x."""
    layers = [
        rescale(name="a", shape=(2, 3), output_zero_point=3),
        rescale(name="b", shape=(2, 3), output_zero_point=-100, minimum=-128),
        add(output_zero_point=3),
        Concat(name="all", input_shapes=((2, 3), (2, 3)), zero_point=3),
    ]
    fields = {"name": "n", "layers": layers, "input_shape": (2, 3), "sources": [(0,), (0,), (1, 2), (0, 3)]}
    return Network(**(fields | changes))


def test_networks_with_branches():
    network = branched()
    assert network.sources == ((0,), (0,), (1, 2), (0, 3))
    assert network.output_shape == (2, 6)
    made = tensors(network, np.arange(12).reshape(2, 2, 3))
    assert [tensor.shape for tensor in made] == [(2, 2, 3)] * 4 + [(2, 2, 6)]
    np.testing.assert_array_equal(made[-1], np.concatenate([made[0], made[3]], axis=-1))


def test_a_chain_has_no_sources():
    layers = [rescale(name="a", output_zero_point=3), rescale(name="b")]
    network = Network(name="n", layers=layers, input_shape=(4,), sources=[(0,), (1,)])
    assert network.sources is None
    assert network.all_sources == ((0,), (1,))


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([(0,), (0,), (1, 2)], "sources has 3 entries for 4 layers"),
        (None, r'layer "add": it takes 2 tensors, but its sources are \(2,\)'),
        ([(0,), (0, 0), (1, 2), (0, 3)], r'layer "b": it takes 1 tensors, but its sources are \(0, 0\)'),
        ([(0,), 0, (1, 2), (0, 3)], 'layer "b": it takes 1 tensors, but its sources are 0'),
        ([(0,), (0,), (1, 3), (0, 3)], "one of its sources is 3, but it must be from 0 to 2"),
        ([(0,), (0,), (-1, 2), (0, 3)], "one of its sources is -1"),
        (
            [(0,), (0,), (1, 2), (0, 1)],
            'no layer takes the output of layer "b"|no layer takes the output of layer "add"',
        ),
        ([(0,), (0,), (0, 2), (0, 3)], 'no layer takes the output of layer "a", but every tensor except the last must'),
        ([(0,), (1,), (1, 2), (2, 3)], 'layer "all": it takes int8 with zero point 3, but layer "b" gives int8 with'),
        (
            [(0,), (1,), (2, 2), (0, 3)],
            'it takes int8 with zero point 3, but layer "b" gives int8 with zero point -100',
        ),
    ],
)
def test_sources_that_do_not_fit(sources, words):
    with pytest.raises(ModelError, match=words):
        branched(sources=sources)


def test_edges_of_unequal_shapes():
    layers = [
        rescale(name="a", shape=(2, 3), output_zero_point=3),
        Concat(name="c", input_shapes=((2, 3), (2, 1)), zero_point=3),
    ]
    with pytest.raises(ModelError, match=r'layer "c": it takes shape \(2, 1\), but the output of layer "a" has shape'):
        Network(name="n", layers=layers, input_shape=(2, 3), sources=[(0,), (0, 1)])
    layers[1] = add(shape=(6,), input_zero_points=(3, 3))  # takes the elements of any shape in C order
    network = Network(name="n", layers=layers, input_shape=(2, 3), sources=[(0,), (0, 1)])
    assert tensors(network, np.zeros((1, 2, 3), int))[-1].shape == (1, 6)


def test_what_a_sparse_engine_cannot_have():
    sparse = AcceleratorConfig(engine=SparseConfig(pes=4))
    with pytest.raises(CompileError, match=r"layer 'b' \(Rescale\) takes the input; this engine takes only chains"):
        compile_network(branched(), sparse)


def test_what_is_written_is_read(tmp_path):
    write_npz(tmp_path / "n.npz", branched())
    read = read_npz(tmp_path / "n.npz")
    assert isinstance(read, Network)
    assert (read.sources, read.output_shape) == (branched().sources, (2, 6))
    inputs = np.arange(12).reshape(2, 2, 3)
    np.testing.assert_array_equal(tensors(read, inputs)[-1], tensors(branched(), inputs)[-1])


def test_layers_that_the_golden_model_lacks():
    class Unknown(Rescale):
        pass

    layer = Unknown(**{"name": "u", "shape": (4,), "multiplier": 2**30, "shift": 1} | REQUANTIZATION)
    with pytest.raises(TypeError, match="layer 'u' is a Unknown; the golden model has Add, "):
        tensors(Network(name="n", layers=[layer], input_shape=(4,)), np.zeros((1, 4), int))


def test_dense_layers_still_chain():
    layer = Dense(name="fc", weights=np.ones((6, 2), np.int8), **channels(2), **REQUANTIZATION)
    network = Network(name="n", layers=[layer], input_shape=(2, 3))
    assert tensors(network, np.zeros((1, 2, 3), int))[-1].shape == (1, 2)
