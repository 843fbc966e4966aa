"""Finds what is wrong behind the array of the binary engine with one pass of an output, whose sum is right."""

from collections.abc import Iterator

from celosia.hw.binary.drain import RESULT_CYCLES
from celosia.hw.binary.pool import POOL_CYCLES
from celosia.hw.timing import READ_LATENCY
from celosia.sim.mismatch.binary_output import Output, Pass
from celosia.sim.mismatch.binary_seen import Window
from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.stage import Stage, first_wrong, right
from celosia.sim.vcd import integer_of

DRAIN = "engine.drain"
SUMS_BEHIND = 1
"""Cycles from the load of a pass to its totals and correction, and from a step to those of its group."""


def names(output: Output) -> list[str]:
    """Return the signals that are looked at for an output."""
    lane, engine = output.lane, output.engine
    parts = (
        *("load", "correction", "sums_0", "pass_correction", f"doubled_{lane}", f"result_{lane}"),
        *("parameters__address", f"count_{lane}", "threshold", "result"),
        *(("group",) if engine.groups > 1 else ()),
        *("pool.i", "pool.first", "pool.group", "pool.store", "pool.o", f"pool.kept[{output.group}]"),
        *("gather.codes", "gather.take", "gather.word", "gather.take_raw"),
    )
    return ["engine.array.totals", "engine.parameters__data", *(f"{DRAIN}.{part}" for part in parts)]


