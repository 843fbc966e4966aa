"""Puts results together to words of bit planes, and writes these."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.layer import layer_fields
from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import write_port
from celosia.hw.pipeline import delay, latch, select, struct_of


class Gather(wiring.Component):
    """Writes tensors, from the layer's destination on.

    `start` takes `layer`. `take` takes the `codes` of a group of lanes. When a word is full, or with `pixel_last`, its
    `output_planes` bit planes are written in the cycles that follow, the most significant first; until then no group
    may follow that would complete another word. With `take_raw` one `word` is written as it is, in the cycle after.
    `layer_last` comes with what completes the layer: `done` strobes with its last write.
    """

    layer: data.View
    start: Signal
    codes: Signal
    take: Signal
    pixel_last: Signal
    word: Signal
    take_raw: Signal
    layer_last: Signal
    write: Any
    done: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, BinaryConfig)
        self.config, self.engine = config, config.engine
        engine = self.engine
        super().__init__(
            {
                "layer": In(struct_of(layer_fields(config))),
                "start": In(1),
                "codes": In(data.ArrayLayout(engine.output_width, engine.resolved_post_lanes)),
                "take": In(1),
                "pixel_last": In(1),
                "word": In(engine.simd),
                "take_raw": In(1),
                "layer_last": In(1),
                "write": Out(write_port(engine.simd, tensor_depth(config))),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine = self.engine
        layer = latch(m, self.start, self.layer, "output_planes", "destination_chunks", "destination_pitch")
        group = Signal(range(engine.groups_per_word))
        complete = Signal()
        left = Signal.like(layer.output_planes, name="planes_left")
        raw = Signal()
        final = Signal()
        word = Signal.like(self.word, name="raw_word", reset_less=True)
        planes = self._planes(m, group)

        m.d.comb += complete.eq(self.take & (self.pixel_last | (group == engine.groups_per_word - 1)))
        with m.If(self.start | complete):
            m.d.sync += group.eq(0)
        with m.Elif(self.take):
            m.d.sync += group.eq(group + 1)
        with m.If(complete):
            m.d.sync += left.eq(layer.output_planes)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(complete | self.take_raw):
            m.d.sync += final.eq(self.layer_last)
        m.d.sync += [raw.eq(self.take_raw), word.eq(self.word)]

        m.d.comb += [
            self.write.enable.eq(raw | (left != 0)),
            self.write.data.eq(Mux(raw, word, select(left, [planes[0], *planes]))),
            self.done.eq(final & (raw | (left == 1))),
        ]
        self._address(m, layer, complete, raw, left)
        return m

    def _planes(self, m: Module, group: Signal) -> list[Signal]:
        """Return the bit planes of the word so far, the least significant first; what is not there yet is 0."""
        engine = self.engine
        lanes = engine.resolved_post_lanes
        planes = [Signal(engine.simd, name=f"plane_{bit}", reset_less=True) for bit in range(engine.output_width)]
        with m.If(self.take):
            for index in range(engine.groups_per_word):
                place = slice(index * lanes, (index + 1) * lanes)
                with m.If(group == index):
                    m.d.sync += [
                        plane[place].eq(Cat(self.codes[lane][bit] for lane in range(lanes)))
                        for bit, plane in enumerate(planes)
                    ]
                if index:
                    with m.Elif(group == 0):
                        m.d.sync += [plane[place].eq(0) for plane in planes]
        return planes

    def _address(self, m: Module, layer: Any, complete: Signal, raw: Signal, left: Signal) -> None:
        address, word, pixel = (
            Signal.like(self.write.address, name=name, reset_less=True) for name in ("address", "word_address", "pixel")
        )
        next_pixel = pixel + layer.destination_pitch
        raw_last = delay(m, self.pixel_last, 1, "raw_last")
        m.d.comb += self.write.address.eq(address)
        with m.If(self.start):
            m.d.sync += [each.eq(self.layer.destination) for each in (address, word, pixel)]
        with m.Elif(complete):
            m.d.sync += [address.eq(word), word.eq(word + 1)]
            with m.If(self.pixel_last):
                m.d.sync += [word.eq(next_pixel), pixel.eq(next_pixel)]
        with m.Elif(raw):
            m.d.sync += address.eq(address + 1)
            with m.If(raw_last):
                m.d.sync += [address.eq(next_pixel), pixel.eq(next_pixel)]
        with m.Elif(left != 0):
            m.d.sync += address.eq(address + layer.destination_chunks)
