"""A device written from the protocol, at the end of a line that damages bytes; its time passes only in `read`."""

import re
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

from celosia.host.device import Device
from celosia.host.transports.framed import FramedTransport
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import (
    REQUEST_MAGIC,
    WAIT,
    Answer,
    Opcode,
    Request,
    RunParameters,
    State,
    StatusCode,
    StatusReport,
    Target,
    checksum,
    identity,
)
from celosia.hw.systolic.config import SystolicConfig

CONFIG = AcceleratorConfig(
    engine=SystolicConfig(rows=8, cols=2),
    packet_words=64,
    program_depth=256,
    weight_depth=512,
    parameter_depth=64,
    input_depth=128,
    activation_depth=256,
    output_depth=64,
)
WATCHDOG = 2.0  # seconds


def unescaped(frame):
    return re.sub(rb"}(.)", lambda found: bytes((found[1][0] ^ 0x20,)), frame, flags=re.DOTALL)


def framed(packet):
    return b"~" + re.sub(rb"[}~]", lambda found: bytes((0x7D, found[0][0] ^ 0x20)), packet) + b"~"


def outcome(inputs, program, weights, streamed=0):
    """What a run makes of its inputs."""
    return (inputs.astype(np.int64) * 3 + int(program[0, 0]) + int(weights[0, 0]) * 5 + streamed).astype(np.uint32)


