"""Puts padding in the place of vectors, and neighbours of few channels into one vector."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.systolic.config import SystolicConfig


class Packing(wiring.Component):
    """Makes the array's vectors of the words that were read.

    Where `pad`, `pad_value` is in all lanes. Then, with `pack` p > 0, the lowest 2^(p - 1) lanes come from this word,
    and above them are those of the vector before, as many lanes higher. `pad_value` and `pack` hold for a layer.

    Latency: 1 cycle. Throughput: one vector per cycle. No back-pressure.

    Parameters
    ----------
    config : SystolicConfig
        Lanes and their width.
    """

    i: data.View
    pad: Signal
    pad_value: Signal
    pack: Signal
    o: data.View

    def __init__(self, config: SystolicConfig) -> None:
        self.config = config
        activation = Shape(config.activation_width, config.activation_signed)
        lanes = data.ArrayLayout(activation, config.rows)
        super().__init__(
            {
                "i": In(lanes),
                "pad": In(1),
                "pad_value": In(activation),
                "pack": In(config.pack_width),
                "o": Out(lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = self.config.rows
        width = self.config.activation_width
        padded = [Mux(self.pad, self.pad_value, self.i[lane])[:width] for lane in range(rows)]
        vector = Signal(rows * width, reset_less=True)
        with m.Switch(self.pack):
            for pack in range(1, (rows - 1).bit_length() + 1):
                lanes = 1 << (pack - 1)
                with m.Case(pack):
                    m.d.sync += vector.eq(Cat(*padded[:lanes], vector[: (rows - lanes) * width]))
            with m.Default():
                m.d.sync += vector.eq(Cat(*padded))
        m.d.comb += self.o.as_value().eq(vector)
        return m
