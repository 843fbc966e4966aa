"""Bench of the whole accelerator behind its link: packets in, packets out, stalls on both sides."""

import itertools
import random
from collections.abc import Iterable

import cocotb
import numpy as np
from bench_tools import Sink, Source, reset, settings, start_clock
from cocotb.triggers import ClockCycles

from celosia.host.compile import compile_network
from celosia.host.models.ir import Dense, Network
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import WAIT, Answer, Opcode, Request, State, StatusCode, StatusReport, Target, identity
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.cycles.model import predict
from celosia.sim.golden.systolic import run_layer

LAST, BAD = 1 << 32, 1 << 33  # bits of a beat above its word
PATIENCE = 20_000  # cycles for one answer


class Link:
    """The host's side of the link."""

    def __init__(self, dut, rng: random.Random) -> None:
        self.dut = dut
        share = rng.choice((0.0, 0.3, 0.7))
        self.source = Source(dut, "i", lambda: rng.random() < share)
        self.sink = Sink(dut, "o", lambda: rng.random() < share)
        self.about = f"seed {cocotb.RANDOM_SEED}, stalls {share}"

    async def ask(self, *packets: bytes) -> list[Answer]:
        """Send packets back to back, and return their answers."""
        for packet in packets:
            words = np.frombuffer(packet, dtype="<u4").tolist()
            self.source.send(word | (LAST if index == len(words) - 1 else 0) for index, word in enumerate(words))
        answers = []
        for _ in range(PATIENCE * len(packets)):
            while any(beat & LAST for beat in self.sink.received):
                answers.append(Answer.decode(self._packet()))
            if len(answers) == len(packets):
                assert not self.sink.received, f"{self.about}: words after the last answer"
                return answers
            await ClockCycles(self.dut.clk, 1)
        raise AssertionError(
            f"{self.about}: {len(answers)} of {len(packets)} answers after {PATIENCE * len(packets)} cycles"
        )

    def _packet(self) -> bytes:
        beats = list(itertools.takewhile(lambda beat: not beat & LAST, self.sink.received))
        beats = self.sink.received[: len(beats) + 1]
        del self.sink.received[: len(beats)]
        assert not any(beat & BAD for beat in beats)
        return np.array([beat & 0xFFFF_FFFF for beat in beats], dtype="<u4").tobytes()

    async def do(self, **request) -> Answer:
        """Send one request that must succeed."""
        (answer,) = await self.ask(Request(**request).encode())
        assert answer.status is StatusCode.OK, f"{self.about}: {request} gave {answer}"
        return answer


def network(rng: np.random.Generator, sizes: Iterable[int]) -> Network:
    """Return layers whose weights and biases are anything, the ends of their range included."""
    layers = [
        Dense(
            name=f"layer {index}",
            weights=rng.choice([*rng.integers(-128, 128, 5), -128, 127, 0], (K, N)).astype(np.int8),
            bias=rng.integers(-5000, 5000, N),
            multiplier=rng.integers(1 << 30, 1 << 31, N),
            shift=rng.integers(-9, -6, N),
            rounding=("double", "away", "even")[index % 3],
            input_zero_point=3 * index,
            output_zero_point=3 * index + 3,
            minimum=-128,
            maximum=127,
        )
        for index, (K, N) in enumerate(itertools.pairwise(sizes))
    ]
    return Network(name="random", layers=layers, input_shape=(layers[0].weights.shape[0],))


def configure() -> AcceleratorConfig:
    """Return the config of the device."""
    given = settings()
    return AcceleratorConfig(**{**given, "engine": SystolicConfig(**given["engine"])})


async def begin(dut) -> tuple[Link, AcceleratorConfig, random.Random]:
    """Reset the device and take up the link."""
    rng = random.Random(cocotb.RANDOM_SEED)
    start_clock(dut)
    link = Link(dut, rng)
    await reset(dut)
    return link, configure(), rng


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def identifies_itself(dut):
    link, config, _ = await begin(dut)
    answer = await link.do(opcode=Opcode.IDENTIFY, sequence=7)
    assert (answer.sequence, answer.payload) == (7, identity(config)), link.about


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def refuses_and_goes_on(dut):
    """A packet that is wrong changes nothing, and the next one is understood."""
    link, config, rng = await begin(dut)
    words = rng.randbytes(4 * config.memory("inputs").link_words * 3)
    write = Request(opcode=Opcode.WRITE, target=Target.INPUTS, address=1, count=3, payload=words)
    read = Request(opcode=Opcode.READ, target=Target.INPUTS, address=1, count=3)
    torn = bytearray(write.encode())
    torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
    far = Request(opcode=Opcode.READ, target=Target.INPUTS, address=config.input_depth - 1, count=2)
    before = (await link.do(**vars(read))).payload
    answers = await link.ask(bytes(torn), far.encode(), Request(opcode=0x55).encode(), read.encode())
    assert [answer.status for answer in answers[1:]] == [StatusCode.ADDRESS, StatusCode.OPCODE, StatusCode.OK], answers
    assert answers[0].status is StatusCode.CRC, f"{link.about}: {answers[0]}"
    assert answers[3].payload == before, link.about
    await link.do(**vars(write))
    assert (await link.do(**vars(read))).payload == words, link.about


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(stream=(False, True))
async def runs_networks(dut, stream):
    """Results equal to the golden model's, counters equal to the cycle model's where no stream can stall."""
    link, config, rng = await begin(dut)
    numpy_rng = np.random.default_rng(cocotb.RANDOM_SEED)
    net = network(numpy_rng, [7, rng.randint(1, 9), rng.randint(1, 9)])
    program = compile_network(net, config, batch=2)
    x = numpy_rng.choice([*numpy_rng.integers(-128, 128, 9), -128, 127, 0], (3 * program.vectors, 7))
    x = x if stream else x[: program.vectors]
    golden = x
    for layer in net.layers:
        golden = run_layer(layer, golden)
    for memory, image in program.image.items():
        target = Target[memory.upper()]
        await link.do(opcode=Opcode.WRITE, target=target, count=len(image), payload=image.astype("<u4").tobytes())
    iterations = len(x) // program.vectors
    run = program.run_parameters(iterations, stream=stream)
    start = {"opcode": Opcode.RUN, "count": 8, "payload": run.encode()}
    words = program.pack_inputs(x)
    output_words = program.output_words * iterations
    inputs = {"opcode": Opcode.WRITE, "count": len(words), "payload": words.astype("<u4").tobytes()}
    outputs = {"opcode": Opcode.READ, "count": output_words}
    if stream:
        await link.do(**start)
        await link.do(target=Target.INPUT_STREAM, **inputs)
        payload = (await link.do(target=Target.RESULT_STREAM, **outputs)).payload
        report = await link.do(opcode=Opcode.STATUS, target=WAIT)
    else:
        await link.do(target=Target.INPUTS, **inputs)
        await link.do(**start)
        report = await link.do(opcode=Opcode.STATUS, target=WAIT)
        payload = (await link.do(target=Target.OUTPUTS, **outputs)).payload
    results = np.frombuffer(payload, dtype="<u4").reshape(output_words, -1).astype(np.uint32)
    np.testing.assert_array_equal(program.unpack_outputs(results, len(x)), golden, err_msg=link.about)
    status = StatusReport.decode(report.payload)
    assert (status.state, status.error) == (State.IDLE, StatusCode.OK), link.about
    assert status.total_cycles == sum(status.cause_cycles) > 0, link.about
    if not stream:
        cycles = predict(config, [step.fields for step in program.steps], run)
        assert dict(zip(config.causes, status.cause_cycles, strict=True)) == cycles.causes, link.about
