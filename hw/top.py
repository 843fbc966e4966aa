"""Accelerator: a core behind packets, and the same behind a link. It knows no board."""

from typing import Any

from amaranth.hdl import ClockDomain, DomainRenamer, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.link.commands import CommandProcessor
from celosia.hw.link.crossing import ClockCrossing
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
    busy, error : Signal(1)
        No ports; lights of a board. A run is in progress; there was an error since the last reset.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.busy = Signal()
        self.error = Signal()
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = Core(self.config)
        m.submodules.commands = commands = CommandProcessor(self.config)
        wiring.connect(m, commands.core, core)
        wiring.connect(m, wiring.flipped(self.i), commands.i)
        wiring.connect(m, commands.o, wiring.flipped(self.o))
        m.d.comb += [self.busy.eq(commands.core.busy), self.error.eq(commands.error.any())]
        return m


class LinkedAccelerator(wiring.Component):
    """An accelerator behind one of the links of `celosia.hw.link.table`, whose outer ports become its own.

    A link that names `clock_ports`, as those of AXI do, has the clock and the reset (active low) as ports of these
    names; the others are clocked by the domain `sync`. What a link says in `port_attributes` goes to the ports.

    Parameters
    ----------
    config : AcceleratorConfig
    link : wiring.Component
        See `celosia.hw.link.table.Link.build`.
    link_domain : str or None
        Name of the clock domain that the link has for itself; its clock ports are then this domain's, and the
        accelerator is clocked by `sync` all the same. None: `sync`.
    """

    def __init__(self, config: AcceleratorConfig, link: Any, *, link_domain: str | None = None) -> None:
        self.config, self.link, self.link_domain = config, link, link_domain or "sync"
        self.accelerator = Accelerator(config)
        self._clock_ports: tuple[str, ...] = getattr(link, "clock_ports", ())
        outer = {name: member for name, member in link.signature.members.items() if name not in ("requests", "answers")}
        super().__init__({**{name: In(1) for name in self._clock_ports}, **outer})
        for name, attributes in getattr(link, "port_attributes", {}).items():
            getattr(self, name).attrs.update(attributes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._clock_ports:
            clock, reset = (getattr(self, name) for name in self._clock_ports)
            domain: Any = ClockDomain(self.link_domain)
            m.domains += domain
            m.d.comb += [domain.clk.eq(clock), domain.rst.eq(~reset)]
        link = self.link
        m.submodules.link = DomainRenamer(self.link_domain)(link)
        m.submodules.accelerator = accelerator = self.accelerator
        if self.link_domain == "sync":
            wiring.connect(m, link.requests, accelerator.i)
            wiring.connect(m, accelerator.o, link.answers)
        else:
            m.submodules.crossing = crossing = ClockCrossing(self.link_domain)
            wiring.connect(m, link.requests, crossing.i_requests)
            wiring.connect(m, crossing.o_requests, accelerator.i)
            wiring.connect(m, accelerator.o, crossing.i_answers)
            wiring.connect(m, crossing.o_answers, link.answers)
        for name, member in self.signature.members.items():
            if name in self._clock_ports:
                continue
            mine, its = getattr(self, name), getattr(link, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(mine), its)
            elif member.flow is In:
                m.d.comb += Value.cast(its).eq(mine)
            else:
                m.d.comb += Value.cast(mine).eq(its)
        return m
