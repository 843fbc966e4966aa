"""Drain: reads finished sums, requantizes them lane by lane, pools, and writes the next activations."""

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import address_width, read_port, write_port
from celosia.hw.pipeline import delay, latch, struct_of
from celosia.hw.post.pool import PoolStore
from celosia.hw.post.requantize import Requantizer
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import layer_fields
from celosia.hw.systolic.timing import POOL_CYCLES, drain_cycles
from celosia.hw.timing import READ_LATENCY

PER_LAYER = ("rounding", "zero_point", "minimum", "maximum")
"""What all requantizer lanes are told for a layer."""


class Drain(wiring.Component):
    """Walks block, N tile, row and group of channels, and turns `post_lanes` sums into activations per cycle.

    A row is drained as soon as its last sum is in memory (`row_ready`, one strobe per row) and its accumulators are
    then `freed`. Of `pool` rows only the greatest result of each channel is written, with the last of them. A group of
    lanes is written `drain_cycles` after it was issued. Lanes of a word above the group
    written last become 0, so that the next layer may multiply them by whatever weights its array holds.

    Ports: `start` takes `layer`; `beat` issues a group; `done` strobes when the layer's last word has been written.
    """

    layer: data.View
    start: Signal
    row_ready: Signal
    beat: Signal
    freed: Signal
    done: Signal
    sum_address: Signal
    sums: data.View
    parameters: Any
    write: Any
    write_outputs: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SystolicConfig)
        self.config, self.engine = config, config.engine
        self.fields = layer_fields(config)
        engine, layout = config.engine, struct_of(self.fields)
        self.lanes = engine.resolved_post_lanes
        self.word_groups = engine.rows // self.lanes  # groups of lanes in an activation word
        self.tile_groups = engine.cols // self.lanes  # groups of lanes in an N tile
        self.acc_width = engine.resolved_accumulator_width
        parameters = config.memory("parameters")
        super().__init__(
            {
                "layer": In(layout),
                "start": In(1),
                "row_ready": In(1),
                "beat": Out(1),
                "freed": Out(1),
                "done": Out(1),
                "sum_address": Out(address_width(engine.accumulator_rows)),
                "sums": In(data.ArrayLayout(signed(self.acc_width), engine.cols)),
                "parameters": Out(read_port(parameters.width, parameters.depth)),
                "write": Out(write_port(engine.activation_word_width, tensor_depth(config), self.word_groups)),
                "write_outputs": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        latency = drain_cycles(self.engine)
        layer = latch(
            m,
            self.start,
            self.layer,
            "blocks",
            "block_rows",
            "last_block_rows",
            "n_tiles",
            "n_groups",
            "n_edge",
            "pool",
            "destination_pitch",
            "destination_is_outputs",
            "parameters",
            *PER_LAYER,
        )
        active = Signal()
        final = Signal()
        pool_first = Signal(reset_less=True)  # row of a pool
        pool_last = Signal(reset_less=True)
        tile_group = Signal(range(self.tile_groups), reset_less=True)
        word_group = Signal(range(self.word_groups), reset_less=True)
        address = Signal.like(self.write.address, reset_less=True)
        self._count_pool(m, layer, pool_first, pool_last)
        self._walk(m, layer, active, final, pool_last, tile_group, word_group, address)

        # Sums and parameters come READ_LATENCY later; one more register holds the group's sums.
        group = delay(m, tile_group, READ_LATENCY, "group")
        selected: Any = Signal(data.ArrayLayout(signed(self.acc_width), self.lanes), reset_less=True)
        parameters = delay(m, self.parameters.data, 1, "parameters")
        m.d.sync += selected.as_value().eq(self.sums.as_value().word_select(group, len(selected.as_value())))
        results = self._pool(m, self._requantize(m, layer, selected, parameters), tile_group, pool_first)

        written = Signal.like(word_group)
        m.d.comb += [
            Cat(self.write.address, written).eq(delay(m, Cat(address, word_group), latency, "write")),
            self.write_outputs.eq(layer.destination_is_outputs),
        ]
        issued = Signal(2)  # a group that is written, the layer's last
        m.d.comb += issued.eq(Cat(self.beat & pool_last, self.beat & final))
        valid, last = delay(m, issued, latency, "issued", reset=True)
        m.d.sync += self.done.eq(last)
        for index in range(self.word_groups):
            here = self.write.data.word_select(index, len(results))
            m.d.comb += [
                self.write.enable[index].eq(valid & (written <= index)),
                here.eq(Mux(written == index, results, 0)),
            ]
        return m

    def _walk(
        self,
        m: Module,
        layer: SimpleNamespace,
        active: Signal,
        final: Signal,
        pool_last: Signal,
        tile_group: Signal,
        word_group: Signal,
        address: Signal,
    ) -> None:
        """Issue groups while rows are ready, and step through all addresses without a multiplier."""
        ready_rows = Signal(range(self.engine.accumulator_rows + 1))
        block = Signal.like(layer.blocks, reset_less=True)
        n_tile = Signal.like(layer.n_tiles, reset_less=True)
        row = Signal.like(layer.block_rows, reset_less=True)
        block_rows = Signal.like(layer.block_rows, reset_less=True)
        row_end = Signal()
        tile_end = Signal()
        block_end = Signal()
        row_address = Signal.like(address)  # of the row's first group in this N tile
        tile_address = Signal.like(address)  # of the same in the N tile's first row
        block_address = Signal.like(address)  # of the same in the first N tile
        tile_word_group = Signal.like(word_group, reset_less=True)
        parameters = Signal.like(layer.parameters, reset_less=True)
        tile_parameters = Signal.like(layer.parameters, reset_less=True)
        last_group = Mux(n_tile == layer.n_tiles, layer.n_edge - 1, layer.n_groups - 1)
        word_end = word_group == self.word_groups - 1

        m.d.comb += [
            self.beat.eq(active & (ready_rows != 0)),
            row_end.eq(self.beat & (tile_group == last_group)),
            tile_end.eq(row_end & (row == block_rows)),
            block_end.eq(tile_end & (n_tile == layer.n_tiles)),
            final.eq(block_end & (block == layer.blocks)),
            self.freed.eq(row_end),
            self.parameters.address.eq(parameters),
        ]
        m.d.sync += ready_rows.eq(ready_rows + self.row_ready - row_end)

        next_address = Signal.like(address)
        next_word_group = Signal.like(word_group)
        m.d.comb += [
            next_address.eq(address + word_end),
            next_word_group.eq(Mux(word_end, 0, word_group + 1)),
        ]
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                block.eq(1),
                n_tile.eq(1),
                row.eq(1),
                tile_group.eq(0),
                word_group.eq(0),
                tile_word_group.eq(0),
                block_rows.eq(Mux(self.layer.blocks == 1, self.layer.last_block_rows, self.layer.block_rows)),
                *(each.eq(self.layer.destination) for each in (address, row_address, tile_address, block_address)),
                parameters.eq(self.layer.parameters),
                tile_parameters.eq(self.layer.parameters),
            ]
        with m.Elif(self.beat):
            m.d.sync += [
                tile_group.eq(tile_group + 1),
                word_group.eq(next_word_group),
                address.eq(next_address),
                parameters.eq(parameters + 1),
            ]
            with m.If(row_end):
                following = Mux(pool_last, row_address + layer.destination_pitch, row_address)
                m.d.sync += [
                    self.sum_address.eq(self.sum_address + 1),
                    row.eq(row + 1),
                    tile_group.eq(0),
                    word_group.eq(tile_word_group),
                    address.eq(following),
                    row_address.eq(following),
                    parameters.eq(tile_parameters),
                ]
            with m.If(tile_end):
                # The tile's last row left `next_address` where the next N tile begins, `row` rows further down.
                m.d.sync += [
                    row.eq(1),
                    n_tile.eq(n_tile + 1),
                    word_group.eq(next_word_group),
                    tile_word_group.eq(next_word_group),
                    *(
                        each.eq(tile_address + (next_address - row_address))
                        for each in (address, row_address, tile_address)
                    ),
                    parameters.eq(parameters + 1),
                    tile_parameters.eq(parameters + 1),
                ]
            with m.If(block_end):
                below = row_address - (tile_address - block_address) + layer.destination_pitch
                m.d.sync += [
                    n_tile.eq(1),
                    block.eq(block + 1),
                    block_rows.eq(Mux(block + 1 == layer.blocks, layer.last_block_rows, layer.block_rows)),
                    word_group.eq(0),
                    tile_word_group.eq(0),
                    *(each.eq(below) for each in (address, row_address, tile_address, block_address)),
                    parameters.eq(layer.parameters),
                    tile_parameters.eq(layer.parameters),
                ]
            with m.If(final):
                m.d.sync += active.eq(0)

    def _count_pool(self, m: Module, layer: SimpleNamespace, first: Signal, last: Signal) -> None:
        """Count the rows of a pool, from the end of one row to that of the next."""
        position = Signal.like(layer.pool, name="pool_position", reset_less=True)
        with m.If(self.start):
            m.d.sync += [position.eq(1), first.eq(1), last.eq(self.layer.pool == 1)]
        with m.Elif(self.freed):
            following = Mux(last, 1, position + 1)
            m.d.sync += [position.eq(following), first.eq(last), last.eq(following == layer.pool)]

    def _pool(self, m: Module, results: Cat, tile_group: Signal, first: Signal) -> Signal:
        """Return the greatest results of the pool so far, POOL_CYCLES later."""
        engine = self.engine
        latency = drain_cycles(engine) - POOL_CYCLES
        shape = Shape(engine.activation_width, engine.activation_signed)
        m.submodules.pool = pool = PoolStore(shape, lanes=self.lanes, groups=self.tile_groups)
        most = Signal(len(results), name="pooled", reset_less=True)
        m.d.comb += [
            pool.i.eq(results),
            pool.group.eq(delay(m, tile_group, latency, "pool_group")),
            pool.first.eq(delay(m, first, latency, "pool_first")),
            pool.store.eq(1),
        ]
        m.d.sync += most.eq(pool.o)
        return most

    def _requantize(self, m: Module, layer: SimpleNamespace, sums: Any, parameters: Any) -> Cat:
        """Return a group of activations, the requantizers' latency after their sums and parameters."""
        channel = struct_of(self.engine.parameter_layout.channel)
        results = []
        for index in range(self.lanes):
            lane = Requantizer(self.engine.requantizer)
            assert lane.latency == self.engine.requantizer.latency
            m.submodules[f"lane_{index}"] = lane
            given = channel(parameters.word_select(index, channel.size))
            m.d.comb += [
                lane.acc.eq(sums[index]),
                *(getattr(lane, name).eq(given[name]) for name in ("bias", "multiplier", "shift", "enable")),
                *(getattr(lane, name).eq(getattr(layer, name)) for name in PER_LAYER),
            ]
            results.append(lane.result)
        return Cat(*results)
