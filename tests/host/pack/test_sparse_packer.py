import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Dense, Network
from celosia.host.pack.sparse import arrange, pack_inputs, unpack_activations, unpack_pointers
from celosia.host.pack.sparse_layers import EIE, SparseOptions
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import unpack_lanes
from celosia.hw.sparse.config import SparseConfig


def config(**changes) -> AcceleratorConfig:
    engine = {"pes": 4, "queue_depth": 8, "index_width": 4, "accumulator_rows": 16, "group": 2}
    own = {name: changes.pop(name) for name in list(changes) if name in SparseConfig.__dataclass_fields__}
    return AcceleratorConfig(engine=SparseConfig(**(engine | own)), **({"weight_depth": 256} | changes))


def layer(K: int = 10, N: int = 12, *, seed: int = 1, density: float = 0.3, **changes) -> CompressedDense:
    rng = np.random.default_rng(seed)
    fields = {
        "name": f"{K} to {N}",
        "codes": np.where(rng.random((K, N)) < density, rng.integers(1, 16, (K, N)), 0).astype(np.uint8),
        "codebook": np.array([0, *rng.integers(-500, 500, 15)]),
        "bias": rng.integers(-1000, 1000, N),
        "shift": 4,
        "minimum": -(1 << 15),
        "maximum": (1 << 15) - 1,
        "input_dtype": "int16",
        "output_dtype": "int16",
    }
    return CompressedDense(**(fields | changes))


def compile_layers(accelerator: AcceleratorConfig, *layers: CompressedDense, options: SparseOptions | None = None):
    network = Network(name="net", layers=layers, input_shape=(layers[0].codes.shape[0],))
    return compile_network(network, accelerator, options=options)


DENSE = Dense(
    name="dense",
    weights=np.ones((2, 2), np.int8),
    bias=np.zeros(2, int),
    multiplier=np.full(2, 1 << 30),
    shift=np.zeros(2, int),
    rounding="up",
    input_zero_point=0,
    output_zero_point=0,
    minimum=-128,
    maximum=127,
)


@pytest.mark.parametrize(
    ("given", "engine", "sentence"),
    [
        (DENSE, {}, "layer 'dense' is a Dense; the sparse engine takes compressed layers, which celosia makes of a"),
        (object(), {}, "layer '?' is a object; the sparse engine takes compressed layers"),
        (
            layer(),
            {"codebook_width": None},
            "layer '10 to 12' has a codebook; codebook_width=None takes weights withou",
        ),
        (
            layer(codebook=None, codes=np.ones((2, 2), np.int8), bias=[0, 0]),
            {},
            "layer '10 to 12' has no codebook; codebook_width=4 takes one.",
        ),
        (layer(), {"codebook_width": 3}, "layer '10 to 12' has a codebook of 16 weights; codebook_width=3 holds 8."),
        (
            layer(codebook=np.array([0, 128, -129, *range(13)])),
            {"weight_width": 8},
            "layer '10 to 12' has weights from -129 to 128; weight_width=8 holds -128 to 127.",
        ),
        (
            layer(bias=np.full(12, (1 << 23) - 8)),
            {"accumulator_width": 24},
            "layer '10 to 12' has biases from 8388608 to 8388608; accumulator_width=24 holds -8388608 to 8388607.",
        ),
        (
            layer(bias=np.full(12, -(1 << 23) - 9)),
            {"accumulator_width": 24},
            "layer '10 to 12' has biases from -8388609 to -8388609; accumulator_width=24 holds",
        ),
        (layer(shift=40, bias=np.zeros(12, int)), {}, "biases from 549755813888 to 549755813888; accumulator_width=40"),
    ],
)
def test_layers_that_do_not_fit(given, engine, sentence):
    with pytest.raises(CompileError) as caught:
        arrange(config(**engine), [given])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_that_just_fit():
    biases = np.array([(1 << 23) - 9, -(1 << 23) - 8])
    just = layer(10, 2, bias=biases, codebook=np.array([0, 127, -128, *range(13)]))
    assert arrange(config(accumulator_width=24, weight_width=8), [just])
    assert arrange(config(codebook_width=None), [layer(codebook=None, codes=np.full((10, 12), -(1 << 15), np.int16))])


