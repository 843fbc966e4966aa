"""Networks with branches on the systolic engine: where tensors lie, what is copied, and that every element is right."""

import dataclasses

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.fit import fit_memories
from celosia.host.models.arrangement import Concat
from celosia.host.models.ir import Network
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode

ENGINES = {
    "4x4": SystolicConfig(rows=4, cols=4),
    "4x8": SystolicConfig(rows=4, cols=8),
    "8x4": SystolicConfig(rows=8, cols=4),
    "16x16": SystolicConfig(rows=16, cols=16),
    "8x8, few accumulators": SystolicConfig(rows=8, cols=8, accumulator_rows=16),
    "8x8, unsigned": SystolicConfig(rows=8, cols=8, activation_signed=False),
    "6x9, no taps": SystolicConfig(rows=6, cols=9, taps=0),
}
CASES, SLOW_CASES = 60, 1000


def compiled(network: Network, engine: SystolicConfig, **changes):
    config = AcceleratorConfig(engine=engine, **changes)
    return compile_network(network, fit_memories(network, config, keep=changes))


def run(networks, interpreter, seed: int) -> None:
    rng = np.random.default_rng(seed)
    engine = ENGINES[str(rng.choice(list(ENGINES)))]
    made = networks.random_network(rng, engine.rows, adds=engine.cols >= engine.rows)
    program = compiled(made.network(), engine, weight_depth=int(rng.choice([8, 64, 8192])))
    assert interpreter.check(program, made.inputs(program.vectors)), f"seed {seed}"


@pytest.mark.parametrize("seed", range(0, CASES, 20))
def test_random_networks(networks, interpreter, seed):
    for each in range(seed, seed + 20):
        run(networks, interpreter, each)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CASES, SLOW_CASES, 97))
def test_many_random_networks(networks, interpreter, seed):
    for each in range(seed, min(seed + 97, SLOW_CASES)):
        run(networks, interpreter, each)


@pytest.fixture
def builder(networks):
    def make(*shape: int, dtype: str = "int8"):
        return networks.Builder(np.random.default_rng(11), shape, dtype)

    return make


def test_concatenations_take_no_steps(builder, interpreter):
    made = builder(5, 6, 3)
    parts = [made.conv(0, count, (3, 3)) for count in (20, 5)]
    made.alike(*parts)
    whole = made.concat(*parts)
    inner = made.conv(whole, 7, (1, 1))
    made.alike(whole, inner)
    outer = made.concat(whole, inner)  # of a concatenation
    made.max_pool(outer, (2, 2), (2, 2))
    program = compiled(made.network(), ENGINES["16x16"])
    plans = {plan.name: plan for plan in program.layers}
    for tensor in (whole, outer):
        plan = plans[made.layers[tensor - 1].name]
        assert not plan.steps
        assert plan.reason == "nothing to do: its inputs are written side by side"
    places = [program.tensor(tensor) for tensor in (*parts, whole, inner, outer)]
    assert len({(place.memory, place.address, place.words) for place in places}) == 1
    assert places[0].words == 5 * 6 * 4  # words of 20, 5 and 7 channels
    assert interpreter.check(program, made.inputs(1))


def test_what_must_be_copied(builder, interpreter):
    made = builder(4, 4, 5)
    first = made.rescale(0)
    made.alike(0, first)
    both = made.concat(0, first)  # the input is in another memory
    again = made.concat(first, both)  # `first` is part of `both`, which is written here
    made.conv(again, 4, (1, 1))
    program = compiled(made.network(), ENGINES["4x4"])
    assert [len(plan.steps) for plan in program.layers] == [1, 1, 1, 1]
    assert program.layers[1].mode == "copy, CHANNELS"
    assert program.layers[1].reason.endswith("copied: an input is used elsewhere, too, or was not written for it alone")
    assert interpreter.check(program, made.inputs(1))


def test_additions_of_tensors_that_lie_apart(builder, interpreter):
    made = builder(4, 5, 6)
    parts = [made.conv(0, 3, (1, 1)), made.conv(0, 3, (1, 1))]
    made.alike(*parts)
    whole = made.concat(*parts)  # two words of three channels
    made.add(whole, made.conv(whole, 6, (3, 3)))  # two words of four and two
    program = compiled(made.network(), ENGINES["4x4"])
    assert program.layers[-1].mode == "copy, MATRIX + LOOKUP"
    assert program.layers[-1].reason.endswith("copied: the tensors that are added do not lie alike")
    assert interpreter.check(program, made.inputs(1))


def test_tables_are_stored_once(builder, interpreter):
    made = builder(4, 5, 6)
    made.add(made.rescale(0), 0)
    added = dataclasses.replace(made.layers[-1], name="again")
    other = dataclasses.replace(made.layers[-1], name="other", multipliers=added.multipliers[::-1])
    layers = [
        *made.layers,
        added,
        other,
        Concat(name="all", input_shapes=((4, 5, 6),) * 3, zero_point=made.zero_points[2]),
    ]
    sources = [(0,), (1, 0), (1, 0), (1, 0), (2, 3, 4)]
    network = Network(name="n", layers=layers, input_shape=(4, 5, 6), sources=sources)
    with pytest.raises(CompileError, match="set lookup_tables=4"):
        compile_network(network, AcceleratorConfig(engine=ENGINES["4x4"]))
    program = compiled(network, ENGINES["4x4"])
    assert program.config.engine.lookup_tables == 4
    assert [step.fields["table"] for step in program.steps if step.fields["mode"] == Mode.LOOKUP] == [0, 0, 2]
    assert interpreter.check(program, made.inputs(1))


