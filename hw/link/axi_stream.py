"""Link on AXI4-Stream, such as those of a DMA (Arm IHI 0051)."""

from typing import ClassVar

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.axi import CLOCK_PORTS, port_attributes
from celosia.hw.link.packets import link_stream
from celosia.hw.link.skid import StreamRegister


class AxiStreamLink(wiring.Component):
    """Link of a stream of 32-bit words in each direction.

    A packet is a transfer up to `tlast`. A word of which `tkeep` leaves out a byte makes its packet malformed.

    Latency: none for requests, one cycle for answers. Throughput: a word per cycle. Back-pressure at any time.
    `s_axis_tready` comes from registers, and so do the outputs of `m_axis`.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    s_axis_tdata, s_axis_tkeep, s_axis_tvalid, s_axis_tready, s_axis_tlast : Signal
        Requests, from the host.
    m_axis_tdata, m_axis_tkeep, m_axis_tvalid, m_axis_tready, m_axis_tlast : Signal
        Answers, to the host; `m_axis_tkeep` is always full.
    """

    clock_ports: ClassVar[tuple[str, ...]] = CLOCK_PORTS

    requests: stream.Interface
    answers: stream.Interface
    s_axis_tdata: Signal
    s_axis_tkeep: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tkeep: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "requests": Out(link_stream()),
                "answers": In(link_stream()),
                "s_axis_tdata": In(32),
                "s_axis_tkeep": In(4),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(32),
                "m_axis_tkeep": Out(4),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
            }
        )
        self.port_attributes = port_attributes("axis", self.signature.members, ("s_axis", "m_axis"))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.register = register = StreamRegister(33)
        m.d.comb += [
            self.requests.payload.data.eq(self.s_axis_tdata),
            self.requests.payload.last.eq(self.s_axis_tlast),
            self.requests.payload.bad.eq(~self.s_axis_tkeep.all()),
            self.requests.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(self.requests.ready),
            register.i.payload.eq(Cat(self.answers.payload.data, self.answers.payload.last)),
            register.i.valid.eq(self.answers.valid),
            self.answers.ready.eq(register.i.ready),
            Cat(self.m_axis_tdata, self.m_axis_tlast).eq(register.o.payload),
            self.m_axis_tkeep.eq(0xF),
            self.m_axis_tvalid.eq(register.o.valid),
            register.o.ready.eq(self.m_axis_tready),
        ]
        return m
