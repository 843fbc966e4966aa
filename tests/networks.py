"""Random layers and networks of them, in integers."""

import itertools
from typing import Any

import numpy as np

from celosia.host.models.arrangement import Concat, Reshape
from celosia.host.models.convolution import Conv2d
from celosia.host.models.elementwise import Add, Rescale
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Dense, Network
from celosia.host.models.pooling import AveragePool2d, MaxPool2d
from celosia.host.models.requantization import ROUNDINGS
from celosia.host.models.softmax import Softmax

TYPES = ("int8", "uint8", "int4")


class Builder:
    """Puts a network together, tensor by tensor.

    Each method adds a layer, and returns the number of the tensor that it makes.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "int8") -> None:
        self.rng = rng
        self.shapes, self.dtypes = [shape], [dtype]
        self.zero_points = [self._between(*integer_range(dtype))]
        self.layers: list[Any] = []
        self.sources: list[tuple[int, ...]] = []

    def network(self) -> Network:
        return Network(name="random", layers=self.layers, input_shape=self.shapes[0], sources=self.sources)

    def inputs(self, count: int) -> np.ndarray:
        low, high = integer_range(self.dtypes[0])
        values = self.rng.integers(low, high + 1, (count, *self.shapes[0]))
        return np.where(self.rng.random(values.shape) < 0.1, self.rng.choice([low, high], values.shape), values)

    def _between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def _add(self, layer: Any, *sources: int) -> int:
        self.layers.append(layer)
        self.sources.append(sources)
        self.shapes.append(layer.output_shape)
        self.dtypes.append(layer.output_dtype)
        self.zero_points.append(layer.output_zero_point)
        return len(self.layers)

    def _common(self, source: int, dtype: str | None) -> dict[str, Any]:
        """Requantization to outputs of some type."""
        dtype = dtype or self.dtypes[source]
        low, high = integer_range(dtype)
        clamp = sorted((self._between(low, high), self._between(low, high)))
        low, high = (low, high) if self.rng.random() < 0.7 else clamp
        return {
            "name": f"layer{len(self.layers)}",
            "rounding": str(self.rng.choice(ROUNDINGS)),
            "input_zero_point": self.zero_points[source],
            "output_zero_point": self._between(*integer_range(dtype)),
            "minimum": low,
            "maximum": high,
            "input_dtype": self.dtypes[source],
            "output_dtype": dtype,
        }

    def _channels(self, count: int, K: int) -> dict[str, np.ndarray]:
        """Parameters that use the range of the outputs for sums of K products."""
        shift = -6 - int(np.log2(K) / 2)
        return {
            "bias": self.rng.integers(-2000, 2000, count),
            "multiplier": self.rng.integers(2**30, 2**31, count),
            "shift": self.rng.integers(shift - 1, shift + 2, count),
        }

    def dense(self, source: int, N: int, dtype: str | None = None) -> int:
        K = int(np.prod(self.shapes[source]))
        weights = self.rng.integers(-128, 128, (K, N)).astype(np.int8)
        return self._add(Dense(weights=weights, **self._channels(N, K), **self._common(source, dtype)), source)

    def conv(
        self,
        source: int,
        N: int,
        kernel: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] | None = None,
        dilations: tuple[int, int] = (1, 1),
        groups: int = 1,
        dtype: str | None = None,
    ) -> int:
        H, W, C = self.shapes[source]
        weights = self.rng.integers(-128, 128, (*kernel, C // groups, N)).astype(np.int8)
        layer = Conv2d(
            weights=weights,
            input_size=(H, W),
            strides=strides,
            padding=padding if padding is not None else self.same((H, W), kernel, strides, dilations),
            dilations=dilations,
            groups=groups,
            **self._channels(N, weights[..., 0].size),
            **self._common(source, dtype),
        )
        return self._add(layer, source)

    @staticmethod
    def same(size: Any, kernel: Any, strides: Any, dilations: Any = (1, 1)) -> tuple[int, int, int, int]:
        """The padding with which only strides make an image smaller."""
        totals = [
            max((-(-side // stride) - 1) * stride + (k - 1) * gap + 1 - side, 0)
            for side, k, stride, gap in zip(size, kernel, strides, dilations, strict=True)
        ]
        before = [total // 2 for total in totals]
        return before[0], before[1], totals[0] - before[0], totals[1] - before[1]

    def pool(
        self,
        kind: type,
        source: int,
        kernel: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> int:
        common = self._common(source, None)
        clamp = {name: common[name] for name in ("name", "minimum", "maximum")}
        layer = kind(
            input_shape=self.shapes[source],
            kernel=kernel,
            strides=strides,
            padding=padding,
            zero_point=self.zero_points[source],
            dtype=self.dtypes[source],
            **clamp,
        )
        return self._add(layer, source)

    def max_pool(self, source: int, *args: Any, **kwargs: Any) -> int:
        return self.pool(MaxPool2d, source, *args, **kwargs)

    def average_pool(self, source: int, *args: Any, **kwargs: Any) -> int:
        return self.pool(AveragePool2d, source, *args, **kwargs)

    def global_pool(self, source: int) -> int:
        size = self.shapes[source][:2]
        return self.average_pool(source, size, size)

    def rescale(self, source: int, dtype: str | None = None) -> int:
        scale = {"multiplier": self._between(2**30, 2**31 - 1), "shift": self._between(-2, 1)}
        return self._add(Rescale(shape=self.shapes[source], **scale, **self._common(source, dtype)), source)

    def add(self, first: int, second: int, *, left_shift: int = 20) -> int:
        common = self._common(first, None)
        del common["input_zero_point"]
        layer = Add(
            shape=self.shapes[first],
            left_shift=left_shift,
            multipliers=tuple(self.rng.integers(2**30, 2**31, 2).tolist()),
            shifts=tuple(self.rng.integers(-3, 1, 2).tolist()),
            output_multiplier=self._between(2**30, 2**31 - 1),
            output_shift=-left_shift + self._between(-1, 1) if left_shift else 0,
            input_zero_points=(self.zero_points[first], self.zero_points[second]),
            **common,
        )
        return self._add(layer, first, second)

    def concat(self, *sources: int) -> int:
        """Of tensors of one type and zero point, see `alike`."""
        layer = Concat(
            name=f"layer{len(self.layers)}",
            input_shapes=tuple(self.shapes[source] for source in sources),
            zero_point=self.zero_points[sources[0]],
            dtype=self.dtypes[sources[0]],
        )
        return self._add(layer, *sources)

    def alike(self, *tensors: int) -> None:
        """Give tensors that no layer takes yet the zero point of the first one."""
        assert all(tensor not in taken for tensor in tensors[1:] for taken in self.sources)
        for tensor in tensors[1:]:
            layer = self.layers[tensor - 1]
            fields = {name: getattr(layer, name) for name in layer.__dataclass_fields__}
            assert "output_zero_point" in fields
            fields["output_zero_point"] = self.zero_points[tensor] = self.zero_points[tensors[0]]
            self.layers[tensor - 1] = type(layer)(**fields)

    def reshape(self, source: int, shape: tuple[int, ...]) -> int:
        layer = Reshape(
            name=f"layer{len(self.layers)}",
            input_shape=self.shapes[source],
            output_shape=shape,
            zero_point=self.zero_points[source],
            dtype=self.dtypes[source],
        )
        return self._add(layer, source)

    def softmax(self, source: int) -> int:
        layer = Softmax(
            name=f"layer{len(self.layers)}",
            shape=self.shapes[source],
            multiplier=1_400_000_000,
            shift=22,
            input_zero_point=self.zero_points[source],
        )
        return self._add(layer, source)


def random_window(rng: np.random.Generator, *, dilated: bool = True) -> dict[str, Any]:
    """A random image, kernel, strides, dilations and padding that fit."""
    for _ in itertools.count():
        size = tuple(rng.integers(1, 12, 2).tolist())
        kernel = tuple(rng.integers(1, 6, 2).tolist())
        strides = tuple(rng.integers(1, 4, 2).tolist())
        dilations = tuple((rng.integers(1, 3, 2) if dilated and rng.random() < 0.3 else np.ones(2, int)).tolist())
        most = min(kernel[0], kernel[1], 3)
        padding = tuple(rng.integers(0, most, 4).tolist()) if rng.random() < 0.7 else (0, 0, 0, 0)
        spans = [(k - 1) * gap + 1 for k, gap in zip(kernel, dilations, strict=True)]
        if all(side + a + b >= span for side, a, b, span in zip(size, padding[:2], padding[2:], spans, strict=True)):
            return {"size": size, "kernel": kernel, "strides": strides, "dilations": dilations, "padding": padding}
    raise AssertionError


KINDS = ("conv", "depthwise", "grouped", "max_pool", "average_pool", "global_pool", "rescale", "dense", "add", "concat")


def random_layer(rng: np.random.Generator, kind: str, lanes: int, cols: int) -> Builder:
    """A network around one layer of a kind, with channels around multiples of an array's rows (`lanes`) and columns."""
    window = random_window(rng, dilated=kind in ("conv", "depthwise", "grouped"))
    C = int(rng.choice([1, 2, 3, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3]))
    groups = int(rng.integers(2, 5)) if kind == "grouped" else 1
    made = Builder(rng, (*window.pop("size"), C * groups), str(rng.choice(TYPES)))
    dilations = window.pop("dilations")
    source = made.rescale(0) if rng.random() < 0.5 else 0
    match kind:
        case "conv":
            N = int(rng.choice([1, cols - 1, cols, cols + 1, 2 * cols + 1]))
            last = made.conv(source, max(N, 1), dilations=dilations, **window)
        case "depthwise":
            N = C * int(rng.choice([1, 1, 1, 2, 3]))
            last = made.conv(source, N, dilations=dilations, groups=C, **window)
        case "grouped":
            N = groups * int(rng.choice([1, 2, 3, cols]))
            last = made.conv(source, N, dilations=dilations, groups=groups, **window)
        case "max_pool" | "average_pool":
            last = getattr(made, kind)(source, **window)
        case "global_pool":
            last = made.global_pool(source)
        case "rescale":
            last = made.rescale(source, str(rng.choice(TYPES)))
        case "dense":
            last = made.dense(source, int(rng.choice([1, 5, cols + 1])))
        case "add":
            other = made.conv(0, C, (1, 1)) if rng.random() < 0.5 else 0
            last = made.add(source or made.rescale(0), other, left_shift=int(rng.choice([20, 7, 0])))
        case "concat":
            parts = [source, made.conv(source, int(rng.integers(1, 2 * lanes)), (1, 1)), made.rescale(source)]
            made.alike(*parts)
            last = made.concat(*(int(part) for part in rng.permutation(parts)))
    if rng.random() < 0.4:
        made.rescale(last)
    return made


