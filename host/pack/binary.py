"""Packs binarized layers for the binary engine: weights in the order of use, parameters, bit planes, descriptors.

`celosia.host.pack.binary_layers` has the words used here, and decides what is packed.
"""

import math
from collections.abc import Sequence

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.binary import BinaryConv
from celosia.host.models.ir import Network
from celosia.host.pack.binary_layers import ArrangedLayer, arrange, engine_of
from celosia.host.pack.chain import Chain, OffsetStep, check_chain
from celosia.host.pack.step import MAX_VECTORS, Place
from celosia.hw.binary.layer import tensor_address_width
from celosia.hw.binary.timing import LEAST_DRAIN_CYCLES
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words, pack_lanes

__all__ = [
    "activation_offset",
    "arrange",
    "arrange_network",
    "loads",
    "most_vectors",
    "pack_inputs",
    "pack_weights",
    "ring_words",
    "steps",
    "unpack_outputs",
]

_VALUE_BITS = 48  # of a sum that are looked at: more than any has


def arrange_network(config: AcceleratorConfig, network: Network, options: None = None) -> Chain:
    """Check and arrange a network.

    Raises
    ------
    CompileError
        It is no chain, a layer is of another kind, or its integers do not fit the engine's widths.
    """
    check_chain(network)
    return Chain(config, network, arrange(config, network.layers, options))


def ring_words(config: AcceleratorConfig) -> int:
    """Return the weight words that streamed folds should have: half the memory, in two halves that take turns."""
    return config.weight_depth // 2


def most_vectors(layer: ArrangedLayer, place: Place) -> int:  # noqa: ARG001
    """Return how many vectors a layer takes at a time: any number that its descriptor can tell."""
    return min(MAX_VECTORS, (1 << layer.engine.loop_width) - 1)


def loads(config: AcceleratorConfig, layers: Sequence[ArrangedLayer], places: Sequence[Place]) -> list[OffsetStep]:  # noqa: ARG001
    """Return the steps that load resident weights: none, they are written."""
    return []


def activation_offset(config: AcceleratorConfig, dtype: str) -> int:  # noqa: ARG001
    """Return what turns a type's integers into the engine's: 0, its codes are the packer's affair."""
    return 0


def steps(
    config: AcceleratorConfig, layers: Sequence[ArrangedLayer], vectors: int, places: Sequence[Place]
) -> list[list[OffsetStep]]:
    """Return the steps of each layer on some activation vectors.

    A resident layer takes one step, a streamed one as many as it takes to have each one's weights in half of the ring.
    They use the halves in turn: each is loaded while the one before is at work.

    Raises
    ------
    CompileError
        The folds that fill an activation word do not fit half of the ring.
    """
    result: list[list[OffsetStep]] = []
    streamed = 0
    for layer, place in zip(layers, places, strict=True):
        if not place.stream:
            result.append([_step(config, layer, vectors, (0, layer.folds), place.address, stream=False)])
            continue
        at_a_time, of_layer = _folds_at_a_time(layer, place), []
        for begin in range(0, layer.folds, at_a_time):
            address = place.ring_base + (streamed % 2) * place.half_words
            folds = (begin, min(begin + at_a_time, layer.folds))
            of_layer.append(_step(config, layer, vectors, folds, address, stream=True))
            streamed += 1
        result.append(of_layer)
    if streamed % 2:  # the first step of an iteration shares its half with the last one of the iteration before
        first = next(step for each in result for step in each if step.fields["load_words"])
        first.fields["load_ahead"] = 0
    return result


