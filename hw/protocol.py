"""The packets between a host and an accelerator: RTL, simulator and host read this one file.

Everything is 32-bit words, little endian. A request is

====  =======================================================================================
word  content, least significant bits first
====  =======================================================================================
0     `REQUEST_MAGIC` (8 bits), opcode (8), sequence (8), target (8: memory, stream, or flags)
1     address, in memory words
2     count: memory words of WRITE and READ, payload words of RUN, else 0
3…    payload
last  CRC-32 (IEEE 802.3) of all bytes before it
====  =======================================================================================

Each request, however malformed, has exactly one answer, in order. What an answer has to say about itself comes *after*
its payload, so that a device which gives up in the middle of a result can say so without buffering the result first:

====  =======================================================================================
word  content, least significant bits first
====  =======================================================================================
0     `ANSWER_MAGIC` (8 bits), opcode (8) and sequence (8) of the request, 0 (8)
1…    payload
-2    status (8 bits), 0 (8), payload words (16)
-1    CRC-32 of all bytes before it
====  =======================================================================================

A memory word takes ceil(width / 32) words. A request changes nothing before all of it has been received and checked.

Links that carry bytes mark where packets end as HDLC does (RFC 1662, section 4): `FLAG` between packets, as many as one
likes, and before any byte of a packet that is `FLAG` or `ESCAPE`, an `ESCAPE`, the byte itself XORed with `ESCAPE_XOR`.
"""

import json
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from celosia.hw.config import PROTOCOL_VERSION, AcceleratorConfig

REQUEST_MAGIC = 0xCE
ANSWER_MAGIC = 0xCA
REQUEST_OVERHEAD = 4  # words of a request around its payload: three of header, one of CRC
ANSWER_OVERHEAD = 3  # words of an answer around its payload: header, trailer, CRC
RUN_WORDS = 8  # payload words of RUN
WAIT = 1  # STATUS target bit: answer only when the run has ended
STREAM = 0x10  # target bit: not the memory, but what streams into or out of it during a run
OUTSTANDING = 2  # requests the device buffers: a host may have that many unanswered
FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20  # of links that carry bytes


class Opcode(IntEnum):
    """What a request asks for."""

    IDENTIFY = 0x01  # answer: JSON, padded with spaces to whole words
    WRITE = 0x02
    READ = 0x03
    RUN = 0x04  # answered as soon as the run has started
    STATUS = 0x05
    RESET = 0x06  # drop the run, forget the error; ends a stream operation that is waiting ahead of it


class Target(IntEnum):
    """Memories by their number, and the streams of a run. An engine's own memories follow from number 6 on."""

    PROGRAM = 0
    WEIGHTS = 1
    PARAMETERS = 2
    INPUTS = 3
    ACTIVATIONS = 4
    OUTPUTS = 5
    WEIGHT_STREAM = STREAM | 1  # WRITE: words go to the weight ring
    INPUT_STREAM = STREAM | 3  # WRITE: words go to the half of the inputs that is being filled
    RESULT_STREAM = STREAM | 5  # READ: waits until results exist


class State(IntEnum):
    """What the accelerator is doing."""

    IDLE = 0
    RUNNING = 1