def random_network(rng: np.random.Generator, lanes: int, *, adds: bool) -> Builder:
    """A graph with branches, concatenations, additions, other shapes, and maybe a softmax."""
    H, W = rng.integers(3, 10, 2).tolist()
    channels = [1, 2, 3, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3]
    made = Builder(rng, (H, W, int(rng.choice(channels))), str(rng.choice(TYPES[:2])))
    for _ in range(int(rng.integers(3, 9))):
        images = [tensor for tensor, shape in enumerate(made.shapes) if len(shape) == 3]
        unused = [tensor for tensor in images if tensor in _unused(made)]
        tensor = int(rng.choice(unused if unused and rng.random() < 0.7 else images))
        _random_image_layer(rng, made, tensor, images, [max(count, 1) for count in channels], adds=adds)
    last = [made.dense(tensor, 5, "int8") for tensor in _unused(made)]
    while adds and len(last) > 1:
        last = [made.add(last[0], last[1]), *last[2:]]
    if len(last) > 1:
        made.alike(*last)
        last = [made.concat(*last)]
    if rng.random() < 0.3:
        last = [made.rescale(last[0], "int8")]
    if rng.random() < 0.3:
        made.softmax(last[0])
    return made


def _unused(made: Builder) -> list[int]:
    used = {source for sources in made.sources for source in sources}
    return [tensor for tensor in range(len(made.shapes)) if tensor not in used]


