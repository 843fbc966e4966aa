"""Device over a transport written from the protocol: no simulator."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.device import RUN_ATTEMPTS, Device
from celosia.host.errors import CelosiaError, DeviceError, LinkError, RestartError, StreamError
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import (
    Answer,
    Opcode,
    Request,
    RunParameters,
    State,
    StatusCode,
    StatusReport,
    Target,
    identity,
)
from celosia.hw.systolic.config import SystolicConfig

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=8, cols=2), packet_words=64, input_depth=128, output_depth=64)


class Memories:
    """A device of memories whose runs give each streamed input back plus one, as long as inputs and results fit."""

    def __init__(self, config=CONFIG):
        self.config = config
        self.specs = {memory.id: memory for memory in config.memories}
        self.memories = {m.id: np.zeros((m.depth, m.link_words), np.uint32) for m in config.memories}
        self.requests = []
        self.run = None
        self.queue = []  # inputs that are not results yet
        self.weights = []
        self.spoil = lambda request, answer: answer  # noqa: ARG005
        self.identity = identity(config)
        self.closed = False

    def exchange(self, packets):
        return [self._answer(Request.decode(packet)) for packet in packets]

    def close(self):
        self.closed = True

    def _answer(self, request):
        assert len(request.payload) <= 4 * self.config.packet_words
        self.requests.append(request)
        payload = getattr(self, "_" + Opcode(request.opcode).name.lower())(request)
        answer = Answer(opcode=request.opcode, sequence=request.sequence, status=StatusCode.OK, payload=payload)
        return self.spoil(request, answer).encode()

    def _identify(self, _):
        return self.identity

    def _write(self, request):
        spec = self.specs[request.target & 15]
        words = np.frombuffer(request.payload, "<u4").reshape(request.count, spec.link_words)
        if request.target == Target.INPUT_STREAM:
            self.queue += list(words)
            # Two halves: a third iteration's inputs would block, with the first one's results not read.
            assert len(self.queue) <= 2 * self.run.input_words
        elif request.target == Target.WEIGHT_STREAM:
            self.weights += list(words)
        else:
            self.memories[request.target][request.address : request.address + request.count] = words
        return b""

    def _read(self, request):
        if request.target == Target.RESULT_STREAM:
            assert len(self.queue) >= request.count
            words, self.queue = np.array(self.queue[: request.count]) + 1, self.queue[request.count :]
        else:
            words = self.memories[request.target][request.address : request.address + request.count]
        return words.astype("<u4").tobytes()

    def _run(self, request):
        self.run = RunParameters.decode(request.payload)
        if not self.run.input_words:
            self.memories[5][:] = self.memories[3][: len(self.memories[5])] + 1
        return b""

    def _status(self, _):
        cycles = tuple(range(len(self.config.causes)))
        return StatusReport(
            state=State.IDLE, error=StatusCode.OK, total_cycles=sum(cycles), cause_cycles=cycles
        ).encode()

    def _reset(self, _):
        self.queue = []
        return b""


@pytest.fixture
def memories():
    return Memories()


def program(config=CONFIG, *, words=4, weights=None, image=None, can_stream=True):
    """What Device asks of a program."""

    def run_parameters(iterations, *, stream):
        size = words if stream else 0
        return RunParameters(
            layers=1, iterations=iterations, input_words=size, output_words=size, config_hash=config.hash
        )

    return SimpleNamespace(
        config=config,
        image=image or {},
        weight_stream=weights,
        load_stream=None,
        can_stream=can_stream,
        input_words=words,
        output_words=words,
        run_parameters=run_parameters,
        pack_inputs=lambda values: np.asarray(values, np.uint32).reshape(-1, 2),
        unpack_outputs=lambda found, count: found[:count],
    )


def random_words(count, lanes, seed=1):
    return np.random.default_rng(seed).integers(0, 1 << 31, (count, lanes)).astype(np.uint32)


def test_identity(memories):
    device = Device(memories)
    assert device.identity.config == CONFIG
    assert device.identity.hash == CONFIG.hash
    assert device.identity is device.identity
    assert len(memories.requests) == 1


def test_transfers_are_split(memories):
    device = Device(memories)
    for spec in CONFIG.memories:
        words = random_words(spec.depth - 3, spec.link_words)
        device.write(spec.name, words, address=2)
        assert np.array_equal(device.read(spec.name, 2, spec.depth - 3), words)
        assert np.array_equal(device.read(spec.name, 5), memories.memories[spec.id][5:])
    sequences = [request.sequence for request in memories.requests]
    assert sequences == [number % 256 for number in range(len(sequences))]
    assert len(sequences) > 256


def test_load_writes_the_images(memories):
    image = {"program": random_words(200, 1), "weights": random_words(7, 1), "inputs": random_words(3, 2)}
    Device(memories).load(program(image=image))
    for name, words in image.items():
        assert np.array_equal(memories.memories[CONFIG.memory(name).id][: len(words)], words)


def test_another_config_is_refused_with_the_difference(memories):
    other = AcceleratorConfig(engine=SystolicConfig(rows=8, cols=4), packet_words=64, input_depth=128, output_depth=64)
    with pytest.raises(DeviceError, match=rf"{other.hash}.*{CONFIG.hash}.*systolic.cols: 4, not 2\.$"):
        Device(memories).load(program(other, image={"program": random_words(1, 1)}))
    assert [request.opcode for request in memories.requests] == [Opcode.IDENTIFY]


@pytest.mark.parametrize("iterations", [1, 2, 3, 9])
@pytest.mark.parametrize("with_weights", [False, True])
def test_streaming_run(memories, iterations, with_weights):
    weights = random_words(150, 1) if with_weights else None
    device = Device(memories)
    device.load(program(weights=weights, words=40))
    inputs = random_words(40 * iterations, 2, seed=iterations)
    results, status = device.run_stream(inputs)
    assert np.array_equal(results, inputs + 1)
    assert status.causes == {name: number for number, name in enumerate(CONFIG.causes)}
    assert (status.state, status.error, status.cycles) == (State.IDLE, StatusCode.OK, sum(status.causes.values()))
    streamed = np.array(memories.weights).reshape(-1, 1)
    expected = np.tile(weights, (iterations, 1)) if weights is not None else np.zeros((0, 1))
    assert np.array_equal(streamed, expected)


def test_inputs_are_ahead_of_results(memories):
    device = Device(memories)
    device.load(program(words=4, weights=random_words(1, 1)))
    before = len(memories.requests)
    device.run_stream(random_words(16, 2))
    kinds = [Target(r.target).name[:5] for r in memories.requests[before + 1 : -1]]
    first = ["INPUT", "INPUT", "WEIGH", "WEIGH"]
    assert kinds == [*first, *["RESUL", "INPUT", "WEIGH"] * 2, "RESUL", "RESUL"]


def test_resident_run(memories):
    device = Device(memories)
    device.load(program(words=50))
    inputs = random_words(50, 2)
    results, status = device.run_resident(inputs)
    assert np.array_equal(results, inputs + 1)
    assert status.cycles
    assert memories.run.input_words == 0


@pytest.mark.parametrize(
    ("iterations", "can_stream", "resident"), [(1, True, True), (2, True, False), (2, False, True)]
)
def test_run_streams_when_there_is_something_to_overlap(memories, iterations, can_stream, resident):
    device = Device(memories)
    device.load(program(words=20, can_stream=can_stream))
    values = random_words(20 * iterations, 2)
    results, status = device.run(values)
    assert np.array_equal(results, values + 1)
    assert (memories.run.input_words == 0) is resident
    assert status.cycles == sum(status.causes.values())


def spoiled(memories, opcode, change):
    memories.spoil = lambda request, answer: change(answer) if request.opcode == opcode else answer


def with_fields(**fields):
    return lambda answer: Answer(**(vars(answer) | fields))


def test_a_refusal_is_a_sentence(memories):
    device = Device(memories)
    spoiled(memories, Opcode.WRITE, with_fields(status=StatusCode.BUSY))
    with pytest.raises(CelosiaError, match="refused WRITE of 1 words at 9 of memory 1: a run is in progress"):
        device.write("weights", random_words(1, 1), 9)


def test_a_run_that_fails_is_reset(memories):
    device = Device(memories)
    device.load(program())
    spoiled(memories, Opcode.READ, with_fields(status=StatusCode.WATCHDOG, payload=b""))
    with pytest.raises(DeviceError, match="watchdog"):
        device.run_stream(random_words(4, 2))
    assert memories.requests[-1].opcode == Opcode.RESET


def failing(memories, opcode, *errors):
    """Let exchanges with this opcode fail, one after the other; what comes before it in them is executed."""
    exchange, left = memories.exchange, list(errors)

    def fail(packets):
        at = next((index for index, packet in enumerate(packets) if packet[1] == opcode), None)
        if at is None or not left:
            return exchange(packets)
        exchange(packets[:at])
        raise left.pop(0)

    memories.exchange = fail


LOADED = {"program": random_words(100, 1)}


def opcodes(memories, since):
    return [Opcode(request.opcode).name for request in memories.requests[since:]]


@pytest.mark.parametrize("method", ["run_resident", "run_stream"])
def test_a_run_whose_stream_was_lost_starts_again(memories, method):
    device = Device(memories)
    device.load(program(image=LOADED))
    since = len(memories.requests)
    failing(memories, Opcode.READ, *[StreamError("lost.")] * (RUN_ATTEMPTS - 1))
    # The first READ of all is the one that looks whether the program is still there: let that pass.
    memories.exchange, fail = (lambda packets: (whole if len(packets) == 1 else fail)(packets)), memories.exchange
    whole = Memories.exchange.__get__(memories)
    inputs = random_words(4, 2)
    results, _ = getattr(device, method)(inputs)
    assert np.array_equal(results, inputs + 1)
    assert opcodes(memories, since).count("RUN") == RUN_ATTEMPTS
    assert opcodes(memories, since).count("RESET") == RUN_ATTEMPTS - 1


def test_a_run_does_not_start_again_for_ever(memories):
    device = Device(memories)
    device.load(program())
    failing(memories, Opcode.RUN, *[StreamError("WRITE failed.")] * 100)
    with pytest.raises(LinkError, match=r"^the run was started 8 times; the last time, WRITE failed\.$"):
        device.run_stream(random_words(4, 2))


def test_a_failed_link_leaves_doubt(memories):
    device = Device(memories)
    device.load(program(image=LOADED))
    failing(memories, Opcode.RUN, LinkError("gone."))
    with pytest.raises(LinkError, match="gone"):
        device.run_resident(random_words(4, 2))
    since = len(memories.requests)
    device.run_resident(random_words(4, 2))
    assert opcodes(memories, since)[:3] == ["IDENTIFY", "READ", "WRITE"]
    since = len(memories.requests)
    device.run_resident(random_words(4, 2))
    assert opcodes(memories, since)[:2] == ["WRITE", "RUN"]


@pytest.mark.parametrize("cause", ["reset", "link", "interrupt"])
def test_a_program_that_is_not_there_any_more(memories, cause):
    device = Device(memories)
    device.load(program(image=LOADED))
    if cause == "reset":
        device.reset()
    else:
        failing(memories, Opcode.STATUS, LinkError("gone.") if cause == "link" else KeyboardInterrupt())
        with pytest.raises((LinkError, KeyboardInterrupt)):
            device.status()
    memories.memories[0][:] = 0
    for sentence in ("does not hold the network any more; load the network again", "no program is loaded"):
        with pytest.raises(DeviceError, match=sentence):
            device.run_resident(random_words(4, 2))
    device.load(program(image=LOADED))
    device.run_resident(random_words(4, 2))


def test_a_restart_forgets_the_program(memories):
    device = Device(memories)
    device.load(program())
    failing(memories, Opcode.RUN, RestartError("load again."))
    with pytest.raises(RestartError, match="load again"):
        device.run_resident(random_words(4, 2))
    with pytest.raises(DeviceError, match="no program is loaded"):
        device.run_resident(random_words(4, 2))


def test_a_refusal_because_of_a_restart_says_so(memories):
    device = Device(memories)
    device.load(program())
    spoiled(memories, Opcode.READ, with_fields(status=StatusCode.IDLE, payload=b""))
    failing(memories, Opcode.RESET, RestartError("load again."))
    with pytest.raises(RestartError, match="load again"):
        device.run_stream(random_words(4, 2))


@pytest.mark.parametrize("change", [with_fields(sequence=200), with_fields(opcode=Opcode.RESET)])
def test_an_answer_to_another_request(memories, change):
    spoiled(memories, Opcode.STATUS, change)
    with pytest.raises(DeviceError, match="the answer to STATUS number 0 is to opcode"):
        Device(memories).status()


def test_answers_that_are_missing_or_torn(memories):
    exchange = memories.exchange
    memories.exchange = lambda packets: exchange(packets)[:-1]
    with pytest.raises(DeviceError, match="1 packets got 0 answers"):
        Device(memories).reset()
    memories.exchange = lambda packets: [answer[:-1] for answer in exchange(packets)]
    with pytest.raises(DeviceError, match="11 bytes are no answer"):
        Device(memories).reset()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": 99}, "speaks protocol 99"),
        ({"hash": "0" * 16}, "config hash is 0000000000000000"),
        (
            {"config": {"systolic": {"rows": 4, "cols": 4}, "lanes": 3}},
            "version of Celosia.*'lanes' is unknown",
        ),
        ({"config": {}}, "another version of Celosia"),
        ({"config": None}, "another version of Celosia"),
    ],
)
def test_identities_that_make_no_sense(memories, change, sentence):
    text = json.dumps(json.loads(memories.identity) | change).encode()
    memories.identity = text + b" " * (-len(text) % 4)
    with pytest.raises(DeviceError, match=sentence):
        Device(memories).identify()


@pytest.mark.parametrize("text", [b"\xff\xff\xff\xff", b"null", b"[1] ", b"{}  "])
def test_identities_that_are_no_json(memories, text):
    memories.identity = text
    with pytest.raises(DeviceError, match="identity cannot be read"):
        Device(memories).identify()


def test_wrong_use(memories):
    with Device(memories) as device:
        with pytest.raises(DeviceError, match="memory 'wights' is unknown; there are: program, weights"):
            device.read("wights")
        with pytest.raises(DeviceError, match=r"memory 'inputs' have shape \(3, 1\) and type uint32; .*entries, 2"):
            device.write("inputs", random_words(3, 1))
        with pytest.raises(DeviceError, match="no program is loaded"):
            device.run(np.zeros((1, 2)))
        device.load(program())
        with pytest.raises(DeviceError, match="5 input words must be a multiple of the 4"):
            device.run_stream(random_words(5, 2))
        with pytest.raises(DeviceError, match="5 input words must be the 4 of an iteration"):
            device.run_resident(random_words(5, 2))
    assert memories.closed
