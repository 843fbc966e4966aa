"""Puts results together to words of bit planes, and writes these."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.idle import follow, members
from celosia.hw.binary.layer import layer_fields
from celosia.hw.binary.lut import lut
from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import write_port
from celosia.hw.pipeline import delay, select, struct_of
from celosia.hw.unmerged import unmerged


class Gather(wiring.Component):
    """Writes tensors, from the layer's destination on.

    `layer` is taken in every idle cycle, before which `idles` is high. `take` says that in the next cycle the `codes`
    of a group of lanes are there. When a word is full, or with `pixel_last`, which comes with `take`, its
    `output_planes` bit planes are written in the cycles that follow on its codes, the most significant first; until
    then no group may follow that would complete another word. `take_raw` says that in the next cycle there is one
    `word`, which is written as it is in the cycle after. `layer_last` comes with what completes the layer: `done`
    strobes with its last write.
    """

    layer: data.View
    idles: Signal
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
                "idles": In(1),
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
        values = members(self.layer, "output_planes", "destination_chunks", "destination_pitch")
        layer = follow(m, self.idles, {**values, "one_plane": self.layer.output_planes == 1})
        idle = unmerged(m, self.idles, "idle")
        places = engine.groups_per_word
        place = Signal(places, init=1)  # of the next group in its word: one bit is set
        full = Signal()  # in the next cycle a word is complete
        complete, to_pixel, final = (Signal(name=name) for name in ("complete", "to_pixel", "final"))
        left = Signal.like(layer.output_planes, name="planes_left")
        planes = self._planes(m, place, platform)

        m.d.comb += full.eq(self.take & (self.pixel_last | place[-1]))
        with m.If(idle | full):
            m.d.sync += place.eq(1)
        with m.Elif(self.take):
            m.d.sync += place.eq(place.rotate_left(1))
        m.d.sync += [complete.eq(full | self.take_raw), to_pixel.eq(idle | self.pixel_last)]
        last = delay(m, self.layer_last, 1, "last")
        with m.If(complete):
            m.d.sync += [left.eq(layer.output_planes), final.eq(last), self.done.eq(last & layer.one_plane)]
        with m.Else():
            m.d.sync += self.done.eq(final & (left == 2))
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)

        m.d.comb += [
            self.write.enable.eq(left != 0),
            self.write.data.eq(select(left, [planes[0], *planes])),
        ]
        self._address(m, layer, idle, complete, to_pixel, left)
        return m

    def _planes(self, m: Module, place: Signal, platform: object) -> list[Signal]:
        """Return the bit planes of the word so far, the least significant first; what is not there yet is 0."""
        engine = self.engine
        lanes = engine.resolved_post_lanes
        planes = [Signal(engine.simd, name=f"plane_{bit}", reset_less=True) for bit in range(engine.output_width)]
        raw = delay(m, self.take_raw, 1, "raw", reset=True)
        refills = Signal()  # all bits
        m.d.comb += refills.eq((self.take & place[0]) | self.take_raw)
        for index in range(engine.groups_per_word):
            bits = slice(index * lanes, (index + 1) * lanes)
            # Registers of its own for each place: control that reaches all bits is slow.
            filled = unmerged(m, self.take & place[index], f"filled_{index}")
            changed = unmerged(
                m,
                lut(
                    m,
                    f"changes_{index}",
                    lambda r, t, p: r | (t & p),
                    refills,
                    self.take,
                    place[index],
                    platform=platform,
                ),
                f"changed_{index}",
            )
            with m.If(changed):
                for bit, plane in enumerate(planes):
                    code = Cat(self.codes[lane][bit] for lane in range(lanes)) & filled.replicate(lanes)
                    m.d.sync += plane[bits].eq(code if bit else Mux(raw, self.word[bits], code))
        return planes

    def _address(self, m: Module, layer: Any, idle: Value, complete: Signal, to_pixel: Signal, left: Signal) -> None:
        """Go from word to word of a pixel, and from pixel to pixel; from bit plane to bit plane of a word."""
        address, word, pixel, next_pixel = (
            Signal.like(self.write.address, name=name, reset_less=True)
            for name in ("address", "word_address", "pixel", "next_pixel")
        )
        begin = delay(m, idle, 1, "begin")
        m.d.comb += self.write.address.eq(address)
        # The layer's first pixel follows on being idle.
        m.d.sync += next_pixel.eq(Mux(idle, self.layer.destination, pixel + layer.destination_pitch))
        with m.If(complete | begin):
            m.d.sync += word.eq(Mux(to_pixel, next_pixel, word + 1))
        with m.If((complete & to_pixel) | begin):
            m.d.sync += pixel.eq(next_pixel)
        with m.If(complete):
            m.d.sync += address.eq(word)
        with m.Elif(left != 0):
            m.d.sync += address.eq(address + layer.destination_chunks)