class DrainSearch:
    """One pass of an output on its way through the drain.

    Parameters
    ----------
    window : Window
    number : int
        Index of the pass.
    """

    def __init__(self, window: Window, number: int) -> None:
        self.window, self.output, self.number = window, window.output, number
        self.each: Pass = self.output.passes[number]
        self.load = window.load(self.each)
        self.first = self.load + 1 + self.output.group * window.steps  # the first step of the output's group

    def find(self) -> Fault | None:
        """Return the first place where a value is wrong."""
        stage = first_wrong(self._stages())
        if stage is None:
            return None
        return self.window.fault(stage, {**self.each.position, "group": self.output.group, "lane": self.output.lane})

    def _stages(self) -> Iterator[Stage]:
        yield from self._taken()
        if self.output.is_raw:
            yield from self._raw()
        else:
            for index in range(len(self.output.parameters)):
                yield from self._threshold(index)
            yield from self._pooled()

    def _taken(self) -> Iterator[Stage]:
        """Yield what the drain takes of a pass."""
        output, at = self.output, self.window.at
        width, total, correction = output.engine.accumulator_width, self.each.sums[-1], self.each.correction
        yield Stage("control behind the array", "load of a sum,", 1, at(f"{DRAIN}.load", self.load - 1), self.load - 1)
        come, there = self.load + SUMS_BEHIND, self.first + SUMS_BEHIND
        actual = self.window.part("engine.array.totals", come, output.pe, width)
        yield Stage(f"captured total of PE {output.pe}", "sum", total, actual, come)
        yield Stage("correction for padding", "correction", correction, at(f"{DRAIN}.correction", come), come)
        if output.engine.groups > 1:
            yield Stage("drain", "group of lanes", output.group, at(f"{DRAIN}.group", self.first), self.first)
        actual = self.window.part(f"{DRAIN}.sums_0", there, output.lane, width)
        yield Stage("sums in the drain", "sum", total, actual, there)
        actual = at(f"{DRAIN}.pass_correction", there)
        yield Stage("correction in the drain", "correction", correction, actual, there)

    def _result(self, index: int, step: int) -> Iterator[Stage]:
        """Yield what becomes of the sum and a parameter that is asked for in that cycle."""
        output, engine, at, lane = self.output, self.output.engine, self.window.at, self.output.lane
        parameter, address = output.parameters[index], output.parameters_address + index
        doubled = at(f"{DRAIN}.doubled_{lane}", step + SUMS_BEHIND + 1)
        operands = right(
            {
                "sum": self.each.sums[-1],
                "correction": self.each.correction,
            }
        )
        place = f"doubler of lane {lane}"
        yield Stage(place, "doubled sum", self.each.doubled, doubled, step + SUMS_BEHIND + 1, operands)
        asked = at(f"{DRAIN}.parameters__address", step)
        yield Stage("drain", "address of the parameter", address, asked, step)
        came, width = step + READ_LATENCY, engine.parameter_width
        read = self.window.part("engine.parameters__data", came, lane, width, signed=True)
        place = f"parameters memory, word {address}"
        if read not in (None, parameter) and self._stored(address) == parameter:
            place = "read of the parameters memory"
        yield Stage(place, "parameter", parameter, read, came)
        result = at(f"{DRAIN}.result_{lane}", step + RESULT_CYCLES, signed=True)
        operands = right({"doubled sum": self.each.doubled, "parameter": parameter})
        place = f"adder of lane {lane}"
        yield Stage(place, "result", self.each.results[index], result, step + RESULT_CYCLES, operands)

    def _stored(self, address: int) -> int:
        """Return the lane's parameter as it is in memory."""
        width = self.output.engine.parameter_width
        word = self.window.stored(self.each.first_beat, "parameters", address)
        return integer_of(word >> self.output.lane * width, width, signed=True)

    def _threshold(self, index: int) -> Iterator[Stage]:
        """Yield what a threshold passes."""
        step, at, lane = self.first + index, self.window.at, self.output.lane
        if len(self.output.parameters) > 1:
            yield Stage("drain", "threshold", index + 1, at(f"{DRAIN}.threshold", step), step)
        yield from self._result(index, step)
        results = self.each.results
        wanted = [sum(result >= 0 for result in results[:end]) for end in (index, index + 1)]
        operands = right(
            {
                "threshold": index,
                "result": results[index],
                "count before": wanted[0],
            }
        )
        cycle = step + RESULT_CYCLES + 1
        actual = at(f"{DRAIN}.count_{lane}", cycle)
        yield Stage(f"threshold counter of lane {lane}", "count", wanted[1], actual, cycle, operands)

    def _pooled(self) -> Iterator[Stage]:
        """Yield what the maximum of the window passes."""
        output, at, lane = self.output, self.window.at, self.output.lane
        cycle, width = self.first + self.window.steps + RESULT_CYCLES, output.engine.output_width
        before = max((each.count for each in output.passes[: self.number]), default=0)
        first, last = self.number == 0, self.number == len(output.passes) - 1
        yield Stage("drain", "first pass of a window", int(first), at(f"{DRAIN}.pool.first", cycle), cycle)
        yield Stage("drain", "store of a maximum,", 1, at(f"{DRAIN}.pool.store", cycle), cycle)
        if output.engine.groups > 1:
            actual = at(f"{DRAIN}.pool.group", cycle - 1)
            yield Stage("drain", "group that is pooled", output.group, actual, cycle - 1)
        operands = right({"count": self.each.count})
        if not first:
            kept = self.window.part(f"{DRAIN}.pool.kept[{output.group}]", cycle, lane, width)
            operands |= right({"maximum before": before})
            yield Stage("pool store", "maximum before", before, kept, cycle)
        code = max(self.each.count, before)
        actual = self.window.part(f"{DRAIN}.pool.o", cycle + POOL_CYCLES, lane, width)
        yield Stage(f"maximum of lane {lane}", "maximum", code, actual, cycle + POOL_CYCLES, operands)
        if not last:
            return
        operands = right({"maximum": code})
        actual = self.window.part(f"{DRAIN}.gather.codes", cycle + POOL_CYCLES, lane, width)
        yield Stage(f"flip of lane {lane}", "code", output.code, actual, cycle + POOL_CYCLES, operands)
        yield Stage(
            "drain", "take of a code,", 1, at(f"{DRAIN}.gather.take", cycle + POOL_CYCLES - 1), cycle + POOL_CYCLES - 1
        )

    def _raw(self) -> Iterator[Stage]:
        """Yield what a sum without thresholds passes."""
        output, at, engine = self.output, self.window.at, self.output.engine
        for part in range(engine.result_words):
            step = self.first + output.lane * engine.result_words + part
            if part == 0:
                yield from self._result(0, step)
            cycle = step + RESULT_CYCLES + POOL_CYCLES + 1
            operands = right(
                {
                    "result": self.each.results[0],
                    "shift": int(output.fields["raw_shift"]),
                }
            )
            actual = at(f"{DRAIN}.result", cycle, signed=True)
            yield Stage("shifter of sums", "sum of products", output.code, actual, cycle, operands)
            wanted = output.code >> part * engine.simd & ((1 << engine.simd) - 1)
            operands = right({"sum of products": output.code})
            actual = at(f"{DRAIN}.gather.word", cycle)
            yield Stage("words of sums", f"word {part} of the sum", wanted, actual, cycle, operands)
            yield Stage("drain", "take of a word,", 1, at(f"{DRAIN}.gather.take_raw", cycle - 1), cycle - 1)