@pytest.mark.parametrize(
    ("options", "changes", "sentence"),
    [
        (SparseOptions(group=4), {}, "group=4 must be a power of two up to the config's group=2."),
        (SparseOptions(group=0), {}, "group=0 must be a power of two up to the config's group=2."),
        (SparseOptions(group=-1), {}, "group=-1 must be a power of two"),
        (SparseOptions(group=3), {"pes": 8, "group": 8}, "group=3 must be a power of two up to the config's group=8."),
        (SparseOptions(queue_limit=0), {}, "queue_limit=0 must be from 1 to the config's queue_depth=8."),
        (SparseOptions(queue_limit=9), {}, "queue_limit=9 must be from 1 to the config's queue_depth=8."),
        (EIE, {"queue_depth": 6}, "queue_limit=7 must be from 1 to the config's queue_depth=6."),
        (EIE, {"index_width": 3}, "relative_width=4 must be from 2 to the config's index_width=3."),
        (SparseOptions(relative_width=1), {}, "relative_width=1 must be from 2 to the config's index_width=4."),
        (SparseOptions(encode=True), {}, "encode=True needs an engine with decoders; set decoders to 1 or more."),
        (
            SparseOptions(relative_width=0, group=1),
            {"index_width": 3},
            "layer '10 to 48' gives a PE 12 rows, but absolute indices of index_width=3 tell 8 apart; choose relative "
            "indices, or make it wider.",
        ),
    ],
)
def test_options_that_do_not_fit(options, changes, sentence):
    with pytest.raises(CompileError) as caught:
        arrange(config(**changes), [layer(10, 48)], options)
    assert sentence in str(caught.value)


def test_what_is_left_open():
    """Rows as long as indices tell them apart, with as many PEs to a group as that allows; else zeros."""
    for rows, index_width, group, relative in (
        (8, 4, 2, 0),  # 4 rows of each of 2 groups
        (32, 4, 2, 0),
        (33, 4, 1, 0),  # two PEs would share more than 16 rows
        (64, 4, 1, 0),
        (64, 3, 1, 3),  # 16 rows in a PE
        (32, 3, 1, 0),
        (16, 3, 2, 0),
        (17, 3, 1, 0),
        (70, 4, 1, 0),  # in tiles
    ):
        (arranged,) = arrange(config(index_width=index_width), [layer(4, rows)])
        assert {tile.schedule.group for tile in arranged.tiles} == {group}, rows
        assert arranged.options.relative_width == relative, rows
        assert arranged.options.queue_limit == 8


@pytest.mark.parametrize("options", [None, EIE, SparseOptions(group=1), SparseOptions(balance=False)], ids=str)
@pytest.mark.parametrize("N", [1, 3, 4, 7, 16, 31, 32, 33, 64, 65, 150])
def test_positions(N, options):
    """Each output has a place of its own in the vector, and each tile fits the accumulators."""
    accelerator = config()
    engine = accelerator.engine
    (arranged,) = arrange(accelerator, [layer(9, N)], options)
    positions = arranged.output_positions
    assert len(set(positions.tolist())) == len(positions) == N
    assert 0 <= positions.min() <= positions.max() < arranged.output_words * engine.pes
    assert np.concatenate([tile.outputs for tile in arranged.tiles]).tolist() == list(range(N))
    words = 0
    for tile in arranged.tiles:
        assert tile.schedule.rows <= engine.accumulator_rows
        assert tile.first_word == words
        words += tile.rows
        inside = tile.positions // engine.pes
        assert words - tile.rows <= inside.min() <= inside.max() < words
    assert arranged.output_words == words
    if options is EIE and len(arranged.tiles) == 1:
        assert positions.tolist() == list(range(N))


