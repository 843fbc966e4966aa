"""Accelerator: the host's own code, over the link, against the golden model."""

import itertools
import random
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.device import Device
from celosia.host.errors import DeviceError
from celosia.host.models.ir import Dense, Network
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import WAIT, Answer, Opcode, Request, State, StatusCode, Target
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.top import Accelerator
from celosia.sim.device import LinkSimulation
from celosia.sim.golden.systolic import run_layer
from celosia.sim.rtl import Model, build

CONFIG = AcceleratorConfig(
    engine=SystolicConfig(rows=4, cols=4),
    input_depth=64,
    output_depth=64,
    activation_depth=64,
    weight_depth=64,
    parameter_depth=128,
    packet_words=64,
    watchdog_cycles=2000,
)


@pytest.fixture(scope="module")
def model() -> Model:
    return build(Accelerator(CONFIG), name="accelerator_test")


@pytest.fixture
def accelerator(model: Model) -> Iterator[SimpleNamespace]:
    """A device and its simulator, with stalls on both sides of the link from a seed of its own."""
    link = LinkSimulation(model.start(), CONFIG, patience=1_000_000)
    seed = random.SystemRandom().randrange(1 << 32)
    for port in "io":
        link.sim.stall(port, random.Random(seed).choice((0, 0.2, 0.6)), seed)
    yield SimpleNamespace(device=Device(link), link=link, seed=seed)
    link.close()


def network(seed: int, sizes: tuple[int, ...]) -> Network:
    rng = np.random.default_rng(seed)
    zeros = rng.integers(-9, 9, len(sizes)).tolist()
    layers = [
        Dense(
            name=f"layer {index}",
            weights=rng.integers(-128, 128, (K, N)).astype(np.int8),
            bias=rng.integers(-5000, 5000, N),
            multiplier=rng.integers(1 << 30, 1 << 31, N),
            shift=rng.integers(-9, -6, N),
            rounding=("double", "away", "even")[index % 3],
            input_zero_point=zeros[index],
            output_zero_point=zeros[index + 1],
            minimum=-128,
            maximum=127,
        )
        for index, (K, N) in enumerate(itertools.pairwise(sizes))
    ]
    return Network(name="random", layers=layers, input_shape=(sizes[0],))


def golden(model: Network, values: np.ndarray) -> np.ndarray:
    for layer in model.layers:
        values = run_layer(layer, values)
    return values


@pytest.mark.parametrize(
    ("sizes", "batch", "streams_weights"),
    [
        ((8, 8), 1, False),  # inputs and results stay in memory
        ((8, 8), 32, False),  # fills the whole memories: no halves
        ((7, 9), 40, False),  # three iterations, of which the last is not full
        ((5, 12, 6), 50, False),
        ((12, 16, 10), 3, True),
        ((16, 40, 24, 10), 20, True),  # iterations take turns with the weight stream
    ],
)
def test_networks(accelerator, sizes, batch, streams_weights):
    note = f"seed={accelerator.seed}"
    model = network(accelerator.seed, sizes)
    program = compile_network(model, CONFIG, batch=batch)
    assert (program.weight_stream is not None) is streams_weights
    accelerator.device.load(program)
    values = np.random.default_rng(accelerator.seed + 1).integers(-128, 128, (batch, sizes[0]))
    for _ in range(2):  # a run leaves nothing behind
        results, status = accelerator.device.run(values)
        assert np.array_equal(results, golden(model, values)), note
        assert sum(status.causes.values()) == status.cycles > 0, note
        assert (status.state, status.error) == (State.IDLE, StatusCode.OK), note


def test_resident_and_streamed_give_the_same(accelerator):
    model = network(accelerator.seed, (8, 8, 8))
    program = compile_network(model, CONFIG, batch=5)
    accelerator.device.load(program)
    values = np.random.default_rng(accelerator.seed).integers(-128, 128, (5, 8))
    words = program.pack_inputs(values)
    resident, _ = accelerator.device.run_resident(words)
    streamed, _ = accelerator.device.run_stream(words)
    assert np.array_equal(resident, streamed), f"seed={accelerator.seed}"
    assert np.array_equal(program.unpack_outputs(streamed, 5), golden(model, values)), f"seed={accelerator.seed}"


@pytest.mark.parametrize("waiting", ["results", "end"])
def test_watchdog_then_the_next_run(accelerator, waiting):
    """A host that promises inputs and sends none."""
    model = network(accelerator.seed, (8, 8))
    program = compile_network(model, CONFIG, batch=4)
    device = accelerator.device
    device.load(program)
    payload = program.run_parameters(2, stream=True).encode()
    start = Request(opcode=Opcode.RUN, count=len(payload) // 4, payload=payload).encode()
    wait = {
        "results": Request(opcode=Opcode.READ, target=Target.RESULT_STREAM, count=1),
        "end": Request(opcode=Opcode.STATUS, target=WAIT),
    }[waiting].encode()
    answers = [Answer.decode(answer) for answer in accelerator.link.exchange([start, wait])]
    assert answers[1].status is (StatusCode.WATCHDOG if waiting == "results" else StatusCode.OK)
    status = device.status()
    assert (status.state, status.error) == (State.IDLE, StatusCode.WATCHDOG)
    assert status.cycles == sum(status.causes.values()) >= CONFIG.watchdog_cycles
    device.reset()
    assert device.status().error is StatusCode.OK
    values = np.random.default_rng(accelerator.seed).integers(-128, 128, (4, 8))
    results, _ = device.run(values)
    assert np.array_equal(results, golden(model, values)), f"seed={accelerator.seed}"


def test_a_program_for_another_config(accelerator):
    other = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=8))
    with pytest.raises(DeviceError, match=r"systolic.cols: 8, not 4"):
        accelerator.device.load(compile_network(network(1, (8, 8)), other))
    run = compile_network(network(1, (8, 8)), other).run_parameters(1, stream=False).encode()
    answers = accelerator.link.exchange([Request(opcode=Opcode.RUN, count=len(run) // 4, payload=run).encode()])
    assert Answer.decode(answers[0]).status is StatusCode.CONFIG


def test_every_memory(accelerator):
    rng = np.random.default_rng(accelerator.seed)
    for spec in CONFIG.memories:
        words = rng.integers(0, 1 << 32, (spec.depth, spec.link_words), np.uint64).astype(np.uint32)
        if spec.width % 32:
            words[:, -1] &= (1 << spec.width % 32) - 1
        accelerator.device.write(spec.name, words)
        assert np.array_equal(accelerator.device.read(spec.name), words), f"{spec} seed={accelerator.seed}"
