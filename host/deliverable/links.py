"""How a testbench drives a link, and what a README says about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celosia.hw.bus_registers import ADDRESS_WIDTH, BUS_REGISTERS, MAGIC, find_register
from celosia.hw.config import PROTOCOL_VERSION, AcceleratorConfig
from celosia.hw.protocol import ESCAPE, ESCAPE_XOR, FLAG

_HDLC: Final = (
    f"byte by byte, least significant first, as HDLC frames them: 0x{FLAG:02X} between packets, and a byte that is "
    f"0x{FLAG:02X} or 0x{ESCAPE:02X} as 0x{ESCAPE:02X} and the byte XOR 0x{ESCAPE_XOR:02X}."
)
_REGISTERS: Final = (
    "through registers: write a request's words to SEND, but its last to SEND_LAST, while STATUS says that there is "
    "room; read an answer's words from RECEIVE while STATUS says that one is waiting."
)


@dataclass(frozen=True, kw_only=True)
class LinkBench:
    """One link.

    Parameters
    ----------
    sentence : str
        How packets go through its ports.
    connection : tuple of str
        Templates of what connects the beats of the testbench with the accelerator.
    modules : tuple of str
        Templates of modules that this needs.
    has_flow_control : bool
        Whether both sides can make the other wait; else the host has few unanswered requests, and takes everything.
    has_registers : bool
        Whether it is one of `celosia.hw.bus_registers`.
    """

    sentence: str
    connection: tuple[str, ...]
    modules: tuple[str, ...] = ()
    has_flow_control: bool = True
    has_registers: bool = False


LINK_BENCHES: Final[dict[str, LinkBench]] = {
    "": LinkBench(
        sentence="Requests go into i, answers come out of o, a word per beat, when valid and ready are high: bits 0 to "
        "31 of the payload are the word, bit 32 marks a packet's last one, and bit 33 of i one that was lost or torn "
        "on the way.",
        connection=("connect_beats.v",),
    ),
    "bytes": LinkBench(
        sentence=f"Words of requests go into i, those of answers come out of o, {_HDLC}",
        connection=("connect_framed.v", "connect_bytes.v"),
        modules=("byte_host.v",),
    ),
    "uart": LinkBench(
        sentence=f"Words of requests go into rx, those of answers come out of tx, 8 data bits, no parity, {_HDLC}",
        connection=("connect_framed.v", "connect_uart.v"),
        modules=("byte_host.v", "uart_host.v"),
        has_flow_control=False,
    ),
    "fifo245": LinkBench(
        sentence=f"Words go over the data bus {_HDLC}",
        connection=("connect_framed.v", "connect_fifo245.v"),
        modules=("byte_host.v",),
    ),
    "axi-stream": LinkBench(
        sentence="Requests go into s_axis, answers come out of m_axis, a word per beat; tlast ends a packet.",
        connection=("connect_axi_stream.v",),
    ),
    "axi-lite": LinkBench(
        sentence=f"Words go over AXI4-Lite, {_REGISTERS}",
        connection=("connect_registers.v", "connect_axi_lite.v"),
        modules=("register_host.v", "axi_lite_master.v"),
        has_registers=True,
    ),
    "wishbone": LinkBench(
        sentence=f"Words go over Wishbone, {_REGISTERS}",
        connection=("connect_registers.v", "connect_wishbone.v"),
        modules=("register_host.v",),
        has_registers=True,
    ),
}
"""By name of a link of `celosia.hw.link.table`, the empty one for none."""


def template_values(config: AcceleratorConfig, parameters: Mapping[str, Any]) -> dict[str, object]:
    """Return what the templates of links need to know."""
    status = {field.name: field for field in find_register("STATUS").fields}
    room = status["ROOM"]
    return {
        **{"flag": f"{FLAG:02x}", "escape": f"{ESCAPE:02x}", "escape_xor": f"{ESCAPE_XOR:02x}"},
        **{register.name.lower(): f"{register.offset:02x}" for register in BUS_REGISTERS},
        **{"magic": f"{MAGIC:08x}", "protocol": f"{PROTOCOL_VERSION:08x}"},
        **{"address_width": ADDRESS_WIDTH, "address_high": ADDRESS_WIDTH - 1},
        **{"low": config.hash[8:], "high": config.hash[:8]},
        **{"waiting": status["WAITING"].low, "last": status["LAST"].low},
        **{"room_low": room.low, "room_high": room.low + room.width - 1},
        **{name: round(value) for name, value in parameters.items()},
    }
