"""Weights, parameters and lookup tables of the systolic engine as memory words, in the order of use."""

from typing import Any

import numpy as np

from celosia.host.models.integers import integer_range
from celosia.host.pack.systolic_layout import Layout
from celosia.host.pack.systolic_product import Part, Product
from celosia.host.pack.systolic_tiles import Run, Tiling
from celosia.host.pack.systolic_windows import edge_groups
from celosia.hw.lanes import Words, pack_lanes
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode


def pack_weights(engine: SystolicConfig, product: Product, tiling: Tiling, run: Run, source: Layout) -> Words:
    """Pack the weights of a run in the order in which the loader reads them.

    N tile by N tile, in it K tile by K tile, in it the last row first, because the row loaded first is shifted
    farthest.

    Returns
    -------
    ndarray of uint32, (run.weight_words, 32-bit words of a memory word)
    """
    if tiling.mode is Mode.CHANNELS:
        tiles = _channel_tiles(engine, product, tiling, source)
    else:
        tiles = _matrix_tiles(engine, product, tiling, run, source)
    n_tiles, _, _, cols = tiles.shape
    parts = [
        tiles[:, :-1, run.k_rows - 1 :: -1].reshape(n_tiles, -1, cols) if run.k_tiles > 1 else tiles[:, 0, :0],
        tiles[:, -1, run.k_edge - 1 :: -1],
    ]
    return pack_lanes(np.concatenate(parts, axis=1).reshape(-1, cols), engine.weight_width)


def _matrix_tiles(engine: SystolicConfig, product: Product, tiling: Tiling, run: Run, source: Layout) -> np.ndarray:
    """Return tiles for all lanes of a vector: (N tiles, K tiles, rows, cols)."""
    weights, (first, end) = product.weights, run.channels
    rows, cols, depth, _ = weights.shape
    by_lane = np.zeros((rows, cols, len(source.lanes), engine.rows, end - first), dtype=weights.dtype)
    flat = by_lane.reshape(rows, cols, -1, end - first)
    if product.groups == 1:
        flat[:, :, source.places] = weights
    else:
        outputs = np.arange(first, end)
        groups = outputs * product.groups // product.channels[1]
        for channel in range(depth):  # of a group
            places = source.places[groups * depth + channel]
            flat[:, :, places, outputs - first] = weights[:, :, channel, first:end]
    if tiling.pack:
        tiles = _packed(by_lane[:, :, 0], tiling, engine.rows)
    else:
        tiles = by_lane[:, :, run.words[0] : run.words[1]].reshape(-1, engine.rows, end - first)
    padded = np.zeros((*tiles.shape[:2], run.n_tiles * engine.cols), dtype=weights.dtype)
    padded[:, :, : end - first] = tiles
    return padded.reshape(len(tiles), engine.rows, run.n_tiles, engine.cols).transpose(2, 0, 1, 3)