@pytest.mark.parametrize("options", [None, EIE, SparseOptions(relative_width=2)], ids=str)
def test_entries_are_the_layers(options):
    """Whichever PE, row and column they are in: together they are the layer's codes again."""
    accelerator = config()
    layers = [layer(9, 70), layer(70, 20), layer(20, 5)]
    for arranged in arrange(accelerator, layers, options):
        codes = np.zeros(arranged.shape, dtype=np.int64)
        for tile in arranged.tiles:
            entries, plan = tile.entries, tile.schedule
            output = {
                (int(group), int(slot)): int(row)
                for row, group, slot in zip(tile.outputs, plan.row_group, plan.row_slot, strict=True)
            }
            for source, position in enumerate(arranged.input_positions):
                for pe in range(plan.pes):
                    for place in range(*entries.pointers[position : position + 2, pe].tolist()):
                        if not entries.pads[place, pe]:
                            row = output[pe // plan.group, int(entries.rows[place, pe])]
                            codes[source, row] += entries.codes[place, pe]
        assert np.array_equal(codes, arranged.layer.codes)
        assert arranged.weight_words == sum(tile.entries.depth for tile in arranged.tiles)
        assert arranged.work == np.count_nonzero(codes)


def test_columns_without_an_input_are_empty():
    """Those of lanes that have no row in the layer before."""
    arranged = arrange(config(), [layer(9, 7), layer(7, 5)])[1]
    unused = np.setdiff1d(np.arange(arranged.input_words * 4), arranged.input_positions)
    assert unused.size == arranged.input_words * 4 - 7
    lengths = np.diff(arranged.tiles[0].entries.pointers, axis=0)
    assert not lengths[unused].any()


def test_memory_words():
    """Pointers begin where the tile's entries are; biases have the half that rounds, and lie as rows are drained."""
    accelerator = config()
    layers = [layer(9, 70, seed=2), layer(70, 20, seed=3)]
    program = compile_layers(accelerator, *layers)
    pes, image = accelerator.engine.pes, program.image
    pointers = unpack_pointers(accelerator, image["pointers"])
    biases = unpack_lanes(image["parameters"], pes, 40, signed=True)
    entries = unpack_lanes(image["weights"], pes, 8, signed=False)
    address = 0
    for plan, given in zip(program.layers, layers, strict=True):
        for tile, step in zip(plan.arranged.tiles, plan.steps, strict=True):
            first, columns = step.fields["pointers"], step.fields["source_words"] * pes
            assert first % 2 == 0
            assert np.array_equal(pointers[first : first + columns + 1], tile.entries.pointers + address)
            part = entries[address : address + tile.entries.depth]
            assert np.array_equal(part & 15, tile.entries.codes)
            assert np.array_equal(part >> 4, tile.entries.indices)
            address += tile.entries.depth
            begin = step.fields["parameters"]
            rows = biases[begin : begin + tile.rows].ravel()
            places = tile.positions - tile.first_word * pes
            assert np.array_equal(rows[places], given.bias[tile.outputs] + 8)
            assert not np.delete(rows, places).any()
        codebook = image["codebooks"][plan.steps[0].fields["codebook"] :][:16, 0].astype(np.uint16).view(np.int16)
        assert np.array_equal(codebook, given.codebook)


def test_equal_codebooks_lie_once():
    first, second = layer(9, 8), layer(8, 7, seed=2)
    third = layer(7, 9, seed=3, codebook=first.codebook)
    program = compile_layers(config(), first, second, third)
    places = [plan.steps[0].fields["codebook"] for plan in program.layers]
    assert places == [0, 16, 0]
    assert len(program.image["codebooks"]) == 32


@pytest.mark.parametrize("decoders", [0, 1])
def test_pieces(decoders):
    """Whole activation words, in order, each as large as half of the ring allows; the last one of a tile drains."""
    options = SparseOptions(encode=decoders > 0)
    accelerator = config(weight_depth=64, accumulator_rows=8, decoders=decoders, codebook_depth=1 << 16)
    program = compile_layers(accelerator, layer(90, 40, density=0.4), options=options)
    (plan,) = program.layers
    half, begin, tiles = 32, 0, 0  # the ring is the whole memory
    sent = np.zeros((0, program.weight_stream.shape[1]), np.uint32)
    for number, step in enumerate(plan.steps):
        fields, entries = step.fields, step.detail.entries
        assert fields["source"] == begin
        assert entries.depth <= half
        begin += fields["source_words"]
        ends = begin == plan.arranged.input_words
        tile = plan.arranged.tiles[tiles]
        assert fields["rows"] == (tile.rows if ends else 0)
        if not ends:
            sizes = np.diff(tile.entries.pointers[:: accelerator.engine.pes], axis=0)
            assert (entries.pointers[-1] + sizes[begin]).max() > half
        assert fields["weights"] == program.ring_base + half * (number % 2)
        assert fields["load_rows"] == entries.depth
        assert fields["encoded"] == (decoders > 0)
        assert fields["load_ahead"] == (decoders == 0 and (number > 0 or len(plan.steps) % 2 == 0))
        begin, tiles = (0, tiles + 1) if ends else (begin, tiles)
        sent = np.concatenate([sent, program.weight_stream[len(sent) : len(sent) + fields["load_words"]]])
    assert tiles == len(plan.arranged.tiles) > 1
    assert len(sent) == len(program.weight_stream)
    assert program.vectors == 1


def test_pieces_that_are_too_large():
    with pytest.raises(CompileError) as caught:
        compile_layers(config(weight_depth=16), layer(60, 20, density=0.9))
    assert str(caught.value) == (
        "layer '60 to 20' has 18 entries of one activation word in a PE, but half of the ring for streamed weights "
        "holds 8; set weight_depth higher."
    )


@pytest.mark.parametrize(
    ("changes", "memory", "has"),
    [
        ({"pointer_depth": 16}, "pointers", 16),
        ({"codebook_depth": 8}, "codebooks", 8),
        ({"parameter_depth": 2}, "parameters", 2),
        ({"program_depth": 4}, "program", 4),
    ],
)
def test_memories_that_are_too_small(changes, memory, has):
    with pytest.raises(CompileError, match=f"words of the {memory} memory, which has {has}; set .*_depth higher"):
        compile_layers(config(**changes), layer(60, 20), layer(20, 30))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"activation_width": 8}, "int16 activations do not fit the config's, which are int8."),
        ({"activation_width": 8, "activation_signed": False}, "which are uint8."),
        ({"activation_signed": False}, "int16 activations do not fit the config's, which are uint16."),
    ],
)
@pytest.mark.parametrize("where", ["first", "between", "last"])
def test_activations_that_do_not_fit(changes, sentence, where):
    """Whichever tensor they are of: one sentence, not an error of whatever comes upon them."""
    narrow = f"{'' if changes.get('activation_signed', True) else 'u'}int{changes.get('activation_width', 16)}"
    types = [narrow] * 3
    types[("first", "between", "last").index(where)] = "int16"
    layers = []
    for (K, N), (before, after) in zip(itertools.pairwise((6, 7, 5)), itertools.pairwise(types), strict=True):
        limits = np.iinfo(after)
        layers.append(layer(K, N, input_dtype=before, output_dtype=after, minimum=limits.min, maximum=limits.max))
    with pytest.raises(CompileError) as caught:
        compile_layers(config(**changes), *layers)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_narrower_activations_fit(dtype):
    limits = np.iinfo(dtype)
    given = layer(6, 7, input_dtype=dtype, output_dtype=dtype, minimum=limits.min, maximum=limits.max)
    assert compile_layers(config(), given).layers[0].shape == (1, 6, 7)


