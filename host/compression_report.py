"""How small a compressed network is, layer by layer, as in the tables of Deep Compression.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149), tables 2 to 5. What is counted, in whole bytes per layer:

* entries: a code and an index for each weight that is not zero, and for each padding entry;
* Huffman tables, only with Huffman coding: a length of 4 bits for every code and for every index that can occur;
* the codebook: 16 bits for each value, value 0 included;
* biases: in as many whole bytes as the largest bias of the layer needs;
* pointers, where each input's entries are found by one.

Names, shapes, shifts, clamps and the number of entries are not counted. Against it stand 32 bits for each weight and
each bias.
"""

from collections.abc import Mapping
from typing import Final, TypedDict

import numpy as np

from celosia.host.entry_counts import EntryCounts, EntryStream, count_entries, count_given
from celosia.host.huffman import code_lengths
from celosia.host.models.checks import integer, layer_label
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import signed_width
from celosia.host.models.ir import Layer, Network

MAX_HUFFMAN_WIDTH: Final = 8
"""Widest code or index that is Huffman-coded, in bits; wider ones stay as they are."""

_TABLE_BITS: Final = 4  # for each symbol: lengths are at most 10
_CODEBOOK_BYTES: Final = 2  # for each value


class LayerSizes(TypedDict):
    """One row of the report: a layer, or all of them under the name ``total``.

    `shape` is (K, N), None in the total. `padding` are the entries beyond the non-zero weights. `code_bits` and
    `index_bits` are the bits of an entry's code and index before, and on average after, Huffman coding.
    `total_bytes` is everything without Huffman coding and its tables, `total_bytes_huffman` everything with them;
    `ratio` is `float_bytes` / `total_bytes`.
    """

    name: str
    shape: tuple[int, int] | None
    weights: int
    nonzeros: int
    density: float
    padding: int
    code_bits: float
    code_bits_huffman: float
    index_bits: float
    index_bits_huffman: float
    entry_bytes: int
    entry_bytes_huffman: int
    table_bytes: int
    codebook_bytes: int
    bias_bytes: int
    pointer_bytes: int
    total_bytes: int
    total_bytes_huffman: int
    float_bytes: int
    ratio: float
    ratio_huffman: float


def compression_report(
    network: Network,
    *,
    index_width: int = 5,
    pointer_width: int | None = None,
    entries: Mapping[str, EntryStream] | None = None,
) -> list[LayerSizes]:
    """Count the bytes of a compressed network.

    Parameters
    ----------
    network : Network
        Every layer a CompressedDense.
    index_width : int
        Bits of an index, 2 to 12.
    pointer_width : int or None
        Bits of a pointer: zeros are counted anew for each input, along the outputs, and there are K + 1 pointers. None:
        zeros are counted through the whole matrix, without pointers, which is Deep Compression's own form.
    entries : mapping of str to EntryStream, optional
        Entries that a packer made, by name of the layer; they take the place of those counted as said above.

    Returns
    -------
    list of LayerSizes
        One for each layer, then the total.

    Raises
    ------
    ModelError
        If a layer is of another kind, a width is out of its range, or given entries do not fit theirs.
    """
    integer("compression report", "index_width", index_width, 2, 12)
    if pointer_width is not None:
        integer("compression report", "pointer_width", pointer_width, 1, 32)
    given = entries or {}
    rows, sums = [], dict.fromkeys(_AMOUNTS, 0)
    for layer in network.layers:
        compressed = _compressed(layer)
        if layer.name in given:
            counts = count_given(compressed, index_width, given[layer.name])
        else:
            counts = count_entries(compressed, index_width, per_input=pointer_width is not None)
        amounts = _amounts(compressed, counts, pointer_width or 0)
        sums = {key: sums[key] + amounts[key] for key in _AMOUNTS}
        K, N = compressed.codes.shape
        rows.append(_row(layer.name, (K, N), amounts))
    return [*rows, _row("total", None, sums)]


