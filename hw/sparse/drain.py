"""Drain: merges the sums of PEs that share rows, adds biases, rounds, and writes the next activations."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import address_width, read_port, write_port
from celosia.hw.pipeline import delay, latch, select, struct_of
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.layer import layer_fields
from celosia.hw.sparse.timing import FLUSH_CYCLES, merge_cycles
from celosia.hw.timing import READ_LATENCY


class Drain(wiring.Component):
    """Turns one sum of every PE into an activation of every lane per cycle, however many PEs share rows.

    With g PEs to a group, word d of a vector has the rows g·d to g·d + g − 1 of each group side by side: they are read
    from g banks of each of its PEs at once, and lane g·x + k gets the sum over group x's PEs for row g·d + k. A lane's
    bias has the half that rounds a result already in it. What has been read is cleared.

    FLUSH_CYCLES after `begin` the first word is read, then one per cycle; each is written `merge_cycles` after it was
    read. Results out of the layer's range are clamped, never wrapped.

    Ports: `start` takes `layer`; `begin` drains one vector; `busy` from the cycle after `begin` to that of `last`,
    `reading` in those that read sums;
    `last` is the cycle of a vector's last read; `writing` from behind the layer's last read to `done`, which strobes
    when its last word has been written.
    """

    layer: data.View
    start: Signal
    begin: Signal
    busy: Signal
    reading: Signal
    last: Signal
    writing: Signal
    done: Signal
    read_address: Signal
    clear: Signal
    clear_address: Signal
    sums: data.View
    parameters: Any
    write: Any
    write_outputs: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.config, self.engine = config, config.engine
        self.fields = layer_fields(config)
        engine, parameters = config.engine, config.memory("parameters")
        address = address_width(engine.bank_rows)
        sums = data.ArrayLayout(data.ArrayLayout(signed(engine.accumulator_width), engine.group), engine.pes)
        super().__init__(
            {
                "layer": In(struct_of(self.fields)),
                "start": In(1),
                "begin": In(1),
                "busy": Out(1),
                "reading": Out(1),
                "last": Out(1),
                "writing": Out(1),
                "done": Out(1),
                "read_address": Out(address),
                "clear": Out(engine.group),
                "clear_address": Out(address),
                "sums": In(sums),
                "parameters": Out(read_port(parameters.width, parameters.depth)),
                "write": Out(write_port(engine.activation_word_width, tensor_depth(config))),
                "write_outputs": Out(1),
            }
        )

    @property
    def _levels(self) -> int:
        """Additions one after the other that merge the largest group."""
        return self.engine.group.bit_length() - 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layer = latch(
            m,
            self.start,
            self.layer,
            *("rows", "destination_is_outputs", "destination_pitch", "parameters", "group"),
            *("shift", "minimum", "maximum"),
        )
        read, bank = self.reading, Signal(range(self.engine.group))
        address = Signal.like(self.write.address, reset_less=True)
        final = Signal()
        self._walk(m, layer, read, bank, address, final)
        m.d.comb += self.write_outputs.eq(layer.destination_is_outputs)

        latency = merge_cycles(self.engine)
        told = delay(m, Cat(read, read & final), latency, "read", reset=True)
        # Nothing moves while columns are worked on, which is most of the time.
        underway = Signal(range(latency + 1))
        self._awake = Signal()
        m.d.comb += self._awake.eq(underway != 0)
        with m.If(self.busy):
            m.d.sync += underway.eq(latency)
        with m.Elif(self._awake):
            m.d.sync += underway.eq(underway - 1)
        merged = self._merge(m, layer, delay(m, bank, READ_LATENCY, "bank"))
        biases = delay(m, self.parameters.data, self._levels + 1, "biases")
        lanes = [self._finish(m, layer, lane, merged[lane], biases) for lane in range(self.engine.pes)]
        m.d.comb += [
            self.write.enable.eq(told[0]),
            self.write.address.eq(delay(m, address, latency, "write_address")),
            self.write.data.eq(Cat(*lanes)),
        ]
        m.d.sync += self.done.eq(told[1])
        with m.If(read & final):
            m.d.sync += self.writing.eq(1)
        with m.Elif(self.done):
            m.d.sync += self.writing.eq(0)
        return m

    def _walk(self, m: Module, layer: Any, read: Signal, bank: Signal, address: Signal, final: Signal) -> None:
        """Wait until the last sums are in memory, then read a row of every group's banks after the other."""
        flush = Signal(range(FLUSH_CYCLES))
        row = Signal.like(layer.rows, reset_less=True)  # words left of this vector
        vectors = Signal.like(self.layer.vectors, reset_less=True)
        vector_address = Signal.like(address, reset_less=True)
        place = Signal(address_width(self.engine.accumulator_rows), reset_less=True)  # first row in the PEs
        levels = self._levels
        m.d.comb += [
            read.eq(self.busy & (flush == 0)),
            self.last.eq(read & (row == 1)),
            final.eq(self.last & (vectors == 1)),
            self.read_address.eq(place >> levels),
            bank.eq(place[:levels] if levels else 0),
        ]
        with m.If(self.busy & (flush != 0)):
            m.d.sync += flush.eq(flush - 1)
        with m.If(read):
            m.d.sync += [
                address.eq(address + 1),
                row.eq(row - 1),
                place.eq(place + (1 << layer.group)),
                self.parameters.address.eq(self.parameters.address + 1),
            ]
            with m.If(self.last):
                following = vector_address + layer.destination_pitch
                m.d.sync += [
                    self.busy.eq(0),
                    vectors.eq(vectors - 1),
                    row.eq(layer.rows),
                    place.eq(0),
                    address.eq(following),
                    vector_address.eq(following),
                    self.parameters.address.eq(layer.parameters),
                ]
        with m.If(self.begin):
            m.d.sync += [self.busy.eq(1), flush.eq(FLUSH_CYCLES - 1)]
        with m.If(self.start):
            m.d.sync += [
                row.eq(self.layer.rows),
                vectors.eq(self.layer.vectors),
                place.eq(0),
                address.eq(self.layer.destination),
                vector_address.eq(self.layer.destination),
                self.parameters.address.eq(self.layer.parameters),
            ]
        # A word is cleared in the cycle after its read, and only the banks that were taken.
        taken = Signal(self.engine.group)
        for index in range(self.engine.group):
            m.d.comb += taken[index].eq(read & (((index ^ bank) >> layer.group) == 0))
        m.d.sync += [self.clear.eq(taken), self.clear_address.eq(self.read_address)]

    def _merge(self, m: Module, layer: Any, bank: Any) -> list[Any]:
        """Return a sum for every lane, `_levels` + 1 cycles after the PEs' sums: level by level twice as many PEs."""
        engine = self.engine
        width = engine.accumulator_width
        level: list[list[Any]] = [[self.sums[pe][b] for b in range(engine.group)] for pe in range(engine.pes)]
        chosen: list[Any] = []
        for depth in range(self._levels + 1):
            share = 1 << depth  # PEs in a group on this level, and rows side by side
            total_width = width + depth
            results = []
            for lane in range(engine.pes):
                group, offset = divmod(lane, share)
                mine = select(bank[depth:], (level[group][index] for index in range(offset, engine.group, share)))
                result = Signal(signed(total_width), name=f"chosen_{depth}_{lane}", reset_less=True)
                with m.If(self._awake):
                    m.d.sync += result.eq(Mux(layer.group == depth, mine, chosen[lane]) if chosen else mine)
                results.append(result)
            chosen = results
            if depth < self._levels:
                level = [
                    [self._sum(m, one, other, f"sum_{depth}_{pair}_{b}") for b, (one, other) in enumerate(both)]
                    for pair, both in enumerate(zip_pairs(level))
                ]
                bank = delay(m, bank, 1, f"bank_{depth}")
        return chosen

    def _sum(self, m: Module, one: Any, other: Any, name: str) -> Signal:
        total = Signal(signed(len(one) + 1), name=name, reset_less=True)
        with m.If(self._awake):
            m.d.sync += total.eq(one + other)
        return total

    def _finish(self, m: Module, layer: Any, lane: int, merged: Any, biases: Any) -> Signal:
        """Add the bias, shift, compare, and choose: an activation four cycles later."""
        engine = self.engine
        bias = biases.word_select(lane, engine.bias_width).as_signed()
        total = Signal(signed(len(merged) + 1), name=f"total_{lane}", reset_less=True)
        shifted = Signal.like(total, name=f"shifted_{lane}")
        shape = Shape(engine.activation_width, engine.activation_signed)
        inside = Signal(shape, name=f"inside_{lane}", reset_less=True)
        result = Signal(shape, name=f"result_{lane}", reset_less=True)
        high = Signal(name=f"high_{lane}", reset_less=True)
        low = Signal(name=f"low_{lane}", reset_less=True)
        with m.If(self._awake):
            m.d.sync += [
                total.eq(merged + bias),
                shifted.eq(total >> layer.shift),
                high.eq(shifted > layer.maximum),
                low.eq(shifted < layer.minimum),
                inside.eq(shifted),
                result.eq(Mux(high, layer.maximum, Mux(low, layer.minimum, inside))),
            ]
        return result


def zip_pairs(level: list[list[Any]]) -> list[list[tuple[Any, Any]]]:
    """Return the banks of two neighbours side by side, for each pair of them."""
    return [list(zip(one, other, strict=True)) for one, other in zip(level[::2], level[1::2], strict=True)]
