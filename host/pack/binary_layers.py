"""Decides how binarized layers lie in the binary engine's memories: bit planes, codes, windows, parameters.

Words used here. An activation is `minimum + step · code`; the *code* is what is counted, bit plane by bit plane. What
is stored is the code with some bits flipped, `flip`, chosen so that what a convolution is padded with is stored as 0.
A *match* is a synapse whose bits of activation and weight agree; a bipolar weight times a bit plane taken as ±1 is
2 · matches − synapses, from which the sum follows by constants that go into the parameters. A ternary weight is half
the sum of two bipolar ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.binary import BinaryConv, BinaryDense, as_conv
from celosia.host.models.integers import BIPOLAR, integer_range
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig


@dataclass(frozen=True, kw_only=True)
class Codes:
    """How the activations of a tensor are coded.

    Parameters
    ----------
    minimum, step : int
        Activation of code 0; distance of two neighbouring ones.
    most : int
        Largest code.
    flip : int
        Bits of the code that are stored inverted.
    """

    minimum: int
    step: int
    most: int
    flip: int = 0

    @property
    def planes(self) -> int:
        """Bit planes."""
        return max(self.most.bit_length(), 1)

    @classmethod
    def of_dtype(cls, dtype: str) -> "Codes":
        """Return the codes of a whole type."""
        low, high = integer_range(dtype)
        step = 2 if dtype == BIPOLAR else 1
        return cls(minimum=low, step=step, most=(high - low) // step)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrangedLayer:
    """A layer as the engine does it.

    Parameters
    ----------
    layer : BinaryDense or BinaryConv
        What was arranged.
    conv : BinaryConv
        The same for the device: a dense layer is a convolution with one window; the windows of a first convolution of
        few channels may be put together by the host.
    together : tuple of int
        (rows, columns) of the windows that the host puts together, (1, 1) if it does not.
    codes : Codes
        Of the inputs.
    output : Codes or None
        Of the outputs; None: they are sums.
    engine : BinaryConfig
    """

    layer: BinaryDense | BinaryConv
    conv: BinaryConv
    together: tuple[int, int]
    codes: Codes
    output: Codes | None
    engine: BinaryConfig

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int, int]:
        """(K, N): inputs and outputs of a window."""
        return self.conv.weights.size // self.conv.weights.shape[3], self.conv.weights.shape[3]

    @property
    def windows(self) -> int:
        """Windows of an input of the network, those of a pooling window one by one."""
        return self.conv.macs // self.conv.weights.size

    @property
    def weight_planes(self) -> int:
        """Bipolar weights that a weight is made of."""
        return 2 if self.layer.is_ternary else 1

    @property
    def planes(self) -> int:
        """Binary operations that a multiplication is."""
        return self.codes.planes * self.weight_planes

    @property
    def work(self) -> int:
        """Binary operations of an input."""
        return self.conv.macs * self.planes

    @property
    def mutes(self) -> bool:
        """Whether it is padded with 0 where activations cannot be 0: such synapses add nothing."""
        return any(self.conv.padding) and self.layer.input_dtype == BIPOLAR and self.conv.pad_value == 0

    @property
    def chunks(self) -> int:
        """Words of a bit plane of an input pixel."""
        return -(-self.conv.weights.shape[2] // self.engine.simd)

    @property
    def pixel_words(self) -> int:
        """Words of an input pixel."""
        return self.codes.planes * self.chunks

    @property
    def input_words(self) -> int:
        """Memory words of an input."""
        height, width = self.conv.input_size
        return height * width * self.pixel_words

    @property
    def output_chunks(self) -> int:
        """Words of a bit plane of an output pixel; of sums, words of a pixel."""
        if self.output is None:
            return self.groups * self.engine.resolved_post_lanes * self.engine.result_words
        return -(-self.shape[1] // self.engine.simd)

    @property
    def output_pixel_words(self) -> int:
        """Words of an output pixel."""
        return self.output_chunks * (1 if self.output is None else self.output.planes)

    @property
    def output_words(self) -> int:
        """Memory words of an output."""
        height, width, _ = self.conv.output_shape
        return height * width * self.output_pixel_words

    @property
    def folds(self) -> int:
        """Folds of `pes` channels."""
        return -(-self.shape[1] // self.engine.pes)

    @property
    def groups(self) -> int:
        """Groups of `post_lanes` channels."""
        return -(-self.shape[1] // self.engine.resolved_post_lanes)

    @property
    def fold_words(self) -> int:
        """Weight words of a fold."""
        return self.weight_planes * self.conv.kernel[0] * self.conv.kernel[1] * self.chunks

    @property
    def weight_words(self) -> int:
        """Weight words of the layer."""
        return self.folds * self.fold_words

    @property
    def most_matches(self) -> int:
        """Largest sum of a PE."""
        inputs = self.shape[0] * ((1 << self.codes.planes) - 1)
        return self.weight_planes * (inputs + self._unused * self.codes.flip)

    @property
    def raw_shift(self) -> int:
        """Powers of two by which twice the matches is more than the sum of products."""
        return (self.weight_planes - 1) + (self.codes.step == 1)

    @property
    def _unused(self) -> int:
        """Lanes of a window's words without an input."""
        kernel = self.conv.kernel[0] * self.conv.kernel[1]
        return kernel * self.chunks * self.engine.simd - self.shape[0]

    @cached_property
    def offsets(self) -> np.ndarray:
        """What is added to twice the matches to give 2^raw_shift sums of products: int64 (N,)."""
        K, N = self.shape
        weights = self.conv.weights.reshape(K, N).sum(axis=0, dtype=np.int64)
        levels = (1 << self.codes.planes) - 1
        twice = self.codes.step * levels * (weights - K) + 2 * self.codes.minimum * weights
        unused = 2 * self.codes.flip * self.weight_planes * self._unused
        offsets: np.ndarray = (twice << self.raw_shift >> 1) - unused
        return offsets

    @property
    def parameters(self) -> np.ndarray:
        """Parameters of each channel of each group: int64 (groups, T, post_lanes), or 1 for T without thresholds."""
        lanes, N = self.engine.resolved_post_lanes, self.shape[1]
        limit = 1 << (self.engine.parameter_width - 1)
        thresholds = self.conv.thresholds
        if thresholds is None:
            values = np.zeros((self.groups * lanes, 1), dtype=np.int64)
            values[:N, 0] = self.offsets
        else:
            T = thresholds.shape[1]
            values = np.full((self.groups * lanes, T), -limit, dtype=np.int64)
            values[:, : self.output.flip if self.output else 0] = 0  # channels that are not there are stored as 0
            values[:N] = self.offsets[:, None] - (thresholds << self.raw_shift)
        # Twice the matches is not negative, and less than the limit: what is beyond it decides alike.
        clipped = np.clip(values, -limit, limit - 1)
        return clipped.reshape(self.groups, lanes, -1).transpose(0, 2, 1)


