"""Weight loader: writes a part of the weight stream to the weight memory."""

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width, write_port


class WeightLoader(wiring.Component):
    """Takes `words` stream words and writes them from `address` on.

    `start`, only while `idle`, takes both numbers, `words` not 0. From the next cycle on a word is accepted in every
    cycle in which one is offered, and written in that cycle; `idle` is high from the cycle after the last one on.
    `progress` says that a word was accepted.
    """

    start: Signal
    address: Signal
    words: Signal
    i: stream.Interface
    write: Any
    idle: Signal
    progress: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        weights = config.memory("weights")
        super().__init__(
            {
                "start": In(1),
                "address": In(address_width(weights.depth)),
                "words": In(address_width(weights.depth) + 1),
                "i": In(stream.Signature(weights.width)),
                "write": Out(write_port(weights.width, weights.depth)),
                "idle": Out(1),
                "progress": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy = Signal()
        left = Signal(signed(len(self.words) + 1), reset_less=True)  # behind this word and the next one
        address = Signal.like(self.address, name="next_address", reset_less=True)
        m.d.comb += [
            self.idle.eq(~busy),
            self.i.ready.eq(busy),
            self.progress.eq(self.i.valid & self.i.ready),
            self.write.enable.eq(self.progress),
            self.write.address.eq(address),
            self.write.data.eq(self.i.payload),
        ]
        with m.If(~busy):  # whether or not it starts: that comes late
            m.d.sync += [left.eq(self.words - 2), address.eq(self.address), busy.eq(self.start)]
        with m.Elif(self.progress):
            m.d.sync += [left.eq(left - 1), address.eq(address + 1), busy.eq(~left[-1])]
        return m
