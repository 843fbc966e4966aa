"""C header of an accelerator: the protocol's numbers and the config's, for firmware and drivers."""

from collections.abc import Iterable

import celosia
from celosia.host.deliverable.layouts import Place, run_places, status_places, used_words
from celosia.hw import protocol
from celosia.hw.bus_registers import BUS_REGISTERS, MAGIC
from celosia.hw.config import PROTOCOL_VERSION, AcceleratorConfig
from celosia.hw.protocol import Opcode, State, StatusCode, Target

NAME = "celosia.h"


def c_header(config: AcceleratorConfig, what: str, *, has_registers: bool = False) -> str:
    """Return the header, C99 and C++11; every name begins with ``CELOSIA_`` or ``celosia_``.

    Parameters
    ----------
    config : AcceleratorConfig
    what : str
        A few words that name the accelerator.
    has_registers : bool
        Whether it is behind a link of `celosia.hw.bus_registers`.
    """
    sections = [
        _opening(config, what),
        _packets(),
        _enum("opcode", "What a request asks for: bits 8 to 15 of its word 0", Opcode),
        _enum("target", "Memories and streams: bits 24 to 31 of word 0 of READ and WRITE", Target),
        _enum("state", "Bits 0 to 7 of word 0 of what STATUS answers", State),
        _enum("status", "How a request ended: bits 0 to 7 of the word before an answer's checksum", StatusCode),
        _run(),
        _status(config),
        _memories(config),
        *([_registers()] if has_registers else []),
        "#endif",
    ]
    return "\n\n".join(sections) + "\n"


def _opening(config: AcceleratorConfig, what: str) -> str:
    low, high = int(config.hash, 16) & 0xFFFFFFFF, int(config.hash, 16) >> 32
    return "\n".join(
        [
            f"/* {what}, config {config.hash}; made by Celosia {celosia.__version__}.",
            " *",
            " * Packets are 32-bit words, little endian; README.md shows how one looks. */",
            "#ifndef CELOSIA_H",
            "#define CELOSIA_H",
            "",
            _define("PROTOCOL_VERSION", PROTOCOL_VERSION),
            _define("CONFIG_HASH_LOW", f"0x{low:08x}u", "word 6 of RUN's payload"),
            _define("CONFIG_HASH_HIGH", f"0x{high:08x}u", "word 7 of it"),
        ]
    )


def _packets() -> str:
    return "\n".join(
        [
            "/* Request: word 0 is magic (8 bits), opcode (8), sequence (8), target (8), from the lowest bit;",
            " * word 1 the address and word 2 the count, both in memory words, or for RUN the count of payload words;",
            " * then the payload, then the CRC-32 of IEEE 802.3 of all bytes before it.",
            " * Answer: word 0 is magic (8), opcode (8) and sequence (8) of the request; then the payload; then status",
            " * (8), 0 (8), payload words (16); then the CRC-32. */",
            _define("REQUEST_MAGIC", f"0x{protocol.REQUEST_MAGIC:02x}u"),
            _define("ANSWER_MAGIC", f"0x{protocol.ANSWER_MAGIC:02x}u"),
            _define("REQUEST_OVERHEAD", protocol.REQUEST_OVERHEAD, "words of a request around its payload"),
            _define("ANSWER_OVERHEAD", protocol.ANSWER_OVERHEAD, "words of an answer around its payload"),
            _define("OUTSTANDING", protocol.OUTSTANDING, "requests that may be unanswered where a link cannot wait"),
            _define("WAIT", protocol.WAIT, "target bit of STATUS: answer only when the run has ended"),
            _define("STREAM", f"0x{protocol.STREAM:02x}u", "target bit: what streams during a run, not the memory"),
            "",
            "/* Links that carry bytes: FLAG between packets; a byte that is FLAG or ESCAPE is sent as ESCAPE and",
            " * the byte ^ ESCAPE_XOR. */",
            *(_define(name, f"0x{getattr(protocol, name):02x}u") for name in ("FLAG", "ESCAPE", "ESCAPE_XOR")),
        ]
    )


def _enum(name: str, comment: str, members: Iterable[Opcode | Target | State | StatusCode]) -> str:
    chosen = list(members)
    lines = [f"/* {comment}. */", f"enum celosia_{name} {{"]
    for member in chosen:
        sentence = getattr(member, "sentence", "")
        comma = "" if member is chosen[-1] else ","
        text = f"  CELOSIA_{name.upper()}_{member.name} = 0x{member.value:02x}{comma}"
        lines.append(f"{text} /* {sentence} */" if sentence else text)
    return "\n".join([*lines, "};"])


def _run() -> str:
    unused = [str(word) for word, used in enumerate(used_words()) if not used]
    return "\n".join(
        [
            "/* Payload of RUN: word in which a field begins, its lowest bit there, its bits.",
            f" * Word {', '.join(unused)} is 0. */",
            _define("RUN_WORDS", protocol.RUN_WORDS),
            *_places("RUN", run_places()),
        ]
    )


def _status(config: AcceleratorConfig) -> str:
    counters = 1 + len(config.causes)
    return "\n".join(
        [
            "/* Payload of what STATUS answers. A counter is 64 bits, low word first: all cycles of the last run, and",
            " * behind that those of each cause, in the order of enum celosia_cause. */",
            _define("REPORT_WORDS", 1 + 2 * counters),
            *_places("REPORT", status_places()),
            _define("CAUSES", len(config.causes)),
            _define("CAUSE_NAMES", ", ".join(f'"{cause}"' for cause in config.causes)),
            "enum celosia_cause {",
            ",\n".join(f"  CELOSIA_CAUSE_{cause.upper()} = {number}" for number, cause in enumerate(config.causes)),
            "};",
        ]
    )


def _registers() -> str:
    lines = ["/* Registers: offsets in bytes, and bits where they are in the register. */"]
    for register in BUS_REGISTERS:
        access = {"R": "read only", "W": "write only"}.get(register.access, register.access)
        lines.append(_define(f"REG_{register.name}", f"0x{register.offset:02x}u", f"{access}: {register.summary}"))
        for field in register.fields:
            name = f"REG_{register.name}_{field.name}"
            lines.append(_define(f"{name}_SHIFT", field.low, field.summary))
            lines.append(_define(f"{name}_MASK", f"0x{field.mask:08x}u"))
    return "\n".join([*lines, _define("REG_IDENT_MAGIC", f"0x{MAGIC:08x}u", "what IDENT reads")])


def _places(prefix: str, places: Iterable[Place]) -> list[str]:
    lines = []
    for place in places:
        name = f"{prefix}_{place.name.upper()}"
        parts = {"WORD": place.word, "SHIFT": place.low, "WIDTH": place.width}
        lines += [_define(f"{name}_{part}", value) for part, value in parts.items()]
    return lines


def _memories(config: AcceleratorConfig) -> str:
    lines = [
        "/* Memories: number, bits of a word, 32-bit words that carry one, words. */",
        _define("PACKET_WORDS", config.packet_words, "largest payload"),
    ]
    for memory in config.memories:
        lines += [
            "",
            _define(f"{memory.name.upper()}_ID", memory.id),
            _define(f"{memory.name.upper()}_WIDTH", memory.width),
            _define(f"{memory.name.upper()}_WORDS", memory.link_words),
            _define(f"{memory.name.upper()}_DEPTH", memory.depth),
        ]
    return "\n".join(lines)


def _define(name: str, value: object, comment: str = "") -> str:
    line = f"#define CELOSIA_{name} {value}"
    return f"{line} /* {comment} */" if comment else line
