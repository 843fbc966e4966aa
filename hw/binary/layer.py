"""Descriptor of one step of a layer, as the host packs it and the engine reads it."""

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.fields import Field, Fields


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
            Field("vectors", engine.loop_width),
            Field("out_rows", engine.side_width),
            Field("out_cols", engine.side_width),
            Field("folds", engine.loop_width),
            Field("pool_rows", engine.pool_width),
            Field("pool_cols", engine.pool_width),
            Field("planes", engine.activation_width.bit_length()),
            Field("weight_planes", 2),
            Field("kernel_rows", engine.side_width),
            Field("kernel_cols", engine.side_width),
            Field("chunks", engine.loop_width),
            *(Field(name, tensor) for name in steps),
            Field("in_rows", engine.side_width),
            Field("in_cols", engine.side_width),
            Field("pad_top", engine.side_width),
            Field("pad_left", engine.side_width),
            Field("stride_rows", engine.side_width),  # rows from pool row to pool row
            Field("stride_cols", engine.side_width),
            Field("window_rows", engine.side_width),  # rows from out row to out row
            Field("window_cols", engine.side_width),
            Field("mute", 1),
            Field("pad_correction", engine.doubled_width),  # of a padded pixel, for each weight plane
            Field("inverted", engine.activation_width),
            Field("weights", address("weights")),
            Field("fold_words", address("weights") + 1),  # weight words of a fold
            Field("parameters", address("parameters")),
            Field("thresholds", engine.output_width),
            Field("groups_edge", engine.groups.bit_length()),  # groups of channels of the last fold
            Field("drain_cycles", engine.loop_width),  # of a fold, 2 or more: from a pass's last beat to the next one's
            Field("drain_cycles_edge", engine.loop_width),  # of the last one
            Field("output_planes", engine.output_width.bit_length()),
            Field("output_flip", engine.output_width),
            Field("raw", 1),
            Field("raw_shift", 2),
            Field("load_words", address("weights") + 1),  # of the weight stream, into memory from `weights` on
            Field("load_ahead", 1),  # while the step before is still busy: it must not use the same words
        )
    )


def tensor_address_width(config: AcceleratorConfig) -> int:
    """Return the bits of an address of the deepest tensor memory."""
    return max((config.memory(name).depth - 1).bit_length() for name in ("inputs", "activations", "outputs"))