def engine_of(config: AcceleratorConfig) -> BinaryConfig:
    """Return the engine's config."""
    assert isinstance(config.engine, BinaryConfig)
    return config.engine


def arrange(config: AcceleratorConfig, layers: Sequence[object], options: None = None) -> list[ArrangedLayer]:
    """Check a chain of layers, and decide how each is coded.

    Raises
    ------
    CompileError
        A layer is of another kind, or its numbers do not fit the engine's widths.
    """
    assert options is None, "the binary engine leaves nothing to choose"
    engine = engine_of(config)
    arranged: list[ArrangedLayer] = []
    image: tuple[int, ...] | None = None
    for index, layer in enumerate(layers):
        if not isinstance(layer, BinaryDense | BinaryConv):
            name = getattr(layer, "name", "?")
            raise CompileError(
                f"layer {name!r} is a {type(layer).__name__}; the binary engine takes layers with weights of −1 and "
                "+1, or −1, 0 and +1."
            )
        conv, together = as_conv(layer, image), (1, 1)
        if index == 0:
            conv, together = _put_together(engine, conv)
        before = arranged[-1].output if arranged else None
        codes = _padded(conv, before or Codes.of_dtype(layer.input_dtype))
        if arranged:
            arranged[-1] = replace(arranged[-1], output=codes)
        arranged.append(
            ArrangedLayer(
                layer=layer, conv=conv, together=together, codes=codes, output=_output_codes(layer), engine=engine
            )
        )
        shape = layer.output_shape
        image = shape if len(shape) == 3 else None
    for each in arranged:
        _check(each)
    return arranged