def _folds_at_a_time(layer: ArrangedLayer, place: Place) -> int:
    engine = layer.engine
    whole = 1 if layer.output is None else min(engine.simd // math.gcd(engine.pes, engine.simd), layer.folds)
    fit = place.half_words // layer.fold_words
    if fit >= layer.folds:
        return layer.folds
    if fit < whole:
        raise CompileError(
            f"layer {layer.name!r} streams its weights, at least {whole * layer.fold_words} words at a time, but half "
            f"of the ring has {place.half_words}; set weight_depth to {4 * whole * layer.fold_words} or more."
        )
    return fit // whole * whole


def _step(
    config: AcceleratorConfig,
    layer: ArrangedLayer,
    vectors: int,
    folds: tuple[int, int],
    address: int,
    *,
    stream: bool,
) -> OffsetStep:
    """Return the step that does some folds of a layer, its weights from `address` on."""
    engine, (begin, end) = layer.engine, folds
    lanes = engine.resolved_post_lanes
    first, last = begin * engine.groups, min(end * engine.groups, layer.groups)
    edge = last - (end - 1) * engine.groups
    parameters = layer.parameters[first:last]
    output = layer.output
    per_group = parameters.shape[1] if output else lanes * engine.result_words
    fields = {
        **_walk_fields(config, layer),
        "destination_chunks": layer.output_chunks if output else 0,
        "destination_pitch": layer.output_pixel_words,
        "vectors": vectors,
        "folds": end - begin,
        "mute": int(layer.mutes),
        "pad_correction": layer.conv.weights.shape[2] if layer.mutes else 0,
        "inverted": _reversed(layer.codes.flip, layer.codes.planes),
        "weights": address,
        "fold_words": layer.fold_words,
        "thresholds": parameters.shape[1] if output else 1,
        "groups_edge": edge,
        "drain_cycles": max(engine.groups * per_group, LEAST_DRAIN_CYCLES),
        "drain_cycles_edge": max(edge * per_group, LEAST_DRAIN_CYCLES),
        "output_planes": output.planes if output else 1,
        "output_flip": output.flip if output else 0,
        "raw": int(output is None),
        "raw_shift": layer.raw_shift,
        "load_words": (end - begin) * layer.fold_words if stream else 0,
        "load_ahead": 1,
    }
    done_channels = begin * engine.pes
    return OffsetStep(
        fields=fields,
        images={"parameters": ("parameters", pack_lanes(parameters.reshape(-1, lanes), engine.parameter_width), 1)},
        weights=pack_weights(layer, begin, end),
        destination_offset=done_channels // engine.simd if output else done_channels * engine.result_words,
    )


def _walk_fields(config: AcceleratorConfig, layer: ArrangedLayer) -> dict[str, int]:
    """Return the loops of a layer's descriptor, and the steps of the address when they go on."""
    conv = layer.conv
    assert conv.pool_strides is not None
    (kernel_rows, kernel_cols), (pool_rows, pool_cols) = conv.kernel, conv.pool
    out_rows, out_cols, _ = conv.output_shape
    pixel, chunks = layer.pixel_words, layer.chunks
    row = conv.input_size[1] * pixel
    pool_row, pool_col = conv.strides[0] * row, conv.strides[1] * pixel
    out_row, out_col = conv.pool_strides[0] * pool_row, conv.pool_strides[1] * pool_col
    kernel_span = (kernel_rows - 1) * row + (kernel_cols - 1) * pixel + chunks - 1
    pool_span = (pool_rows - 1) * pool_row + (pool_cols - 1) * pool_col
    steps = {
        "kernel_col_step": pixel - (chunks - 1),
        "kernel_row_step": row - (kernel_cols - 1) * pixel - (chunks - 1),
        "weight_plane_step": -kernel_span,
        "plane_step": chunks - kernel_span,
        "pool_col_step": pool_col,
        "pool_row_step": pool_row - (pool_cols - 1) * pool_col,
        "fold_step": -pool_span,
        "col_step": out_col - pool_span,
        "row_step": out_row - (out_cols - 1) * out_col - pool_span,
        "vector_step": layer.input_words - (out_rows - 1) * out_row - (out_cols - 1) * out_col - pool_span,
    }
    top, left, _, _ = conv.padding
    width = tensor_address_width(config)
    return {
        **{name: step % (1 << width) for name, step in steps.items()},
        "window_offset": (top * row + left * pixel) % (1 << width),
        "out_rows": out_rows,
        "out_cols": out_cols,
        "pool_rows": pool_rows,
        "pool_cols": pool_cols,
        "planes": layer.codes.planes,
        "weight_planes": layer.weight_planes,
        "kernel_rows": kernel_rows,
        "kernel_cols": kernel_cols,
        "chunks": chunks,
        "in_rows": conv.input_size[0],
        "in_cols": conv.input_size[1],
        "pad_top": top,
        "pad_left": left,
        "stride_rows": conv.strides[0],
        "stride_cols": conv.strides[1],
        "window_rows": conv.pool_strides[0] * conv.strides[0],
        "window_cols": conv.pool_strides[1] * conv.strides[1],
    }


def _reversed(code: int, planes: int) -> int:
    """Return the bits of a code in the order of their planes, the most significant first."""
    return sum((code >> (planes - 1 - plane) & 1) << plane for plane in range(planes))


def pack_weights(layer: ArrangedLayer, begin: int, end: int) -> Words:
    """Pack the weights of some folds in the order in which the array takes them.

    Fold by fold, in it bipolar plane by plane, kernel row by row, column by column, word by word of a pixel; in a word
    PE by PE. A bit is 1 for −1: a PE counts where bits differ. Lanes without an input are 0, as their activations are.

    Parameters
    ----------
    layer : ArrangedLayer
    begin, end : int
        First fold, and the one after the last.

    Returns
    -------
    ndarray of uint32, ((end − begin) · fold_words, 32-bit words of a memory word)
    """
    engine, conv = layer.engine, layer.conv
    rows, cols, channels, _ = conv.weights.shape
    weights = conv.weights[..., begin * engine.pes : end * engine.pes]
    # A 0 is half of +1 and −1.
    planes = np.stack([weights < 0, weights <= 0]) if layer.weight_planes == 2 else (weights < 0)[None]
    folds, padded_channels = end - begin, layer.chunks * engine.simd
    bits = np.zeros((folds * engine.pes, len(planes), rows, cols, padded_channels), dtype=np.uint8)
    bits[: weights.shape[3], ..., :channels] = planes.transpose(4, 0, 1, 2, 3)
    shape = (folds, engine.pes, layer.fold_words, engine.simd)
    by_word = bits.reshape(shape).transpose(0, 2, 1, 3)
    return _pack_bits(by_word.reshape(folds * layer.fold_words, engine.pes * engine.simd))


def _pack_bits(bits: np.ndarray) -> Words:
    """Pack bits, (entries, bits of a memory word), bit 0 into the least significant one."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    whole = np.zeros((len(bits), -(-bits.shape[1] // 32) * 4), dtype=np.uint8)
    whole[:, : packed.shape[1]] = packed
    return whole.view("<u4").astype(np.uint32)


def _unpack_bits(words: Words, width: int) -> np.ndarray:
    """Return the bits of memory words: uint8, (entries, width)."""
    raw = np.ascontiguousarray(words.astype("<u4")).view(np.uint8)
    return np.unpackbits(raw, axis=1, bitorder="little", count=width)


def pack_inputs(config: AcceleratorConfig, layer: ArrangedLayer, values: np.ndarray) -> Words:
    """Pack inputs of a layer: (M, K) integers of its input type, in C order, to (M · input_words, …), as bit planes."""
    engine = engine_of(config)
    pixels = _pixels(layer, values)
    M, count, channels = pixels.shape
    codes = (pixels - layer.codes.minimum) // layer.codes.step ^ layer.codes.flip
    bits = np.zeros((M, count, layer.codes.planes, layer.chunks * engine.simd), dtype=np.uint8)
    for plane in range(layer.codes.planes):
        bits[:, :, plane, :channels] = codes >> (layer.codes.planes - 1 - plane) & 1
    return _pack_bits(bits.reshape(-1, engine.simd))


def _pixels(layer: ArrangedLayer, values: np.ndarray) -> np.ndarray:
    """Return inputs as the device's convolution takes them: (M, pixels, C)."""
    if layer.together == (1, 1):
        return values.reshape(len(values), -1, layer.conv.weights.shape[2])
    given = layer.layer
    assert isinstance(given, BinaryConv)
    # What the device still pads and strides is not done here.
    top, left, bottom, right = (all_of - left for all_of, left in zip(given.padding, layer.conv.padding, strict=True))
    strides = [all_of // left for all_of, left in zip(given.strides, layer.conv.strides, strict=True)]
    image = values.reshape(len(values), *given.input_shape)
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=given.pad_value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.together, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(len(values), -1, layer.conv.weights.shape[2])


def unpack_outputs(config: AcceleratorConfig, layer: ArrangedLayer, words: Words) -> np.ndarray:
    """Return a layer's outputs, integers of its output type: int64, (M, N), or (M, H · W · N)."""
    engine = engine_of(config)
    bits = _unpack_bits(words, engine.simd)
    height, width, N = layer.conv.output_shape
    M = len(words) // layer.output_words
    if layer.output is None:
        bits = bits.reshape(M, height * width, -1, engine.result_words * engine.simd)[:, :, :N, :_VALUE_BITS]
        return _signed(bits).reshape(M, -1)
    planes = layer.output.planes
    bits = bits.reshape(M, height * width, planes, -1)[..., :N]
    weights = 1 << np.arange(planes - 1, -1, -1)
    codes = np.einsum("mpbn,b->mpn", bits.astype(np.int64), weights) ^ layer.output.flip
    return (layer.output.minimum + layer.output.step * codes).reshape(M, -1)


def _signed(bits: np.ndarray) -> np.ndarray:
    """Return two's complement numbers, bit 0 first on the last axis."""
    width = bits.shape[-1]
    values = bits.astype(np.int64) @ (np.int64(1) << np.arange(width))
    return values - (values >> (width - 1) << width)
