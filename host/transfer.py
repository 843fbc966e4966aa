"""Transfers as packets: memory words split into requests, and answers checked and joined again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from celosia.host.errors import DeviceError
from celosia.host.program import Program
from celosia.host.transports.transport import Transport
from celosia.hw.config import AcceleratorConfig, MemorySpec
from celosia.hw.lanes import Words
from celosia.hw.protocol import STREAM, Answer, Opcode, ProtocolError, Request, RunParameters, StatusCode


class Exchanger:
    """Numbers requests, sends them, and checks their answers."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._sequence = 0

    def exchange(self, requests: Sequence[Request]) -> list[Answer]:
        """Send requests and return their answers.

        Raises
        ------
        DeviceError
            The link failed, or one of the answers is not good: the first such one is told.
        """
        numbered = [replace(request, sequence=self._sequence + index & 0xFF) for index, request in enumerate(requests)]
        self._sequence += len(numbered)
        packets = self.transport.exchange([request.encode() for request in numbered])
        if len(packets) != len(numbered):
            raise DeviceError(f"{len(numbered)} packets got {len(packets)} answers.")
        return [_checked(request, packet) for request, packet in zip(numbered, packets, strict=True)]


def _checked(request: Request, packet: bytes) -> Answer:
    try:
        answer = Answer.decode(packet)
    except ProtocolError as error:
        raise DeviceError(str(error)) from None
    verb = Opcode(request.opcode).name
    if answer.status is not StatusCode.OK:
        where = f" of {request.count} words at {request.address} of memory {request.target}"
        place = where if request.opcode in (Opcode.READ, Opcode.WRITE) else ""
        raise DeviceError(f"the device refused {verb}{place}: {answer.status.sentence}.")
    if (answer.opcode, answer.sequence) != (request.opcode, request.sequence):
        raise DeviceError(
            f"the answer to {verb} number {request.sequence} is to opcode {answer.opcode} number {answer.sequence}."
        )
    return answer


def entries_of(spec: MemorySpec, words: Words) -> Words:
    """Return words for a memory, once their shape and type have been checked."""
    array = np.asarray(words)
    if array.ndim != 2 or array.shape[1] != spec.link_words or array.dtype != np.uint32:
        raise DeviceError(
            f"words for memory {spec.name!r} have shape {array.shape} and type {array.dtype}; "
            f"uint32 (entries, {spec.link_words}) would be right."
        )
    return array


def words_of(spec: MemorySpec, payloads: Sequence[bytes]) -> Words:
    """Return the payloads of a memory's READ answers as uint32, (entries, 32-bit words of a memory word)."""
    return np.frombuffer(b"".join(payloads), dtype="<u4").astype(np.uint32).reshape(-1, spec.link_words)


class Transfers:
    """Requests that move words to and from the memories of one config and the streams of its runs."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config

    def memory(self, name: str) -> MemorySpec:
        """Return a memory by its name."""
        memories = self._config.memories
        for memory in memories:
            if memory.name == name:
                return memory
        raise DeviceError(f"memory {name!r} is unknown; there are: {', '.join(memory.name for memory in memories)}.")

    def writes(self, name: str, words: Words, *, address: int = 0, stream: bool = False) -> Iterator[Request]:
        """Yield the packets of a transfer to a memory, or to its stream."""
        spec = self.memory(name)
        entries = entries_of(spec, words)
        step = self._config.packet_words // spec.link_words
        for start in range(0, len(entries), step):
            part = entries[start : start + step]
            yield Request(
                opcode=Opcode.WRITE,
                target=spec.id | (STREAM if stream else 0),
                address=0 if stream else address + start,
                count=len(part),
                payload=part.astype("<u4").tobytes(),
            )

    def reads(self, name: str, count: int, *, address: int = 0, stream: bool = False) -> Iterator[Request]:
        """Yield the packets of a transfer from a memory, or from its stream."""
        spec = self.memory(name)
        step = self._config.packet_words // spec.link_words
        for start in range(0, count, step):
            yield Request(
                opcode=Opcode.READ,
                target=spec.id | (STREAM if stream else 0),
                address=0 if stream else address + start,
                count=min(step, count - start),
            )

    def start(self, program: Program, iterations: int, *, stream: bool) -> Request:
        """Return the packet that starts a run."""
        return _run(program.run_parameters(iterations, stream=stream))

    def loading_run(self, program: Program) -> Iterator[Request]:
        """Yield the packets of the run that loads weights."""
        assert program.load_stream is not None
        yield _run(program.load_parameters())
        yield from self.writes("weights", program.load_stream, stream=True)

    def weights(self, program: Program) -> Iterator[Request]:
        """Yield the packets of one iteration's streamed weights."""
        if program.weight_stream is not None:
            yield from self.writes("weights", program.weight_stream, stream=True)

    def streaming_run(self, program: Program, inputs: Words) -> Iterator[Request]:
        """Yield the packets of a run in an order that keeps both halves busy and cannot block itself.

        A device executes packets in order, so what one waits for must come before it. Results of iteration i wait for
        its inputs and weights; inputs i + 2 wait for the half that iteration i frees. Weights i + 1 wait for iteration
        i + 1 to start, which it does while the results of i are not read yet, since there are two halves of those too.
        """
        blocks = inputs.reshape(-1, program.input_words, inputs.shape[1])
        iterations = len(blocks)
        yield self.start(program, iterations, stream=True)
        yield from self.writes("inputs", blocks[0], stream=True)
        for number in range(-1, iterations):
            if number >= 0:
                yield from self.reads("outputs", program.output_words, stream=True)
            if number + 2 < iterations:
                yield from self.writes("inputs", blocks[number + 2], stream=True)
            if number == -1:
                yield from self.weights(program)
            if number + 2 < iterations:
                yield from self.weights(program)


def _run(parameters: RunParameters) -> Request:
    payload = parameters.encode()
    return Request(opcode=Opcode.RUN, count=len(payload) // 4, payload=payload)
