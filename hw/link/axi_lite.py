"""Link on AXI4-Lite, for a processor without a DMA (Arm IHI 0022)."""

from typing import ClassVar

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.bus_registers import ADDRESS_WIDTH
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.axi import CLOCK_PORTS, port_attributes
from celosia.hw.link.packets import link_stream
from celosia.hw.link.registers import BusRegisters


class AxiLiteLink(wiring.Component):
    """Link through the registers of `celosia.hw.bus_registers`, on AXI4-Lite.

    Addresses and data of writes may come in any order. Errors are answered with SLVERR. A read of RECEIVE takes the
    word when its address is taken; the response then stays until the host takes it. The protection bits are not looked
    at.

    Latency: a response is offered two cycles after the address (and the data). Throughput: a write, and a read, each
    third cycle. Back-pressure at any time. All outputs come from registers.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    s_axi_awaddr, s_axi_awprot, s_axi_awvalid, s_axi_awready : Signal
        Addresses of writes, in bytes.
    s_axi_wdata, s_axi_wstrb, s_axi_wvalid, s_axi_wready : Signal
    s_axi_bresp, s_axi_bvalid, s_axi_bready : Signal
    s_axi_araddr, s_axi_arprot, s_axi_arvalid, s_axi_arready : Signal
        Addresses of reads, in bytes.
    s_axi_rdata, s_axi_rresp, s_axi_rvalid, s_axi_rready : Signal
    """

    clock_ports: ClassVar[tuple[str, ...]] = CLOCK_PORTS

    requests: stream.Interface
    answers: stream.Interface
    s_axi_awaddr: Signal
    s_axi_awprot: Signal
    s_axi_awvalid: Signal
    s_axi_awready: Signal
    s_axi_wdata: Signal
    s_axi_wstrb: Signal
    s_axi_wvalid: Signal
    s_axi_wready: Signal
    s_axi_bresp: Signal
    s_axi_bvalid: Signal
    s_axi_bready: Signal
    s_axi_araddr: Signal
    s_axi_arprot: Signal
    s_axi_arvalid: Signal
    s_axi_arready: Signal
    s_axi_rdata: Signal
    s_axi_rresp: Signal
    s_axi_rvalid: Signal
    s_axi_rready: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "requests": Out(link_stream()),
                "answers": In(link_stream()),
                "s_axi_awaddr": In(ADDRESS_WIDTH),
                "s_axi_awprot": In(3),
                "s_axi_awvalid": In(1),
                "s_axi_awready": Out(1),
                "s_axi_wdata": In(32),
                "s_axi_wstrb": In(4),
                "s_axi_wvalid": In(1),
                "s_axi_wready": Out(1),
                "s_axi_bresp": Out(2),
                "s_axi_bvalid": Out(1),
                "s_axi_bready": In(1),
                "s_axi_araddr": In(ADDRESS_WIDTH),
                "s_axi_arprot": In(3),
                "s_axi_arvalid": In(1),
                "s_axi_arready": Out(1),
                "s_axi_rdata": Out(32),
                "s_axi_rresp": Out(2),
                "s_axi_rvalid": Out(1),
                "s_axi_rready": In(1),
            }
        )
        self.port_attributes = port_attributes("aximm", self.signature.members, ("s_axi",))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.registers = registers = BusRegisters(self.config)
        wiring.connect(m, registers.requests, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.answers), registers.answers)
        self._write(m, registers)
        self._read(m, registers)
        return m

    def _write(self, m: Module, registers: BusRegisters) -> None:
        """Take address and data together, in the cycle after both have been seen; what is valid stays valid."""
        take = Signal()
        refused = Signal()
        m.d.comb += [
            self.s_axi_awready.eq(take),
            self.s_axi_wready.eq(take),
            registers.write.eq(take),
            registers.write_address.eq(self.s_axi_awaddr),
            registers.write_data.eq(self.s_axi_wdata),
            registers.write_select.eq(self.s_axi_wstrb),
            self.s_axi_bresp.eq(Cat(0, refused)),  # SLVERR is 2
        ]
        m.d.sync += take.eq(self.s_axi_awvalid & self.s_axi_wvalid & ~take & (~self.s_axi_bvalid | self.s_axi_bready))
        with m.If(take):
            m.d.sync += [self.s_axi_bvalid.eq(1), refused.eq(registers.write_error)]
        with m.Elif(self.s_axi_bready):
            m.d.sync += self.s_axi_bvalid.eq(0)

    def _read(self, m: Module, registers: BusRegisters) -> None:
        """Take an address in the cycle after it has been seen, when there is room for its response."""
        take = Signal()
        refused = Signal()
        m.d.comb += [
            self.s_axi_arready.eq(take),
            registers.read.eq(take),
            registers.read_address.eq(self.s_axi_araddr),
            self.s_axi_rresp.eq(Cat(0, refused)),
        ]
        m.d.sync += take.eq(self.s_axi_arvalid & ~take & (~self.s_axi_rvalid | self.s_axi_rready))
        with m.If(take):
            m.d.sync += [
                self.s_axi_rvalid.eq(1),
                self.s_axi_rdata.eq(registers.read_data),
                refused.eq(registers.read_error),
            ]
        with m.Elif(self.s_axi_rready):
            m.d.sync += self.s_axi_rvalid.eq(0)
