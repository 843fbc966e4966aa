import itertools
import sys

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.models.binary import BinaryConv, BinaryDense
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.pack.binary import arrange, pack_inputs, pack_weights, unpack_outputs
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import unpack_lanes
from celosia.sim.golden.binary import run_layer

SIGNED, UNSIGNED = [f"int{bits}" for bits in range(2, 9)], [f"uint{bits}" for bits in range(1, 9)]


def config(**changes) -> AcceleratorConfig:
    engine = {"pes": 4, "simd": 8, "accumulator_width": 20, "output_width": 8, "post_lanes": 2}
    own = {name: changes.pop(name) for name in list(changes) if name in BinaryConfig.__dataclass_fields__}
    return AcceleratorConfig(engine=BinaryConfig(**(engine | own)), **({"weight_depth": 256} | changes))


def values_of(dtype: str) -> np.ndarray:
    low, high = integer_range(dtype)
    return np.arange(low, high + 1, 2 if dtype == "bipolar" else 1)


def outputs(rng: np.random.Generator, dtype: str, N: int, spread: float) -> dict:
    if dtype == "int32":
        return {"output_dtype": dtype}
    thresholds = rng.normal(0, spread, (N, len(values_of(dtype)) - 1)).round().astype(int)
    return {"thresholds": np.sort(thresholds, axis=1), "output_dtype": dtype}


def dense(K=10, N=7, *, seed=1, ternary=False, dtype="bipolar", out="int32", **changes) -> BinaryDense:
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (K, N))
    weights.flat[0] = 0 if ternary else 1
    given = outputs(rng, out, N, 2 * np.abs(values_of(dtype)).max() + np.sqrt(K))
    return BinaryDense(**({"name": f"{K} to {N}", "weights": weights, "input_dtype": dtype, **given} | changes))


def conv(size=(4, 5), kernel=(2, 3), C=10, N=7, *, seed=1, ternary=False, dtype="bipolar", out="int32", **changes):
    flat = dense(kernel[0] * kernel[1] * C, N, seed=seed, ternary=ternary, dtype=dtype, out=out)
    fields = {name: getattr(flat, name) for name in ("thresholds", "input_dtype", "output_dtype", "output_minimum")}
    weights = flat.weights.reshape(*kernel, C, N)
    return BinaryConv(**({"name": "conv", "weights": weights, "input_size": size, **fields} | changes))