def _random_image_layer(
    rng: np.random.Generator, made: Builder, tensor: int, images: list[int], channels: list[int], *, adds: bool
) -> None:
    H, W, C = made.shapes[tensor]
    kernel = (min(int(rng.integers(1, 4)), H), min(int(rng.integers(1, 4)), W))
    strides = tuple(rng.integers(1, 3, 2).tolist()) if rng.random() < 0.2 else (1, 1)
    kinds = ["conv", "conv", "depthwise", "max_pool", "average_pool", "rescale", "reshape", "add", "concat", "concat"]
    match rng.choice(kinds):
        case "conv":
            made.conv(tensor, int(rng.choice(channels)), kernel, strides)
        case "depthwise":
            made.conv(tensor, C, kernel, groups=C)
        case "max_pool":
            made.max_pool(tensor, kernel, strides)
        case "average_pool":
            made.average_pool(tensor, kernel, padding=made.same((H, W), kernel, (1, 1)))
        case "rescale":
            made.rescale(tensor)
        case "reshape":
            made.reshape(tensor, (H * W, 1, C) if rng.random() < 0.5 else (1, H * W, C))
        case "add":
            others = [other for other in images if made.shapes[other] == (H, W, C)]
            others = [other for other in others if made.dtypes[other] == made.dtypes[tensor]]
            if adds:
                made.add(tensor, int(rng.choice(others)))
        case _:
            parts = [other for other in images if made.shapes[other][:2] == (H, W)]
            parts = [other for other in parts if made.dtypes[other] == made.dtypes[tensor]]
            parts = [other for other in parts if made.zero_points[other] == made.zero_points[tensor]]
            while len(parts) < 3:
                parts.append(made.conv(tensor, int(rng.choice(channels)), (1, 1)))
                made.alike(tensor, parts[-1])
            twice = bool(rng.random() < 0.2)  # the same tensor
            made.concat(*(int(part) for part in rng.choice(parts, int(rng.integers(2, 4)), replace=twice)))
