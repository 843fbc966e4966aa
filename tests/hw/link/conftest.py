"""A core that echoes, so that the link can be tried without an engine; and a model of the device to hold it against."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import HOST_READ_LATENCY, core_port
from celosia.hw.link.commands import CommandProcessor
from celosia.hw.link.packets import link_stream
from celosia.hw.pipeline import delay
from celosia.hw.protocol import (
    REQUEST_MAGIC,
    RUN_WORDS,
    Answer,
    Opcode,
    Request,
    RunParameters,
    StatusCode,
    checksum,
    identity,
)
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.device import LinkSimulation
from celosia.sim.rtl import Model, build

WATCHDOG = 1000  # cycles
CLEARING = 60  # cycles after an abort in which the core is not ready, more than a RUN takes


class EchoCore(wiring.Component):
    """Answers each streamed input with its complement; a run with `program` 1 never gives a result.

    With `layers` 2 it takes inputs and weights only every fifth cycle, with `layers` 3 none at all; with 4, all weights
    are corrupt, and with 5, it has saturated. Streamed weights are written to the ring in the weight memory.
    `total_cycles` counts the run's cycles, cause 0 those in which an input was taken, cause 1 all others. A start while
    it is not ready is lost.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__({"host": In(core_port(config))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        host, run = self.host, self.host.run
        m.submodules.queue = queue = SyncFIFO(width=len(host.i_inputs.payload), depth=16)
        inputs, results = Signal(32), Signal(32)  # words to come
        ring = Signal(24)
        mute = Signal()
        tempo = Signal(range(5))
        willing = Signal()
        idle = Signal(range(WATCHDOG + 1))
        clearing = Signal(range(CLEARING + 1))
        taken, given, stored = Signal(), Signal(), Signal()
        m.d.comb += [
            willing.eq(host.busy & (run.layers != 3) & ((run.layers != 2) | (tempo == 0))),
            host.i_inputs.ready.eq(willing & (inputs != 0) & queue.w_rdy),
            host.i_weights.ready.eq(willing),
            taken.eq(host.i_inputs.valid & host.i_inputs.ready),
            stored.eq(host.i_weights.valid & host.i_weights.ready),
            given.eq(host.o_results.valid & host.o_results.ready),
            queue.w_en.eq(taken),
            queue.w_data.eq(~host.i_inputs.payload),
            host.o_results.valid.eq(queue.r_rdy & ~mute),
            host.o_results.payload.eq(queue.r_data),
            queue.r_en.eq(given),
            host.ready.eq(clearing == 0),
            host.corrupt.eq(stored & (run.layers == 4)),
            host.fault.eq((host.busy & (idle == WATCHDOG)) | host.corrupt),
        ]
        m.d.sync += tempo.eq(Mux(tempo == 4, 0, tempo + 1))
        with m.If(host.busy):
            m.d.sync += [host.total_cycles.eq(host.total_cycles + 1), idle.eq(Mux(taken | given | stored, 0, idle + 1))]
            m.d.sync += [inputs.eq(inputs - taken), results.eq(results - given)]
            with m.If(taken):
                m.d.sync += host.cause_cycles[0].eq(host.cause_cycles[0] + 1)
            with m.Else():
                m.d.sync += host.cause_cycles[1].eq(host.cause_cycles[1] + 1)
            with m.If(stored):
                m.d.sync += ring.eq(Mux(ring == self.config.weight_depth - 1, run.ring_base, ring + 1))
            with m.If(((results == 0) & ~mute) | host.run_abort | host.fault):
                m.d.sync += host.busy.eq(0)
        with m.If(host.run_abort):
            m.d.sync += clearing.eq(CLEARING)
        with m.Elif(~host.ready):
            m.d.sync += clearing.eq(clearing - 1)
        with m.If(host.run_start & host.ready):
            m.d.sync += [
                host.busy.eq(1),
                host.saturated.eq(run.layers == 5),
                host.total_cycles.eq(0),
                host.cause_cycles.as_value().eq(0),
                inputs.eq(run.iterations * run.input_words),
                results.eq(run.iterations * run.output_words),
                ring.eq(run.ring_base),
                mute.eq(run.program == 1),
                idle.eq(0),
            ]
        with m.If(~host.busy):
            m.d.comb += queue.r_en.eq(1)
        self._memories(m, stored, ring)
        return m

    def _memories(self, m: Module, stored: Signal, ring: Signal) -> None:
        host = self.host
        chosen = delay(m, host.host_memory, HOST_READ_LATENCY, "chosen")
        for spec in self.config.memories:
            m.submodules[f"{spec.name}_memory"] = memory = Memory(shape=spec.width, depth=spec.depth, init=[])
            write, read = memory.write_port(), memory.read_port()
            is_ring = stored if spec.name == "weights" else 0
            m.d.comb += [
                read.addr.eq(host.host_address),
                write.addr.eq(Mux(is_ring, ring, host.host_address)),
                write.data.eq(Mux(is_ring, host.i_weights.payload, host.host_write_data)),
                write.en.eq(is_ring | (host.host_write_enable & (host.host_memory == spec.id))),
            ]
            word = delay(m, read.data, HOST_READ_LATENCY - 1, f"{spec.name}_word")
            with m.If(chosen == spec.id):
                m.d.comb += host.host_read_data.eq(word)


class Top(wiring.Component):
    """The command processor with the echo core behind it."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.core = core = EchoCore(self.config)
        m.submodules.commands = commands = CommandProcessor(self.config)
        wiring.connect(m, commands.core, core.host)
        wiring.connect(m, wiring.flipped(self.i), commands.i)
        wiring.connect(m, commands.o, wiring.flipped(self.o))
        return m


class IdleModel:
    """Answers of a device on which nothing runs, and what its memories hold: written from the protocol, in numpy."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.memories = {m.id: np.zeros((m.depth, m.link_words), np.uint32) for m in config.memories}
        self.specs = {memory.id: memory for memory in config.memories}
        self.error = StatusCode.OK
        self.fresh = True

    def answer(self, packet: bytes) -> bytes:
        words = np.frombuffer(packet.ljust(max(4, -len(packet) % 4 + len(packet)), b"\0"), "<u4").astype(np.uint32)
        status = self._form(packet, len(words))
        payload = b""
        if status is StatusCode.OK:
            request = Request.decode(packet)
            status = self._check(request)
            if status is StatusCode.OK:
                payload = self._execute(request)
                if request.opcode == Opcode.RESET:
                    self.error, self.fresh = StatusCode.OK, False
        if self.error is StatusCode.OK:
            self.error = status
        head = words[:1].tobytes()
        return Answer(opcode=head[1], sequence=head[2], status=status, payload=payload).encode()

    def _form(self, packet: bytes, words: int) -> StatusCode:
        if len(packet) % 4 or not packet:
            return StatusCode.FRAMING
        if not 4 <= words <= self.config.packet_words + 4:
            return StatusCode.LENGTH
        if checksum(packet[:-4]) != packet[-4:]:
            return StatusCode.CRC
        return StatusCode.OK if packet[0] == REQUEST_MAGIC else StatusCode.MAGIC

    def _check(self, request: Request) -> StatusCode:
        words = len(request.payload) // 4
        if request.opcode in (Opcode.WRITE, Opcode.READ):
            return self._check_transfer(request, words)
        if request.opcode not in tuple(Opcode):
            return StatusCode.OPCODE
        if request.address or request.target > (request.opcode == Opcode.STATUS):
            return StatusCode.RESERVED
        expected = RUN_WORDS if request.opcode == Opcode.RUN else 0
        if (request.count, words) != (expected, expected):
            return StatusCode.LENGTH
        if request.opcode == Opcode.RUN:
            raise AssertionError("a good RUN by chance: choose another seed")
        return StatusCode.OK

    def _check_transfer(self, request: Request, words: int) -> StatusCode:
        writes = request.opcode == Opcode.WRITE
        streams = (0x11, 0x13) if writes else (0x15,)
        if request.target not in (*self.specs, *streams):
            return StatusCode.TARGET
        spec = self.specs[request.target & 15]
        size = request.count * spec.link_words
        if not request.count or size > self.config.packet_words or words != (size if writes else 0):
            return StatusCode.LENGTH
        if request.target in streams:
            return StatusCode.ADDRESS if request.address else StatusCode.IDLE
        return StatusCode.ADDRESS if request.address + request.count > spec.depth else StatusCode.OK

    def _execute(self, request: Request) -> bytes:
        if request.opcode == Opcode.IDENTIFY:
            return identity(self.config)
        if request.opcode == Opcode.STATUS:
            causes = len(self.config.causes)
            return bytes((0, self.error, causes, 2 * self.fresh)) + bytes(8 * (1 + causes))
        if request.opcode == Opcode.RESET:
            return b""
        spec = self.specs[request.target]
        place = self.memories[request.target][request.address : request.address + request.count]
        if request.opcode == Opcode.READ:
            return place.astype("<u4").tobytes()
        place[:] = np.frombuffer(request.payload, "<u4").reshape(place.shape)
        if spec.width % 32:
            place[:, -1] &= (1 << spec.width % 32) - 1
        return b""


def read(target: int, address: int, count: int, sequence: int = 0) -> bytes:
    return Request(opcode=Opcode.READ, target=target, address=address, count=count, sequence=sequence).encode()


def write(target: int, address: int, words: np.ndarray, sequence: int = 0) -> bytes:
    payload = np.ascontiguousarray(words, "<u4").tobytes()
    return Request(
        opcode=Opcode.WRITE, target=target, address=address, count=len(words), payload=payload, sequence=sequence
    ).encode()


def command(opcode: int, target: int = 0, payload: bytes = b"") -> bytes:
    return Request(opcode=opcode, target=target, count=len(payload) // 4, payload=payload).encode()


@pytest.fixture(scope="session")
def link_config() -> AcceleratorConfig:
    """Words of 1, 2 and more link words, one of them not a multiple of 32 bits; few of everything."""
    return AcceleratorConfig(
        engine=SystolicConfig(rows=8, cols=3, weight_width=12),
        program_depth=64,
        weight_depth=40,
        parameter_depth=16,
        input_depth=64,
        activation_depth=32,
        output_depth=64,
        packet_words=64,
    )


@pytest.fixture(scope="session")
def link_model(link_config: AcceleratorConfig) -> Model:
    return build(Top(link_config), name="link_test")


@pytest.fixture
def link(link_config: AcceleratorConfig, link_model: Model) -> Iterator[LinkSimulation]:
    """A command processor with the echo core, fresh."""
    link = LinkSimulation(link_model.start(), link_config, patience=100_000)
    yield link
    link.close()


@pytest.fixture
def packets(link_config: AcceleratorConfig) -> SimpleNamespace:
    """Makers of packets, and the model that foretells their answers."""

    def run(**parameters: int) -> bytes:
        values = {"layers": 1, "config_hash": link_config.hash} | parameters
        return command(Opcode.RUN, payload=RunParameters(**values).encode())

    return SimpleNamespace(
        read=read, write=write, command=command, run=run, model=IdleModel(link_config), watchdog=WATCHDOG
    )