def _packed(by_lane: np.ndarray, tiling: Tiling, lanes: int) -> np.ndarray:
    """Return tiles for vectors of neighbours, the last one lowest: (K tiles, lanes, N)."""
    rows, cols, _, N = by_lane.shape
    used, pack = tiling.used, tiling.pack
    cuts = -(-cols // used)
    padded = np.zeros((rows, cuts * used, pack, N), dtype=by_lane.dtype)
    padded[:, :cols] = by_lane[:, :, :pack]
    tiles = np.zeros((rows * cuts, lanes, N), dtype=by_lane.dtype)
    tiles[:, : used * pack] = padded.reshape(rows * cuts, used, pack, N)[:, ::-1].reshape(rows * cuts, used * pack, N)
    return tiles


def _channel_tiles(engine: SystolicConfig, product: Product, tiling: Tiling, source: Layout) -> np.ndarray:
    """Return tiles of a weight for each lane and neighbour, the oldest in row 0: (words, K tiles, taps, cols)."""
    weights, used = product.weights[:, :, 0], tiling.used
    rows, cols, channels = weights.shape
    cuts = -(-cols // used)
    by_lane = np.zeros((rows, cuts * used, source.words * engine.rows), dtype=weights.dtype)
    by_lane[:, :cols, source.places[:channels]] = weights
    tiles = np.zeros((source.words, rows * cuts, engine.resolved_taps, engine.cols), dtype=weights.dtype)
    tiles[:, :, :used, : engine.rows] = by_lane.reshape(rows * cuts, used, source.words, engine.rows).transpose(
        2, 0, 1, 3
    )
    return tiles


def pack_parameters(
    engine: SystolicConfig, product: Product, part: Part, tiling: Tiling, run: Run, source: Layout
) -> Words:
    """Pack the requantizers' parameters of a run, a group of `post_lanes` channels to a word."""
    if tiling.mode is Mode.CHANNELS:
        return lane_parameters(engine, source, product.bias, part.multiplier, part.shift)
    channels = slice(*run.channels)
    return engine.parameter_layout.encode(
        bias=product.bias[channels], multiplier=part.multiplier[channels], shift=part.shift[channels]
    )


def parameter_words(engine: SystolicConfig, tiling: Tiling, run: Run, source: Layout) -> int:
    """Return how many words `pack_parameters` gives."""
    if tiling.mode is Mode.CHANNELS:
        return lane_parameter_words(engine, source)
    return -(-(run.channels[1] - run.channels[0]) // engine.resolved_post_lanes)


def lane_parameter_words(engine: SystolicConfig, source: Layout) -> int:
    """Return how many words `lane_parameters` gives: groups of lanes up to the last one with a channel."""
    groups = engine.rows // engine.resolved_post_lanes
    return (source.words - 1) * groups + edge_groups(engine, source)


def lane_parameters(
    engine: SystolicConfig, source: Layout, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray
) -> Words:
    """Pack parameters for each lane of a pixel, where lanes without a channel give 0; bias, … (channels,)."""
    channel = source.lanes.ravel()
    words = engine.parameter_layout.encode(
        bias=np.where(channel >= 0, bias[channel], 0),
        multiplier=np.where(channel >= 0, multiplier[channel], 0),
        shift=np.where(channel >= 0, shift[channel], 0),
        enable=channel >= 0,
    )
    return words[: lane_parameter_words(engine, source)]


def summands(layer: Any, operand: int, offset: int, width: int) -> np.ndarray:
    """Return what each activation of an operand adds to a sum, by its bits as an unsigned number.

    Parameters
    ----------
    layer : celosia.host.models.elementwise.Add
    operand : int
        0 or 1.
    offset : int
        From the network's integers to the engine's.
    width : int
        Bits of an activation.

    Returns
    -------
    ndarray of int64, (2^width,)
        0 for activations that the operand's type does not have.
    """
    low, high = integer_range(layer.input_dtype)
    values = np.arange(low, high + 1)
    shifted = (values - layer.input_zero_points[operand]) << layer.left_shift
    table = np.zeros(1 << width, dtype=np.int64)
    table[(values + offset) & ((1 << width) - 1)] = rounded(
        shifted, layer.multipliers[operand], layer.shifts[operand], layer.rounding
    )
    return table


def rounded(values: np.ndarray, multiplier: int, shift: int, rounding: str) -> np.ndarray:
    """Return values · multiplier · 2^(shift − 31), rounded; shift 0 or less, values of 31 bits at most: int64."""
    products = values.astype(np.int64) * multiplier
    if rounding == "double":  # first to 2^-shift's unit, ties upwards, then ties away from zero
        products, right = (products + (1 << 30)) >> 31, -shift
        if right == 0:
            return products
        ties_up = products >= 0
    else:
        right = 31 - shift
        floor = products >> right
        ties_up = {"away": products >= 0, "even": floor & 1 == 1, "up": np.full(products.shape, True)}[rounding]
    rest, half = products & ((1 << right) - 1), 1 << (right - 1)
    return (products >> right) + ((rest > half) | ((rest == half) & ties_up))


def pack_table(engine: SystolicConfig, table: np.ndarray) -> Words:
    """Pack a lookup table: an entry to a word, in each of its lanes."""
    return pack_lanes(np.repeat(table[:, None], engine.rows, axis=1), engine.resolved_accumulator_width)