NETWORKS = {
    "dense": dense(21, 9),
    "ternary": dense(21, 9, ternary=True),
    "less than a word": dense(3, 3),
    "one fold": dense(16, 4),
    "convolution": conv(),
    "ternary convolution": conv(C=17, N=5, ternary=True),
    "put together": conv(C=1, kernel=(2, 3)),
    "rows put together": conv(C=2, kernel=(3, 3), ternary=True),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "engine", [{}, {"pes": 3, "simd": 7, "post_lanes": 1}, {"pes": 1, "simd": 33, "post_lanes": 1}]
)
def test_weights_are_the_bits_of_a_naive_loop(name, engine):
    """Fold, plane, kernel row, column, word; in it PE by PE, input by input: 1 for −1, of ternary ones for −1 and 0."""
    accelerator = config(**engine)
    (arranged,) = arrange(accelerator, [NETWORKS[name]])
    pes, simd, weights = accelerator.engine.pes, accelerator.engine.simd, arranged.conv.weights
    rows, cols, channels, N = weights.shape
    expected = []
    for fold in range(arranged.folds):
        for plane, row, col, chunk in itertools.product(
            range(arranged.weight_planes), range(rows), range(cols), range(arranged.chunks)
        ):
            word = 0
            for pe, lane in itertools.product(range(pes), range(simd)):
                output, channel = fold * pes + pe, chunk * simd + lane
                if output < N and channel < channels:
                    weight = weights[row, col, channel, output]
                    word |= int(weight < 0 or (plane == 1 and weight == 0)) << (pe * simd + lane)
            expected.append([word >> (32 * part) & 0xFFFFFFFF for part in range(-(-pes * simd // 32))])
    packed = pack_weights(arranged, 0, arranged.folds)
    assert packed.dtype == np.uint32
    assert packed.tolist() == expected
    assert len(packed) == arranged.weight_words
    parts = [pack_weights(arranged, fold, fold + 1) for fold in range(arranged.folds)]
    assert np.array_equal(np.concatenate(parts), packed)


def test_no_step_of_packing_is_for_a_single_weight():
    """As many lines of Python run for two million weights as for few."""
    accelerator, lines = config(pes=32, simd=64, post_lanes=None), []

    def trace(_frame, event, _argument):
        lines[-1] += event == "line"
        return trace

    for K, N in ((10, 7), (1024, 2048)):
        layer = BinaryDense(name="large", weights=np.ones((K, N), np.int8), output_dtype="int32")
        (arranged,) = arrange(accelerator, [layer])
        lines.append(0)
        before = sys.gettrace()
        sys.settrace(trace)
        pack_weights(arranged, 0, arranged.folds)
        sys.settrace(before)
    assert lines[0] == lines[1] > 10


@pytest.mark.parametrize("dtype", ["bipolar", *UNSIGNED, *SIGNED])
@pytest.mark.parametrize("K", [1, 7, 8, 9, 20])
def test_inputs_are_bit_planes(dtype, K):
    """The most significant first, each in whole words; lanes without an input are 0."""
    accelerator = config()
    (arranged,) = arrange(accelerator, [dense(K, 3, dtype=dtype)])
    low, _ = integer_range(dtype)
    x = np.random.default_rng(K).choice(values_of(dtype), (5, K))
    words = pack_inputs(accelerator, arranged, x)
    assert words.shape == (5 * arranged.input_words, 1)
    planes, chunks = arranged.codes.planes, -(-K // 8)
    bits = words.reshape(5, planes, chunks)[..., None] >> np.arange(8) & 1
    codes = sum(bits[:, plane].reshape(5, -1).astype(int) << (planes - 1 - plane) for plane in range(planes))
    assert np.array_equal(low + (2 if dtype == "bipolar" else 1) * codes[:, :K], x)
    assert not codes[:, K:].any()


@pytest.mark.parametrize(
    "layer",
    [
        conv(),
        conv(dtype="int4", padding=(1, 2, 1, 1)),
        conv(dtype="uint3", padding=(0, 1, 0, 0), pad_value=5),
        conv(C=1),
        conv(C=1, strides=(2, 3), padding=(1, 0, 0, 2), pad_value=-1),
        conv(C=2, kernel=(3, 3), dtype="int2", padding=(2, 1, 1, 2), strides=(2, 1)),
        conv(C=2, kernel=(3, 3), strides=(1, 2), padding=(1, 0, 1, 0)),
    ],
    ids=lambda layer: f"{layer.kernel} {layer.input_dtype} {layer.padding} {layer.strides}",
)
def test_what_the_device_sees_of_an_image(layer):
    """Decoded again, the packed pixels, convolved as the device's descriptor says, are the layer's sums."""
    accelerator = config()
    (arranged,) = arrange(accelerator, [layer])
    x = np.random.default_rng(1).choice(values_of(layer.input_dtype), (3, *layer.input_shape))
    words = pack_inputs(accelerator, arranged, x.reshape(3, -1))
    assert words.shape == (3 * arranged.input_words, 1)
    codes, made = arranged.codes, arranged.conv
    bits = words.reshape(3, -1, codes.planes, arranged.chunks)[..., None] >> np.arange(8) & 1
    planes = bits.reshape(3, -1, codes.planes, arranged.chunks * 8)[..., : made.weights.shape[2]].astype(int)
    stored = (planes * (1 << np.arange(codes.planes)[::-1])[:, None]).sum(axis=2)
    pixels = codes.minimum + codes.step * (stored ^ codes.flip)
    assert np.array_equal(run_layer(made, pixels), run_layer(layer, x))


@pytest.mark.parametrize("out", ["bipolar", "uint1", "uint4", "int3", "int8", "int32"])
@pytest.mark.parametrize("engine", [{}, {"simd": 33, "pes": 3, "post_lanes": 3}, {"simd": 4, "accumulator_width": 32}])
@pytest.mark.parametrize("N", [1, 4, 9])
def test_outputs_are_read_as_they_are_written(out, engine, N):
    """Bit planes as the next layer would read them; sums word by word, those of whole groups."""
    accelerator = config(**engine)
    engine = accelerator.engine
    (arranged,) = arrange(accelerator, [conv((3, 3), (2, 2), N=N, out=out)])
    rng = np.random.default_rng(N)
    if out != "int32":
        values = rng.choice(values_of(out), (2, 2 * 2 * N))
        (reader,) = arrange(accelerator, [conv((2, 2), (1, 1), C=N, dtype=out)])
        words = pack_inputs(accelerator, reader, values)
    else:
        limit = 1 << (engine.result_width - 1)
        values = rng.integers(-limit, limit, (2, 4 * N))
        values[0, :2] = -limit, limit - 1
        width = engine.result_words * engine.simd
        padded = np.zeros((8, arranged.groups * engine.resolved_post_lanes), dtype=object)
        padded[:, :N] = values.reshape(8, N)
        parts = [
            int(value) % (1 << width) >> (engine.simd * part) & ((1 << engine.simd) - 1)
            for value in padded.ravel()
            for part in range(engine.result_words)
        ]
        chunks = -(-engine.simd // 32)
        words = np.array([[part >> (32 * chunk) & 0xFFFFFFFF for chunk in range(chunks)] for part in parts], np.uint32)
    assert len(words) == 2 * arranged.output_words
    assert np.array_equal(unpack_outputs(accelerator, arranged, words), values)


@pytest.mark.parametrize("ternary", [False, True], ids=["binary", "ternary"])
@pytest.mark.parametrize("dtype", ["bipolar", *UNSIGNED, *SIGNED])
def test_twice_the_matches_and_an_offset_are_the_sum(dtype, ternary):
    """For every pair of operands; padded with each of some values, so that planes are flipped."""
    for pad_value in {*values_of(dtype)[[0, -1, len(values_of(dtype)) // 2]]}:
        layer = conv((2, 2), (2, 2), C=9, N=5, dtype=dtype, ternary=ternary, padding=(1, 0, 0, 1), pad_value=pad_value)
        (arranged,) = arrange(config(), [layer])
        assert arranged.layer is layer
        rng = np.random.default_rng(3)
        for x in [*rng.choice(values_of(dtype), (10, 2, 2, 9, 1)), *np.array([*integer_range(dtype)])[:, None]]:
            window = np.broadcast_to(x, (2, 2, 9, 1))
            codes = (window - arranged.codes.minimum) // arranged.codes.step
            levels = (1 << arranged.codes.planes) - 1
            matches = np.zeros(5, dtype=int)
            for plane in [layer.weights >= 0, layer.weights > 0] if ternary else [layer.weights > 0]:
                matches += np.where(plane, codes, levels - codes).sum(axis=(0, 1, 2))
            unused = 2 * 2 * (2 * 8 - 9) * arranged.codes.flip * arranged.weight_planes
            sums = (window * layer.weights.astype(int)).sum(axis=(0, 1, 2))
            assert np.array_equal(2 * (matches + unused) + arranged.offsets, sums << arranged.raw_shift)
            assert (matches + unused).max() <= arranged.most_matches


@pytest.mark.parametrize("ternary", [False, True], ids=["binary", "ternary"])
@pytest.mark.parametrize("dtype", ["bipolar", "uint1", "uint3", "int2", "int3"])
def test_parameters_decide_like_thresholds(dtype, ternary):
    """For every sum of matches that there can be, and thresholds everywhere around them."""
    K, N = 5, 60
    thresholds = np.sort(np.random.default_rng(4).integers(-70, 70, (N, 3)), axis=1)
    thresholds[0], thresholds[1] = -(2**31), 2**31 - 1
    layer = dense(K, N, dtype=dtype, ternary=ternary, thresholds=thresholds, output_dtype="uint2")
    (arranged,) = arrange(config(accumulator_width=7), [layer])
    matches = np.arange(arranged.most_matches + 1)
    given = arranged.parameters.transpose(0, 2, 1).reshape(-1, 3)[:N]
    reached = 2 * matches[:, None, None] + given >= 0
    sums = 2 * matches[:, None] + arranged.offsets
    assert np.array_equal(reached, sums[..., None] >= thresholds << arranged.raw_shift)
    assert (given.min(), given.max()) == (-(1 << 8), (1 << 8) - 1)


def test_channels_that_are_not_there_are_stored_as_zero():
    """Whatever a PE without weights counts: as many thresholds are always reached as the flipped code says."""
    layers = [
        conv((3, 3), (1, 1), C=9, N=5, out="int3"),
        conv((3, 3), (2, 2), C=5, N=4, dtype="int3", padding=(1, 1, 0, 0), out="int32"),
    ]
    first, _ = arrange(config(), layers)
    flip = first.output.flip
    assert flip == 4
    missing = first.parameters.transpose(0, 2, 1).reshape(-1, 7)[5:]
    assert len(missing) == 1
    for matches in (0, 1, (1 << 20) - 1):
        assert ((2 * matches + missing >= 0).sum(axis=1) == flip).all()


def test_parameters_lie_as_they_are_read():
    """Group by group, threshold by threshold, lane by lane."""
    accelerator = config()
    layers = [dense(9, 7, out="uint2"), dense(7, 9, dtype="uint2", out="int32")]
    program = compile_network(Network(name="net", layers=layers, input_shape=(9,)), accelerator)
    words = unpack_lanes(program.image["parameters"], 2, accelerator.engine.parameter_width, signed=True)
    first, second = (plan.arranged for plan in program.layers)
    assert np.array_equal(words[: 4 * 3], first.parameters.reshape(-1, 2))
    assert words[12:].ravel()[:9].tolist() == second.offsets.tolist()
    assert [plan.steps[0].fields["parameters"] for plan in program.layers] == [0, 12]


class Other:
    name = "other"


@pytest.mark.parametrize(
    ("layers", "engine", "sentence"),
    [
        ([Other()], {}, "layer 'other' is a Other; the binary engine takes layers with weights of −1 and +1, or −1, 0"),
        ([object()], {}, "layer '?' is a object; the binary engine takes"),
        (
            [dense(dtype="uint3")],
            {"activation_width": 2},
            "layer '10 to 7' has inputs of 3 bits; activation_width=2 is too narrow for them, make it wider.",
        ),
        (
            [dense(out="int3")],
            {"output_width": 2},
            "layer '10 to 7' has outputs of 3 bits; output_width=2 is too narrow for them, make it wider.",
        ),
        (
            [dense(64, dtype="uint2")],
            {"accumulator_width": 7},
            "layer '64 to 7' can reach sums of 192; accumulator_width=7 holds up to 127, make it wider.",
        ),
        (
            [dense(9, 10, out="uint4", output_minimum=3, thresholds=np.zeros((10, 2), int), name="first"),
             conv((1, 2), (1, 2), 5, 3, dtype="uint4", padding=(0, 1, 0, 0))],
            {},
            "layer 'conv' is padded with 0, but its inputs reach from 3 to 5; it must be padded with one of them, or "
            "bipolar inputs with 0.",
        ),
        (
            [conv((300, 1), (1, 1), out="bipolar", pool=(256, 1))],
            {},
            "layer 'conv': 256 for its pooling windows is more than 255.",
        ),
        (
            [conv((1, 1), (1, 1), out="bipolar", pool_strides=(4096, 1), strides=(2, 1))],
            {},
            "layer 'conv': 8192 for its strides is more than 8191.",
        ),
        (
            [dense(131072, 1, weights=np.ones((131072, 1), np.int8), name="long")],
            {"simd": 2, "pes": 2, "post_lanes": 1},
            "layer 'long': 65536 for words of a pixel is more than 65535.",
        ),
        (
            [dense(1, 65536, weights=np.ones((1, 65536), np.int8), name="wide")],
            {"pes": 1, "post_lanes": 1},
            "layer 'wide': 65536 for folds is more than 65535.",
        ),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(layers, engine, sentence):
    with pytest.raises(CompileError) as caught:
        arrange(config(**engine), layers)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_that_just_fit():
    assert arrange(config(accumulator_width=8), [dense(85, dtype="uint2")])[0].most_matches == 255
    assert arrange(config(), [conv((300, 1), (1, 1), out="bipolar", pool=(255, 1))])
    assert arrange(config(pes=1, post_lanes=1), [dense(1, 65535, weights=np.ones((1, 65535), np.int8))])
    narrow = conv((1, 2), (1, 2), 5, 3, dtype="uint4", padding=(0, 1, 0, 0), pad_value=5)
    first = dense(9, 10, out="uint4", output_minimum=3, thresholds=np.zeros((10, 2), int))
    arranged = arrange(config(), [first, narrow])
    assert (arranged[1].codes.flip, arranged[0].output.flip) == (2, 2)


def test_a_ring_that_is_too_small():
    network = Network(name="net", layers=[dense(80, 40, out="uint2")], input_shape=(80,))
    with pytest.raises(CompileError) as caught:
        compile_network(network, config(weight_depth=36))
    assert str(caught.value) == (
        "layer '80 to 40' streams its weights, at least 20 words at a time, but half of the ring has 18; set "
        "weight_depth to 80 or more."
    )
    program = compile_network(network, config(weight_depth=40))
    (plan,) = program.layers
    assert [step.fields["load_words"] for step in plan.steps] == [20] * 5  # two folds, which fill a word
    assert [step.fields["weights"] for step in plan.steps] == [0, 20, 0, 20, 0]
    assert [step.fields["load_ahead"] for step in plan.steps] == [0, 1, 1, 1, 1]
    assert [step.fields["destination"] for step in plan.steps] == [0, 1, 2, 3, 4]
    assert np.array_equal(program.weight_stream, pack_weights(plan.arranged, 0, 10))