_BYTES: Final = ("entry_bytes", "codebook_bytes", "bias_bytes", "pointer_bytes")
_AMOUNTS: Final = (
    *("weights", "nonzeros", "entries", "code_bits", "code_bits_huffman", "index_bits", "index_bits_huffman"),
    *(*_BYTES, "entry_bytes_huffman", "table_bytes", "float_bytes"),
)
"""What is counted per layer and can be added up: numbers, bits of all codes and of all indices, bytes."""


def _compressed(layer: Layer) -> CompressedDense:
    if not isinstance(layer, CompressedDense):
        raise ModelError(
            f"{layer_label(layer.name)}: it is a {type(layer).__name__}, but only CompressedDense layers are counted."
        )
    return layer


def _amounts(layer: CompressedDense, counts: EntryCounts, pointer_width: int) -> dict[str, int]:
    (code_bits, code_coded, code_table), (index_bits, index_coded, index_table) = (
        _stream_bits(counts.codes),
        _stream_bits(counts.indices),
    )
    bias_width = signed_width(int(layer.bias.min()), int(layer.bias.max()))
    return {
        "weights": layer.codes.size,
        "nonzeros": layer.nonzeros,
        "entries": counts.entries,
        "code_bits": code_bits,
        "code_bits_huffman": code_coded,
        "index_bits": index_bits,
        "index_bits_huffman": index_coded,
        "entry_bytes": _bytes(code_bits + index_bits),
        "entry_bytes_huffman": _bytes(code_coded + index_coded),
        "table_bytes": _bytes(code_table + index_table),
        "codebook_bytes": 0 if layer.codebook is None else len(layer.codebook) * _CODEBOOK_BYTES,
        "bias_bytes": len(layer.bias) * _bytes(bias_width),
        "pointer_bytes": _bytes(counts.pointers * pointer_width),
        "float_bytes": 4 * (layer.codes.size + len(layer.bias)),
    }


def _stream_bits(counts: np.ndarray) -> tuple[int, int, int]:
    """Bits of all symbols as they are and Huffman-coded, and of the Huffman table, from how often each occurs."""
    total, width = int(counts.sum()), (len(counts) - 1).bit_length()
    if width > MAX_HUFFMAN_WIDTH or not total:
        return total * width, total * width, 0
    return total * width, int(counts @ code_lengths(counts).astype(np.int64)), len(counts) * _TABLE_BITS


def _row(name: str, shape: tuple[int, int] | None, amounts: Mapping[str, int]) -> LayerSizes:
    entries = max(amounts["entries"], 1)
    total = sum(amounts[key] for key in _BYTES)
    coded = total - amounts["entry_bytes"] + amounts["entry_bytes_huffman"] + amounts["table_bytes"]
    return LayerSizes(
        name=name,
        shape=shape,
        weights=amounts["weights"],
        nonzeros=amounts["nonzeros"],
        density=amounts["nonzeros"] / amounts["weights"],
        padding=amounts["entries"] - amounts["nonzeros"],
        code_bits=amounts["code_bits"] / entries,
        code_bits_huffman=amounts["code_bits_huffman"] / entries,
        index_bits=amounts["index_bits"] / entries,
        index_bits_huffman=amounts["index_bits_huffman"] / entries,
        entry_bytes=amounts["entry_bytes"],
        entry_bytes_huffman=amounts["entry_bytes_huffman"],
        table_bytes=amounts["table_bytes"],
        codebook_bytes=amounts["codebook_bytes"],
        bias_bytes=amounts["bias_bytes"],
        pointer_bytes=amounts["pointer_bytes"],
        total_bytes=total,
        total_bytes_huffman=coded,
        float_bytes=amounts["float_bytes"],
        ratio=amounts["float_bytes"] / total,
        ratio_huffman=amounts["float_bytes"] / coded,
    )


def _bytes(bits: int) -> int:
    return -(-bits // 8)