@pytest.mark.parametrize("K", [1, 4, 5, 12])
@pytest.mark.parametrize("changes", [{}, {"activation_width": 8}, {"activation_width": 8, "activation_signed": False}])
def test_activations_round_trip(K, changes):
    accelerator = config(**changes)
    low, high = accelerator.engine.activation_range
    values = np.random.default_rng(K).integers(low, high + 1, (5, K))
    values[0], values[1] = low, high
    words = pack_inputs(accelerator, SimpleNamespace(input_words=-(-K // 4)), values)
    assert len(words) == 5 * -(-K // 4)
    lanes = unpack_activations(accelerator, words, -(-K // 4))
    assert np.array_equal(lanes[:, :K], values)
    assert not lanes[:, K:].any()


def test_resident_weights_that_are_encoded_have_loads():
    accelerator = config(decoders=1, codebook_depth=2048)
    layers = [layer(9, 70, seed=2), layer(70, 20, seed=3, codes=np.zeros((70, 20), np.uint8)), layer(20, 8, seed=4)]
    program = compile_layers(accelerator, *layers, options=SparseOptions(encode=True))
    assert "weights" not in program.image
    assert program.weight_stream is None
    tiles = [tile for plan in program.layers for tile in plan.arranged.tiles]
    full = [tile for tile in tiles if tile.entries.depth]
    assert len(tiles) > len(full) == len(program.loads)
    addresses = np.cumsum([0, *(tile.entries.depth for tile in full)])
    for step, address, tile in zip(program.loads, addresses, full, strict=False):
        assert (step.fields["weights"], step.fields["load_rows"]) == (address, tile.entries.depth)
        assert (step.fields["encoded"], step.fields["rows"], step.fields["source_words"]) == (1, 0, 0)
    assert sum(step.fields["load_words"] for step in program.loads) == len(program.load_stream)
    run = program.load_parameters()
    assert run.layers == len(program.loads)
    assert run.program == len(program.steps) * accelerator.layer_fields.words
