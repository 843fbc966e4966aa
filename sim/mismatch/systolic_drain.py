"""Finds what is wrong behind the sums of an output of the systolic engine: drain, requantizer, pooling, write."""

from collections.abc import Iterator

from celosia.hw.lanes import unpack_lanes
from celosia.hw.post.parameters import shift_code
from celosia.hw.systolic.drain import PER_LAYER
from celosia.hw.systolic.timing import POOL_CYCLES, drain_cycles, row_ready_cycles
from celosia.hw.timing import READ_LATENCY
from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.stage import Seen, Stage, first_wrong, right
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.mismatch.systolic_seen import View, fault_of
from celosia.sim.vcd import Waves

DRAIN = "engine.drain"
DRAIN_SPAN = 512  # cycles in which the drain of a sum is looked for at a time
ISSUE = [f"{DRAIN}.{name}" for name in ("beat", "sum_address", "tile_group")]


class DrainSearch:
    """An output on its way from the accumulator into memory.

    Parameters
    ----------
    output : Output
    beats : list of int
        Cycles of the last beats of its sums.
    """

    def __init__(self, output: Output, beats: list[int]) -> None:
        self.output, self.engine, self.beats = output, output.engine, beats
        self.lane = f"{DRAIN}.lane_{output.lane}"
        self.latency = drain_cycles(self.engine)

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        output, issue = self.output, self.beats[0]
        for index in range(len(output.sums)):
            found = self._issue(index, max(issue + 1, self.beats[index]))
            if found is None:
                return self._fault(self._missing(index), index)
            view, issue = found
            if stage := first_wrong(self._stages(view, index, issue)):
                return self._fault(stage, index)
        return self._fault(self._memory(issue + self.latency), len(output.sums) - 1)

    def _fault(self, stage: Stage, index: int) -> Fault:
        several = len(self.output.sums) > 1
        pool = {"pool": index} if several else {}
        return fault_of(self.output, stage, {"column": self.output.column, "lane": self.output.lane, **pool})

    # -- when --

    def _names(self) -> list[str]:
        column, memory = self.output.column, self.output.step.memory
        return [
            f"engine.accumulator_{column}.read_data",
            "engine.parameters__address",
            "engine.parameters__data",
            f"{DRAIN}.parameters_1",
            *(f"{self.lane}.{port}" for port in ("acc", *PER_LAYER, "result")),
            *(f"{DRAIN}.pool.{port}" for port in ("i", "group", "first", "o")),
            f"{DRAIN}.pool.kept[{self.output.group}]",
            f"{DRAIN}.pooled",
            "engine.write_outputs",
            *(f"{part}.write__{port}" for part in (memory,) for port in ("enable", "address", "data")),
            *(f"engine.write__{port}" for port in ("enable", "address", "data")),
        ]

    def _issue(self, index: int, start: int) -> tuple[View, int] | None:
        """Return the cycle in which the group of lanes of a sum is issued, and what is seen then and behind it."""
        row, end = self.output.accumulator_row(self.output.sums[index]), self._end()
        behind = self.latency + 2
        spans = [(at, min(at + DRAIN_SPAN, end) + behind) for at in range(start, end, DRAIN_SPAN)]
        for begin, waves in zip(range(start, end, DRAIN_SPAN), self._replayed(spans), strict=True):
            view = View(waves)
            for cycle in range(begin, min(begin + DRAIN_SPAN, end)):
                beat, address, group = (view.at(name, cycle) for name in ISSUE)
                if beat and address == row and group in (None, self.output.group):
                    return view, cycle
        return None

    def _replayed(self, spans: list[tuple[int, int]]) -> Iterator[Waves]:
        return self.output.replay.waves(ISSUE[:2], spans, [ISSUE[2], *self._names()])

    def _end(self) -> int:
        """Return a cycle after the step's last write and before the next step's first."""
        replay, behind = self.output.replay, self.output.step.behind
        return replay.last_cycle if behind >= replay.beats else replay.cycles_of([behind])[0]

    def _ready(self, index: int) -> int:
        """Return the first cycle in which a sum may be issued."""
        return self.beats[index] + row_ready_cycles(self.engine, self.output.mode, self.output.fields["lead"])

    def _missing(self, index: int) -> Stage:
        number = self.output.sums[index]
        return Stage(
            "drain",
            f"drain of group {self.output.group} of accumulator row {self.output.accumulator_row(number)},",
            int(self.output.tile.results[number, self.output.column]),
            None,
            self._ready(index),
        )

    # -- what --

    def _stages(self, view: View, index: int, issue: int) -> Iterator[Stage]:
        """Yield what a sum passes, from its accumulator to the pool, and behind the last one to memory."""
        output, number = self.output, self.output.sums[index]
        ready = self._ready(index)
        yield Stage("drain", "first cycle of a sum,", max(issue, ready), issue, issue)
        acc, at = output.sum_after(output.fields["k_tiles"] - 1, number), issue + READ_LATENCY
        seen = view.at(f"engine.accumulator_{output.column}.read_data", at, signed=True)
        yield Stage(f"accumulator of column {output.column}, though rightly summed,", "sum", acc, seen, at)
        yield from self._parameters(view, issue)
        lanes = at + 1
        seen = view.at(f"{self.lane}.acc", lanes, signed=True)
        yield Stage("drain", "sum that is requantized", acc, seen, lanes)
        signed, expected = self.engine.activation_signed, dict(output.fields)
        for name in PER_LAYER:
            seen = view.at(f"{self.lane}.{name}", lanes, signed=signed and name != "rounding")
            yield Stage("drain", f"{name} of the step", expected[name], seen, lanes)
        result, done = int(output.tile.results[number, output.column]), lanes + self.engine.requantizer.latency
        operands = {**right({"acc": acc, **self._channel()})}
        seen = view.at(f"{self.lane}.result", done, signed=signed)
        yield Stage(f"requantizer lane {output.lane}", "activation", result, seen, done, operands)
        yield from self._pooled(view, index, done)
        if index == len(output.sums) - 1:
            yield from self._written(view, issue + self.latency)

    def _channel(self) -> dict[str, int]:
        """Return the channel's parameters as their word has them."""
        given = self.output.parameters
        return {**given, "shift": int(shift_code(given["shift"]))}

    def _parameters(self, view: View, issue: int) -> Iterator[Stage]:
        """Yield the parameters of the channel: the address of their word, and each of them."""
        address, layout = self.output.parameters_address, self.engine.parameter_layout
        yield Stage("drain", "address of the parameters", address, view.at("engine.parameters__address", issue), issue)
        for place, name, at in (
            (f"parameters memory, word {address}, lane {self.output.lane}", "engine.parameters__data", READ_LATENCY),
            ("drain", f"{DRAIN}.parameters_1", READ_LATENCY + 1),
        ):
            low = self.output.lane * layout.channel_width
            for field in layout.channel:
                seen = view.bits(name, issue + at, low, field.width, signed=field.signed)
                yield Stage(place, field.name, self._channel()[field.name], seen, issue + at)
                low += field.width

    def _pooled(self, view: View, index: int, cycle: int) -> Iterator[Stage]:
        """Yield the greatest result so far."""
        output, width, signed = self.output, self.engine.activation_width, self.engine.activation_signed
        results = output.tile.results[output.sums.start : output.sums[index] + 1, output.column].tolist()
        kept = f"{DRAIN}.pool.kept[{output.group}]"
        place, operands = f"maximum of lane {output.lane}", right({"result": results[-1]})
        first = view.at(f"{DRAIN}.pool.first", cycle)
        yield Stage("drain", "first result of a pool", int(index == 0), first, cycle)
        if output.fields["pool"] > 1:
            group = view.at(f"{DRAIN}.pool.group", cycle)
            yield Stage("drain", "group that is pooled", output.group, group, cycle)
        if index:
            before = max(results[:-1])
            seen = view.part(kept, cycle, output.lane, width, signed=signed)
            yield Stage("pool store", "maximum before", before, seen, cycle)
            operands |= right({"maximum before": before})
        for name, at in ((f"{DRAIN}.pool.o", cycle), (f"{DRAIN}.pooled", cycle + POOL_CYCLES)):
            seen = view.part(name, at, output.lane, width, signed=signed)
            yield Stage(place, "maximum", max(results), seen, at, operands)

    def _written(self, view: View, write: int) -> Iterator[Stage]:
        """Yield the write of the output: that of the drain, and that of the memory."""
        output, engine = self.output, self.engine
        share = output.word_lane // engine.resolved_post_lanes
        outputs = int(output.step.memory == "outputs")
        yield Stage("drain", "memory of the write", outputs, view.at("engine.write_outputs", write), write)
        for place, port in (
            ("drain", "engine.write"),
            ("write port of the memory", f"{output.step.memory}.write"),
        ):
            enable = view.bits(f"{port}__enable", write, 0, share + 1)
            yield Stage(place, "write of the output's group,", 1 << share, enable, write)
            yield Stage(place, "address of the write", output.address, view.at(f"{port}__address", write), write)
            data = view.part(
                f"{port}__data", write, output.word_lane, engine.activation_width, signed=engine.activation_signed
            )
            yield Stage(place, "activation, as written,", output.value, data, write)

    def _memory(self, written: int) -> Stage:
        """Return what became of an output that was rightly written."""
        output, engine, step = self.output, self.engine, self.output.step
        word = output.replay.memory_before(step.behind, step.memory, 1, output.address)
        held = unpack_lanes(word, engine.rows, engine.activation_width, signed=engine.activation_signed)
        actual = int(held[0, output.word_lane])
        again = self._second_write(written + 1)
        if again is not None:
            return Stage("drain", "activation, over which another is written,", output.value, actual, again)
        place = f"{step.memory} memory, word {output.address}"
        return Stage(place, "activation, though rightly written,", output.value, actual, written)

    def _second_write(self, start: int) -> int | None:
        """Return the cycle in which the step writes the output's lane again; None if it does not."""
        memory, share = self.output.step.memory, self.output.word_lane // self.engine.resolved_post_lanes
        enable, address = (f"{memory}.write__{port}" for port in ("enable", "address"))
        view = View(self.output.replay.record([enable, address], (start, max(self._end(), start + 1))))
        for cycle in range(start, view.waves.stop):
            lanes: Seen = view.bits(enable, cycle, share, 1)
            if lanes and view.at(address, cycle) == self.output.address:
                return cycle
        return None
