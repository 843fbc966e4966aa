"""Packs dense layers for the systolic engine: weights in the order of use, parameters, activations, descriptors.

Notation: M activation vectors, K inputs, N outputs; tiles of `rows` × `cols`.
"""

from collections.abc import Mapping

import numpy as np

from celosia.host.pack.bits import Words, pack_lanes, unpack_lanes
from celosia.hw.post.parameters import rounding_code
from celosia.hw.systolic.config import SystolicConfig


def vector_words(engine: SystolicConfig, channels: int) -> int:
    """Return the memory words of one activation vector."""
    return -(-channels // engine.rows)


def weight_words(engine: SystolicConfig, K: int, N: int) -> int:
    """Return the weight memory words of a layer: one for each row of each N tile, none for padding rows."""
    return K * -(-N // engine.cols)


def parameter_words(engine: SystolicConfig, N: int) -> int:
    """Return the parameter memory words of a layer."""
    return -(-N // engine.resolved_post_lanes)


def pack_weights(engine: SystolicConfig, weights: np.ndarray) -> Words:
    """Pack a weight matrix in the order in which the loader reads it.

    N tile by N tile, in it K tile by K tile, in it the last row first, because the row loaded first is shifted
    farthest.

    Parameters
    ----------
    weights : ndarray (K, N), any integer type
        Values within `engine.weight_range`.

    Returns
    -------
    ndarray of uint32, (weight_words, 32-bit words of a memory word)
    """
    K, N = weights.shape
    tiles = -(-N // engine.cols)
    padded = np.zeros((K, tiles * engine.cols), dtype=weights.dtype)
    padded[:, :N] = weights
    tile_start = np.arange(K) // engine.rows * engine.rows
    tile_end = np.minimum(tile_start + engine.rows, K)
    order = tile_start + tile_end - 1 - np.arange(K)
    by_tile = padded[order].reshape(K, tiles, engine.cols).transpose(1, 0, 2)
    return pack_lanes(by_tile.reshape(tiles * K, engine.cols), engine.weight_width)


def pack_parameters(engine: SystolicConfig, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> Words:
    """Pack the requantizers' parameters of N channels, a group of `post_lanes` channels to a word."""
    return engine.parameter_layout.encode(bias=bias, multiplier=multiplier, shift=shift)


def pack_activations(engine: SystolicConfig, values: np.ndarray) -> Words:
    """Pack activation vectors: (M, K) integers to (M · vector_words, …), missing lanes 0."""
    M, K = values.shape
    words = vector_words(engine, K)
    padded = np.zeros((M, words * engine.rows), dtype=values.dtype)
    padded[:, :K] = values
    return pack_lanes(padded.reshape(M * words, engine.rows), engine.activation_width)


def unpack_activations(engine: SystolicConfig, words: Words, channels: int) -> np.ndarray:
    """Return the activation vectors that `pack_activations` packed: int64, (M, channels)."""
    lanes = unpack_lanes(words, engine.rows, engine.activation_width, signed=engine.activation_signed)
    return lanes.reshape(-1, vector_words(engine, channels) * engine.rows)[:, :channels]


def tile_fields(engine: SystolicConfig, M: int, K: int, N: int, block_rows: int) -> dict[str, int]:
    """Return the descriptor fields that cut an M × K × N product into blocks and tiles."""
    blocks, k_tiles, n_tiles = -(-M // block_rows), -(-K // engine.rows), -(-N // engine.cols)
    return {
        "blocks": blocks,
        "block_rows": block_rows,
        "last_block_rows": M - (blocks - 1) * block_rows,
        "k_tiles": k_tiles,
        "k_edge": K - (k_tiles - 1) * engine.rows,
        "n_tiles": n_tiles,
        "n_edge": parameter_words(engine, N - (n_tiles - 1) * engine.cols),
        "source_pitch": k_tiles,
        "destination_pitch": vector_words(engine, N),
    }


def block_rows(engine: SystolicConfig, M: int, *, weights_stream: bool) -> int:
    """Choose how many activation vectors go through a tile at a time.

    The next tile takes `rows` cycles to load: a block of twice that hides it, and is short to drain when it is a
    layer's last. Half of the accumulators leaves room to drain one block while the next is summed; equal blocks leave
    no short one at the end. Streamed weights would be sent again for every block: there a block takes all the
    accumulators.
    """
    most = engine.accumulator_rows if weights_stream else min(2 * engine.rows, engine.accumulator_rows // 2)
    return -(-M // -(-M // most))


def clamp_fields(rounding: str, zero_point: int, minimum: int, maximum: int) -> Mapping[str, int]:
    """Return the descriptor fields of the requantizer."""
    return {
        "rounding": rounding_code(rounding),
        "zero_point": zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }
