"""Table of links. Tops, commands, boards and generic tests find theirs here.

A link is a component with two streams of `celosia.hw.link.packets.BEAT`, `requests` (out, to the accelerator) and
`answers` (in, from it); its other ports are the outside. Its constructor takes the accelerator's config, and by keyword
whatever else it needs, such as a clock rate. Amaranth is imported only when one is asked for.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from celosia.hw.config import AcceleratorConfig


@dataclass(frozen=True)
class Link:
    """One line of the table: a name, where its class is, and one sentence about it."""

    name: str
    module: str
    component: str
    summary: str

    def build(self, config: AcceleratorConfig, **parameters: Any) -> Any:
        """Return its Amaranth component."""
        return getattr(import_module(f"celosia.hw.link.{self.module}"), self.component)(config, **parameters)


LINKS: dict[str, Link] = {
    link.name: link
    for link in (
        Link("bytes", "framing", "ByteLink", "a stream of bytes in each direction"),
        Link("uart", "uart", "UartLink", "serial port, any baud rate up to a quarter of the clock rate"),
        Link("fifo245", "fifo245", "Fifo245Link", "parallel FIFO of USB bridges such as FT232H and FT600"),
        Link("axi-stream", "axi_stream", "AxiStreamLink", "AXI4-Stream in each direction, such as a DMA's"),
        Link("axi-lite", "axi_lite", "AxiLiteLink", "registers on AXI4-Lite"),
        Link("wishbone", "wishbone", "WishboneLink", "registers on Wishbone B4"),
    )
}


def find_link(name: str) -> Link:
    """Return the link of that name.

    Raises
    ------
    ValueError
        There is none; the sentence names those there are.
    """
    if name not in LINKS:
        raise ValueError(f"link {name!r} is unknown; there are: {', '.join(LINKS)}.")
    return LINKS[name]