def test_results_have_a_memory_of_their_own(builder, interpreter):
    made = builder(3, 3, 4)
    first = made.rescale(0)
    made.reshape(made.rescale(first), (36,))
    program = compiled(made.network(), ENGINES["4x4"])
    assert [len(plan.steps) for plan in program.layers] == [1, 1, 0]  # seen in another shape where it is
    assert program.tensor(3).memory == program.tensor(2).memory == "outputs"
    assert interpreter.check(program, made.inputs(1))
    made = builder(3, 3, 4)
    made.reshape(0, (9, 4))
    program = compiled(made.network(), ENGINES["4x4"])
    assert program.layers[0].reason == "resident: all 3 weight rows fit into 2048; copied: results are read from a " + (
        "memory of their own"
    )
    assert interpreter.check(program, made.inputs(1))


def test_inputs_lie_in_the_shape_in_which_they_are_taken(builder, interpreter):
    made = builder(6, 8)
    image = made.reshape(0, (6, 8, 1))
    made.conv(image, 3, (3, 3), (2, 2))
    program = compiled(made.network(), ENGINES["4x4"])
    assert not program.layers[0].steps
    assert interpreter.check(program, made.inputs(1))
    made = builder(6, 8)
    made.dense(0, 3)
    program = compiled(made.network(), ENGINES["16x16"])
    assert program.input_words == 3
    assert interpreter.check(program, made.inputs(1))


def test_images_with_channels_first(builder, interpreter):
    made = builder(5, 6, 3)
    made.conv(0, 4, (3, 3))
    network = made.network()
    first = Network(name="first", layers=network.layers, input_shape=(3, 5, 6), channels_first=True)
    program, values = compiled(first, ENGINES["4x4"]), made.inputs(1)
    assert interpreter.check(program, values)
    assert np.array_equal(program.pack_inputs(values), compiled(network, ENGINES["4x4"]).pack_inputs(values))


def test_images_lie_so_that_lines_are_long(builder, interpreter):
    for shape, exchanged in (((3, 20, 8), False), ((20, 3, 8), True)):
        made = builder(*shape)
        made.dense(made.conv(made.conv(0, 8, (3, 3), groups=8), 8, (1, 1)), 5)
        program = compiled(made.network(), ENGINES["16x16"])
        assert ("rows and columns exchanged" in program.layers[0].reason) == exchanged
        assert program.steps[0].fields["line"] == 22
        assert interpreter.check(program, made.inputs(1))


def test_the_host_computes_a_softmax(builder, interpreter):
    made = builder(3, 3, 4)
    shaped = made.reshape(made.softmax(made.reshape(made.conv(0, 5, (3, 3), padding=(0, 0, 0, 0)), (5,))), (1, 5))
    program = compiled(made.network(), ENGINES["4x4"])
    assert [type(layer).__name__ for layer in program.host_layers] == ["Softmax", "Reshape"]
    assert [plan.on_host for plan in program.layers] == [False, False, True, True]
    assert program.layers[2].reason == "computed by the host from the engine's results"
    assert program.output_shape == (5,)
    with pytest.raises(CompileError, match=f"tensor {shaped} is not on the device, which has tensors 0 to 2"):
        program.tensor(shaped)
    assert interpreter.check(program, made.inputs(1))


def test_a_plan_says_what_a_layer_takes(builder):
    made = builder(8, 8, 16)
    made.conv(made.conv(0, 32, (3, 3)), 32, (3, 3), groups=32)
    program = compiled(made.network(), ENGINES["16x16"])
    first, second = program.layers
    assert (first.kind, first.mode, first.shape, first.tiles) == (
        "Conv2d",
        "MATRIX",
        (64, 144, 32),
        {"blocks": 2, "k_tiles": 9, "n_tiles": 2},
    )
    assert (first.macs, second.macs, program.macs) == (294_912, 18_432, 313_344)
    assert (first.read_bytes, first.written_bytes) == (16 * 64 * 9 * 2, 16 * 64 * 2)
    assert (second.read_bytes, second.written_bytes) == (16 * 80 * 3 * 2, 16 * 64 * 2)
    assert first.streamed_words == 0
    assert first.reason == "resident: all 306 weight rows fit into 2048"
    assert second.reason.endswith("; 3 neighbours at a time by taps")


def test_a_place_is_good_until_it_is_written_again(builder):
    made = builder(4, 4, 4)
    tensor = 0
    for _ in range(4):
        tensor = made.rescale(tensor)
    program = compiled(made.network(), ENGINES["4x4"])
    spans = [(program.tensor(index).after, program.tensor(index).until) for index in range(5)]
    assert spans == [(-1, 4), (0, 2), (1, 4), (2, 4), (3, 4)]


@pytest.mark.parametrize(
    ("strides", "padding"), [((2, 2), (0, 0, 0, 0)), ((3, 1), (0, 0, 0, 0)), ((2, 2), (1, 1, 0, 0))]
)
def test_several_vectors_through_windows_of_one_pixel(builder, interpreter, strides, padding):
    made = builder(1, 1, 12)
    made.max_pool(made.conv(made.conv(0, 20, (1, 1), strides, padding), 9, (1, 1), strides), (1, 1), strides)
    config = AcceleratorConfig(engine=ENGINES["4x4"])
    program = compile_network(made.network(), fit_memories(made.network(), config), batch=5)
    assert program.vectors == (1 if any(padding) else 5)
    assert interpreter.check(program, made.inputs(5)[: program.vectors])


def test_one_vector_may_fill_a_memory(builder, interpreter):
    made = builder(64)
    made.dense(made.dense(0, 64), 10)
    depths = {"input_depth": 16, "activation_depth": 16, "output_depth": 16, "weight_depth": 2048}
    program = compile_network(made.network(), AcceleratorConfig(engine=ENGINES["4x4"], **depths))
    assert interpreter.check(program, made.inputs(1))
