"""README of a generated folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import celosia
from celosia.host.deliverable.links import LINK_BENCHES
from celosia.host.deliverable.tables import hex_words, register_table
from celosia.host.deliverable.template import fill
from celosia.host.deliverable.vectors import Vectors
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import ANSWER_MAGIC, REQUEST_MAGIC, Answer, Opcode, Request, StatusCode

_FILES: Final = {
    ".v": "the hardware; the top module comes first",
    "_tb.v": "self-checking testbench",
    "requests.hex": "what the testbench sends: last, word",
    "answers.hex": "what has to come back: last, word, bits of it that are foretold",
    ".core": "FuseSoC core file",
    "Makefile": "simulations and lint",
    "lint.vlt": "warnings of Verilator that do not apply, and why",
    "celosia.h": "the protocol's numbers and this config's, for C and C++",
    "config.json": "what the hardware was generated from",
    "manifest.json": "config, memories, ports, versions, files",
}
"""End of a file's name -> what the file is; the first that fits, longest first."""

_ROLES: Final = {
    "payload": "data, while valid",
    "valid": "there is data",
    "ready": "data is taken at a rising edge with valid",
}
"""Last part of the name of a stream's port -> what it is."""

_PREFIXES: Final = {
    "s_axis_": "AXI4-Stream of requests",
    "m_axis_": "AXI4-Stream of answers",
    "s_axi_": "AXI4-Lite, addresses in bytes",
    "wb_": "Wishbone, addresses in bytes",
    "data_": "bus of the bridge",
    "rxf_n": "the bridge has a byte to read",
    "txe_n": "the bridge has room to write",
    "rd_n": "read",
    "wr_n": "write",
    "oe_n": "the bridge drives the bus",
    "siwu_n": "always high",
    "rx": "serial line to the device",
    "tx": "serial line from the device",
}
"""Beginning of the name of a link's port -> what it is; the first that fits."""


@dataclass(frozen=True, kw_only=True)
class Top:
    """The top module of a folder.

    Parameters
    ----------
    name : str
    part : str
        ``accelerator``, ``core`` or ``engine``.
    what : str
        A few words that name it.
    link : str
        Name of the link that it is behind; empty for none.
    clock, reset : str
        Ports; a reset whose name ends in ``n`` is active low.
    ports : sequence of mapping
        Name, direction and width in bits of each, see `celosia.sim.parts.ports_of`.
    """

    name: str
    part: str
    what: str
    link: str
    clock: str
    reset: str
    ports: Sequence[Mapping[str, Any]]

    @property
    def reset_active(self) -> str:
        """``low`` or ``high``."""
        return "low" if self.reset.endswith("n") else "high"


def readme(top: Top, config: AcceleratorConfig, files: Sequence[str], vectors: Vectors | None) -> str:
    """Return the README.

    Parameters
    ----------
    top : Top
    config : AcceleratorConfig
    files : sequence of str
        Names of the other files.
    vectors : Vectors or None
        What the testbench checks, if there is one.
    """
    return fill(
        "README.md",
        what=top.what[:1].upper() + top.what[1:],
        version=celosia.__version__,
        hash=config.hash,
        top=top.name,
        engine=config.engine_name,
        files="\n".join(f"| `{name}` | {_of_file(name)} |" for name in files),
        check=_simulate(top, config, vectors),
        ports="\n".join(_rows(top)),
        clock=top.clock,
        reset=top.reset,
        active=top.reset_active,
        packets=_packets(top) if top.part == "accelerator" else "",
        memories="\n".join(
            f"| {each.id} | {each.name} | {each.width} | {each.link_words} | {each.depth} |" for each in config.memories
        ),
    )


def _of_file(name: str) -> str:
    return next(_FILES[end] for end in sorted(_FILES, key=len, reverse=True) if name.endswith(end))


def _simulate(top: Top, config: AcceleratorConfig, vectors: Vectors | None) -> str:
    if vectors is None:
        return "`make lint` runs Verilator's lint.\n"
    whole = sum(word == 0xFF for exchange in vectors.exchanges for word in exchange.known) // 4
    return fill(
        "simulate.md",
        engine=config.engine_name,
        top=top.name,
        version=celosia.__version__,
        exchanges=f"{len(vectors.exchanges)}",
        request_words=f"{vectors.request_words:,}",
        network=vectors.network,
        inputs=vectors.inputs,
        whole=f"{whole:,}",
        answer_words=f"{vectors.answer_words:,}",
    )


def _rows(top: Top) -> list[str]:
    sorts = {top.clock: "clock", top.reset: f"reset, synchronous, active {top.reset_active}"}
    rows = [
        {"name": name, "direction": "input", "width": 1}
        for name in sorts
        if name not in [port["name"] for port in top.ports]
    ]
    return [
        f"| `{port['name']}` | {port['direction']} | {port['width']} | {sorts.get(port['name'], _role(port['name']))} |"
        for port in [*rows, *top.ports]
    ]


def _role(name: str) -> str:
    stream, _, role = name.rpartition("__")
    if stream and role in _ROLES:
        return f"stream {stream}: {_ROLES[role]}"
    return next((text for prefix, text in _PREFIXES.items() if name.startswith(prefix)), "")


def _packets(top: Top) -> str:
    request = Request(opcode=Opcode.RESET, sequence=1)
    answer = Answer(opcode=Opcode.RESET, sequence=1, status=StatusCode.OK)
    bench = LINK_BENCHES.get(top.link)
    return fill(
        "packets.md",
        link=bench.sentence if bench else "",
        registers=f"{register_table()}\n\n" if bench and bench.has_registers else "",
        request_magic=f"{REQUEST_MAGIC:02X}",
        answer_magic=f"{ANSWER_MAGIC:02X}",
        request=hex_words(request.encode()),
        answer=hex_words(answer.encode()),
    )
