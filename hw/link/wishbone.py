"""Link on Wishbone, for a processor in the FPGA (revision B4, classic cycles)."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.bus_registers import ADDRESS_WIDTH
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.packets import link_stream
from celosia.hw.link.registers import BusRegisters


class WishboneLink(wiring.Component):
    """Link through the registers of `celosia.hw.bus_registers`, on Wishbone.

    `wb_adr` is an address in bytes; a master whose addresses are of words leaves its two lowest bits 0. A read or write
    of less than the whole word ends with `wb_err`, as all errors do. A master that gives a read of RECEIVE up in the
    cycle before its end has lost the word.

    Latency: `wb_ack` or `wb_err` one cycle after `wb_stb`. Throughput: a transfer each second cycle.

    Parameters
    ----------
    config : AcceleratorConfig
        Of the accelerator.

    Attributes
    ----------
    requests : stream of `BEAT`, out
    answers : stream of `BEAT`, in
    wb_cyc, wb_stb, wb_we, wb_adr, wb_sel, wb_dat_w : Signal, in
        From the master.
    wb_dat_r, wb_ack, wb_err : Signal, out
        To the master.
    """

    requests: stream.Interface
    answers: stream.Interface
    wb_cyc: Signal
    wb_stb: Signal
    wb_we: Signal
    wb_adr: Signal
    wb_sel: Signal
    wb_dat_w: Signal
    wb_dat_r: Signal
    wb_ack: Signal
    wb_err: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "requests": Out(link_stream()),
                "answers": In(link_stream()),
                "wb_cyc": In(1),
                "wb_stb": In(1),
                "wb_we": In(1),
                "wb_adr": In(ADDRESS_WIDTH),
                "wb_sel": In(4),
                "wb_dat_w": In(32),
                "wb_dat_r": Out(32),
                "wb_ack": Out(1),
                "wb_err": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.registers = registers = BusRegisters(self.config)
        wiring.connect(m, registers.requests, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.answers), registers.answers)
        asked = Signal()
        starting = Signal()
        whole = Signal()
        ended = Signal()  # the transfer has taken place
        refused = Signal()
        m.d.comb += [
            asked.eq(self.wb_cyc & self.wb_stb),
            starting.eq(asked & ~ended),
            whole.eq(self.wb_sel.all()),
            registers.write.eq(starting & self.wb_we),
            registers.write_address.eq(self.wb_adr),
            registers.write_data.eq(self.wb_dat_w),
            registers.write_select.eq(self.wb_sel),
            registers.read.eq(starting & ~self.wb_we & whole),
            registers.read_address.eq(self.wb_adr),
            self.wb_ack.eq(asked & ended & ~refused),
            self.wb_err.eq(asked & ended & refused),
        ]
        m.d.sync += ended.eq(starting)
        with m.If(starting):
            m.d.sync += self.wb_dat_r.eq(registers.read_data)
            with m.If(self.wb_we):
                m.d.sync += refused.eq(registers.write_error)
            with m.Else():
                m.d.sync += refused.eq(registers.read_error | ~whole)
        return m
