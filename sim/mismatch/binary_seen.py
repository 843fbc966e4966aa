"""What is seen of the binary engine while it works on an output: waveforms, and the cycles of its beats."""

from celosia.hw.binary.drain import RESULT_CYCLES
from celosia.hw.binary.pool import POOL_CYCLES
from celosia.hw.binary.timing import OPERAND_CYCLES, array_latency
from celosia.sim.mismatch.binary_output import Output, Pass, integer_of_word
from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.stage import Seen, Stage
from celosia.sim.vcd import Waves, integer_of

BEAT = "engine.feeder.beat"


class Window:
    """The cycles of an output, from the first beat of its first pass to the write of its word.

    Parameters
    ----------
    output : Output
    names : list of str
        Signals to look at.

    Attributes
    ----------
    waves : Waves
        What the signals held.
    cycles : dict of int
        The cycle of each beat, by its number in the run.
    """

    def __init__(self, output: Output, names: list[str]) -> None:
        self.output, self.run = output, output.run
        first, last = output.passes[0].first_beat, self._last_beat
        cycles = self.run.replay.cycles_of([first, last])
        start = max(cycles[0], 1)
        stop = (
            cycles[1]
            + self.load_cycles
            + self.drain_cycles
            + RESULT_CYCLES
            + POOL_CYCLES
            + 2 * output.engine.output_width
            + 4
        )
        self.waves: Waves = self.run.replay.record([BEAT], (start, stop), names)
        beats = [cycle for cycle in range(start, self.waves.stop) if self.waves.at(BEAT, cycle)]
        self.cycles = dict(zip(range(first, last + 1), beats, strict=False))

    @property
    def _last_beat(self) -> int:
        fields = self.output.fields
        fold, _ = self.output.completing
        return self.output.pass_beat(fold, fields["pool_rows"] * fields["pool_cols"]) - 1

    @property
    def load_cycles(self) -> int:
        """Cycles from the last beat of a pass to the load of the drain."""
        return OPERAND_CYCLES + array_latency(self.output.engine)

    @property
    def steps(self) -> int:
        """Steps of the drain for each group of lanes."""
        engine = self.output.engine
        if self.output.is_raw:
            return engine.resolved_post_lanes * engine.result_words
        return len(self.output.parameters)

    @property
    def drain_cycles(self) -> int:
        """Steps of the drain for all groups."""
        return self.output.engine.groups * self.steps

    @property
    def missing(self) -> int | None:
        """Number of the first beat that there is not."""
        numbers = range(self.output.passes[0].first_beat, self._last_beat + 1)
        return next((number for number in numbers if number not in self.cycles), None)

    def load(self, each: Pass) -> int:
        """Return the cycle in which the drain takes the sum of a pass."""
        return self.cycles[each.first_beat + len(each.beats) - 1] + self.load_cycles

    def completion(self) -> int:
        """Return the cycle in which the gatherer has all of the output's word."""
        _, group = self.output.completing
        return (
            self.cycles[self._last_beat] + self.load_cycles + (group + 1) * self.steps + RESULT_CYCLES + POOL_CYCLES + 1
        )

    def at(self, name: str, cycle: int, *, signed: bool = False) -> Seen:
        """Return what a signal held."""
        if name not in self.waves.values or not self.waves.start <= cycle < self.waves.stop:
            return None
        return self.waves.at(name, cycle, signed=signed)

    def part(self, name: str, cycle: int, index: int, width: int, *, signed: bool = False) -> Seen:
        """Return one of the numbers of some bits that a signal held."""
        word = self.at(name, cycle)
        return None if word is None else integer_of(word >> index * width, width, signed=signed)

    def together(self, name: str, width: int, cycle: int) -> Seen:
        """Return what signals of one bit each held, whose names have their number in place of {}."""
        bits = [self.at(name.format(index), cycle) for index in range(width)]
        return None if None in bits else sum((bit or 0) << index for index, bit in enumerate(bits))

    def stored(self, beat: int, memory: str, address: int) -> int:
        """Return what a memory held after a beat."""
        return integer_of_word(self.run.replay.memory_before(beat, memory, 1, address)[0])

    def fault(self, stage: Stage, position: dict[str, int]) -> Fault:
        """Return the fault that a stage is."""
        return Fault(
            place=stage.place,
            quantity=stage.quantity,
            expected=stage.expected,
            actual=stage.actual,
            cycle=stage.cycle,
            position={**self.output.position, **position},
            operands=stage.operands,
        )
