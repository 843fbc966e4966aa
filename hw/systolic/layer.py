"""Descriptor of one step of a layer, as the host packs it and the engine reads it.

A step multiplies vectors by a K × N matrix. N is cut into `n_tiles` and K into `k_tiles`; the vectors are cut into
`blocks` that fit the accumulators. The engine visits block by block, in it N tile by N tile, in it K tile by K tile,
and in it the vectors of the block. What a vector is, and how a tile multiplies it, depends on `mode`:

* MATRIX: a tile has `rows` × `cols` weights, and each of the columns sums over all lanes of a vector.
* CHANNELS: a tile has `taps` rows of weights, and column c sums over lane c alone, of `lead` + 1 vectors in a row: row
  `lead` multiplies that of this beat, the row above that of the beat before, row 0 the oldest; the rows below are 0.
* LOOKUP: no weights; column c adds what table `table` + number of the K tile has for lane c.

Vectors are words of a tensor, found in two walks whose addresses and places in the image are added:

* The walk over *pixels* has a loop over `line` beats in a line, and lines without end. In each beat of the first, there
  are `pool_rows` × `pool_cols` positions. The steps of the address are those from a position to the next one, modulo
  the address's width: `pool_col_step`, `pool_row_step`, `col_step`, `line_step`. The place in the image moves by
  `pool_stride_cols` and `pool_stride_rows` inside a pool, and by `stride_cols` and `stride_rows` from pool to pool. It
  starts at row −`pad_top`, column −`pad_left`, which is at `source` modulo the address's width: before the tensor, if
  that is outside of the image. A block is so many beats of this walk.
* The walk over *K tiles* has loops over `chunks` words, `kernel_cols` columns, and rows without end. The steps are 1,
  `kernel_col_step` and `kernel_row_step`; the place moves by `dilation_cols` and `dilation_rows`.

From N tile to N tile the address moves by `n_step`. Where the place is outside of `in_rows` × `in_cols`, `pad_value`
is in all lanes. With `pack` p > 0 only the lowest 2^(p − 1) lanes of a word count, and above them are those of the
beats before, the last one lowest; lanes of more than `lead` beats before need weights of 0. The first `lead` beats of a
line only fill `taps` and `pack`, and after each beat that sums, `decimation` do.

The drain takes the greatest of `pool` results. It writes vectors `destination_pitch` words apart, in each `n_tiles`
times `n_groups` groups of `post_lanes` channels, `n_edge` in the last N tile.
"""

from enum import IntEnum

from celosia.hw.config import AcceleratorConfig
from celosia.hw.fields import Field, Fields
from celosia.hw.post.parameters import ROUNDING_WIDTH
from celosia.hw.systolic.config import SystolicConfig

SIDE_WIDTH = 16
"""Bits of numbers of rows, columns and vectors."""


class Mode(IntEnum):
    """What the array does with a vector."""

    MATRIX = 0
    CHANNELS = 1
    LOOKUP = 2


def layer_fields(config: AcceleratorConfig) -> Fields:
    """Return the layout of a descriptor, each field as wide as this config needs.

    `block_rows` and `last_block_rows` count the beats of a block that sum, `k_rows` the rows of weights of a K tile and
    `k_edge` those of the last one. Addresses, pitches and steps count words.
    """
    engine = config.engine
    assert isinstance(engine, SystolicConfig)

    widths = {memory.name: (memory.depth - 1).bit_length() for memory in config.memories}
    tensor = max(widths[name] for name in ("inputs", "activations", "outputs"))
    block = engine.accumulator_rows.bit_length()
    groups = (engine.cols // engine.resolved_post_lanes).bit_length()
    return Fields(
        (
            Field("source_is_activations", 1),  # else inputs
            Field("source", tensor),
            Field("destination_is_outputs", 1),  # else activations
            Field("destination", tensor),
            Field("destination_pitch", tensor),
            Field("mode", 2),
            Field("blocks", 16),
            Field("block_rows", block),
            Field("last_block_rows", block),
            Field("k_tiles", 16),
            Field("k_rows", engine.rows.bit_length()),
            Field("k_edge", engine.rows.bit_length()),
            Field("n_tiles", 16),
            Field("n_groups", groups),
            Field("n_edge", groups),
            Field("n_step", tensor),
            Field("pool_cols", SIDE_WIDTH),
            Field("pool_col_step", tensor),
            Field("pool_rows", SIDE_WIDTH),
            Field("pool_row_step", tensor),
            Field("line", SIDE_WIDTH),
            Field("col_step", tensor),
            Field("line_step", tensor),
            Field("chunks", 16),
            Field("kernel_cols", SIDE_WIDTH),
            Field("kernel_col_step", tensor),
            Field("kernel_row_step", tensor),
            Field("in_rows", SIDE_WIDTH),
            Field("in_cols", SIDE_WIDTH),
            Field("pad_top", SIDE_WIDTH),
            Field("pad_left", SIDE_WIDTH),
            Field("pad_value", engine.activation_width, signed=engine.activation_signed),
            Field("pool_stride_rows", SIDE_WIDTH),
            Field("pool_stride_cols", SIDE_WIDTH),
            Field("stride_rows", SIDE_WIDTH),
            Field("stride_cols", SIDE_WIDTH),
            Field("dilation_rows", SIDE_WIDTH),
            Field("dilation_cols", SIDE_WIDTH),
            Field("lead", engine.rows.bit_length()),
            Field("decimation", SIDE_WIDTH),  # beats dropped after each one that sums
            Field("pack", engine.pack_width),
            Field("table", engine.table_address_width),
            Field("pool", SIDE_WIDTH),
            Field("weights_stream", 1),  # from the ring that the link fills, else from `weights` on
            Field("weights", widths["weights"]),
            Field("parameters", widths["parameters"]),
            Field("rounding", ROUNDING_WIDTH),
            Field("zero_point", engine.activation_width, signed=engine.activation_signed),
            Field("minimum", engine.activation_width, signed=engine.activation_signed),
            Field("maximum", engine.activation_width, signed=engine.activation_signed),
        )
    )
