import numpy as np
import pytest

from celosia.host.entry_counts import EntryStream, code_width, count_entries, count_given
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.errors import ModelError


def layer_of(codes, codebook=16) -> CompressedDense:
    codes = np.asarray(codes)
    return CompressedDense(
        name="fc",
        codes=codes if codebook is None else codes.astype(np.uint8),
        codebook=None if codebook is None else np.arange(codebook),
        bias=np.zeros(codes.shape[1], int),
        shift=0,
        minimum=-128,
        maximum=127,
    )


def encode(codes: np.ndarray, index_width: int, per_input: bool) -> tuple[list[int], list[int]]:
    """Plain encoder, entry by entry."""
    values, indices = [], []
    for stream in codes if per_input else [codes.ravel()]:
        zeros = 0
        for code in stream.tolist():
            if code:
                values.append(code)
                indices.append(zeros)
                zeros = 0
            elif zeros == 2**index_width - 1:
                values.append(0)
                indices.append(zeros)
                zeros = 0
            else:
                zeros += 1
        while values and values[-1] == 0:  # padding that nothing follows is not stored
            values.pop()
            indices.pop()
    return values, indices


def test_the_example_of_the_eie_paper():
    counts = count_entries(layer_of([[0, 0, 1, 2, *[0] * 18, 3]]), 4, per_input=True)
    assert np.flatnonzero(counts.codes).tolist() == [0, 1, 2, 3]  # v = 1, 2, 0, 3
    assert {z: int(counts.indices[z]) for z in np.flatnonzero(counts.indices)} == {0: 1, 2: 2, 15: 1}  # z = 2, 0, 15, 2
    assert (counts.entries, counts.pointers) == (4, 2)


@pytest.mark.parametrize("zeros", [0, 1, 14, 15, 16, 17, 31, 32, 33, 48])
def test_runs_of_zeros(zeros):
    counts = count_entries(layer_of([[*[0] * zeros, 5, 0, 0]]), 4, per_input=True)
    assert counts.codes[0] == zeros // 16
    assert counts.indices[zeros % 16] >= 1


@pytest.mark.parametrize("per_input", [True, False])
@pytest.mark.parametrize("index_width", [2, 4, 5])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.2, 1.0])
def test_equals_a_plain_encoder(density, index_width, per_input):
    seed = index_width
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 16, (20, 70)) * (rng.random((20, 70)) < density)
    counts = count_entries(layer_of(codes), index_width, per_input=per_input)
    values, indices = encode(codes, index_width, per_input)
    assert counts.codes.tolist() == np.bincount(np.array(values, int), minlength=16).tolist(), f"seed {seed}"
    assert counts.indices.tolist() == np.bincount(np.array(indices, int), minlength=2**index_width).tolist()
    assert counts.pointers == (21 if per_input else 0)


def test_weights_without_a_codebook_are_counted_in_twos_complement():
    layer = layer_of(np.array([[-4, 3, 0, -1]], np.int8), None)
    assert code_width(layer) == 3
    assert count_entries(layer, 4, per_input=False).codes.tolist() == [0, 0, 0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(("values", "width"), [(2, 1), (3, 2), (4, 2), (16, 4), (17, 5), (256, 8)])
def test_code_width(values, width):
    assert code_width(layer_of(np.zeros((1, 1)), values)) == width


def test_given_entries():
    layer = layer_of(np.ones((2, 2)))
    given = EntryStream(codes=np.array([1, 0, 15]), indices=np.array([3, 15, 3]), pointers=9)
    counts = count_given(layer, 4, given)
    assert (counts.entries, counts.pointers) == (3, 9)
    assert counts.codes[[0, 1, 15]].tolist() == [1, 1, 1]
    assert counts.indices[[3, 15]].tolist() == [2, 1]
    for changes, words in (
        ({"codes": np.array([1, 0])}, "2 codes are given with 3 indices"),
        ({"codes": np.array([1, 16, 0])}, "an entry's code is 16, but 4 bits hold 0 to 15"),
        ({"indices": np.array([1, -1, 0])}, "an entry's index is -1, but 4 bits"),
    ):
        fields = {"codes": given.codes, "indices": given.indices, "pointers": 1} | changes
        with pytest.raises(ModelError, match=words):
            count_given(layer, 4, EntryStream(**fields))
