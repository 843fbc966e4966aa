"""Descriptor of one layer, as the host packs it and the engine reads it."""

from celosia.hw.config import AcceleratorConfig
from celosia.hw.fields import Field, Fields
from celosia.hw.post.parameters import ROUNDING_WIDTH
from celosia.hw.systolic.config import SystolicConfig


def layer_fields(config: AcceleratorConfig) -> Fields:
    """Return the layout of a layer descriptor, each field as wide as this config needs.

    A layer multiplies M activation vectors by a K × N matrix. M is cut into `blocks` that fit the accumulators, N into
    `n_tiles` of `cols` and K into `k_tiles` of `rows`; the engine visits block by block, in it N tile by N tile, in it
    K tile by K tile, and in it the rows of the block. `k_edge` is the rows of the last K tile, `n_edge` the groups of
    `post_lanes` channels in the last N tile. Addresses and pitches (distance of two activation vectors) count words.
    """
    engine = config.engine
    assert isinstance(engine, SystolicConfig)

    def address(name: str) -> int:
        return (config.memory(name).depth - 1).bit_length()

    tensor = max(address(name) for name in ("inputs", "activations", "outputs"))
    block = engine.accumulator_rows.bit_length()
    return Fields(
        (
            Field("source_is_activations", 1),  # else inputs
            Field("source", tensor),
            Field("source_pitch", tensor),
            Field("destination_is_outputs", 1),  # else activations
            Field("destination", tensor),
            Field("destination_pitch", tensor),
            Field("blocks", 16),
            Field("block_rows", block),
            Field("last_block_rows", block),
            Field("k_tiles", 16),
            Field("k_edge", engine.rows.bit_length()),
            Field("n_tiles", 16),
            Field("n_edge", (engine.cols // engine.resolved_post_lanes).bit_length()),
            Field("weights_stream", 1),  # from the ring that the link fills, else from `weights` on
            Field("weights", address("weights")),
            Field("parameters", address("parameters")),
            Field("rounding", ROUNDING_WIDTH),
            Field("zero_point", engine.activation_width, signed=engine.activation_signed),
            Field("minimum", engine.activation_width, signed=engine.activation_signed),
            Field("maximum", engine.activation_width, signed=engine.activation_signed),
        )
    )
