"""Weight loader: shifts the next tile into the array while this one computes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.countdown import Countdown, Turns
from celosia.hw.pipeline import latch, struct_of
from celosia.hw.systolic.layer import Mode, layer_fields


class WeightLoader(wiring.Component):
    """Walks the tiles of a layer and issues one load wave per row of weights.

    A full tile waits in the array's shadow registers until `swap`; in that very cycle the next tile's first row may be
    issued. So tiles of r rows follow each other every r cycles at the fastest. Only as many rows are loaded as the tile
    has, and a step in LOOKUP mode has none. Resident weights lie in memory in the order of use, block after block from
    the same address; streamed weights are taken from the ring as they come.

    Ports: `start` takes `layer`, which has been there since the cycle before, when `idle`; `shift` is a load wave, its
    weights at `address`, unless the layer `streams`, which makes it the ring's next word and `take` strobe with it;
    `full` means a tile is ready, `full_next` that one will be in the next cycle; `starved` that a row is wanted and the
    ring is empty.
    """

    layer: data.View
    start: Signal
    idle: Signal
    ring_available: Signal
    swap: Signal
    shift: Signal
    take: Signal
    streams: Signal
    address: Signal
    full: Signal
    full_next: Signal
    starved: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.fields = layer_fields(config)
        layout = struct_of(self.fields)
        super().__init__(
            {
                "layer": In(layout),
                "start": In(1),
                "idle": Out(1),
                "ring_available": In(1),
                "swap": In(1),
                "shift": Out(1),
                "take": Out(1),
                "streams": Out(1),
                "address": Out(layout["weights"].shape),
                "full": Out(1),
                "full_next": Out(1),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layer = latch(m, self.idle, self.layer, "mode", "weights_stream", "weights")
        names = ("blocks", "n_tiles", "k_tiles", "k_rows", "k_edge")
        turns = {name: Turns.of(self.layer[name]).latched(m, self.idle, name) for name in names}
        active = Signal()
        blocks = Countdown(len(self.layer.blocks), "blocks")
        n_tiles = Countdown(len(self.layer.n_tiles), "n_tiles")
        k_tiles = Countdown(len(self.layer.k_tiles), "k_tiles")
        rows = Countdown(len(self.layer.k_edge), "rows")
        want = Signal()
        supplied = Signal()
        steps = Signal()  # shifts, if the loader is active: what is counted matters only then
        completes = Signal()  # the tile, if the array has a place for its last row
        n_end = Signal()
        block_end = Signal()

        m.d.comb += [
            self.idle.eq(~active),
            supplied.eq(active & (~layer.weights_stream | self.ring_available)),
            want.eq(~self.full | self.swap),
            steps.eq(want & (~layer.weights_stream | self.ring_available)),
            self.shift.eq(active & steps),
            self.take.eq(self.shift & layer.weights_stream),
            self.streams.eq(layer.weights_stream),
            self.starved.eq(active & want & ~supplied),
            completes.eq(supplied & rows.last),
            self.full_next.eq(completes | (self.full & ~self.swap)),
            # Of a step: what comes with it is known before it is known whether there is one.
            n_end.eq(rows.last & k_tiles.last),
            block_end.eq(n_end & n_tiles.last),
        ]
        m.d.sync += self.full.eq(self.full_next)

        with m.If(self.start):
            m.d.sync += [
                active.eq(layer.mode != Mode.LOOKUP),
                *blocks.begin(turns["blocks"]),
                *n_tiles.begin(turns["n_tiles"]),
                *k_tiles.begin(turns["k_tiles"]),
                *rows.begin(turns["k_rows"].unless(turns["k_tiles"].single, turns["k_edge"])),
                self.address.eq(layer.weights),
            ]
        with m.Elif(steps):
            m.d.sync += [self.address.eq(self.address + 1), *rows.step()]
            with m.If(rows.last):
                m.d.sync += [
                    *k_tiles.step(turns["k_tiles"]),
                    *rows.begin(turns["k_rows"].unless(k_tiles.ahead, turns["k_edge"])),
                ]
            with m.If(n_end):
                m.d.sync += n_tiles.step(turns["n_tiles"])
            with m.If(block_end):
                m.d.sync += [*blocks.step(), self.address.eq(layer.weights)]
            with m.If(block_end & blocks.last):
                m.d.sync += active.eq(0)
        return m
