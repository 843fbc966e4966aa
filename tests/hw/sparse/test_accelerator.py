"""Sparse accelerator: the host's own code over the link, with weights resident, streamed, and Huffman-coded."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.device import Device
from celosia.host.errors import DeviceError
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import SparseOptions
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import STREAM, WAIT, Answer, Opcode, Request, State, StatusCode
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.top import Accelerator
from celosia.sim import reference
from celosia.sim.device import LinkSimulation
from celosia.sim.golden.sparse import run_layer, saturating_sums
from celosia.sim.rtl import Model, build

CONFIG = AcceleratorConfig(
    engine=SparseConfig(
        pes=4,
        queue_depth=4,
        index_width=4,
        accumulator_width=24,
        accumulator_rows=8,
        group=2,
        pointer_depth=256,
        codebook_depth=1024,
        decoders=1,
    ),
    weight_depth=64,
    parameter_depth=64,
    input_depth=64,
    activation_depth=64,
    output_depth=64,
    packet_words=64,
    watchdog_cycles=2000,
)
ENCODED = SparseOptions(encode=True)
FAILURES = (StatusCode.CORRUPT, StatusCode.WATCHDOG)
HARMLESS = {StatusCode.OK, StatusCode.IDLE}  # only bits behind a stream's last one were wrong; words were left over


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


def network(seed: int, sizes: tuple[int, ...], density: float = 0.2) -> Network:
    """Layers whose weights now and then make accumulators saturate."""
    rng = np.random.default_rng(seed)
    layers = [
        CompressedDense(
            name=f"layer {index}",
            codes=np.where(rng.random((K, N)) < density, rng.integers(1, 16, (K, N)), 0).astype(np.uint8),
            codebook=np.array([0, *rng.integers(-300, 300, 15)]),
            bias=rng.integers(-1000, 1000, N),
            shift=int(rng.integers(0, 10)),
            minimum=int(rng.choice([0, -(1 << 15)])),
            maximum=(1 << 15) - 1,
            input_dtype="int16",
            output_dtype="int16",
        )
        for index, (K, N) in enumerate(itertools.pairwise(sizes))
    ]
    return Network(name="random", layers=layers, input_shape=(sizes[0],))


def inputs(seed: int, batch: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 1)
    limit = int(rng.choice([100, 1 << 15]))
    return rng.integers(-limit, limit, (batch, size)) * (rng.random((batch, size)) < 0.6)


def saturates(program: Program, x: np.ndarray) -> bool:
    found = False
    for plan in program.layers:
        found |= saturating_sums(plan.arranged, x, CONFIG.engine.accumulator_width)[1]
        x = run_layer(plan.arranged, x, CONFIG.engine)
    return found


def check_run(accelerator: Any, program: Program, x: np.ndarray) -> None:
    """Run a loaded program, and compare what there is to compare."""
    note = f"seed={accelerator.seed}"
    results, status = accelerator.device.run(x)
    assert np.array_equal(results, reference.golden(program, x)), note
    assert (status.state, status.error, status.failure) == (State.IDLE, StatusCode.OK, StatusCode.OK), note
    assert sum(status.causes.values()) == status.cycles > 0, note
    assert status.saturated == saturates(program, x), note
    if program.weight_stream is None and len(x) <= program.vectors:
        (cycles,) = reference.predict_each(program, x)
        assert status.causes == cycles.causes, note


def read_all(device: Device) -> dict[str, np.ndarray]:
    return {spec.name: device.read(spec.name) for spec in CONFIG.memories}


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
@pytest.mark.parametrize(
    ("sizes", "batch", "streams"),
    [
        ((9, 7), 1, False),
        ((20, 30, 10), 5, False),  # inputs and results stay in memory
        ((16, 8, 5), 40, False),  # several iterations
        ((30, 40, 9), 2, True),
        ((12, 70, 20, 3), 7, True),  # tiles of rows; some layers resident
    ],
    ids=str,
)
def test_networks(accelerator, sizes, batch, streams, options):
    program = compile_network(network(accelerator.seed, sizes), CONFIG, batch=batch, options=options)
    assert (program.weight_stream is not None) is streams
    if options is ENCODED and not streams:
        assert len(program.loads) == len(program.steps)
    accelerator.device.load(program)
    x = inputs(accelerator.seed, batch, sizes[0])
    check_run(accelerator, program, x)
    for part in range(0, batch, program.vectors):  # each iteration as a run of its own
        check_run(accelerator, program, x[part : part + program.vectors])


def test_encoded_weights_are_decoded_into_the_same_words(accelerator):
    """The memory is what it would be without a code, but for bits that no memory word has."""
    net = network(accelerator.seed, (20, 30, 10))
    raw, encoded = (compile_network(net, CONFIG, options=options) for options in (None, ENCODED))
    assert "weights" not in encoded.image
    accelerator.device.load(encoded)
    words = raw.image["weights"]
    assert np.array_equal(accelerator.device.read("weights", 0, len(words)), words), f"seed={accelerator.seed}"


def test_programs_follow_each_other(accelerator):
    """Resident, streamed and encoded ones, in any order, on one device."""
    source = random.Random(accelerator.seed)
    for turn in range(8):
        sizes = source.choice(((20, 30, 10), (30, 40, 9), (5, 3), (40, 70)))
        net = network(accelerator.seed + turn, sizes)
        program = compile_network(net, CONFIG, batch=3, options=source.choice((None, ENCODED)))
        accelerator.device.load(program)
        check_run(accelerator, program, inputs(accelerator.seed + turn, 3, sizes[0]))


@pytest.mark.parametrize("batch", [1, 40])
def test_saturated_is_about_the_last_run(accelerator, batch):
    net = network(1, (16, 8, 5))
    program = compile_network(net, CONFIG, batch=batch)
    accelerator.device.load(program)
    for x in (np.full((batch, 16), -(1 << 15)), np.zeros((batch, 16), int), np.full((batch, 16), (1 << 15) - 1)):
        check_run(accelerator, program, x)
        assert accelerator.device.status().saturated == x.any()


def corrupt(words: np.ndarray, kind: int, source: random.Random) -> np.ndarray:
    """Return words of which the last ones or one of them are missing, one is too many, or one bit or some are wrong."""
    words = words.copy()
    place = source.randrange(len(words))
    match kind % 5:
        case 0:
            return words[:place]
        case 1:
            return np.delete(words, place, axis=0)
        case 2:
            return np.insert(words, place, source.randrange(1 << 32), axis=0)
        case 3:
            words[place] ^= 1 << source.randrange(32)
        case 4:
            for _ in range(20):
                words[source.randrange(len(words))] ^= 1 << source.randrange(32)
    return words


def failure(device: Device, exchange: Any) -> StatusCode:
    """Return how the device ended what was asked of it; OK if that went well."""
    try:
        exchange()
    except DeviceError as error:
        device.reset()
        return next(code for code in StatusCode if code.sentence in str(error))
    found = device.status().error
    device.reset()
    return found


def load_ranges(program: Program) -> list[tuple[slice, slice]]:
    """Words of the load stream, and of the weight memory, of each load."""
    ranges, begin = [], 0
    for step in program.loads:
        words, rows, address = (step.fields[name] for name in ("load_words", "load_rows", "weights"))
        ranges.append((slice(begin, begin + words), slice(address, address + rows)))
        begin += words
    return ranges


@pytest.mark.parametrize("number", range(3), ids="layer {}".format)
def test_corrupt_loads(accelerator, number):
    """Only words of the layer whose load was corrupt are lost; those loaded before and what else there is stay."""
    device, source = accelerator.device, random.Random(accelerator.seed)
    sizes = (20, 30, 10, 12)
    program = compile_network(network(accelerator.seed, sizes, 0.15), CONFIG, options=ENCODED)
    ranges = load_ranges(program)
    assert len(ranges) == 3
    stream, memory = ranges[number]
    device.load(program)
    loaded = read_all(device)
    x, seen = inputs(accelerator.seed, 1, sizes[0]), set()
    for turn in range(10):
        note = f"seed={accelerator.seed} turn={turn}"
        pattern = np.arange(CONFIG.weight_depth, dtype=np.uint32)[:, None] * 0x01030507 + 1
        device.write("weights", pattern)
        part = corrupt(program.load_stream[stream], turn, source)[: stream.stop - stream.start]
        behind = program.load_stream[stream.stop :] if turn % 5 > 1 else part[:0]
        words = np.concatenate([program.load_stream[: stream.start], part, behind])
        broken = replace(program, loaded=[words])
        ended = failure(device, lambda broken=broken: device.load(broken))
        seen.add(ended)
        found = read_all(device)
        right = ranges[:number] if ended in FAILURES else ranges
        expected = pattern.copy()
        for _, before in right:
            expected[before] = loaded["weights"][before]
        if right is not ranges:
            found["weights"][memory] = expected[memory]
        changed = np.flatnonzero((found["weights"] != expected).any(axis=1))
        assert not len(changed), f"{note}: words {changed}"
        for name in ("program", "parameters", "pointers", "codebooks"):
            assert np.array_equal(found[name], loaded[name]), f"{note} {name}"
    assert StatusCode.CORRUPT in seen <= HARMLESS | set(FAILURES), f"seed={accelerator.seed} {seen}"
    device.load(program)
    check_run(accelerator, program, x)


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
def test_corrupt_streams(accelerator, options):
    """A run that gets other weights ends, and the next one is right."""
    device, source = accelerator.device, random.Random(accelerator.seed)
    sizes = (30, 40, 9)
    program = compile_network(network(accelerator.seed, sizes), CONFIG, options=options)
    x, seen = inputs(accelerator.seed, 1, sizes[0]), set()
    for turn in range(10):
        device.load(replace(program, streamed=[corrupt(program.weight_stream, turn, source)]))
        seen.add(failure(device, lambda: device.run(x)))
        device.load(program)
        check_run(accelerator, program, x)
    assert seen <= HARMLESS | set(FAILURES), f"seed={accelerator.seed} {seen}"
    assert (StatusCode.CORRUPT in seen) == (options is ENCODED), f"seed={accelerator.seed} {seen}"


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
def test_streams_cut_short(accelerator, options):
    """The watchdog ends the run, wherever it is."""
    device = accelerator.device
    program = compile_network(network(accelerator.seed, (30, 40, 9)), CONFIG, options=options)
    x = inputs(accelerator.seed, 1, 30)
    for words in (0, 1, len(program.weight_stream) // 2, len(program.weight_stream) - 1):
        device.load(replace(program, streamed=[program.weight_stream[:words]]))
        found = failure(device, lambda: device.run(x))
        allowed = FAILURES if options is ENCODED else (StatusCode.WATCHDOG,)
        assert found in allowed, f"seed={accelerator.seed} {words} words: {found}"
        device.load(program)
        check_run(accelerator, program, x)


@pytest.mark.parametrize("options", [None, ENCODED], ids=["raw", "encoded"])
def test_a_run_that_the_device_gave_up_has_no_results(accelerator, options):
    """Even if it took all packets: the last word of the weights was missing, or their CRC was wrong."""
    device = accelerator.device
    program = compile_network(network(accelerator.seed, (30, 40, 9)), CONFIG, options=options)
    device.load(replace(program, streamed=[program.weight_stream[:-1]]))
    with pytest.raises(DeviceError, match="|".join(code.sentence for code in FAILURES)):
        device.run(inputs(accelerator.seed, 1, 30))


@pytest.mark.parametrize("kind", ["read", "load"])
def test_an_older_error_is_none_of_a_load(accelerator, kind):
    """One of a packet that was refused, or of a load that failed: the next load is right, and so is what it says."""
    device = accelerator.device
    program = compile_network(network(accelerator.seed, (9, 7)), CONFIG, options=ENCODED)
    words = program.load_stream.copy()
    words[-1] ^= 1
    fails = {
        "read": lambda: device.read("weights", CONFIG.weight_depth, 1),
        "load": lambda: device.load(replace(program, loaded=[words])),
    }[kind]
    with pytest.raises(DeviceError):
        fails()
    device.load(program)
    x = inputs(accelerator.seed, 1, 9)
    assert np.array_equal(device.run(x)[0], reference.golden(program, x)), f"seed={accelerator.seed}"


@pytest.mark.parametrize("part", range(4))
def test_reset_in_the_middle_of_a_run(accelerator, part):
    """Whatever was queued or added is gone: the same run behind it is right."""
    device, link = accelerator.device, accelerator.link
    program = compile_network(network(accelerator.seed, (40, 16, 16, 5), 0.2), CONFIG, batch=3)
    assert program.weight_stream is None
    x = inputs(accelerator.seed, 3, 40)
    device.load(program)
    check_run(accelerator, program, x)
    payload = program.run_parameters(1, stream=False).encode()
    start = Request(opcode=Opcode.RUN, count=len(payload) // 4, payload=payload).encode()
    reset = Request(opcode=Opcode.RESET).encode()
    cycles = reference.predict(program, x).total
    for delay in range(part, cycles, cycles // 10):
        link.exchange([start])
        link.sim.run(delay)
        assert Answer.decode(link.exchange([reset])[0]).status is StatusCode.OK
        check_run(accelerator, program, x)


def test_every_memory(accelerator):
    """Those of the engine, and those whose banks have addresses of their own, among them."""
    rng = np.random.default_rng(accelerator.seed)
    written = {}
    for spec in CONFIG.memories:
        words = rng.integers(0, 1 << 32, (spec.depth, spec.link_words), np.uint64).astype(np.uint32)
        if spec.width % 32:
            words[:, -1] &= (1 << spec.width % 32) - 1
        accelerator.device.write(spec.name, words)
        written[spec.name] = words
    assert [spec.name for spec in CONFIG.memories if spec.is_engines] == ["pointers", "codebooks"]
    for name, words in read_all(accelerator.device).items():
        assert np.array_equal(words, written[name]), f"{name} seed={accelerator.seed}"


def test_no_other_targets(accelerator):
    """The engine's own memories have no streams, and there are no more memories behind them."""
    last = CONFIG.memories[-1].id
    targets = [last + 1, 15, *(STREAM | number for number in (0, 2, 4, 6, 7, 8))]
    requests = [Request(opcode=Opcode.READ, target=target, count=1) for target in (*targets, STREAM | 1, STREAM | 3)]
    requests += [
        Request(opcode=Opcode.WRITE, target=target, count=1, payload=bytes(4)) for target in (*targets, STREAM | 5)
    ]
    answers = accelerator.link.exchange([request.encode() for request in requests])
    assert {Answer.decode(answer).status for answer in answers} == {StatusCode.TARGET}


