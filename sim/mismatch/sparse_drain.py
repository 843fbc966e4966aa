"""Finds what is wrong behind the PEs of the sparse engine, whose accumulations of an output are all right."""

from dataclasses import dataclass

from celosia.hw.sparse.timing import merge_cycles
from celosia.hw.timing import READ_LATENCY
from celosia.sim.mismatch.report import Fault, Operands
from celosia.sim.mismatch.sparse_output import Output
from celosia.sim.mismatch.sparse_times import Times, step_beats
from celosia.sim.vcd import Waves, integer_of

READING = "engine.drain.reading"
ROW = "engine.drain.read_address"  # not there if every bank has but one row
BIAS_ADDRESS, BIASES = "engine.parameters__address", "engine.parameters__data"
WRITE = ("write__enable", "write__address", "write__data")  # of the memory that the output goes to
SETTINGS = ("shift", "minimum", "maximum")


def names(output: Output) -> list[str]:
    """Return the signals that are looked at for an output."""
    lane, levels = output.lane, output.engine.group.bit_length() - 1
    parts = (f"chosen_{levels}_{lane}", f"total_{lane}", f"shifted_{lane}")
    return [
        READING,
        *(f"{output.run.memory}.{port}" for port in WRITE),
        *(f"engine.pe_{pe}.sums" for pe in output.pes),
        *(f"engine.drain.{part}" for part in parts),
        *(f"engine.drain.layer_{setting}" for setting in SETTINGS),
    ]


