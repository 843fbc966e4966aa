"""Golden vectors: what a host sends to a whole accelerator, and what has to come back, word by word.

Nothing here comes from the RTL: values are the golden model's, cycles the cycle model's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from celosia.host.deliverable.results import result_words
from celosia.host.program import Program
from celosia.host.transfer import Transfers
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words
from celosia.hw.protocol import (
    STREAM,
    WAIT,
    Answer,
    Opcode,
    Request,
    State,
    StatusCode,
    StatusReport,
    Target,
    identity,
)
from celosia.hw.registry import find_engine


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request and its answer.

    Parameters
    ----------
    title : str
        What it is, in a few words.
    request, answer : bytes
        Whole packets.
    known : bytes
        As long as the answer: ones in the bits that are foretold. Where there are others, the checksum is not either.
    """

    title: str
    request: bytes
    answer: bytes
    known: bytes


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """A conversation with an accelerator.

    Parameters
    ----------
    network : str
        Name of the network whose layers are run.
    inputs : int
        Inputs of the network, each of which is a run.
    exchanges : sequence of Exchange
        In order.
    longest_run : int
        Cycles of the longest run.
    """

    network: str
    inputs: int
    exchanges: Sequence[Exchange]
    longest_run: int

    @property
    def request_words(self) -> int:
        """32-bit words of all requests."""
        return sum(len(exchange.request) for exchange in self.exchanges) // 4

    @property
    def answer_words(self) -> int:
        """32-bit words of all answers."""
        return sum(len(exchange.answer) for exchange in self.exchanges) // 4

    @property
    def foretold_bits(self) -> int:
        """Bits of all answers that are compared."""
        return sum(int.from_bytes(exchange.known).bit_count() for exchange in self.exchanges)

    def requests_hex(self) -> str:
        """Return the requests for $readmemh: a word per line, `last` before it."""
        return _hex((exchange.title, exchange.request, ()) for exchange in self.exchanges)

    def answers_hex(self) -> str:
        """Return the answers for $readmemh: a word per line, `last` before it, and behind it its foretold bits."""
        return _hex((exchange.title, exchange.answer, (exchange.known,)) for exchange in self.exchanges)


def _hex(packets: Iterator[tuple[str, bytes, Sequence[bytes]]]) -> str:
    lines = []
    for number, (title, packet, others) in enumerate(packets):
        lines.append(f"// {number}: {title}")
        for at in range(0, len(packet), 4):
            words = [int.from_bytes(part[at : at + 4], "little") for part in (packet, *others)]
            lines.append("_".join([str(int(at + 4 == len(packet))), *(f"{word:08x}" for word in words)]))
    return "\n".join(lines) + "\n"


def golden_vectors(program: Program, inputs: np.ndarray, reference: Any) -> Vectors:
    """Foretell a conversation: who are you, load the program, and for each iteration write, run, wait, read.

    Parameters
    ----------
    program : Program
        Its iterations must take one input each.
    inputs : ndarray (n, …), integers of the network's input type
    reference : module
        `celosia.sim.reference`.
    """
    predictions = reference.predict_each(program, inputs)
    script = _Script(program.config)
    results = result_words(program, reference.golden(program, inputs))
    script.begin(program)
    words = program.pack_inputs(inputs)
    blocks = (array.reshape(len(inputs), -1, array.shape[1]) for array in (words, *results))
    saturated = [_saturates(program, inputs[index : index + 1], reference) for index in range(len(inputs))]
    for number, (block, result, known) in enumerate(zip(*blocks, strict=True)):
        script.run(program, number, block, predictions[number].causes, saturated[number])
        script.read(f"results of input {number}", "outputs", result, known)
    return Vectors(
        network=program.network.name,
        inputs=len(inputs),
        exchanges=script.numbered(),
        longest_run=max(sum(prediction.causes.values()) for prediction in predictions),
    )


def _saturates(program: Program, inputs: np.ndarray, reference: Any) -> bool:
    """Whether an accumulator of the engine leaves its range, on an engine where they may."""
    config = program.config
    golden = find_engine(config.engine_name).golden
    if not hasattr(golden, "saturating_sums"):
        return False
    width = config.engine.accumulator_width  # type: ignore[attr-defined]  # of an engine that saturates
    tensors = [x.reshape(len(x), -1).astype(np.int64) for x in reference.engine_tensors(program, inputs)]
    return any(
        golden.largest_sum(plan.arranged.layer.weights, x) >= 1 << (width - 1)
        and golden.saturating_sums(plan.arranged, x, width)[1]
        for plan, x in zip(program.layers, tensors, strict=False)
    )


