"""Accelerator: a core behind a link. It knows no board."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.link.commands import CommandProcessor
from celosia.hw.link.packets import link_stream


class Accelerator(wiring.Component):
    """The whole device: packets in, packets out.

    Parameters
    ----------
    config : AcceleratorConfig

    Attributes
    ----------
    i, o : stream of `celosia.hw.link.packets.BEAT`
        The link, a 32-bit word per cycle in each direction; see `celosia.hw.protocol`.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = Core(self.config)
        m.submodules.commands = commands = CommandProcessor(self.config)
        wiring.connect(m, commands.core, core)
        wiring.connect(m, wiring.flipped(self.i), commands.i)
        wiring.connect(m, commands.o, wiring.flipped(self.o))
        return m