class StatusCode(IntEnum):
    """How a request ended, with a sentence for people."""

    sentence: str

    def __new__(cls, value: int, sentence: str) -> "StatusCode":
        """Make a member of a number and a sentence."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    OK = 0, "done"
    FRAMING = 1, "the link lost or tore a packet"
    LENGTH = 2, "the packet's length is not what its opcode and count ask for, or is more than the device takes"
    CRC = 3, "the packet's checksum is wrong"
    MAGIC = 4, f"the packet does not begin with 0x{REQUEST_MAGIC:02X}"
    OPCODE = 5, "the opcode is unknown"
    TARGET = 6, "there is no such memory or stream, or not in this direction"
    RESERVED = 7, "a field that the command does not use is not zero"
    ADDRESS = 8, "the address range leaves the memory"
    BUSY = 9, "a run is in progress: memories and RUN have to wait for its end"
    IDLE = 10, "no run is in progress that takes these words or gives these results"
    CONFIG = 11, "the program was compiled for another config"
    PARAMETER = 12, "a parameter of RUN is out of its range"
    WATCHDOG = 13, "the run made no progress and the watchdog ended it"
    ABORTED = 14, "a reset ended the operation"
    CORRUPT = 15, "the streamed weights do not decode to what the layer asks for, and the run was ended"


class ProtocolError(ValueError):
    """Bytes that are no packet of this protocol."""


def checksum(data: bytes) -> bytes:
    """Return the CRC-32 of some bytes as the four bytes that follow them in a packet."""
    return struct.pack("<I", zlib.crc32(data))


@dataclass(frozen=True, kw_only=True)
class Request:
    """One packet to the device; see the module for the layout."""

    opcode: int
    sequence: int = 0
    target: int = 0
    address: int = 0
    count: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the packet's bytes, a multiple of four."""
        if len(self.payload) % 4:
            raise ValueError(f"a payload of {len(self.payload)} bytes must be a multiple of 4.")
        word = bytes((REQUEST_MAGIC, self.opcode, self.sequence & 0xFF, self.target))
        body = word + struct.pack("<II", self.address, self.count) + self.payload
        return body + checksum(body)

    @classmethod
    def decode(cls, packet: bytes) -> "Request":
        """Parse a packet.

        Raises
        ------
        ProtocolError
            It is too short, or its magic or CRC is wrong.
        """
        _check_packet(packet, REQUEST_OVERHEAD, REQUEST_MAGIC, "request")
        _, opcode, sequence, target, address, count = struct.unpack_from("<BBBBII", packet)
        return cls(opcode=opcode, sequence=sequence, target=target, address=address, count=count, payload=packet[12:-4])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One packet from the device; see the module for the layout."""

    opcode: int
    sequence: int
    status: StatusCode
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the packet's bytes, a multiple of four."""
        head = bytes((ANSWER_MAGIC, self.opcode, self.sequence & 0xFF, 0))
        body = head + self.payload + struct.pack("<BBH", self.status, 0, len(self.payload) // 4)
        return body + checksum(body)

    @classmethod
    def decode(cls, packet: bytes) -> "Answer":
        """Parse a packet.

        Raises
        ------
        ProtocolError
            It is too short, its magic, CRC or length is wrong, or its status is unknown.
        """
        _check_packet(packet, ANSWER_OVERHEAD, ANSWER_MAGIC, "answer")
        status, _, words = struct.unpack_from("<BBH", packet, len(packet) - 8)
        payload = packet[4:-8]
        if words * 4 != len(payload):
            raise ProtocolError(f"an answer says {words} payload words but carries {len(payload) // 4}.")
        try:
            code = StatusCode(status)  # type: ignore[call-arg]  # looks a member up by its number
        except ValueError:
            raise ProtocolError(f"an answer's status {status} is unknown.") from None
        return cls(opcode=packet[1], sequence=packet[2], status=code, payload=payload)


def _check_packet(packet: bytes, overhead: int, magic: int, kind: str) -> None:
    if len(packet) < overhead * 4 or len(packet) % 4:
        raise ProtocolError(f"{len(packet)} bytes are no {kind}: it must have {overhead * 4} or more, a multiple of 4.")
    if checksum(packet[:-4]) != packet[-4:]:
        raise ProtocolError(f"the checksum of a {kind} of {len(packet)} bytes is wrong.")
    if packet[0] != magic:
        raise ProtocolError(f"the {kind} begins with 0x{packet[0]:02X} where 0x{magic:02X} would be right.")


RUN_FIELDS = {"program": 16, "layers": 16, "iterations": 32, "input_words": 24, "output_words": 24, "ring_base": 24}
"""Numbers of a run and their bits, in the order of the payload."""


@dataclass(frozen=True, kw_only=True)
class RunParameters:
    """Payload of RUN.

    Parameters
    ----------
    program : int
        Address of the first layer's descriptor, in program words (16 bits).
    layers : int
        Layers of one iteration, 1 or more (16 bits).
    iterations : int
        Times the layers are run, each with its own inputs and results, 1 or more (32 bits).
    input_words, output_words : int
        Memory words that stream in and out per iteration; 0 leaves inputs or results in their memory (24 bits).
    ring_base : int
        Weights from this address up are a ring that the weight stream fills; the memory's depth: no ring (24 bits).
    config_hash : str
        16 hexadecimal digits: `AcceleratorConfig.hash` of the config the program was compiled for.
    """

    program: int = 0
    layers: int
    iterations: int = 1
    input_words: int = 0
    output_words: int = 0
    ring_base: int = 0
    config_hash: str

    def encode(self) -> bytes:
        """Return the 32 bytes of the payload.

        Raises
        ------
        ValueError
            A number does not fit its field.
        """
        for name, width in RUN_FIELDS.items():
            if not 0 <= getattr(self, name) < 1 << width:
                raise ValueError(f"{name}={getattr(self, name)} must be a whole number of {width} bits.")
        numbers = (self.program, self.layers, self.iterations, self.input_words, self.output_words, self.ring_base)
        return struct.pack("<HHIIIIIQ", *numbers, 0, int(self.config_hash, 16))

    @classmethod
    def decode(cls, payload: bytes) -> "RunParameters":
        """Parse a payload of `RUN_WORDS` words."""
        program, layers, iterations, inputs, outputs, ring, _, config_hash = struct.unpack("<HHIIIIIQ", payload)
        return cls(
            program=program,
            layers=layers,
            iterations=iterations,
            input_words=inputs,
            output_words=outputs,
            ring_base=ring,
            config_hash=f"{config_hash:016x}",
        )


@dataclass(frozen=True, kw_only=True)
class StatusReport:
    """Payload of STATUS's answer.

    While a run is in progress its counters move as they are read: they are exact in state IDLE.

    Parameters
    ----------
    state : State
        Whether a run is in progress.
    error : StatusCode
        The first error since the last reset.
    total_cycles : int
        Cycles of the last run (`counter_width` bits of the config, 48 by default).
    saturated : bool
        Whether an accumulator saturated in the last run.
    fresh : bool
        Nobody has sent RESET since the device started: what a host loaded before is gone.
    failure : StatusCode
        Why the device ended the last run by itself, WATCHDOG or CORRUPT; OK if it did not.
    cause_cycles : tuple of int
        Cycles by cause, in the order of `AcceleratorConfig.causes` (`counter_width` bits each); their sum is
        `total_cycles`.
    """

    state: State
    error: StatusCode
    total_cycles: int
    cause_cycles: tuple[int, ...]
    saturated: bool = False
    fresh: bool = False
    failure: StatusCode = StatusCode.OK

    def encode(self) -> bytes:
        """Return the payload: state, error, number of causes, last run, a byte each; then counters of 64 bits.

        The byte of the last run has `saturated` in bit 0, `fresh` in bit 1, and `failure` in its upper half.
        """
        last_run = self.saturated | self.fresh << 1 | self.failure << 4
        head = struct.pack("<BBBB", self.state, self.error, len(self.cause_cycles), last_run)
        return head + struct.pack(f"<{1 + len(self.cause_cycles)}Q", self.total_cycles, *self.cause_cycles)

    @classmethod
    def decode(cls, payload: bytes) -> "StatusReport":
        """Parse a payload.

        Raises
        ------
        ProtocolError
            Its length or one of its codes is impossible.
        """
        try:
            state, error, causes, last_run = struct.unpack_from("<BBBB", payload)
            total, *cycles = struct.unpack_from(f"<{1 + causes}Q", payload, 4)
            code = StatusCode(error)  # type: ignore[call-arg]
            return cls(
                state=State(state),
                error=code,
                total_cycles=total,
                cause_cycles=tuple(cycles),
                saturated=bool(last_run & 1),
                fresh=bool(last_run & 2),
                failure=StatusCode(last_run >> 4),  # type: ignore[call-arg]
            )
        except (struct.error, ValueError) as error_found:
            raise ProtocolError(f"a status of {len(payload)} bytes cannot be read: {error_found}.") from None


def identity(config: AcceleratorConfig) -> bytes:
    """Return the payload of IDENTIFY's answer: JSON in UTF-8, padded with spaces to whole words."""
    text = json.dumps(
        {
            "protocol": PROTOCOL_VERSION,
            "engine": config.engine_name,
            "hash": config.hash,
            "config": config.to_json(),
            "memories": [[m.name, m.id, m.width, m.depth] for m in config.memories],
            "causes": list(config.causes),
        },
        separators=(",", ":"),
    ).encode()
    return text + b" " * (-len(text) % 4)
