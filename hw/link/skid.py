"""Stream register: cuts the path of `ready`, too."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class StreamRegister(wiring.Component):
    """Two words deep, so that neither `valid` nor `ready` is combinational.

    Latency: one cycle. Throughput: a word per cycle. Back-pressure at any time.

    Attributes
    ----------
    i, o : stream of `width` bits
    flush : Signal(1), in
        Forget the words; nothing may be offered in this cycle.
    """

    i: stream.Interface
    o: stream.Interface
    flush: Signal

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width)), "flush": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        front = Signal(self.width, reset_less=True)
        back = Signal(self.width, reset_less=True)
        front_full = Signal()
        back_full = Signal()
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(~back_full),
            self.o.valid.eq(front_full),
            self.o.payload.eq(front),
            take.eq(self.i.valid & ~back_full),
        ]
        with m.If(self.o.ready | ~front_full):
            m.d.sync += [front_full.eq(back_full | take), back_full.eq(0)]
            with m.If(back_full):
                m.d.sync += front.eq(back)
            with m.Else():
                m.d.sync += front.eq(self.i.payload)
        with m.Elif(take):
            m.d.sync += [back.eq(self.i.payload), back_full.eq(1)]
        with m.If(self.flush):
            m.d.sync += [front_full.eq(0), back_full.eq(0)]
        return m
