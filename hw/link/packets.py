"""Shapes that the parts of the link hand to each other."""

from amaranth.lib import data, stream

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import host_address_width

COUNT_WIDTH = 13  # bits of a packet's count: up to the largest `packet_words`


BEAT = data.StructLayout({"data": 32, "last": 1, "bad": 1})
"""One word of a packet on the link.

`last` marks the packet's last word. `bad` marks a word that the link lost or tore, such as the partial last word of a
byte-serial link: the packet is then answered with an error.
"""


def header_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of what the receiver found out about one packet; address and count as wide as can be right."""
    count = config.packet_words.bit_length()
    return data.StructLayout(
        {
            "opcode": 8,
            "sequence": 8,
            "target": 8,
            "address": host_address_width(config),
            "far": 1,  # the address does not fit
            "origin": 1,  # the address is 0
            "count": count,
            "many": 1,  # the count does not fit
            "words": count,  # payload words received
            "status": 8,  # StatusCode: OK when length, CRC and magic are right
        }
    )


def link_stream() -> stream.Signature:
    """Return the signature of a link in either direction."""
    return stream.Signature(BEAT)


def most_lanes(config: AcceleratorConfig) -> int:
    """Return the link words of the widest memory word."""
    return max(memory.link_words for memory in config.memories)
