"""Reference of the protocol, written from the tables that RTL, simulator and host read.

``python -m celosia.host.deliverable.protocol_reference > docs/protocol.md``
"""

import inspect
import re
from types import ModuleType
from typing import Final

from celosia.host.deliverable.layouts import run_places, status_places, used_words
from celosia.host.deliverable.links import LINK_BENCHES
from celosia.host.deliverable.tables import hex_words, markdown_table, place_rows, register_table
from celosia.hw import bus_registers, protocol
from celosia.hw.config import PROTOCOL_VERSION
from celosia.hw.link.table import LINKS
from celosia.hw.protocol import Answer, Opcode, Request, RunParameters, State, StatusCode, StatusReport, Target

_OPCODES: Final = {
    Opcode.IDENTIFY: "Answered with JSON, padded with spaces to whole words: protocol, engine, hash, "
    "config, memories (name, number, bits, words), and names of the causes.",
    Opcode.WRITE: "Writes `count` memory words from `address` on; or appends them to a stream, with `address` 0.",
    Opcode.READ: "Answered with `count` memory words from `address` on; or with the next ones of a stream.",
    Opcode.RUN: "Starts a run with the payload below. Answered as soon as it has started.",
    Opcode.STATUS: f"Answered with the payload below. With bit 0 of the target ({protocol.WAIT}) only when no run is "
    "in progress.",
    Opcode.RESET: "Drops the run and forgets the error; memories stay. Ends a stream operation that waits ahead of it.",
}
_TARGETS: Final = {
    Target.PROGRAM: "layer descriptors",
    Target.WEIGHTS: "weights",
    Target.PARAMETERS: "parameters of output channels",
    Target.INPUTS: "inputs of the network",
    Target.ACTIVATIONS: "tensors between layers",
    Target.OUTPUTS: "results of the network",
    Target.WEIGHT_STREAM: "WRITE: weights into the ring, which waits while the ring is full",
    Target.INPUT_STREAM: "WRITE: inputs of coming iterations, which waits while both halves are taken",
    Target.RESULT_STREAM: "READ: results of iterations, which waits until they exist",
}
_STATES: Final = {State.IDLE: "no run is in progress", State.RUNNING: "a run is in progress"}
_EXAMPLE_HASH: Final = "0123456789abcdef"


def protocol_reference() -> str:
    """Return the whole reference, Markdown."""
    return (
        "\n\n".join(
            [
                "# The protocol",
                f"Version {PROTOCOL_VERSION}. This page is generated from `hw/protocol.py` and `hw/bus_registers.py`, "
                "by `python -m celosia.host.deliverable.protocol_reference > docs/protocol.md`.",
                "## Packets",
                _constants(_from_rst(_body(protocol))),
                "## Opcodes",
                markdown_table(
                    ("code", "opcode", "what"), ((_hex(code), code.name, _OPCODES[code]) for code in Opcode)
                ),
                "## Targets",
                "Of WRITE and READ. An engine's own memories follow from 6 on; IDENTIFY has their names.",
                markdown_table(
                    ("code", "target", "what"), ((_hex(code), code.name, _TARGETS[code]) for code in Target)
                ),
                "## Status codes",
                "How a request ended, or the first of those errors since the last RESET.",
                markdown_table(
                    ("code", "status", "sentence"), ((_hex(code), code.name, code.sentence) for code in StatusCode)
                ),
                "## Payload of RUN",
                markdown_table(
                    ("words", "bits", "field", "what"),
                    ((*row, _parameters(RunParameters)[row[2]]) for row in place_rows(run_places())),
                ),
                f"Word {', '.join(str(word) for word, used in enumerate(used_words()) if not used)} is 0.",
                "## Payload of what STATUS answers",
                markdown_table(
                    ("words", "bits", "field", "what"),
                    ((*row, _parameters(StatusReport)[row[2]]) for row in place_rows(status_places())),
                ),
                "Bits 23:16 of word 0 are the number of causes. Behind the first cause's counter there are those of "
                "the others, of two words each. States:",
                markdown_table(("code", "state", "what"), ((_hex(code), code.name, _STATES[code]) for code in State)),
                "## Links",
                markdown_table(("link", "what", "packets"), _links()),
                "## Registers of bus links",
                _from_rst(_body(bus_registers)),
                register_table(),
                "## An example",
                "Words as numbers, the first one first. The device's config has the hash "
                f"`{_EXAMPLE_HASH}`, and words of its inputs and outputs have 32 bits.",
                _example(),
            ]
        )
        + "\n"
    )