class Board:
    """Memories, and runs that do `outcome`; `ring_base` of a run is the weight words that each iteration streams."""

    def __init__(self, config=CONFIG, seed=0):
        self.config = config
        self.identity, self.hash, self.causes = identity(config), config.hash, len(config.causes)
        self.specs = {memory.id: memory for memory in config.memories}
        self.rng = np.random.default_rng(seed)
        self.longest_run = 0.0  # seconds
        self.run_count = 0
        self.restart()

    def restart(self):
        self.memories = {m.id: np.zeros((m.depth, m.link_words), np.uint32) for m in self.specs.values()}
        self.fresh, self.error, self.failure = True, StatusCode.OK, StatusCode.OK
        self.run, self.cycles = None, 0
        self.partial = b""
        self.queue = deque()  # packets that have not been executed
        self.sent = b""

    def receive(self, now, data):
        *ended, self.partial = (self.partial + data).split(b"~")
        for frame in ended:
            if frame:
                torn = (
                    len(re.sub(rb"}.", b"x", frame, flags=re.DOTALL)) % 4
                    or re.sub(rb"}[^}]|}}", b"", frame)[-1:] == b"}"
                )
                packet = unescaped(frame)
                self.queue.append((packet, self._form(packet, torn)))
        self.advance(now)

    def _form(self, packet, torn):
        if torn:
            return StatusCode.FRAMING
        if not 16 <= len(packet) <= 4 * self.config.packet_words + 16:
            return StatusCode.LENGTH
        if checksum(packet[:-4]) != packet[-4:]:
            return StatusCode.CRC
        return StatusCode.OK if packet[0] == REQUEST_MAGIC else StatusCode.MAGIC

    def next_time(self):
        if self.run is None:
            return None
        return self.run.end if self.run.end is not None else self.run.progress + WATCHDOG

    def advance(self, now):
        if self.run is not None and now >= self.next_time():
            if self.run.end is None:
                self.failure = self.error = StatusCode.WATCHDOG
            else:
                self._finish()
            self.run = None
        while self.queue:
            packet, status = self.queue[0]
            payload = b""
            if status is StatusCode.OK:
                status, payload = self._execute(now, Request.decode(packet))
            if status is None:
                return
            self.queue.popleft()
            if self.error is StatusCode.OK:
                self.error = status
            head = packet.ljust(4, b"\0")
            self.sent += framed(Answer(opcode=head[1], sequence=head[2], status=status, payload=payload).encode())

    def _execute(self, now, request):
        """Status and payload; no status while it waits."""
        return getattr(self, "_" + Opcode(request.opcode).name.lower())(now, request)

    @property
    def _reset_waits(self):
        return len(self.queue) > 1 and self.queue[1][1] is StatusCode.OK and self.queue[1][0][1] == Opcode.RESET

    def _identify(self, _, __):
        return StatusCode.OK, self.identity

    def _place(self, request):
        spec = self.specs[request.target]
        if request.address + request.count > spec.depth:
            return StatusCode.ADDRESS, None
        if self.run is not None:
            return StatusCode.BUSY, None
        return StatusCode.OK, self.memories[request.target][request.address : request.address + request.count]

    def _write(self, now, request):
        words = np.frombuffer(request.payload, "<u4")
        if request.target not in (Target.WEIGHT_STREAM, Target.INPUT_STREAM):
            status, place = self._place(request)
            if status is StatusCode.OK:
                place[:] = words.reshape(place.shape)
            return status, b""
        run = self.run
        if run is None:
            return (StatusCode.IDLE if self.failure is StatusCode.OK else self.failure), b""
        if request.target == Target.WEIGHT_STREAM:
            run.weights += words.tolist()
        else:
            rows = words.reshape(request.count, -1)
            if len(run.inputs) - run.given + len(rows) > 2 * run.parameters.input_words:
                return (StatusCode.ABORTED if self._reset_waits else None), b""
            run.inputs += list(rows)
        run.progress = now
        self._see_end(now)
        return StatusCode.OK, b""

    def _read(self, now, request):
        if request.target != Target.RESULT_STREAM:
            status, place = self._place(request)
            return status, place.astype("<u4").tobytes() if status is StatusCode.OK else b""
        run = self.run
        if run is None:
            return (StatusCode.IDLE if self.failure is StatusCode.OK else self.failure), b""
        size, each = run.parameters.input_words, run.parameters.ring_base
        first, last = run.given, run.given + request.count
        iteration = (last - 1) // size
        if len(run.inputs) < (iteration + 1) * size or len(run.weights) < (iteration + 1) * each:
            return (StatusCode.ABORTED if self._reset_waits else None), b""
        rows = np.array(run.inputs[first:last], np.uint32)
        streamed = sum(run.weights[iteration * each : (iteration + 1) * each])
        run.given, run.progress = last, now
        if last == size * run.parameters.iterations:
            self.run = None
        return StatusCode.OK, self._results(rows, streamed).astype("<u4").tobytes()

    def _results(self, rows, streamed):
        return outcome(rows, self.memories[Target.PROGRAM], self.memories[Target.WEIGHTS], streamed)

    def _run(self, now, request):
        if self.run is not None:
            return StatusCode.BUSY, b""
        parameters = RunParameters.decode(request.payload)
        if parameters.config_hash != self.hash:
            return StatusCode.CONFIG, b""
        self.failure = StatusCode.OK
        self.cycles += 1
        self.run_count += 1
        self.run = SimpleNamespace(parameters=parameters, inputs=[], weights=[], given=0, progress=now, end=None)
        self._see_end(now)
        return StatusCode.OK, b""

    def _see_end(self, now):
        """A run that streams no inputs ends by itself, once it has its weights."""
        parameters = self.run.parameters
        if not parameters.input_words and len(self.run.weights) >= parameters.ring_base:
            self.run.end = now + self.longest_run * self.rng.random()

    def _finish(self):
        outputs = self.memories[Target.OUTPUTS]
        outputs[:] = self._results(self.memories[Target.INPUTS][: len(outputs)], sum(self.run.weights))

    def _status(self, _, request):
        if request.target & WAIT and self.run is not None:
            return (StatusCode.ABORTED if self._reset_waits else None), b""
        report = StatusReport(
            state=State.IDLE if self.run is None else State.RUNNING,
            error=self.error,
            total_cycles=self.cycles,
            cause_cycles=(0,) * self.causes,
            fresh=self.fresh,
            failure=self.failure,
        )
        return StatusCode.OK, report.encode()

    def _reset(self, _, __):
        self.run, self.fresh, self.error, self.failure = None, False, StatusCode.OK, StatusCode.OK
        return StatusCode.OK, b""


class KilledError(Exception):
    """The host's process was killed."""


