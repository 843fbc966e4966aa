"""Descriptor of one step of a layer, as the host packs it and the engine reads it."""

from celosia.hw.config import AcceleratorConfig
from celosia.hw.fields import Field, Fields
from celosia.hw.sparse.config import SparseConfig

SHIFT_WIDTH = 6  # bits of a shift to the right


def layer_fields(config: AcceleratorConfig) -> Fields:
    """Return the layout of a step's descriptor, each field as wide as this config needs.

    A step scans `source_words` words of each of `vectors` activation vectors, and broadcasts what is not zero. The
    first activation's column has the pointer number `pointers`. Then it merges, rounds and writes `rows` words of
    results per vector; with `rows` 0 the sums stay, and the next step adds to them (`vectors` is 1 then). Before, it
    may load `load_words` words of the weight stream into `load_rows` words of the weight memory from `weights` on.
    Addresses and pitches (distance of two activation vectors) count words.
    """
    engine = config.engine
    assert isinstance(engine, SparseConfig)

    def address(name: str) -> int:
        return (config.memory(name).depth - 1).bit_length()

    tensor = max(address(name) for name in ("inputs", "activations", "outputs"))
    return Fields(
        (
            Field("source_is_activations", 1),  # else inputs
            Field("source", tensor),
            Field("source_pitch", tensor + 1),
            Field("source_words", tensor + 1),
            Field("destination_is_outputs", 1),  # else activations
            Field("destination", tensor),
            Field("destination_pitch", tensor + 1),
            Field("rows", engine.accumulator_rows.bit_length()),
            Field("vectors", 16),
            Field("pointers", pointer_number_width(engine)),
            Field("codebook", address("codebooks")),
            Field("parameters", address("parameters")),
            Field("group", 2),  # PEs that share rows, as a power of two
            Field("relative", 1),  # indices count zeros before an entry, and code 0 is padding; else rows
            Field("keep_empty", 1),  # columns without entries are queued, too
            Field("queue_limit", engine.queue_depth.bit_length()),
            Field("shift", SHIFT_WIDTH),
            Field("minimum", engine.activation_width, signed=engine.activation_signed),
            Field("maximum", engine.activation_width, signed=engine.activation_signed),
            Field("load_words", 24),
            Field("load_rows", config.weight_depth.bit_length()),
            Field("weights", address("weights")),
            Field("load_ahead", 1),  # while the step before is still busy: it must not use the same words
            Field("encoded", 1),  # the stream is Huffman-coded
            Field("tables", address("codebooks")),
        )
    )


def pointer_number_width(engine: SparseConfig) -> int:
    """Return the bits of a pointer's number; two pointers share a word."""
    return (-(-engine.pointer_depth // 2) * 2 - 1).bit_length()
