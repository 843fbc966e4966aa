"""Drain: reads finished sums, requantizes them lane by lane, pools, and writes the next activations."""

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.countdown import Countdown, Turns
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

    Ports: `start` takes `layer`, which has been there since the cycle before, and `idle` till then; `beat` issues a
    group; `done` strobes when the layer's last word has been written.
    """

    layer: data.View
    idle: Signal
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
                "idle": In(1),
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
        names = ("destination_pitch", "destination_is_outputs", "parameters", *PER_LAYER)
        layer = latch(m, self.idle, self.layer, *names)
        # No row is ready in the first cycles of a layer: a register of the drain's own, as `start` reaches far.
        self._started = delay(m, self.start, 1, "started", reset=True)
        pool_first = Signal(reset_less=True)  # row of a pool
        pool = Countdown(len(self.layer.pool), "pool")
        final = Signal()
        tile_group = Signal(range(self.tile_groups), reset_less=True)
        word_group = Signal(range(self.word_groups), reset_less=True)
        address = Signal.like(self.write.address, reset_less=True)
        pitch = self._count_pool(m, layer, pool, pool_first)
        self._walk(m, layer, final, pitch, tile_group, word_group, address)

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
        m.d.comb += issued.eq(Cat(self.beat & pool.last, self.beat & final))
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
        final: Signal,
        pitch: Signal,
        tile_group: Signal,
        word_group: Signal,
        address: Signal,
    ) -> None:
        """Issue groups while rows are ready, and step through all addresses without a multiplier."""
        names = ("blocks", "n_tiles", "block_rows", "last_block_rows")
        turns = {name: Turns.of(self.layer[name]).latched(m, self.idle, name) for name in names}
        ready_rows = Signal(range(self.engine.accumulator_rows + 1))
        blocks = Countdown(len(self.layer.blocks), "blocks")
        n_tiles = Countdown(len(self.layer.n_tiles), "n_tiles")
        rows = Countdown(len(self.layer.block_rows), "rows")
        first_row = Signal(reset_less=True)  # of the N tile
        first_tile = Signal(reset_less=True)  # of the block
        row_end = Signal()
        tile_end = Signal()
        block_end = Signal()
        row_address = Signal.like(address)  # of the row's first group in this N tile
        tile_address = Signal.like(address, reset_less=True)  # where the first row goes on in the next N tile
        block_address = Signal.like(address, reset_less=True)  # where the first block, or the next one, begins
        tile_word_group = Signal.like(word_group, reset_less=True)
        parameters = Signal.like(layer.parameters, reset_less=True)
        tile_parameters = Signal.like(layer.parameters, reset_less=True)
        group_end = self._count_groups(m, turns["n_tiles"].single, n_tiles, row_end, tile_end, tile_group)

        def rows_of(last_block: Value) -> Turns:
            return turns["block_rows"].unless(last_block, turns["last_block_rows"])

        m.d.comb += [
            row_end.eq(self.beat & group_end),
            tile_end.eq(self.beat & group_end & rows.last),
            block_end.eq(self.beat & group_end & rows.last & n_tiles.last),
            final.eq(self.beat & (group_end & rows.last & n_tiles.last & blocks.last)),
            self.freed.eq(row_end),
            self.parameters.address.eq(parameters),
        ]
        # One more row, none or one less, in one adder.
        change = Cat(self.row_ready ^ row_end, (row_end & ~self.row_ready).replicate(len(ready_rows) - 1))
        # Whether there is a beat is known a cycle ahead, as it decides on most registers.
        m.d.sync += [
            ready_rows.eq(ready_rows + change),
            self.beat.eq(self.row_ready | ready_rows[1:].any() | (ready_rows[0] & ~row_end)),
        ]
        next_is_last = Mux(n_tiles.last, blocks.ahead, blocks.last)
        next_rows = rows_of(Mux(self._started, turns["blocks"].single, next_is_last))
        word_end = word_group == self.word_groups - 1
        next_address = Signal.like(address)
        next_word_group = Signal.like(word_group)
        below = Signal.like(address)  # next row that is written
        next_tile = Mux(first_row, next_address, tile_address)
        next_block = Mux(first_tile & ~self._started, below, block_address)
        with m.If(self.idle):
            m.d.sync += block_address.eq(self.layer.destination)
        with m.Elif(tile_end & first_tile):
            m.d.sync += block_address.eq(below)
        m.d.comb += [
            next_address.eq(address + word_end),
            next_word_group.eq(Mux(word_end, 0, word_group + 1)),
            below.eq(row_address + pitch),
        ]
        with m.If(self._started):
            m.d.sync += [*blocks.begin(turns["blocks"]), *n_tiles.begin(turns["n_tiles"])]
        with m.Elif(tile_end):
            m.d.sync += n_tiles.step(turns["n_tiles"])
            with m.If(block_end):
                m.d.sync += blocks.step()
        with m.If(self._started | tile_end):
            m.d.sync += [*rows.begin(next_rows), first_row.eq(1), first_tile.eq(self._started | n_tiles.last)]
        with m.Elif(row_end):
            m.d.sync += [*rows.step(), first_row.eq(0)]

        with m.If(self._started | block_end):
            m.d.sync += [
                *(each.eq(0) for each in (word_group, tile_word_group)),
                *(each.eq(next_block) for each in (address, row_address)),
                *(each.eq(layer.parameters) for each in (parameters, tile_parameters)),
            ]
        with m.Elif(tile_end):
            m.d.sync += [
                *(each.eq(next_word_group) for each in (word_group, tile_word_group)),
                *(each.eq(next_tile) for each in (address, row_address)),
                *(each.eq(parameters + 1) for each in (parameters, tile_parameters)),
            ]
        with m.Elif(row_end):
            m.d.sync += [
                word_group.eq(tile_word_group),
                *(each.eq(below) for each in (address, row_address)),
                parameters.eq(tile_parameters),
            ]
        with m.Elif(self.beat):
            m.d.sync += [word_group.eq(next_word_group), address.eq(next_address), parameters.eq(parameters + 1)]
        with m.If(row_end):
            m.d.sync += self.sum_address.eq(self.sum_address + 1)
            with m.If(first_row):
                m.d.sync += tile_address.eq(next_address)

    def _count_groups(
        self, m: Module, single: Value, n_tiles: Countdown, row_end: Signal, tile_end: Signal, tile_group: Signal
    ) -> Signal:
        """Count the groups of a row; return whether this one is the last."""
        end = Signal(name="group_end", reset_less=True)
        # The last group of a row, in this N tile and, from the layer, in most and in the last one.
        width = len(self.layer.n_groups)
        top, most, edge = (Signal(width, name=name, reset_less=True) for name in ("top", "most", "edge"))
        following = Signal.like(top, name="next_top")
        next_is_last = Mux(self._started, single, n_tiles.ahead)
        m.d.comb += following.eq(Mux(self._started | tile_end, Mux(next_is_last, edge, most), top))
        with m.If(self.idle):
            m.d.sync += [most.eq(self.layer.n_groups - 1), edge.eq(self.layer.n_edge - 1)]
        with m.If(self._started | row_end):
            m.d.sync += [tile_group.eq(0), end.eq(following == 0), top.eq(following)]
        with m.Elif(self.beat):
            m.d.sync += [tile_group.eq(tile_group + 1), end.eq(tile_group + 1 == top)]
        return end

    def _count_pool(self, m: Module, layer: SimpleNamespace, pool: Countdown, first: Signal) -> Signal:
        """Count the rows of a pool, from the end of one row to that of the next; return the way down to the next."""
        turns = Turns.of(self.layer.pool).latched(m, self.idle, "pool")
        pitch = Signal.like(layer.destination_pitch, name="pitch", reset_less=True)
        with m.If(self._started):
            m.d.sync += [*pool.begin(turns), first.eq(1), pitch.eq(Mux(turns.single, layer.destination_pitch, 0))]
        with m.Elif(self.freed):
            m.d.sync += [*pool.step(turns), first.eq(pool.last), pitch.eq(Mux(pool.ahead, layer.destination_pitch, 0))]
        return pitch

    def _pool(self, m: Module, results: Cat, tile_group: Signal, first: Signal) -> Signal:
        """Return the greatest results of the pool so far, POOL_CYCLES later."""
        engine = self.engine
        latency = drain_cycles(engine) - POOL_CYCLES
        shape = Shape(engine.activation_width, engine.activation_signed)
        m.submodules.pool = pool = PoolStore(shape, lanes=self.lanes, groups=self.tile_groups)
        most = Signal(len(results), name="pooled", reset_less=True)
        next_group = delay(m, tile_group, latency - 1, "pool_group")
        m.d.comb += [
            pool.i.eq(results),
            pool.next_group.eq(next_group),
            pool.group.eq(delay(m, next_group, 1, "this_group")),
            pool.first.eq(delay(m, first, latency, "pool_first")),
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