class Line:
    """A port with a board behind it, in virtual time. Bytes keep their order, whatever else happens to them.

    Parameters
    ----------
    board : Board
    rate : float
        Share of bytes that are changed, lost, or have one inserted behind them.
    delay : callable
        Seconds that the next bytes take, either way.
    """

    byte_rate = None
    name = "line"

    def __init__(self, board, *, rate=0.0, seed=0, delay=lambda: 0.0):
        self.board, self.rate, self.delay = board, rate, delay
        self.rng = np.random.default_rng(seed)
        self.now = 0.0
        self.requests, self.answers = deque(), deque()  # of (when it arrives, bytes)
        self.restarts = 0.0  # chance of a restart before anything arrives at the board
        self.kill_after = None  # bytes that the host still sends
        self.restarted = 0
        self.written = b""
        self.sent = []  # requests, as the host sent them
        self.unanswered = self.most_unanswered = 0
        self.on_request = lambda request, frame: frame  # noqa: ARG005
        self.on_answer = lambda answer, frame: frame  # noqa: ARG005
        self.closed = False

    def damaged(self, data):
        spots = np.flatnonzero(self.rng.random(len(data)) < self.rate) if self.rate else ()
        pieces, last = [], 0
        for spot in spots:
            pieces.append(data[last:spot])
            last = spot + 1
            kind = self.rng.integers(3)
            if kind == 0:
                pieces.append(bytes((data[spot] ^ 1 << int(self.rng.integers(8)),)))
            elif kind == 1:
                pieces.append(bytes((data[spot], int(self.rng.integers(256)))))
        return b"".join([*pieces, data[last:]])

    def _queue(self, queue, data):
        when = max(self.now + self.delay(), queue[-1][0] if queue else 0.0)
        queue.append((when, self.damaged(data)))

    def write(self, data):
        self.written += data
        if self.kill_after is not None:
            data, self.kill_after = data[: self.kill_after], self.kill_after - len(data)
        for packet in re.findall(b"[^~]+", data) if self.kill_after is None else ():
            request = Request.decode(unescaped(packet))
            self.sent.append(request)
            data = self.on_request(request, data)
        self.unanswered += 1
        self.most_unanswered = max(self.most_unanswered, self.unanswered)
        self._queue(self.requests, data)
        if self.kill_after is not None and self.kill_after <= 0:
            self.kill_after = None
            raise KilledError

    def read(self, timeout):
        end = self.now + timeout
        while True:
            times = [self.board.next_time(), *(queue[0][0] for queue in (self.requests, self.answers) if queue)]
            first = min((time for time in times if time is not None), default=end + 1)
            if first > end:
                self.now = end
                return b""
            self.now = max(self.now, first)
            if self.answers and self.answers[0][0] <= self.now:
                self.unanswered -= 1
                if data := self.answers.popleft()[1]:
                    return data
                continue
            if self.restarts and self.rng.random() < self.restarts:
                self.board.restart()
                self.restarted += 1
            if self.requests and self.requests[0][0] <= self.now:
                self.board.receive(self.now, self.requests.popleft()[1])
            else:
                self.board.advance(self.now)
            if self.board.sent:
                for frame in re.findall(b"~[^~]+~", self.board.sent):
                    answer = Answer.decode(unescaped(frame[1:-1]))
                    self._queue(self.answers, self.on_answer(answer, frame))
                self.board.sent = b""

    def close(self):
        self.closed = True


def program(seed=0, *, words=40, weight_words=0, can_stream=True, load=0):
    """What Device asks of a program, with random images."""
    rng = np.random.default_rng(seed)

    def random_words(count, lanes=1):
        return rng.integers(1, 1 << 31, (count, lanes)).astype(np.uint32)

    def parameters(iterations, *, stream):
        size = words if stream else 0
        return RunParameters(
            layers=1, iterations=iterations, input_words=size, output_words=size, ring_base=weight_words,
            config_hash=CONFIG.hash,
        )  # fmt: skip

    return SimpleNamespace(
        config=CONFIG,
        image={"program": random_words(100), "weights": random_words(200)},
        weight_stream=random_words(weight_words) if weight_words else None,
        load_stream=random_words(load) if load else None,
        load_parameters=lambda: RunParameters(layers=1, ring_base=load, config_hash=CONFIG.hash),
        can_stream=can_stream,
        input_words=words,
        output_words=words,
        run_parameters=parameters,
    )


def expected(program, inputs):
    """Results of a run of any number of iterations."""
    streamed = 0 if program.weight_stream is None else int(program.weight_stream.astype(np.int64).sum())
    return outcome(inputs, program.image["program"], program.image["weights"], streamed)


@pytest.fixture
def kit():
    """The classes and functions of this file."""
    return SimpleNamespace(
        Board=Board, Line=Line, KilledError=KilledError, program=program, expected=expected, framed=framed,
        WATCHDOG=WATCHDOG,
    )  # fmt: skip


@pytest.fixture
def opened():
    """Make a board, the line to it, the transport over that, and a device over all."""

    def make(*, rate=0.0, seed=0, delay=lambda: 0.0, **options):
        board = Board(seed=seed)
        line = Line(board, rate=rate, seed=seed, delay=delay)
        transport = FramedTransport(line, **options)
        return SimpleNamespace(board=board, line=line, transport=transport, device=Device(transport))

    return make
