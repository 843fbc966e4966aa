"""Finds what is wrong with the write of an output of the binary engine whose code is right."""

from collections.abc import Iterator

from celosia.hw.binary.drain import RESULT_CYCLES
from celosia.hw.binary.pool import POOL_CYCLES
from celosia.sim.mismatch.binary_output import Output
from celosia.sim.mismatch.binary_place import step_beats
from celosia.sim.mismatch.binary_seen import Window
from celosia.sim.mismatch.report import Bits, Fault, Operands
from celosia.sim.mismatch.stage import Stage, first_wrong

GATHER = "engine.drain.gather"
PORTS = ("enable", "address", "data")


def names(output: Output) -> list[str]:
    """Return the signals that are looked at for an output."""
    planes = range(output.engine.output_width)
    return [
        *(f"{part}__{port}" for part in (f"{GATHER}.write", f"{output.run.memory}.write") for port in PORTS),
        *(f"{GATHER}.plane_{bit}" for bit in planes),
        *(f"{GATHER}.{name}" for name in ("complete",)),
    ]


class WriteSearch:
    """An output on its way into memory.

    Parameters
    ----------
    window : Window
    """

    def __init__(self, window: Window) -> None:
        self.window, self.output = window, window.output
        self.bit = self.output.channel % self.output.engine.simd
        # The first step of the output's group behind its last pass.
        self.first = window.load(self.output.passes[-1]) + 1 + self.output.group * window.steps

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        stage = first_wrong(self._raw() if self.output.is_raw else self._gathered())
        return self.window.fault(stage or self._memory(), {} if self.output.is_raw else {"bit": self.bit})

    @property
    def _planes(self) -> int:
        """Words that the output is in: bit planes, or those of a sum."""
        return self.output.engine.result_words if self.output.is_raw else int(self.output.fields["output_planes"])

    def _address(self, plane: int) -> int:
        """Return where a bit plane goes, the most significant one being 0."""
        chunks = 1 if self.output.is_raw else int(self.output.fields["destination_chunks"])
        return self.output.address + plane * chunks

    def _bits(self, plane: int) -> int:
        """Return what the output is in a bit plane, or a word of a sum."""
        if self.output.is_raw:
            return self.output.code >> plane * self.output.engine.simd & ((1 << self.output.engine.simd) - 1)
        return self.output.code >> (self._planes - 1 - plane) & 1

    def _part(self, word: int) -> int:
        """Return what a word has of the output."""
        return word if self.output.is_raw else word >> self.bit & 1

    def _cycle(self, plane: int) -> int:
        """Return the cycle in which a bit plane is written."""
        if self.output.is_raw:
            return self._taken(plane) + 1
        return self.window.completion() + 1 + plane

    def _taken(self, part: int) -> int:
        """Return the cycle in which the gatherer takes the output, or a word of it."""
        output, steps = self.output, self.window.steps
        if output.is_raw:
            return self.first + output.lane * output.engine.result_words + part + RESULT_CYCLES + POOL_CYCLES + 1
        return self.first + steps + RESULT_CYCLES + POOL_CYCLES

    def _gathered(self) -> Iterator[Stage]:
        """Yield what a code passes."""
        taken = self._taken(0) + 1
        for plane in range(self._planes):
            register = f"{GATHER}.plane_{self._planes - 1 - plane}"
            seen = self.window.part(register, taken, self.bit, 1)
            yield Stage("gatherer", f"bit gathered of plane {plane}", self._bits(plane), seen, taken)
        done = self.window.completion()
        complete = self.window.at(f"{GATHER}.complete", done)
        yield Stage("gatherer", "completion of the word,", 1, complete, done)
        for plane in range(self._planes):
            yield from self._written(
                plane, self.window.at(f"{GATHER}.plane_{self._planes - 1 - plane}", self._cycle(plane))
            )

    def _raw(self) -> Iterator[Stage]:
        """Yield what the words of a sum pass."""
        for part in range(self._planes):
            cycle = self._cycle(part)
            word = self.window.at(f"{GATHER}.plane_0", cycle)
            yield Stage("gatherer", f"word {part} of the sum", self._bits(part), word, cycle)
            yield from self._written(part, word)

    def _written(self, plane: int, word: int | None) -> Iterator[Stage]:
        """Yield a write: that of the gatherer, and that of the memory."""
        cycle, address, bits = self._cycle(plane), self._address(plane), self._bits(plane)
        what = f"word {plane} of the sum" if self.output.is_raw else f"bit of plane {plane}"
        for place, port in (
            ("gatherer", f"{GATHER}.write"),
            ("write port of the memory", f"{self.output.run.memory}.write"),
        ):
            enable, there, data = (self.window.at(f"{port}__{name}", cycle) for name in PORTS)
            yield Stage(place, f"write of {what},", 1, enable, cycle)
            yield Stage(place, "address of the write", address, there, cycle)
            if data is not None:
                operands: Operands = {} if word is None else {"word": (Bits(word), Bits(data))}
                yield Stage(place, f"{what}, as written,", bits, self._part(data), cycle, operands)

    def _memory(self) -> Stage:
        """Return what became of an output that was rightly written."""
        run, layer = self.output.run, self.output.run.plan
        end = run.first_beat + sum(step_beats(step.fields) for step in layer.steps)
        held = [self.window.stored(end, run.memory, self._address(plane)) for plane in range(self._planes)]
        plane = next((plane for plane, word in enumerate(held) if self._part(word) != self._bits(plane)), 0)
        address, written = self._address(plane), self._cycle(plane)
        place, quantity = f"{run.memory} memory, word {address}", "output, though rightly written,"
        operands = {"word": (self._bits(plane), self._part(held[plane]))}
        if again := self._second_write(written + 1, end, address):
            return Stage(
                place="gatherer",
                quantity="output, over which another is written,",
                expected=self.output.code,
                actual=None,
                cycle=again,
                operands={"address of the write": (address, address)},
            )
        return Stage(
            place=place, quantity=quantity, expected=self.output.code, actual=None, cycle=written, operands=operands
        )

    def _second_write(self, start: int, end: int, address: int) -> int | None:
        """Return the cycle in which the layer writes a word again; None if it does not."""
        run = self.output.run
        stop = run.replay.last_cycle if end >= run.replay.beats else run.replay.cycles_of([end])[0]
        enable, there = (f"{run.memory}.write__{port}" for port in PORTS[:2])
        waves = run.replay.record((enable, there), (start, max(stop, start + 1)))
        cycles = (cycle for cycle in range(start, waves.stop) if waves.at(enable, cycle))
        return next((cycle for cycle in cycles if waves.at(there, cycle) == address), None)
