"""Drain: takes the sums of a pass, holds them against thresholds, pools, and has the results written."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.feeder import PASS_FLAGS
from celosia.hw.binary.gather import Gather
from celosia.hw.binary.layer import layer_fields
from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import tensor_depth
from celosia.hw.memory import read_port, write_port
from celosia.hw.pipeline import delay, latch, select, struct_of
from celosia.hw.post.pool import PoolStore
from celosia.hw.timing import READ_LATENCY

RESULT_CYCLES = READ_LATENCY + 1
"""From a step to its lanes' results."""


class Drain(wiring.Component):
    """Goes through the sums of a pass, `post_lanes` at a time: a step per cycle.

    `start` takes `layer`. `load` takes what the feeder knows of a pass; in the next cycle is its first step, and come
    its `totals` and its `correction`, which is added to twice a sum. Each threshold of a group of lanes is a step, or
    each word of each lane's result without thresholds. `load` may come with the last step of the pass before, or later,
    but not in two cycles in a row. A word is written POST_CYCLES after the step that completes it, a bit plane per
    cycle. `busy` in each step; `done` strobes with the layer's last write.
    """

    layer: data.View
    start: Signal
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
                "start": In(1),
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
        numbers = ("parameters", "thresholds", "groups_edge", "raw", "raw_shift", "output_flip")
        layer = latch(m, self.start, self.layer, *numbers, "destination_is_outputs")
        m.submodules.gather = gather = Gather(self.config)
        m.submodules.pool = pool = PoolStore(
            unsigned(self.engine.output_width), lanes=self.engine.resolved_post_lanes, groups=self.engine.groups
        )
        step = self._step(m, layer)
        self._ask(m, layer, step)
        results = self._results(m, step)

        counts = self._count(m, results, delay(m, step.first, RESULT_CYCLES, "first"))
        finished = delay(m, step.active & step.step_end, RESULT_CYCLES + 1, "finished", reset=True)
        flags = delay(m, step.flags, RESULT_CYCLES + 1, "flags")
        group_end = delay(m, step.group_end, RESULT_CYCLES + 1, "group_end")
        m.d.comb += [
            pool.i.eq(counts),
            pool.store.eq(finished),
            pool.first.eq(flags.pool_first),
            pool.group.eq(delay(m, step.group, RESULT_CYCLES + 1, "group")),
            gather.layer.eq(self.layer),
            gather.start.eq(self.start),
            *(gather.codes[lane].eq(pool.o[lane] ^ layer.output_flip) for lane in range(len(results))),
            gather.take.eq(finished & ~layer.raw & flags.pool_last),
            gather.pixel_last.eq(group_end & flags.fold_last & finished),
            gather.layer_last.eq(group_end & flags.layer_last & finished),
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
        first = Signal(reset_less=True)
        threshold = Signal.like(layer.thresholds, name="threshold", reset_less=True)
        lane = Signal(range(lanes), reset_less=True)
        part = Signal(range(parts), reset_less=True)
        # Whether a group has one step only, and each flag a cycle ahead: they decide in their cycle what comes next.
        single = Mux(layer.raw, lanes * parts == 1, layer.thresholds == 1)
        raw_ends = lane == lanes - 2 if parts == 1 else (lane == lanes - 1) & (part == parts - 2)
        with m.If(active & step_end):
            m.d.sync += [group.eq(group + 1), threshold.eq(1), lane.eq(0), part.eq(0), active.eq(~group_end)]
            m.d.sync += [first.eq(1), step_end.eq(single)]
            m.d.sync += group_end.eq(group + 1 == Mux(flags.fold_last, layer.groups_edge - 1, groups - 1))
        with m.Elif(active):
            m.d.sync += [threshold.eq(threshold + 1), part.eq(part + 1), first.eq(0)]
            m.d.sync += step_end.eq(Mux(layer.raw, raw_ends, threshold + 1 == layer.thresholds))
            with m.If(part == parts - 1):
                m.d.sync += [part.eq(0), lane.eq(lane + 1)]
        with m.If(self.load):
            m.d.sync += [active.eq(1), group.eq(0), threshold.eq(1), lane.eq(0), part.eq(0)]
            m.d.sync += [flags[name].eq(getattr(self, name)) for name in PASS_FLAGS]
            m.d.sync += [first.eq(1), step_end.eq(single)]
            m.d.sync += group_end.eq(Mux(self.fold_last, layer.groups_edge == 1, groups == 1))
        sums, correction = self._shift(m, active & step_end)
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
        )

    def _shift(self, m: Module, step_end: Any) -> tuple[Signal, Signal]:
        """Return the sums of a step's group and its pass's correction, a cycle after the step."""
        width = self.engine.resolved_post_lanes * self.engine.accumulator_width
        sums = [Signal(width, name=f"sums_{index}", reset_less=True) for index in range(self.engine.groups)]
        correction = Signal.like(self.correction, name="pass_correction", reset_less=True)
        load = delay(m, self.load, 1, "load", reset=True)
        shift = delay(m, step_end, 1, "shift", reset=True)
        with m.If(load):
            m.d.sync += [Cat(sums).eq(self.totals), correction.eq(self.correction)]
        with m.Elif(shift):
            m.d.sync += [near.eq(far) for near, far in pairwise(sums)]
        return sums[0], correction

    def _ask(self, m: Module, layer: Any, step: SimpleNamespace) -> None:
        """Ask for the parameters of a step: those of a fold again for each pass of a pooling window."""
        address, fold = (Signal.like(layer.parameters, name=name, reset_less=True) for name in ("parameter", "fold"))
        m.d.comb += self.parameters.address.eq(address)
        following = Mux(step.flags.fold_last, layer.parameters, address + 1)
        with m.If(self.start):
            m.d.sync += [address.eq(self.layer.parameters), fold.eq(self.layer.parameters)]
        with m.Elif(step.active & step.step_end & step.group_end):
            m.d.sync += address.eq(Mux(step.flags.pool_last, following, fold))
            with m.If(step.flags.pool_last):
                m.d.sync += fold.eq(following)
        with m.Elif(step.active & (~layer.raw | step.step_end)):
            m.d.sync += address.eq(address + 1)

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
        result = Signal.like(results[0], name="result", reset_less=True)
        whole = Signal(signed(self.engine.result_words * self.engine.simd), name="whole")
        chosen = select(lane, results)
        m.d.sync += result.eq(Mux(layer.raw_shift == 2, chosen >> 2, Mux(layer.raw_shift == 1, chosen >> 1, chosen)))
        m.d.comb += whole.eq(result)
        words = [
            whole[index * self.engine.simd : (index + 1) * self.engine.simd]
            for index in range(self.engine.result_words)
        ]
        m.d.comb += [
            gather.word.eq(select(delay(m, part, 1, "word_part"), words)),
            gather.take_raw.eq(delay(m, step.active & layer.raw, RESULT_CYCLES + 1, "raw", reset=True)),
        ]