def optional_names() -> list[str]:
    """Return signals that a waveform may lack."""
    return [ROW, BIAS_ADDRESS, BIASES]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a lane: what comes out of it, and when it can be seen, in cycles behind the read of the sums."""

    place: str
    quantity: str
    expected: int
    actual: int
    behind: int
    operands: Operands


class DrainSearch:
    """One output on its way from its PEs' sums to its memory.

    Parameters
    ----------
    output : Output
    times : Times
        Of its vector.
    waves : Waves
        From `times.start` to `times.stop`.
    """

    def __init__(self, output: Output, times: Times, waves: Waves) -> None:
        self.output, self.engine, self.times, self.waves = output, output.engine, times, waves
        self.layer = output.run.plan.arranged.layer

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        reads = [cycle for cycle in range(self.times.start, self.waves.stop) if self.waves.at(READING, cycle)]
        if self.output.drained_word >= len(reads):
            return self._missing("read of the sums,", self.times.barrier)
        read = reads[self.output.drained_word]
        if read + merge_cycles(self.engine) >= self.waves.stop:
            return self._missing("write of the activation,", self.waves.stop)
        return self._sums(read) or self._lane(read) or self._write(read + merge_cycles(self.engine))

    def _sums(self, read: int) -> Fault | None:
        """Compare the sums that the PEs give with those that were summed up."""
        bank, width = self.output.row % self.engine.group, self.engine.accumulator_width
        for pe in self.output.pes:
            word = self.waves.at(f"engine.pe_{pe}.sums", read + READ_LATENCY) >> bank * width
            expected, actual = self.output.sums[pe], integer_of(word, width, signed=True)
            if actual == expected:
                continue
            row = self.output.row // self.engine.group
            there = self.waves.at(ROW, read) if ROW in self.waves.values else row
            if there != row:
                return self._fault("drain", "row that is read", row, there, read)
            place, quantity = f"accumulator bank {bank} of PE {pe}", "sum, though rightly added up,"
            fault = self._fault(place, quantity, expected, actual, read + READ_LATENCY)
            return Fault(**{**vars(fault), "position": {**fault.position, "PE": pe}})
        return None

    def _lane(self, read: int) -> Fault | None:
        """Compare what each stage makes of the sums."""
        for stage in self._stages(read):
            operands = stage.operands
            wrong = [name for name in ("bias", *SETTINGS) if name in operands and len(set(operands[name])) > 1]
            if stage.actual != stage.expected or wrong:
                place = f"{' and '.join(wrong)} of the step" if wrong else stage.place
                if wrong == ["bias"]:
                    word = self.output.pieces[-1].fields["parameters"] + self.output.drained_word
                    there = self.waves.at(BIAS_ADDRESS, read)
                    if there != word:
                        return self._fault("drain", "address of the bias", word, there, read)
                    place = f"parameters memory, word {word}"
                cycle = read + stage.behind
                return self._fault(place, stage.quantity, stage.expected, stage.actual, cycle, operands)
        return None

    def _stages(self, read: int) -> list[Stage]:
        """Return the stages of the lane, in their order: each with what it had to work with."""
        output, engine, layer = self.output, self.engine, self.layer
        pes, lane, levels = output.pes, output.lane, engine.group.bit_length() - 1
        merged_at = READ_LATENCY + levels + 1
        merged, total, shifted = (
            self.waves.at(f"engine.drain.{name}_{lane}", read + merged_at + behind, signed=True)
            for behind, name in enumerate((f"chosen_{levels}", "total", "shifted"))
        )
        written = self.waves.at(f"{output.run.memory}.{WRITE[2]}", read + merge_cycles(engine))
        width, signed = engine.activation_width, engine.activation_signed
        settings = {name: (int(getattr(layer, name)), self._setting(name, read + merged_at + 2)) for name in SETTINGS}
        return [
            Stage(
                place=f"merge of PEs {pes[0]} to {pes[-1]}" if len(pes) > 1 else f"choice of PE {pes[0]}'s sum",
                quantity="merged sum",
                expected=output.merged,
                actual=merged,
                behind=merged_at,
                operands={f"sum of PE {pe}": (total, total) for pe, total in output.sums.items()},
            ),
            Stage(
                place=f"bias adder of lane {lane}",
                quantity="sum with bias",
                expected=self.total,
                actual=total,
                behind=merged_at + 1,
                operands={"merged sum": (output.merged, merged), "bias": (self.bias, self._bias_read(read))},
            ),
            Stage(
                place=f"shifter of lane {lane}",
                quantity="shifted sum",
                expected=self.total >> layer.shift,
                actual=shifted,
                behind=merged_at + 2,
                operands={"sum with bias": (self.total, total), "shift": settings["shift"]},
            ),
            Stage(
                place=f"clamp of lane {lane}",
                quantity="activation",
                expected=self.result,
                actual=integer_of(written >> lane * width, width, signed=signed),
                behind=merge_cycles(engine),
                operands={
                    "shifted sum": (self.total >> layer.shift, shifted),
                    **{name: settings[name] for name in ("minimum", "maximum")},
                },
            ),
        ]

    @property
    def bias(self) -> int:
        """Bias of the output, with the half that rounds."""
        return int(self.layer.bias[self.output.channel]) + (1 << self.layer.shift >> 1)

    @property
    def total(self) -> int:
        """What is shifted."""
        return self.output.merged + self.bias

    @property
    def result(self) -> int:
        """The right activation."""
        return min(max(self.total >> self.layer.shift, self.layer.minimum), self.layer.maximum)

    def _bias_read(self, read: int) -> int:
        """Return the bias that came from its memory; the right one if nothing reads biases."""
        if BIASES not in self.waves.values:
            return self.bias
        width = self.engine.bias_width
        biases = self.waves.at(BIASES, read + READ_LATENCY)
        return integer_of(biases >> self.output.lane * width, width, signed=True)

    def _setting(self, name: str, cycle: int) -> int:
        signed = name != "shift" and self.engine.activation_signed
        return self.waves.at(f"engine.drain.layer_{name}", cycle, signed=signed)

    def _write(self, cycle: int) -> Fault:
        """Compare the write, whose data are right, with where it has to go."""
        output, (enable, address) = self.output, (f"{self.output.run.memory}.{port}" for port in WRITE[:2])
        if not self.waves.at(enable, cycle):
            return self._missing("write of the activation,", cycle)
        there = self.waves.at(address, cycle)
        if there != output.address:
            return self._fault("drain", "address of the write", output.address, there, cycle)
        if again := self._second_write(cycle + 1, enable, address):
            return self._fault("drain", "activation, over which another is written,", self.result, None, again)
        place = f"{output.run.memory} memory, word {output.address}"
        return self._fault(place, "activation, though rightly written,", self.result, None, cycle)

    def _second_write(self, start: int, enable: str, address: str) -> int | None:
        """Return the cycle in which the layer writes the output's word again; None if it does not."""
        run = self.output.run
        beats = sum(step_beats(step.fields, self.engine) for step in run.plan.steps)
        stop = run.replay.cycles_of([run.first_beat + beats])[0]  # nothing of the next layer is written by then
        waves = run.replay.record((enable, address), (start, max(stop, start + 1)))
        cycles = (cycle for cycle in range(start, waves.stop) if waves.at(enable, cycle))
        return next((cycle for cycle in cycles if waves.at(address, cycle) == self.output.address), None)

    def _missing(self, quantity: str, cycle: int) -> Fault:
        return self._fault("drain", quantity, self.result, None, cycle)

    def _fault(
        self, place: str, quantity: str, expected: int, actual: int | None, cycle: int, operands: Operands | None = None
    ) -> Fault:
        output = self.output
        return Fault(
            place=place,
            quantity=quantity,
            expected=expected,
            actual=actual,
            cycle=cycle,
            position={
                "tile": output.tile_index,
                "step": output.pieces[-1].step,
                "row": output.row,
                "word": output.drained_word,
                "lane": output.lane,
            },
            operands=operands or {},
        )