def test_a_load_is_a_run_of_its_own(accelerator):
    """Its status has the cycles of the load, as the model has them when the link keeps up."""
    program = compile_network(network(accelerator.seed, (9, 7)), CONFIG, options=ENCODED)
    device = accelerator.device
    for port in "io":
        accelerator.link.sim.stall(port, 0)
    device.load(program)
    status = device.status()
    cycles = reference.predict_loads(program)
    assert status.cycles >= cycles.total
    waiting = {name: cycles.causes[name] for name in cycles.causes if name != "weights_wait"}
    assert waiting == {name: status.causes[name] for name in waiting}


def test_waiting_for_the_end_of_a_load(accelerator):
    """A load without its words: STATUS waits for the watchdog, which says why."""
    program = compile_network(network(accelerator.seed, (9, 7)), CONFIG, options=ENCODED)
    device = accelerator.device
    with pytest.raises(DeviceError, match=StatusCode.WATCHDOG.sentence):
        device.load(replace(program, loaded=[program.load_stream[:0]]))
    device.reset()
    wait = Request(opcode=Opcode.STATUS, target=WAIT).encode()
    assert Answer.decode(accelerator.link.exchange([wait])[0]).status is StatusCode.OK
    device.load(program)
    check_run(accelerator, program, inputs(accelerator.seed, 1, 9))
