"""Descriptor of one step of a layer, as the host packs it and the engine reads it."""

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.fields import Field, Fields

SIDE_WIDTH = 13  # bits of rows or columns of an image or a kernel
POOL_WIDTH = 8  # bits of rows or columns of a pooling window
LOAD_WIDTH = 24  # bits of streamed weight words
COUNT_WIDTH = 16  # bits of vectors, folds, words of a pixel, cycles of a drain


def layer_fields(config: AcceleratorConfig) -> Fields:
    """Return the layout of a step's descriptor, each field as wide as this config needs.

    A tensor is a row of pixels in C order; a pixel is `planes` bit planes, the most significant first, each of `chunks`
    words. A dense layer has one pixel. A step goes through these loops, the outermost first: `vectors`, `out_rows`,
    `out_cols` (of the result), `folds` (of `pes` channels), `pool_rows`, `pool_cols`; and for each of these, which is a
    pass, through `planes`, `weight_planes`, `kernel_rows`, `kernel_cols`, `chunks`: a beat each. Whenever a loop goes
    on, and those inside it begin again, the address of the activations changes by the loop's step; steps count modulo
    the size of an address, so that they can go back.

    The first window begins `window_offset` words before `source`, at row −`pad_top` and column −`pad_left` of the
    image; what is outside of `in_rows` × `in_cols` is 0, or with `mute` adds nothing but `pad_correction` to twice the
    sum. Bit planes whose bit of `inverted` is set (bit 0 is the first plane) are inverted on their way to the array.

    Behind a pass, `thresholds` parameters for each channel are added to twice its sum; the number of results that are
    not negative, its largest over the pooling window, each bit XORed with `output_flip`, is written as `output_planes`
    bit planes. With `raw` the one result, shifted right by `raw_shift`, is written as it is.
    """
    engine = config.engine
    assert isinstance(engine, BinaryConfig)

    def address(name: str) -> int:
        return (config.memory(name).depth - 1).bit_length()

    tensor = tensor_address_width(config)
    steps = (
        "kernel_col_step",
        "kernel_row_step",
        "weight_plane_step",
        "plane_step",
        "pool_col_step",
        "pool_row_step",
        "fold_step",
        "col_step",
        "row_step",
        "vector_step",
    )
    return Fields(
        (
            Field("source_is_activations", 1),  # else inputs
            Field("source", tensor),
            Field("window_offset", tensor),
            Field("destination_is_outputs", 1),  # else activations
            Field("destination", tensor),
            Field("destination_chunks", tensor + 1),  # words from bit plane to bit plane of a pixel
            Field("destination_pitch", tensor + 1),  # words from pixel to pixel
            Field("vectors", COUNT_WIDTH),
            Field("out_rows", SIDE_WIDTH),
            Field("out_cols", SIDE_WIDTH),
            Field("folds", COUNT_WIDTH),
            Field("pool_rows", POOL_WIDTH),
            Field("pool_cols", POOL_WIDTH),
            Field("planes", engine.activation_width.bit_length()),
            Field("weight_planes", 2),
            Field("kernel_rows", SIDE_WIDTH),
            Field("kernel_cols", SIDE_WIDTH),
            Field("chunks", COUNT_WIDTH),
            *(Field(name, tensor) for name in steps),
            Field("in_rows", SIDE_WIDTH),
            Field("in_cols", SIDE_WIDTH),
            Field("pad_top", SIDE_WIDTH),
            Field("pad_left", SIDE_WIDTH),
            Field("stride_rows", SIDE_WIDTH),  # rows from pool row to pool row
            Field("stride_cols", SIDE_WIDTH),
            Field("window_rows", SIDE_WIDTH),  # rows from out row to out row
            Field("window_cols", SIDE_WIDTH),
            Field("mute", 1),
            Field("pad_correction", engine.doubled_width),  # of a padded pixel, for each weight plane
            Field("inverted", engine.activation_width),
            Field("weights", address("weights")),
            Field("fold_words", address("weights") + 1),  # weight words of a fold
            Field("parameters", address("parameters")),
            Field("thresholds", engine.output_width),
            Field("groups_edge", engine.groups.bit_length()),  # groups of channels of the last fold
            Field("drain_cycles", COUNT_WIDTH),  # of a fold, 2 or more: from a pass's last beat to the next one's
            Field("drain_cycles_edge", COUNT_WIDTH),  # of the last one
            Field("output_planes", engine.output_width.bit_length()),
            Field("output_flip", engine.output_width),
            Field("raw", 1),
            Field("raw_shift", 2),
            Field("load_words", LOAD_WIDTH),  # of the weight stream, into memory from `weights` on
            Field("load_ahead", 1),  # while the step before is still busy: it must not use the same words
        )
    )


def tensor_address_width(config: AcceleratorConfig) -> int:
    """Return the bits of an address of the deepest tensor memory."""
    return max((config.memory(name).depth - 1).bit_length() for name in ("inputs", "activations", "outputs"))
