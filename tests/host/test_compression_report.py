import json

import numpy as np
import pytest

from celosia.host.compression_report import compression_report
from celosia.host.entry_counts import EntryStream
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Dense, Network


def compressed(name="fc", codes=((0, 0, 1, 1), (2, 0, 0, 1)), **changes) -> CompressedDense:
    codes = np.asarray(codes, None if "codebook" in changes else np.uint8)
    fields = {
        "name": name,
        "codes": codes,
        "codebook": np.array([0, -3, 5, 7]),
        "bias": np.zeros(codes.shape[1], int),
        "shift": 0,
        "minimum": -128,
        "maximum": 127,
    }
    return CompressedDense(**(fields | changes))


def report(*layers, **options):
    return compression_report(Network(name="net", layers=layers, input_shape=layers[0].input_shape), **options)


def test_by_hand():
    # Through the matrix: codes 1 1 2 1, zeros before them 2 0 0 2. Codes: lengths 1 (for 1) and 1 (for 2): 4 bits.
    # Indices: 0 and 2, 1 bit each: 4 bits. Tables: 4 codes and 4 indices of 4 bits.
    row, total = report(compressed(), index_width=2)
    assert row == {
        "name": "fc",
        "shape": (2, 4),
        "weights": 8,
        "nonzeros": 4,
        "density": 0.5,
        "padding": 0,
        "code_bits": 2.0,
        "code_bits_huffman": 1.0,
        "index_bits": 2.0,
        "index_bits_huffman": 1.0,
        "entry_bytes": 2,
        "entry_bytes_huffman": 1,
        "table_bytes": 4,
        "codebook_bytes": 8,
        "bias_bytes": 4,
        "pointer_bytes": 0,
        "total_bytes": 14,
        "total_bytes_huffman": 17,
        "float_bytes": 48,
        "ratio": 48 / 14,
        "ratio_huffman": 48 / 17,
    }
    assert total == row | {"name": "total", "shape": None}
    assert json.loads(json.dumps([row, total]))


def test_pointers_start_each_input_anew():
    # Input 0: zeros 2 0; input 1: zeros 0 2. Three pointers of 12 bits.
    row, _ = report(compressed(), index_width=2, pointer_width=12)
    assert (row["index_bits_huffman"], row["pointer_bytes"]) == (1.0, 5)
    assert row["total_bytes"] == 14 + 5
    # A last input of zeros costs nothing but its pointer; through the matrix neither.
    longer = compressed(codes=((0, 0, 1, 1), (2, 0, 0, 1), (0, 0, 0, 0)))
    assert report(longer, index_width=2, pointer_width=12)[0]["pointer_bytes"] == 6
    assert report(longer, index_width=2)[0]["total_bytes"] == 14


def test_padding_is_counted():
    row, _ = report(compressed(codes=[[*[0] * 9, 1]]), index_width=2)
    assert (row["nonzeros"], row["padding"], row["entry_bytes"]) == (1, 2, 2)


@pytest.mark.parametrize(
    ("bias", "size"), [(0, 1), (127, 1), (-128, 1), (128, 2), (-(2**15), 2), (2**15, 3), (2**23, 4), (2**40, 6)]
)
def test_biases_take_whole_bytes(bias, size):
    row, _ = report(compressed(bias=np.array([0, bias, 0, 0])))
    assert row["bias_bytes"] == 4 * size


def test_huffman_coding_approaches_the_entropy():
    rng = np.random.default_rng(3)
    codes = np.minimum(rng.geometric(0.5, (300, 200)), 15) * (rng.random((300, 200)) < 0.1)
    layer = compressed(codes=codes.astype(np.uint8), codebook=np.arange(16))
    row, _ = report(layer, index_width=5)
    used = codes[codes != 0]
    shares = np.bincount(used)[1:] / used.size
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert entropy <= row["code_bits_huffman"] < entropy + 0.3
    assert row["code_bits"] == 4
    assert row["total_bytes_huffman"] < row["total_bytes"]


def test_wide_codes_stay_as_they_are():
    weights = np.array([[0, 1000, -1000, 1]], np.int16)
    row, _ = report(compressed(codes=weights, codebook=None))
    assert row["code_bits"] == row["code_bits_huffman"] == 11
    assert row["codebook_bytes"] == 0
    assert row["table_bytes"] == 16  # of the indices only


def test_a_layer_of_zeros():
    row, _ = report(compressed(codes=np.zeros((3, 4))))
    assert (row["entry_bytes"], row["entry_bytes_huffman"], row["table_bytes"], row["code_bits"]) == (0, 0, 0, 0)


def test_totals_and_given_entries():
    first = compressed("first")
    second = compressed("second", codes=((1, 2, 3), (0, 0, 0), (1, 0, 0), (0, 0, 3)))
    given = EntryStream(codes=np.array([1, 1, 0, 2, 1]), indices=np.array([2, 0, 3, 0, 1]), pointers=12)
    rows = report(first, second, index_width=3, pointer_width=16, entries={"first": given})
    assert [row["name"] for row in rows] == ["first", "second", "total"]
    assert (rows[0]["padding"], rows[0]["pointer_bytes"]) == (1, 24)
    assert (rows[1]["padding"], rows[1]["pointer_bytes"]) == (0, 10)
    for key, value in rows[2].items():
        if key.endswith("bytes") or key in ("weights", "nonzeros", "padding", "total_bytes_huffman"):
            assert value == rows[0][key] + rows[1][key], key
    assert rows[2]["density"] == 9 / 20
    assert rows[2]["ratio"] == rows[2]["float_bytes"] / rows[2]["total_bytes"]
    assert rows[2]["code_bits"] == 2


def test_refusals():
    dense = Dense(
        name="fc",
        weights=np.ones((2, 2), np.int8),
        bias=np.zeros(2, int),
        multiplier=np.full(2, 2**30),
        shift=np.zeros(2, int),
        rounding="up",
        input_zero_point=0,
        output_zero_point=0,
        minimum=-128,
        maximum=127,
    )
    with pytest.raises(ModelError, match='layer "fc": it is a Dense, but only CompressedDense layers are counted'):
        report(dense)
    with pytest.raises(ModelError, match="index_width is 1, but it must be from 2 to 12"):
        report(compressed(), index_width=1)
    with pytest.raises(ModelError, match="pointer_width is 33"):
        report(compressed(), pointer_width=33)