def _body(module: ModuleType) -> str:
    """Return a module's docstring without its first paragraph."""
    return inspect.cleandoc(module.__doc__ or "").partition("\n\n")[2]


def _hex(code: int) -> str:
    return f"0x{code:02X}"


def _constants(text: str) -> str:
    """Return a text with the values of the module's constants behind their names."""

    def value(match: re.Match[str]) -> str:
        number = getattr(protocol, match[1], None)
        return f"`{match[1]}` (0x{number:02X})" if isinstance(number, int) else match[0]

    return re.sub(r"`([A-Z_]+)`", value, text)


def _from_rst(text: str) -> str:
    """Return a docstring as Markdown: its simple tables of two columns are converted."""
    blocks, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.startswith("===="):
            blocks.append(line)
            continue
        rows, rules = [], 0
        for row in lines:
            if row.startswith("===="):
                rules += 1
                if rules == 2:
                    break
            else:
                rows.append(row.split(maxsplit=1))
        blocks.append(markdown_table(rows[0], rows[1:]))
    return "\n".join(blocks)


def _parameters(documented: type) -> dict[str, str]:
    """Return what a numpydoc docstring says about each parameter."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(documented.__doc__ or "").partition("Parameters\n----------\n")[2].splitlines():
        if line and not line.startswith(" "):
            names = line.partition(" : ")[0].split(", ")
            found |= dict.fromkeys(names, "")
        elif line:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def _links() -> list[tuple[str, str, str]]:
    known = [(link, LINKS[link].summary) for link in LINKS if link in LINK_BENCHES]
    bare = ("none", "the two streams of an accelerator itself", LINK_BENCHES[""].sentence)
    return [bare, *((link, summary, LINK_BENCHES[link].sentence) for link, summary in known)]


def _example() -> str:
    run = RunParameters(layers=1, ring_base=2048, config_hash=_EXAMPLE_HASH).encode()
    report = StatusReport(state=State.IDLE, error=StatusCode.OK, total_cycles=300, cause_cycles=(20, 280)).encode()
    exchanges: list[tuple[str, Request, bytes]] = [
        ("RESET", Request(opcode=Opcode.RESET), b""),
        (
            "WRITE of two words to the inputs",
            Request(opcode=Opcode.WRITE, target=Target.INPUTS, count=2, payload=bytes(range(1, 9))),
            b"",
        ),
        ("RUN of one layer", Request(opcode=Opcode.RUN, count=len(run) // 4, payload=run), b""),
        ("STATUS when it has ended", Request(opcode=Opcode.STATUS, target=protocol.WAIT), report),
        (
            "READ of one word of the outputs",
            Request(opcode=Opcode.READ, target=Target.OUTPUTS, count=1),
            bytes((10, 20, 30, 40)),
        ),
    ]
    rows = []
    for number, (what, request, payload) in enumerate(exchanges):
        sent = Request(**{**vars(request), "sequence": number}).encode()
        back = Answer(opcode=request.opcode, sequence=number, status=StatusCode.OK, payload=payload).encode()
        rows.append((what, f"`{hex_words(sent)}`", f"`{hex_words(back)}`"))
    escaped = Request(opcode=Opcode.RESET, sequence=protocol.FLAG).encode()
    return "\n\n".join(
        [
            markdown_table(("what", "request", "answer"), rows),
            f"A RESET with sequence 0x{protocol.FLAG:02X} is `{hex_words(escaped)}`, and on a link that carries bytes:",
            f"```\n{framed_bytes(escaped).hex(' ')}\n```",
        ]
    )


def framed_bytes(packet: bytes) -> bytes:
    """Return a packet between flags, as links that carry bytes frame it."""
    marks = (protocol.FLAG, protocol.ESCAPE)
    inside = b"".join(
        bytes((protocol.ESCAPE, byte ^ protocol.ESCAPE_XOR)) if byte in marks else bytes((byte,)) for byte in packet
    )
    flag = bytes((protocol.FLAG,))
    return flag + inside + flag


if __name__ == "__main__":
    print(protocol_reference(), end="")
