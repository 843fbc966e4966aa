"""Quantized ONNX graphs in exact arithmetic, independent of what is tested."""

from fractions import Fraction

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Real:
    """Reals as integers (batch, …) times the product of float32 scales, or a sum of two such; clamped to bounds.

    `magnitude` is what the float32 rounding errors of onnxruntime are relative to, in the integers' unit.
    """

    def __init__(self, *terms, divisor=1, depth=1, magnitude=None, bounds=(-np.inf, np.inf)):
        self.terms, self.divisor, self.depth, self.bounds = terms, divisor, depth, bounds
        self.magnitude = np.abs(terms[0][0]) if magnitude is None else magnitude

    def map(self, function):
        """The same function of positions for all: reshaping and the like."""
        terms = [(function(numbers), scales) for numbers, scales in self.terms]
        return Real(
            *terms, divisor=self.divisor, depth=self.depth, magnitude=function(self.magnitude), bounds=self.bounds
        )


class Joined:
    """Reals one after the other, which are quantized one by one."""

    def __init__(self, parts, axis):
        self.parts, self.axis = parts, axis


def float32_scale(scales, out, divisor):
    """The product that the reader's documentation defines, for each output."""
    total = np.float32(1)
    for scale in scales:
        total = (total * scale).astype(np.float32) if np.ndim(scale) else np.float32(total * scale)
    return np.asarray(total / np.float32(out * np.float32(divisor)), np.float32)


def half_even(numerator: int, denominator: int) -> int:
    return round(Fraction(numerator, denominator))  # Python rounds halves to even


def scaled(numbers, scale):
    """round(numbers · scale), half to even, in integers; scale (N,) is along axis 1, or one for all."""
    mantissa, exponent = np.frexp(scale)
    mantissa, right = (mantissa * 2**24).astype(np.int64), 24 - exponent.astype(np.int64)
    if scale.size > 1:
        mantissa, right = (part.reshape(-1, *[1] * (numbers.ndim - 2)) for part in (mantissa, right))
    assert np.all((right > 0) & (right < 62))
    assert np.abs(numbers).max(initial=0) < 2**38
    product = numbers * mantissa
    floor, twice = product >> right, (product & ((np.int64(1) << right) - 1)) * 2
    one = np.int64(1) << right
    value = numbers * np.float64(1) * mantissa / one
    return floor + ((twice > one) | ((twice == one) & (floor % 2 == 1))), value