def _output_codes(layer: BinaryDense | BinaryConv) -> Codes | None:
    if layer.thresholds is None or layer.output_minimum is None:
        return None
    return Codes(minimum=layer.output_minimum, step=layer.output_step, most=layer.thresholds.shape[1])


def _padded(conv: BinaryConv, codes: Codes) -> Codes:
    """Return codes of which that of the padding is stored as 0."""
    if not any(conv.padding) or (conv.input_dtype == BIPOLAR and conv.pad_value == 0):
        return codes
    code, rest = divmod(conv.pad_value - codes.minimum, codes.step)
    if rest or not 0 <= code <= codes.most:
        raise CompileError(
            f"layer {conv.name!r} is padded with {conv.pad_value}, but its inputs reach from {codes.minimum} to "
            f"{codes.minimum + codes.step * codes.most}; it must be padded with one of them, or bipolar inputs with 0."
        )
    return replace(codes, flip=code)


def _put_together(engine: BinaryConfig, conv: BinaryConv) -> tuple[BinaryConv, tuple[int, int]]:
    """Put windows of a first convolution, or rows of them, together where they fit a word.

    A pixel of few channels leaves most of its word empty. A window's worth of them takes the same words, and fewer
    beats.
    """
    rows, cols = conv.kernel
    _, _, channels, N = conv.weights.shape
    top, left, bottom, right = conv.padding
    mutes = conv.input_dtype == BIPOLAR and conv.pad_value == 0
    if rows * cols > 1 and rows * cols * channels <= engine.simd and not (mutes and any(conv.padding)):
        packed = conv.weights.reshape(1, 1, rows * cols * channels, N)
        size, strides, padding, together = conv.conv_size, (1, 1), (0, 0, 0, 0), (rows, cols)
    elif cols > 1 and cols * channels <= engine.simd and not (mutes and (left or right)):
        packed = conv.weights.reshape(rows, 1, cols * channels, N)
        size, strides, padding, together = (
            (conv.input_size[0], conv.conv_size[1]),
            (conv.strides[0], 1),
            (top, 0, bottom, 0),
            (1, cols),
        )
    else:
        return conv, (1, 1)
    return replace(conv, weights=packed, input_size=size, strides=strides, padding=padding), together


def _check(layer: ArrangedLayer) -> None:
    engine, name = layer.engine, layer.name
    if layer.codes.planes > engine.activation_width:
        raise CompileError(
            f"layer {name!r} has inputs of {layer.codes.planes} bits; activation_width={engine.activation_width} is "
            "too narrow for them, make it wider."
        )
    if layer.output is not None and layer.output.planes > engine.output_width:
        raise CompileError(
            f"layer {name!r} has outputs of {layer.output.planes} bits; output_width={engine.output_width} is too "
            "narrow for them, make it wider."
        )
    if layer.most_matches >= 1 << engine.accumulator_width:
        raise CompileError(
            f"layer {name!r} can reach sums of {layer.most_matches}; accumulator_width={engine.accumulator_width} "
            f"holds up to {(1 << engine.accumulator_width) - 1}, make it wider."
        )
    if layer.output is None:
        farthest = int(np.abs(layer.offsets).max())
        if farthest >= 1 << (engine.parameter_width - 1):
            raise CompileError(
                f"layer {name!r} gives sums of inputs that are far from 0; accumulator_width="
                f"{engine.accumulator_width} has no room for that, make it {farthest.bit_length() - 1} or more."
            )
    conv = layer.conv
    assert conv.pool_strides is not None
    steps = [pool * stride for pool, stride in zip(conv.pool_strides, conv.strides, strict=True)]
    counts = {
        "its pooling windows": (max(conv.pool), engine.pool_width),
        "its strides": (max(steps), engine.side_width),
        "words of a pixel": (layer.chunks, engine.loop_width),
        "folds": (layer.folds, engine.loop_width),
    }
    for what, (value, width) in counts.items():
        if value >= 1 << width:
            raise CompileError(f"layer {name!r}: {value} for {what} is more than {(1 << width) - 1}.")
