"""Drain: takes the sums of a pass, holds them against thresholds, pools, and has the results written."""

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.feeder import PASS_FLAGS
from celosia.hw.binary.gather import Gather
from celosia.hw.binary.idle import follow, members
from celosia.hw.binary.layer import layer_fields
from celosia.hw.binary.pool import POOL_CYCLES, PoolStore
from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import read_port, write_port
from celosia.hw.pipeline import delay, select, struct_of
from celosia.hw.timing import READ_LATENCY
from celosia.hw.unmerged import unmerged

RESULT_CYCLES = READ_LATENCY + 1
"""From a step to its lanes' results."""


class Drain(wiring.Component):
    """Goes through the sums of a pass, `post_lanes` at a time: a step per cycle.

    `layer` is taken in every idle cycle, before which `idles` is high. `load` takes what the feeder knows of a pass; 2
    cycles later is its first step, and come its `totals` and its `correction`, which is added to twice a sum. Each
    threshold of a group of lanes is a step, or each word of each lane's result without thresholds. `load` may come a
    cycle before the last step of the pass before, or later, but not in two cycles in a row. A word is written
    POST_CYCLES after the step that completes it, a bit plane per cycle. `busy` in each step; `done` strobes with the
    layer's last write.
    """

    layer: data.View
    idles: Signal
    load: Signal
    totals: data.View
    correction: Signal
    pool_first: Signal
    pool_last: Signal
    fold_last: Signal
    layer_last: Signal
    parameters: Any
    write: Any
    write_outputs: Signal
    busy: Signal
    done: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, BinaryConfig)
        self.config, self.engine = config, config.engine
        engine = self.engine
        parameters = config.memory("parameters")
        super().__init__(
            {
                "layer": In(struct_of(layer_fields(config))),
                "idles": In(1),
                "load": In(1),
                "totals": In(data.ArrayLayout(engine.accumulator_width, engine.pes)),
                "correction": In(engine.doubled_width),
                **{name: In(1) for name in PASS_FLAGS},
                "parameters": Out(read_port(parameters.width, parameters.depth)),
                "write": Out(write_port(engine.simd, tensor_depth(config))),
                "write_outputs": Out(1),
                "busy": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        numbers = ("parameters", "groups_edge", "raw", "raw_shift", "output_flip", "destination_is_outputs")
        parts = self.engine.resolved_post_lanes * self.engine.result_words
        values = members(self.layer, *numbers)
        values["last_threshold"] = Value.cast(self.layer.thresholds - 1)[: len(self.layer.thresholds)]
        # Whether a group has one step only, and the last fold one group.
        values["single"] = Mux(self.layer.raw, parts == 1, self.layer.thresholds == 1)
        values["edge_single"] = self.layer.groups_edge == 1
        layer = follow(m, self.idles, values)
        m.submodules.gather = gather = Gather(self.config)
        m.submodules.pool = pool = PoolStore(
            self.engine.output_width, lanes=self.engine.resolved_post_lanes, groups=self.engine.groups
        )
        step = self._step(m, layer)
        self._ask(m, layer, step)
        results = self._results(m, step)

        counts = self._count(m, results, delay(m, step.first, RESULT_CYCLES, "first"))
        # What the gatherer has to know comes a cycle before its codes; the cycle before that it is found out.
        until = RESULT_CYCLES + POOL_CYCLES - 1
        ends = delay(m, step.active & step.step_end, until, "ends", reset=True)
        flags = delay(m, step.flags, until, "flags")
        group_end = delay(m, step.group_end, until, "group_end")
        takes = Signal()
        pixel_last, layer_last = (Signal(name=name, reset_less=True) for name in ("pixel_last", "group_layer_last"))
        m.d.sync += [
            takes.eq(ends & ~layer.raw & flags.pool_last),
            pixel_last.eq(ends & group_end & flags.fold_last),
            layer_last.eq(ends & group_end & flags.layer_last),
        ]
        m.d.comb += [
            pool.i.eq(counts),
            pool.store.eq(ends),
            pool.first.eq(flags.pool_first),
            pool.group.eq(delay(m, step.group, RESULT_CYCLES, "group")),
            pool.flip.eq(layer.output_flip),
            gather.layer.eq(self.layer),
            gather.idles.eq(self.idles),
            gather.codes.eq(pool.flipped),
            gather.take.eq(takes),
            gather.pixel_last.eq(pixel_last),
            gather.layer_last.eq(layer_last),
        ]
        self._give_raw(m, layer, gather, results, step)
        connect(m, gather.write, flipped(self.write))
        m.d.comb += [
            self.write_outputs.eq(layer.destination_is_outputs),
            self.busy.eq(step.active),
            self.done.eq(gather.done),
        ]
        return m

    def _step(self, m: Module, layer: Any) -> SimpleNamespace:
        """Go through groups and steps, and say what each one is."""
        engine = self.engine
        lanes, groups, parts = engine.resolved_post_lanes, engine.groups, engine.result_words
        active = Signal()
        step_end, group_end = (Signal(name=name, reset_less=True) for name in ("step_end", "group_end"))
        flags: Any = Signal(data.StructLayout(dict.fromkeys(PASS_FLAGS, 1)), reset_less=True)
        group = Signal(range(groups), reset_less=True)
        groups_left = Signal(range(groups + 1), reset_less=True)
        first = Signal(reset_less=True)
        threshold = Signal.like(self.layer.thresholds, name="threshold", reset_less=True)
        lane = Signal(range(lanes), reset_less=True)
        part = Signal(range(parts), reset_less=True)
        goes_back = Signal(reset_less=True)  # parameters of the next pass are not those that follow
        # Of the pass that is loaded next.
        next_flags: Any = Signal(flags.shape(), reset_less=True)
        load = delay(m, self.load, 1, "load", reset=True)
        m.d.sync += [next_flags[name].eq(getattr(self, name)) for name in PASS_FLAGS]
        # Each flag a cycle ahead: they decide in their cycle what comes next.
        raw_ends = lane == lanes - 2 if parts == 1 else (lane == lanes - 1) & (part == parts - 2)
        ends = active & step_end
        begins = load | step_end  # of a group; without a pass it does not matter
        m.d.sync += [
            active.eq(load | (active & ~(step_end & group_end))),
            first.eq(begins),
            step_end.eq(Mux(begins, layer.single, Mux(layer.raw, raw_ends, threshold == layer.last_threshold))),
            threshold.eq(Mux(begins, 1, threshold + 1)),
            part.eq(Mux(begins | (part == parts - 1), 0, part + 1)),
        ]
        with m.If(begins):
            m.d.sync += lane.eq(0)
        with m.Elif(part == parts - 1):
            m.d.sync += lane.eq(lane + 1)
        with m.If(load):
            m.d.sync += [group.eq(0), flags.eq(next_flags), goes_back.eq(~next_flags.pool_last | next_flags.fold_last)]
            m.d.sync += groups_left.eq(Mux(next_flags.fold_last, layer.groups_edge, groups))
            m.d.sync += group_end.eq(Mux(next_flags.fold_last, layer.edge_single, groups == 1))
        with m.Elif(ends):
            m.d.sync += [group.eq(group + 1), groups_left.eq(groups_left - 1), group_end.eq(groups_left == 2)]
        sums, correction = self._shift(m, load, ends)
        return SimpleNamespace(
            active=active,
            flags=flags,
            group=group,
            first=first,
            lane=lane,
            part=part,
            step_end=step_end,
            group_end=group_end,
            sums=sums,
            correction=correction,
            goes_back=goes_back,
        )

    def _shift(self, m: Module, load: Any, step_end: Any) -> tuple[Signal, Signal]:
        """Return the sums of a step's group and its pass's correction, a cycle after the step."""
        engine = self.engine
        width = engine.resolved_post_lanes * engine.accumulator_width
        sums = [Signal(width, name=f"sums_{index}", reset_less=True) for index in range(engine.groups)]
        correction = Signal.like(self.correction, name="pass_correction", reset_less=True)
        totals = self.totals.as_value()
        for index, near in enumerate(sums):
            # Registers of its own for each group: control that reaches all sums is slow.
            loads = unmerged(m, load, f"loads_{index}")
            moves = unmerged(m, load | step_end, f"moves_{index}")
            far = sums[index + 1] if index + 1 < len(sums) else near
            with m.If(moves):
                m.d.sync += near.eq(Mux(loads, totals.word_select(index, width), far))
        with m.If(delay(m, load, 1, "loaded", reset=True)):
            m.d.sync += correction.eq(self.correction)
        return sums[0], correction

    def _ask(self, m: Module, layer: Any, step: SimpleNamespace) -> None:
        """Ask for the parameters of a step: those of a fold again for each pass of a pooling window."""
        address, fold = (Signal.like(layer.parameters, name=name, reset_less=True) for name in ("parameter", "fold"))
        m.d.comb += self.parameters.address.eq(address)
        begin = delay(m, unmerged(m, self.idles, "idle"), 1, "begin")  # the first address follows on being idle
        pass_end = step.step_end & step.group_end
        goes_back = begin | (pass_end & step.goes_back)
        target = Mux(begin | step.flags.pool_last, layer.parameters, fold)
        with m.If(begin | (step.active & (~layer.raw | step.step_end))):
            m.d.sync += address.eq(Mux(goes_back, target, address + 1))
        with m.If(begin | (step.active & pass_end & step.flags.pool_last)):
            m.d.sync += fold.eq(Mux(begin | step.flags.fold_last, layer.parameters, address + 1))

    def _results(self, m: Module, step: SimpleNamespace) -> list[Signal]:
        """Return twice each lane's sum, corrected, plus its parameter, RESULT_CYCLES after the step."""
        engine = self.engine
        results = []
        for lane in range(engine.resolved_post_lanes):
            total = step.sums.word_select(lane, engine.accumulator_width)
            doubled = Signal(engine.doubled_width, name=f"doubled_{lane}", reset_less=True)
            m.d.sync += doubled.eq((total << 1) + step.correction)
            parameter = self.parameters.data.word_select(lane, engine.parameter_width).as_signed()
            result = Signal(signed(engine.result_width), name=f"result_{lane}", reset_less=True)
            m.d.sync += result.eq(delay(m, doubled, READ_LATENCY - 2, f"doubled_{lane}") + parameter)
            results.append(result)
        return results

    def _count(self, m: Module, results: list[Signal], first: Any) -> Cat:
        """Return how many of each lane's results of a group are not negative so far, a cycle after them."""
        counts = []
        for lane, result in enumerate(results):
            count = Signal(self.engine.output_width, name=f"count_{lane}", reset_less=True)
            m.d.sync += count.eq(Mux(first, 0, count) + ~result[-1])
            counts.append(count)
        return Cat(counts)

    def _give_raw(self, m: Module, layer: Any, gather: Gather, results: list[Signal], step: SimpleNamespace) -> None:
        """Give the results of a group to the gatherer as they are, lane by lane and word by word."""
        lane, part = (delay(m, getattr(step, name), RESULT_CYCLES, name) for name in ("lane", "part"))
        chosen, halved, result = (
            Signal.like(results[0], name=name, reset_less=True) for name in ("chosen", "halved", "result")
        )
        whole = Signal(signed(self.engine.result_words * self.engine.simd), name="whole")
        m.d.sync += chosen.eq(select(lane, results))
        m.d.sync += halved.eq(Mux(layer.raw_shift[0], chosen >> 1, chosen))
        m.d.sync += result.eq(Mux(layer.raw_shift[1], halved >> 2, halved))
        m.d.comb += whole.eq(result)
        words = [
            whole[index * self.engine.simd : (index + 1) * self.engine.simd]
            for index in range(self.engine.result_words)
        ]
        m.d.comb += [
            gather.word.eq(select(delay(m, part, POOL_CYCLES + 1, "word_part"), words)),
            gather.take_raw.eq(delay(m, step.active & layer.raw, RESULT_CYCLES + POOL_CYCLES, "raw", reset=True)),
        ]
