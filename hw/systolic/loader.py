"""Weight loader: shifts the next tile into the array while this one computes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.pipeline import latch, struct_of
from celosia.hw.systolic.layer import Mode, layer_fields


class WeightLoader(wiring.Component):
    """Walks the tiles of a layer and issues one load wave per row of weights.

    A full tile waits in the array's shadow registers until `swap`; in that very cycle the next tile's first row may be
    issued. So tiles of r rows follow each other every r cycles at the fastest. Only as many rows are loaded as the tile
    has, and a step in LOOKUP mode has none. Resident weights lie in memory in the order of use, block after block from
    the same address; streamed weights are taken from the ring as they come.

    Ports: `start` takes `layer` when `idle`; `shift` is a load wave, its weights at `address`, unless `take` says that
    it is the ring's next word; `full` means a tile is ready; `starved` that a row is wanted and the ring is empty.
    """

    layer: data.View
    start: Signal
    idle: Signal
    ring_available: Signal
    swap: Signal
    shift: Signal
    take: Signal
    address: Signal
    full: Signal
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
                "address": Out(layout["weights"].shape),
                "full": Out(1),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layer = latch(
            m, self.start, self.layer, "blocks", "n_tiles", "k_tiles", "k_rows", "k_edge", "weights_stream", "weights"
        )
        active = Signal()
        block = Signal.like(layer.blocks, reset_less=True)
        n_tile = Signal.like(layer.n_tiles, reset_less=True)
        k_tile = Signal.like(layer.k_tiles, reset_less=True)
        row = Signal.like(layer.k_edge, reset_less=True)
        first_rows = Signal.like(row)
        want = Signal()
        tile_end = Signal()

        m.d.comb += [
            self.idle.eq(~active),
            want.eq(active & (~self.full | self.swap)),
            self.shift.eq(want & (~layer.weights_stream | self.ring_available)),
            self.take.eq(self.shift & layer.weights_stream),
            self.starved.eq(want & layer.weights_stream & ~self.ring_available),
            tile_end.eq(self.shift & (row == 1)),
            first_rows.eq(Mux(layer.k_tiles == 1, layer.k_edge, layer.k_rows)),
        ]
        with m.If(tile_end):
            m.d.sync += self.full.eq(1)
        with m.Elif(self.swap):
            m.d.sync += self.full.eq(0)

        with m.If(self.start):
            m.d.sync += [
                active.eq(self.layer.mode != Mode.LOOKUP),
                block.eq(1),
                n_tile.eq(1),
                k_tile.eq(1),
                row.eq(Mux(self.layer.k_tiles == 1, self.layer.k_edge, self.layer.k_rows)),
                self.address.eq(self.layer.weights),
            ]
        with m.Elif(self.shift):
            m.d.sync += [self.address.eq(self.address + 1), row.eq(row - 1)]
            with m.If(row == 1):
                m.d.sync += [
                    k_tile.eq(k_tile + 1),
                    row.eq(Mux(k_tile + 1 == layer.k_tiles, layer.k_edge, layer.k_rows)),
                ]
                with m.If(k_tile == layer.k_tiles):
                    m.d.sync += [k_tile.eq(1), row.eq(first_rows), n_tile.eq(n_tile + 1)]
                    with m.If(n_tile == layer.n_tiles):
                        m.d.sync += [n_tile.eq(1), block.eq(block + 1), self.address.eq(layer.weights)]
                        with m.If(block == layer.blocks):
                            m.d.sync += active.eq(0)
        return m