def summed(terms, out):
    """Rounded sums of exact products, pair by pair of inputs."""
    (first, (scale_1,)), (second, (scale_2,)) = terms
    codes, places = np.unique(first * 1024 + second, return_inverse=True)
    a, b, c = (Fraction(float(scale)) for scale in (scale_1, scale_2, out))
    pairs = [((int(code) + 512) // 1024, (int(code) + 512) % 1024 - 512) for code in codes]
    table = [(a * x + b * y) / c for x, y in pairs]
    whole = np.array([half_even(value.numerator, value.denominator) for value in table])
    return whole[places].reshape(first.shape), np.array([float(value) for value in table])[places].reshape(first.shape)


def padding(size, spans, strides, pads=(0, 0, 0, 0), auto_pad=b"NOTSET", **_):
    """Rows above, columns to the left, rows below, columns to the right."""
    if auto_pad in (b"NOTSET", b"VALID"):
        return pads if auto_pad == b"NOTSET" else (0, 0, 0, 0)
    both = []
    for side, span, stride in zip(size, spans, strides, strict=True):
        total = max((int(np.ceil(side / stride)) - 1) * stride + span - side, 0)
        both.append(sorted((total // 2, total - total // 2), reverse=auto_pad == b"SAME_LOWER"))
    return both[0][0], both[1][0], both[0][1], both[1][1]


class Exact:
    """Evaluates a quantized ONNX graph operator by operator: integer sums, exact scales, one rounding, half to even.

    `forced` are tensors that are taken instead of those computed; then `values` has what was computed all the same,
    and `reals` the quotients before rounding with the errors that float32 arithmetic can make in them.
    """

    def __init__(self, path, inputs, forced=None):
        graph = onnx.load(path).graph
        self.known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.known["x"] = inputs
        self.values, self.reals, self.forced = {}, {}, forced or {}
        for node in graph.node:
            given = [self.known[name] if name else None for name in node.input]
            options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            self.name = node.output[0]
            self.known[self.name] = getattr(self, node.op_type.lower())(*given, **options)
        self.output = self.known[graph.output[0].name]

    def quantize(self, real, scale, zero):
        if isinstance(real, Joined):
            return np.concatenate([self.quantize(part, scale, zero) for part in real.parts], axis=real.axis)
        low, high = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
        if len(real.terms) == 1:
            numbers, scales = real.terms[0]
            factor = float32_scale(scales, scale, real.divisor)
            whole, value = scaled(numbers, factor)
            along = factor.reshape(-1, *[1] * (numbers.ndim - 2)) if factor.size > 1 else factor
            error = real.magnitude * along.astype(np.float64) * (real.depth + 8) * 2.0**-24
        else:
            whole, value = summed(real.terms, scale)
            error = sum(np.abs(n * float(s[0] / scale)) for n, s in real.terms) * 8 * 2.0**-24
        with np.errstate(over="ignore"):
            lowest, highest = (np.rint(np.float32(bound) / scale) for bound in real.bounds)
        whole = np.clip(np.clip(whole, lowest, highest) + int(zero), low, high).astype(np.int64)
        self.values[self.name], self.reals[self.name] = whole, (value, error)
        return self.forced.get(self.name, whole).astype(np.int64)

    def quantizelinear(self, x, scale, zero, **_):
        if isinstance(x, Real | Joined):
            return self.quantize(x, scale, zero)
        limits = np.iinfo(zero.dtype)
        return np.clip(np.rint(x / scale).astype(np.int64) + int(zero), limits.min, limits.max)

    def dequantizelinear(self, x, scale, zero=0, axis=1):
        if np.ndim(scale) and scale.size > 1 and x.ndim > 1:
            zero = np.reshape(zero, [-1 if place == axis else 1 for place in range(x.ndim)])
        return Real((x.astype(np.int64) - np.asarray(zero, np.int64), (np.squeeze(scale),)))

    def conv(self, x, weights, bias=None, *, group=1, strides=(1, 1), dilations=(1, 1), **options):
        (numbers, inputs), (w, scales) = x.terms[0], weights.terms[0]
        spans = [(side - 1) * gap + 1 for side, gap in zip(w.shape[2:], dilations, strict=True)]
        pads = padding(numbers.shape[2:], spans, strides, **options)
        padded = np.pad(numbers, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
        count, _, height, width = padded.shape
        n, c, kernel_rows, kernel_columns = w.shape
        out_rows = (height - (kernel_rows - 1) * dilations[0] - 1) // strides[0] + 1
        out_columns = (width - (kernel_columns - 1) * dilations[1] - 1) // strides[1] + 1
        sums = np.zeros((2, count, group, n // group, out_rows, out_columns))
        for i in range(kernel_rows):
            for j in range(kernel_columns):
                rows = slice(i * dilations[0], i * dilations[0] + (out_rows - 1) * strides[0] + 1, strides[0])
                columns = slice(j * dilations[1], j * dilations[1] + (out_columns - 1) * strides[1] + 1, strides[1])
                part = padded[:, :, rows, columns].reshape(count, group, c, out_rows * out_columns).astype(float)
                factor = w[:, :, i, j].reshape(group, n // group, c).astype(float)  # float64 holds these sums exactly
                sums[0] += (factor @ part).reshape(sums[0].shape)
                sums[1] += (np.abs(factor) @ np.abs(part)).reshape(sums[0].shape)
        total, magnitude = (part.reshape(count, n, out_rows, out_columns).astype(np.int64) for part in sums)
        return self.biased(total, magnitude, bias, (*inputs, *scales), c * kernel_rows * kernel_columns)

    def biased(self, total, magnitude, bias, scales, depth):
        if bias is not None:
            if isinstance(bias, Real):
                (bias, (unit,)) = bias.terms[0]
                assert np.array_equal(unit, np.float32(scales[0] * scales[1])), "the bias has units of its own"
            bias = bias.astype(np.int64).reshape(-1, *[1] * (total.ndim - 2))
            total, magnitude = total + bias, magnitude + np.abs(bias)
        return Real((total, scales), depth=depth, magnitude=magnitude)

    def gemm(self, x, weights, bias=None, transB=0, **_):
        (numbers, inputs), (w, scales) = x.terms[0], weights.terms[0]
        w = w.T if transB else w
        return self.biased(numbers @ w, np.abs(numbers) @ np.abs(w), bias, (*inputs, *scales), len(w))

    matmul = gemm

    def add(self, x, y):
        return Real(*x.terms, *y.terms)

    def relu(self, x):
        return self.clip(x, 0.0)

    def clip(self, x, low=-np.inf, high=np.inf):
        low, high = np.clip(x.bounds, low, high)
        return Real(*x.terms, divisor=x.divisor, depth=x.depth, magnitude=x.magnitude, bounds=(low, high))

    def windows(self, numbers, fill, kernel_shape, strides=(1, 1), ceil_mode=0, **options):
        pads = padding(numbers.shape[2:], kernel_shape, strides, **options)
        extra = [0, 0]
        for axis in (0, 1):
            room = numbers.shape[2 + axis] + pads[axis] + pads[axis + 2] - kernel_shape[axis]
            extra[axis] = -room % strides[axis] if ceil_mode else 0
        width = ((0, 0), (0, 0), (pads[0], pads[2] + extra[0]), (pads[1], pads[3] + extra[1]))
        padded = np.pad(numbers, width, constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel_shape), axis=(2, 3))
        return view[:, :, :: strides[0], :: strides[1]]

    def maxpool(self, x, **options):
        def largest(n):
            return self.windows(n.astype(np.int64), -(2**40), **options).max((4, 5))

        return x.map(largest) if isinstance(x, Real) else largest(x)

    def globalmaxpool(self, x):
        return x.map(lambda n: n.max((2, 3), keepdims=True))

    def averagepool(self, x, kernel_shape, **options):
        total = x.map(lambda n: self.windows(n, 0, kernel_shape, **options).sum((4, 5)))
        count = int(np.prod(kernel_shape))
        most = np.full(total.magnitude.shape, np.abs(x.terms[0][0]).max() * count)
        return Real(*total.terms, divisor=count, depth=count, magnitude=most)

    def globalaveragepool(self, x):
        return self.averagepool(x, x.terms[0][0].shape[2:])

    def reducemean(self, x, axes=None, keepdims=1, **_):
        assert sorted(np.mod(axes, 4)) == [2, 3]
        return self.globalaveragepool(x).map(lambda n: np.reshape(n, n.shape if keepdims else n.shape[:2]))

    def flatten(self, x, **_):
        return self.shaped(x, lambda n: n.reshape(len(n), -1))

    def reshape(self, x, shape, **_):
        return self.shaped(x, lambda n: n.reshape(len(n), *shape[1:]))

    def transpose(self, x, perm):
        return self.shaped(x, lambda n: n.transpose(perm))

    def squeeze(self, x, axes):
        return self.shaped(x, lambda n: n.squeeze(tuple(axes)))

    def unsqueeze(self, x, axes):
        return self.shaped(x, lambda n: np.expand_dims(n, tuple(axes)))

    def identity(self, x, *_):
        return x

    dropout = identity

    def shaped(self, x, function):
        return x.map(function) if isinstance(x, Real) else function(x)

    def concat(self, *parts, axis):
        return Joined(parts, axis)

    # integer operators are what stands between DequantizeLinear and QuantizeLinear

    def qlinearconv(self, x, xs, xz, w, ws, wz, ys, yz, bias=None, **options):
        real = self.conv(self.dequantizelinear(x, xs, xz), self.dequantizelinear(w, ws, wz, 0), bias, **options)
        return self.quantize(real, ys, yz)

    def qgemm(self, x, xs, xz, w, ws, wz, bias, ys, yz, transB=0, **_):
        weights = self.dequantizelinear(w, ws, wz, 0 if transB else 1)
        return self.quantize(self.gemm(self.dequantizelinear(x, xs, xz), weights, bias, transB), ys, yz)

    def qlinearmatmul(self, x, xs, xz, w, ws, wz, ys, yz):
        return self.qgemm(x, xs, xz, w, ws, wz, None, ys, yz)

    def qlinearadd(self, a, a_scale, az, b, bs, bz, ys, yz):
        return self.quantize(self.add(self.dequantizelinear(a, a_scale, az), self.dequantizelinear(b, bs, bz)), ys, yz)

    def qlinearaveragepool(self, x, xs, xz, ys, yz, **options):
        return self.quantize(self.averagepool(self.dequantizelinear(x, xs, xz), **options), ys, yz)

    def qlinearglobalaveragepool(self, x, xs, xz, ys, yz, **_):
        return self.quantize(self.globalaveragepool(self.dequantizelinear(x, xs, xz)), ys, yz)

    def qlinearconcat(self, ys, yz, *parts, axis):
        made = [
            self.quantize(self.dequantizelinear(*parts[start : start + 3]), ys, yz) for start in range(0, len(parts), 3)
        ]
        return np.concatenate(made, axis=axis)
