"""Random networks of the kinds that are in use: residual, inverted bottlenecks, branches side by side.

Scales are such that values are spread over their range; every tensor is held against LiteRT's reference kernels.
"""

import math

import numpy as np
import pytest

SEED = 99


class Maker:
    """Adds operators to a graph; each returns the number of its output, whose shape and grid it knows."""

    def __init__(self, graph, rng):
        self.graph, self.rng = graph, rng

    def grid(self):
        return float(np.float32(2.0 ** self.rng.uniform(-7, -2))), int(self.rng.integers(-128, 128))

    def of(self, number):
        tensor = self.graph.graph.tensors[number]
        return list(tensor.shape), float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])

    def out(self, shape, grid=None):
        return self.graph.tensor(shape, *(grid or self.grid()))

    def conv(self, x, outputs, kernel=1, stride=1, depthwise=False):
        shape, scale, _ = self.of(x)
        multiplier = outputs if depthwise else 1
        outputs = shape[3] * multiplier if depthwise else outputs
        weights = (1, kernel, kernel, outputs) if depthwise else (outputs, kernel, kernel, shape[3])
        sizes = [-(-side // stride) for side in shape[1:3]]
        grid = self.grid()
        fan_in = kernel * kernel * (1 if depthwise else shape[3])
        unit = grid[0] / scale / math.sqrt(fan_in) / 70
        scales = (unit * 2.0 ** self.rng.uniform(-1, 1, outputs)).astype(np.float32)
        y = self.out((1, *sizes, outputs), grid)
        self.graph.conv(
            x,
            self.rng.integers(-127, 128, weights),
            y,
            scales,
            self.rng.integers(-2000, 2000, outputs),
            depthwise=depthwise,
            padding=0,
            strideH=stride,
            strideW=stride,
            fusedActivationFunction=int(self.rng.choice([0, 1, 3])),
        )
        return y

    def add(self, a, b):
        shape, first, _ = self.of(a)
        _, second, _ = self.of(b)
        y = self.out(
            shape, (float(np.float32(max(first, second) * self.rng.uniform(0.8, 2))), int(self.rng.integers(-128, 128)))
        )
        self.graph.add("ADD", [a, b], y, "AddOptions", fusedActivationFunction=int(self.rng.choice([0, 1])))
        return y

    def requantize(self, x, grid):
        y = self.out(self.of(x)[0], grid)
        self.graph.add("QUANTIZE", [x], y)
        return y

    def concat(self, *values):
        grid = self.grid()
        values = [self.requantize(value, grid) for value in values]
        shape = self.of(values[0])[0]
        y = self.out((*shape[:3], sum(self.of(value)[0][3] for value in values)), grid)
        self.graph.add("CONCATENATION", values, y, "ConcatenationOptions", axis=3)
        return y

    def pool(self, x, kind, kernel, stride):
        shape, *grid = self.of(x)
        y = self.out((1, -(-shape[1] // stride), -(-shape[2] // stride), shape[3]), grid)
        fields = {"filterHeight": kernel, "filterWidth": kernel, "strideH": stride, "strideW": stride}
        self.graph.add(kind, [x], y, "Pool2DOptions", padding=0, **fields)
        return y

    def pad(self, x):
        shape, *grid = self.of(x)
        rows, columns = self.rng.integers(0, 3, 2).tolist(), self.rng.integers(0, 3, 2).tolist()
        y = self.out((1, shape[1] + sum(rows), shape[2] + sum(columns), shape[3]), grid)
        amounts = np.array([[0, 0], rows, columns, [0, 0]], np.int32)
        self.graph.add("PAD", [x, self.graph.constant(amounts)], y, "PadOptions")
        return y

    def block(self, x):
        """One part of a network, chosen at random."""
        channels = self.of(x)[0][3]
        match int(self.rng.integers(6)):
            case 0:  # residual
                return self.add(x, self.conv(self.conv(x, channels, 3), channels, 3))
            case 1:  # residual with another size, whose other side is a convolution, too
                wide = channels + int(self.rng.integers(1, 5))
                return self.add(self.conv(x, wide, 1, 2), self.conv(self.conv(x, wide, 3, 2), wide, 3))
            case 2:  # inverted bottleneck
                inner = self.conv(self.conv(x, 2 * channels), 1, 3, 1, depthwise=True)
                return self.add(x, self.conv(inner, channels))
            case 3:  # branches side by side
                return self.concat(self.conv(x, 3), self.conv(x, 4, 3), self.pool(x, "MAX_POOL_2D", 3, 1))
            case 4:
                return self.conv(self.pad(x), 6, 3, int(self.rng.integers(1, 3)))
            case _:
                kind = "AVERAGE_POOL_2D" if self.rng.random() < 0.5 else "MAX_POOL_2D"
                return self.pool(x, kind, int(self.rng.integers(1, 4)), int(self.rng.integers(1, 3)))

    def head(self, x):
        shape, scale, zero_point = self.of(x)
        if self.rng.random() < 0.5:
            y = self.out((1, shape[3]))
            self.graph.add(
                "MEAN", [x, self.graph.constant(np.array([1, 2], np.int32))], y, "ReducerOptions", keepDims=False
            )
        else:
            y = self.out((1, math.prod(shape)), (scale, zero_point))
            wanted = self.graph.constant(np.array([-1, math.prod(shape)], np.int32))
            self.graph.add("RESHAPE", [x, wanted], y)
        (_, size), scale, _ = self.of(y)
        grid = (0.1, int(self.rng.integers(-128, 128)))
        unit = float(np.float32(grid[0] / scale / math.sqrt(size) / 70))
        z = self.out((1, 10), grid)
        self.graph.dense(y, self.rng.integers(-127, 128, (10, size)), z, unit, self.rng.integers(-2000, 2000, 10))
        if self.rng.random() < 0.5:
            last = self.out((1, 10), (1 / 256, -128))
            self.graph.add("SOFTMAX", [z], last, "SoftmaxOptions", beta=1.0)


def check(tflite, folder, case, blocks, inputs):
    rng = np.random.default_rng([SEED, case])
    graph = tflite.Graph()
    shape = (int(rng.integers(6, 17)), int(rng.integers(6, 17)), int(rng.integers(1, 5)))
    maker = Maker(graph, rng)
    last = graph.input((1, *shape), *maker.grid())
    for _ in range(blocks):
        last = maker.block(last)
    maker.head(last)
    path = graph.save(folder / f"random_{case}.tflite")
    return tflite.compare(path, rng.integers(-128, 128, (inputs, *shape)).astype(np.int8))


@pytest.mark.parametrize("case", range(16))
def test_random_networks(tflite, tmp_path, case):
    assert check(tflite, tmp_path, case, 3, 3) > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_random_networks(tflite, tmp_path, part):
    for case in range(1000 + 100 * part, 1100 + 100 * part):
        assert check(tflite, tmp_path, case, 5, 4) > 0