class _Script:
    """Exchanges that are added one after the other."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self._transfers = Transfers(config)
        self._exchanges: list[tuple[str, Request, bytes, bytes]] = []

    def numbered(self) -> list[Exchange]:
        """Return the exchanges with their sequence numbers and checksums."""
        made = []
        for number, (title, request, payload, known) in enumerate(self._exchanges):
            answer = Answer(opcode=request.opcode, sequence=number & 0xFF, status=StatusCode.OK, payload=payload)
            whole = known.count(0xFF) == len(known)
            made.append(
                Exchange(
                    title=title,
                    request=replace(request, sequence=number & 0xFF).encode(),
                    answer=answer.encode(),
                    known=b"\xff" * 4 + known + b"\xff" * 4 + (b"\xff" if whole else b"\0") * 4,
                )
            )
        return made

    def begin(self, program: Program) -> None:
        """Identify, status before the first reset, reset, and everything that is written once."""
        self._add("IDENTIFY", Request(opcode=Opcode.IDENTIFY), identity(self._config))
        nothing = dict.fromkeys(self._config.causes, 0)
        self._status("STATUS of a device that has just started", nothing, fresh=True)
        self._add("RESET", Request(opcode=Opcode.RESET))
        for name, words in program.image.items():
            for request in self._transfers.writes(name, words):
                self._write(request)
        if program.load_stream is not None:
            for request in self._transfers.loading_run(program):
                self._write(request)
            self._status("STATUS when the weights are loaded", None)

    def run(self, program: Program, number: int, inputs: Words, causes: dict[str, int], saturated: bool) -> None:
        """Write an iteration's inputs, run, and wait."""
        for request in self._transfers.writes("inputs", inputs):
            self._write(request)
        self._write(self._transfers.start(program, 1, stream=False))
        for request in self._transfers.weights(program):
            self._write(request)
        # The pace at which a link delivers streamed weights is not foretold, and so the counters are not.
        foretold = causes if program.weight_stream is None else None
        self._status(f"STATUS when the run on input {number} has ended", foretold, saturated=saturated)

    def read(self, what: str, memory: str, words: Words, known: Words) -> None:
        """Read words from address 0 on."""
        for request in self._transfers.reads(memory, len(words)):
            part = slice(request.address, request.address + request.count)
            data, mask = (array[part].astype("<u4").tobytes() for array in (words, known))
            self._add(f"READ {what}, words {part.start} to {part.stop - 1}", request, data, mask)

    def _status(
        self, title: str, causes: dict[str, int] | None, *, fresh: bool = False, saturated: bool = False
    ) -> None:
        counted = self._config.counted(causes or dict.fromkeys(self._config.causes, 0))
        counters, total = tuple(counted.values()), sum((causes or {}).values())
        report = StatusReport(
            state=State.IDLE,
            error=StatusCode.OK,
            total_cycles=total % (1 << self._config.counter_width),
            cause_cycles=counters,
            fresh=fresh,
            saturated=saturated,
        ).encode()
        known = b"\xff" * len(report) if causes else b"\xff" * 4 + bytes(len(report) - 4)
        self._add(title, Request(opcode=Opcode.STATUS, target=WAIT), report, known)

    def _write(self, request: Request) -> None:
        """Add a request whose answer has no payload."""
        title = Opcode(request.opcode).name
        if request.opcode == Opcode.WRITE:
            names = {memory.id: memory.name for memory in self._config.memories}
            where = f"the {names[request.target & ~STREAM]}"
            stream = request.target in (Target.WEIGHT_STREAM, Target.INPUT_STREAM)
            where = f"the stream of {where}" if stream else f"{where} at {request.address}"
            title = f"WRITE {request.count} words to {where}"
        self._add(title, request)

    def _add(self, title: str, request: Request, payload: bytes = b"", known: bytes | None = None) -> None:
        self._exchanges.append((title, request, payload, b"\xff" * len(payload) if known is None else known))
