"""Layers of every kind as the systolic engine's packer cuts them: every tensor equals the golden model's."""

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.data import binary_network
from celosia.host.errors import CompileError
from celosia.host.fit import fit_memories
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig

ENGINES = {
    "4x4": SystolicConfig(rows=4, cols=4),
    "4x8": SystolicConfig(rows=4, cols=8),
    "8x4": SystolicConfig(rows=8, cols=4),
    "16x16": SystolicConfig(rows=16, cols=16),
    "8x8, few accumulators": SystolicConfig(rows=8, cols=8, accumulator_rows=16),
    "6x9": SystolicConfig(rows=6, cols=9),
    "12x12, five taps": SystolicConfig(rows=12, cols=12, taps=5),
    "8x8, unsigned": SystolicConfig(rows=8, cols=8, activation_signed=False),
    "4x4, no taps": SystolicConfig(rows=4, cols=4, taps=0),
    "8x8, one lane, 9 bits": SystolicConfig(rows=8, cols=8, post_lanes=1, activation_width=9),
}
KINDS = ("conv", "depthwise", "grouped", "max_pool", "average_pool", "global_pool", "rescale", "dense", "add", "concat")
CASES, SLOW_CASES = 24, 300


def run(networks, interpreter, kind: str, seed: int):
    """Compile a random network with a layer of a kind, and hold every tensor against the golden model."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    engine = ENGINES[str(rng.choice(list(ENGINES)))]
    made = networks.random_layer(rng, kind, engine.rows, engine.cols)
    network = made.network()
    config = AcceleratorConfig(engine=engine, weight_depth=int(rng.choice([8, 64, 4096])))
    try:
        program = compile_network(network, fit_memories(network, config, keep=["weight_depth"]))
    except CompileError as error:
        few_columns = kind == "add" and engine.cols < engine.rows and "make cols as large as rows" in str(error)
        few_rows = kind == "max_pool" and engine.accumulator_rows == 16 and "set it to 32 or higher" in str(error)
        if not few_columns and not few_rows:
            raise
        return
    assert interpreter.check(program, made.inputs(program.vectors)), f"kind {kind}, seed {seed}"


@pytest.mark.parametrize("kind", KINDS)
def test_random_layers(networks, interpreter, kind):
    for seed in range(CASES):
        run(networks, interpreter, kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_random_layers(networks, interpreter, kind):
    for seed in range(CASES, SLOW_CASES):
        run(networks, interpreter, kind, seed)


def compiled(made, engine: SystolicConfig | None = None, **changes):
    network = made.network()
    config = AcceleratorConfig(engine=engine or ENGINES["16x16"], **changes)
    return compile_network(network, fit_memories(network, config, keep=changes))


@pytest.fixture
def builder(networks):
    def make(*shape: int, dtype: str = "int8"):
        return networks.Builder(np.random.default_rng(7), shape, dtype)

    return make


def test_few_channels_are_packed(builder, interpreter):
    made = builder(9, 20, 3)
    made.conv(0, 5, (3, 3))
    program = compiled(made)
    (step,) = program.steps
    assert (step.fields["pack"], step.fields["lead"], step.fields["k_tiles"]) == (3, 2, 3)  # 2^2 lanes, 3 neighbours
    assert (step.fields["line"], step.fields["block_rows"]) == (22, 20)
    assert step.fields["k_rows"] == step.fields["k_edge"] == 16
    assert interpreter.check(program, made.inputs(1))


def test_strides_are_taken_away_by_cells(builder, interpreter):
    made = builder(10, 49, 1)
    made.conv(0, 64, (4, 10), (2, 2), padding=(1, 4, 1, 5))
    program = compiled(made)
    (step,) = program.steps
    assert interpreter.check(program, made.inputs(1))
    # 2 rows of 5 cells of 4 lanes: 4 cells in a vector, of which 3 are enough; 25 sums in a line, 4 N tiles
    assert (step.fields["k_tiles"], step.fields["n_tiles"], step.fields["line"]) == (4, 4, 27)
    assert (step.fields["stride_cols"], step.fields["decimation"], step.fields["pad_left"]) == (1, 0, 2)
    assert program.input_words == 6 * 25  # of 11 rows with that of padding, 49 columns
    assert "cells of 2 × 2 pixels" in program.layers[0].reason


def test_depthwise_layers_use_taps(builder, interpreter):
    made = builder(5, 25, 20)
    made.conv(0, 20, (3, 3), groups=20)
    program = compiled(made)
    (step,) = program.steps
    assert program.layers[0].mode == "CHANNELS"
    assert (step.fields["lead"], step.fields["line"], step.fields["k_tiles"], step.fields["n_tiles"]) == (2, 27, 3, 2)
    assert (step.fields["n_step"], step.fields["n_groups"], step.fields["n_edge"]) == (1, 2, 1)
    assert interpreter.check(program, made.inputs(1))


def test_strides_along_lines_drop_beats_or_skip_pixels(builder, interpreter):
    found = set()
    for kernel, stride in ((3, 2), (3, 5)):
        made = builder(4, 40, 8)
        made.conv(0, 8, (1, kernel), (1, stride), padding=(0, 0, 0, 0), groups=8)
        program = compiled(made)
        (step,) = program.steps
        found.add((step.fields["lead"], step.fields["decimation"], step.fields["k_tiles"]))
        assert interpreter.check(program, made.inputs(1))
    assert found == {(2, 1, 1), (0, 0, 3)}


def test_lines_longer_than_the_accumulators(builder, interpreter):
    for kind in ("conv", "depthwise"):
        made = builder(30, 30, 3)
        made.conv(0, 3, (3, 3), groups=3 if kind == "depthwise" else 1)
        program = compiled(made, SystolicConfig(rows=8, cols=8, accumulator_rows=16))
        assert program.steps[0].fields["lead"] == 0
        assert interpreter.check(program, made.inputs(1))


def test_clipped_windows_take_few_steps(builder, interpreter):
    made = builder(12, 9, 5)
    made.average_pool(0, (3, 3), padding=(1, 1, 1, 1))
    program = compiled(made)
    assert len(program.steps) == 9  # all, and over it: two columns, the top row and its corners, the bottom row and its
    assert interpreter.check(program, made.inputs(1))
    assert len({step.fields["weights"] for step in program.steps}) == 1
    assert len(program.image["weights"]) == program.layers[0].weight_words
    made = builder(12, 9, 5)
    made.max_pool(0, (3, 3), padding=(1, 1, 1, 1))
    assert len(compiled(made).steps) == 1


def test_global_pooling_takes_one_step(builder, interpreter):
    made = builder(25, 5, 64)
    made.global_pool(0)
    program = compiled(made)
    (step,) = program.steps
    assert (step.fields["k_tiles"], step.fields["n_tiles"], step.fields["line"]) == (42, 4, 3)
    assert interpreter.check(program, made.inputs(1))


def test_grouped_convolutions_multiply_by_their_own_channels(builder, interpreter):
    made = builder(5, 6, 64)
    made.conv(0, 64, (3, 3), groups=4)
    program = compiled(made)
    assert [step.fields["chunks"] for step in program.steps] == [1, 1, 1, 1]
    assert program.layers[0].weight_words == 4 * 9 * 16  # a quarter of those of one group
    assert interpreter.check(program, made.inputs(1))


def test_pixels_of_one_input_channel_need_few_weights(builder, interpreter):
    made = builder(6, 7, 3)
    made.conv(0, 20, (1, 1))
    made.conv(1, 4, (1, 1))
    program = compiled(made)
    assert [plan.weight_words for plan in program.layers] == [2 * 3, 16 + 4]
    assert interpreter.check(program, made.inputs(1))


def test_many_vectors_at_a_time(builder, interpreter):
    made = builder(40)
    first = made.dense(0, 20)
    made.add(first, made.rescale(first))
    made.dense(3, 7)
    network = made.network()
    config = fit_memories(network, AcceleratorConfig(engine=ENGINES["16x16"]))
    program = compile_network(network, config, batch=50)
    assert program.vectors == 50
    assert interpreter.check(program, made.inputs(50))
    assert {step.fields["line"] for step in program.steps} == {50}
    assert {step.fields["in_cols"] for step in program.steps} == {1}


def test_streamed_weights_are_sent_for_every_block(builder, interpreter):
    made = builder(9, 9, 8)
    made.conv(0, 24, (3, 3))
    made.conv(1, 24, (3, 3), groups=24)
    program = compiled(made, SystolicConfig(rows=8, cols=8, accumulator_rows=32), weight_depth=16)
    assert program.weight_stream is not None
    sent = [step.fields["blocks"] * words for step, words in zip(program.steps, (3 * 9 * 8, 3 * 3 * 3), strict=True)]
    assert len(program.weight_stream) == sum(sent)
    assert [plan.streamed_words for plan in program.layers] == sent
    assert interpreter.check(program, made.inputs(1))


@pytest.mark.parametrize(
    ("build", "engine", "words"),
    [
        (
            lambda made: made.max_pool(0, (5, 5)),
            {"accumulator_rows": 16},
            "accumulator_rows=16; set it to 32 or higher",
        ),
        (
            lambda made: made.conv(0, 3, (3, 3)),
            {"weight_width": 4},
            "has weights from .*; weight_width=4 holds -8 to 7",
        ),
        (lambda made: made.conv(0, 3, (9, 9)), {"accumulator_width": 19}, "can reach accumulators or biases from"),
        (lambda made: made.average_pool(0, (9, 9)), {"accumulator_width": 19}, None),
        (lambda made: made.rescale(0), {"activation_width": 7}, "activation_width=7 is too narrow for int8"),
        (lambda made: made.add(made.rescale(0), 0), {"accumulator_width": 22}, "can reach sums from .* to"),
        (lambda made: made.add(made.rescale(0), 0), {"rows": 8}, "a column for each of the 8 rows; make cols as large"),
        (lambda made: made.add(made.rescale(0), 0), {}, "need 2 lookup tables; the engine has 0, set lookup_tables=2"),
        (
            lambda made: made.rescale(made.reshape(made.rescale(0), (243, 1))),
            {},
            "of shape .* as .*, whose pixels would begin",
        ),
        (lambda made: made.softmax(0), {}, "nothing but a softmax; the engine needs a layer before it"),
        (lambda made: made.dense(made.softmax(made.dense(0, 4)), 2), {}, "a Softmax that other layers follow"),
    ],
)
def test_refusals(builder, build, engine, words):
    made = builder(9, 9, 3)
    build(made)
    config = AcceleratorConfig(engine=SystolicConfig(**({"rows": 4, "cols": 4} | engine)), activation_depth=4096)
    if words is None:
        compile_network(made.network(), config)
        return
    with pytest.raises(CompileError, match=words) as error:
        compile_network(made.network(), config)
    assert str(error.value).endswith(".")


def test_layers_of_other_engines_are_refused():
    with pytest.raises(CompileError, match="is a BinaryDense; the systolic engine takes dense layers, convolutions"):
        compile_network(binary_network(), AcceleratorConfig(engine=ENGINES["4x4"]))
