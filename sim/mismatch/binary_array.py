"""Finds the first wrong sum of one output in its PE of the binary engine."""

from collections.abc import Iterator

from celosia.hw.binary.feeder import PAD_CYCLES
from celosia.hw.binary.timing import OPERAND_CYCLES
from celosia.sim.mismatch.binary_operands import ARRAY_AHEAD, activation_stages, together, weight_stages
from celosia.sim.mismatch.binary_output import POSITIONS, Beat, Output, Pass
from celosia.sim.mismatch.binary_place import BEAT_LOOPS
from celosia.sim.mismatch.binary_seen import Window
from celosia.sim.mismatch.report import Bits, Fault
from celosia.sim.mismatch.stage import Seen, Stage, first_wrong, right

CONTROLS = {"mute": "mute", "add": "beat", "double": "double", "restart": "last", "capture": "last"}
"""Controls of a PE, each with its name in feeder and array."""


def names(output: Output) -> list[str]:
    """Return the signals that are looked at for an output."""
    tree, pe = output.tree, f"engine.array.pe_{output.pe}"
    delays = tree.delays().items()
    return [
        *(f"engine.{part}.{name}" for part in ("feeder", "array") for name in ("beat", "double", "last")),
        *(f"engine.feeder.{name}" for name in ("address", "weights", "pad", "inverted")),
        *(f"engine.{name}" for name in ("source__data", "source_is_activations", "weights__address", "weights__data")),
        *("engine.activations", "engine.array.activations", "engine.array.mute"),
        *(f"{pe}.{name}" for name in ("weights", "acc", "total")),
        *(f"{pe}.{name}_0.{port}" for name in CONTROLS for port in "io"),
        *(f"engine.array.{name}_{together(output)[0]}_0.o" for name in CONTROLS),
        *(f"{pe}.activations_{lane}.{port}" for lane, _ in delays for port in "io"),
        *(f"{pe}.{kind}_{lane}_{late}" for lane, late in delays if late for kind in ("activation", "weight")),
        *(f"{pe}.count_{level}_{adder}" for level, adders in enumerate(tree.levels) for adder in range(len(adders))),
    ]


class ArraySearch:
    """One pass of an output on its way through its PE.

    Parameters
    ----------
    window : Window
    each : Pass
    """

    def __init__(self, window: Window, each: Pass) -> None:
        self.window, self.each, self.output = window, each, window.output
        self.tree, self.pe = self.output.tree, f"engine.array.pe_{self.output.pe}"
        self.levels = len(self.tree.levels)

    def find(self) -> Fault | None:
        """Return the first place where a value is wrong; None if the sum of the pass is right."""
        last = len(self.each.beats) - 1
        for index, acc in enumerate(self.each.sums):
            name = "total" if index == last else "acc"
            seen = self.window.at(f"{self.pe}.{name}", self._entry(index) + self.levels + 1)
            if seen is not None and seen != acc:
                return self._fault(index, seen)
        return None

    def _entry(self, index: int) -> int:
        """Return the cycle in which the PE has the weights of a beat."""
        return self.window.cycles[self.each.first_beat + index] + OPERAND_CYCLES

    def _before(self, index: int) -> int:
        """Return the sum before a beat."""
        return self.each.sums[index - 1] if index else 0

    def _fault(self, index: int, seen: int) -> Fault:
        """Describe a wrong sum; the one before was right when it was made."""
        beat, entry = self.each.beats[index], self._entry(index)
        stage = first_wrong(self._stages(index)) or self._adder(index, seen)
        operands: dict[str, tuple[int, Seen]] = {}
        if not beat.muted:
            activations, weights = self._activations(entry), self.window.at(f"{self.pe}.weights", entry)
            operands = {"activations": (beat.activations, activations), "weights": (beat.weights, weights)}
            operands = {name: (Bits(w), Bits(w if s is None else s)) for name, (w, s) in operands.items()}
        operands["matches"] = beat.matches, self._matches(entry)
        operands["sum before"] = self._before(index), self.window.at(f"{self.pe}.acc", entry + self.levels)
        operands["sum"] = self.each.sums[index], seen
        places = zip(POSITIONS, BEAT_LOOPS, beat.place, strict=True)
        position = {name: place for name, loop, place in places if self.output.fields[loop] > 1}
        if stage.lane is not None:
            position["lane"] = stage.lane
        return Fault(
            place=stage.place,
            quantity=stage.quantity,
            expected=stage.expected,
            actual=stage.actual,
            cycle=stage.cycle,
            position={**self.output.position, **self.each.position, **position},
            operands={**stage.operands, **{name: (w, w if s is None else s) for name, (w, s) in operands.items()}},
        )

    # -- what the sum was made from --

    def _stages(self, index: int) -> Iterator[Stage]:
        """Yield what a beat passes, operands first."""
        beat, entry = self.each.beats[index], self._entry(index)
        if not beat.muted:
            number = self.each.first_beat + index
            yield from activation_stages(self.window, beat, number, entry - OPERAND_CYCLES)
            yield from weight_stages(self.window, beat, number, entry - OPERAND_CYCLES)
        yield from self._controls(index)
        yield from self._counts(beat, entry)
        place = "accumulator" if index else "restart"
        acc = self.window.at(f"{self.pe}.acc", entry + self.levels)
        yield Stage(f"{place} of PE {self.output.pe}", "sum before", self._before(index), acc, entry + self.levels)

    def _activations(self, entry: int) -> Seen:
        """Return the activations of a beat as the PE is given them."""
        return self.window.together(f"{self.pe}.activations_{{}}.i", self.output.engine.simd, entry - 1)

    def _controls(self, index: int) -> Iterator[Stage]:
        """Yield a beat's controls, each from the feeder to the PE."""
        beat, entry, last = self.each.beats[index], self._entry(index), index == len(self.each.beats) - 1
        if self.output.fields["mute"]:
            known = entry - OPERAND_CYCLES + PAD_CYCLES
            yield Stage("feeder", "padding", int(beat.outside), self.window.at("engine.feeder.pad", known), known)
        yield from self._control("mute", int(beat.muted), entry, entry + self.levels - 1)
        wanted = {"add": True, "double": beat.double, "restart": last, "capture": last}
        for control, expected in wanted.items():
            if control != "double" or self.output.engine.activation_width > 1:
                yield from self._control(control, int(expected), entry, entry + self.levels)

    def _control(self, control: str, expected: int, entry: int, used: int) -> Iterator[Stage]:
        """Yield what a control passes that is in the PE's register in the cycle `used`."""
        name, at = CONTROLS[control], self.window.at
        if control != "mute":
            sent = entry - OPERAND_CYCLES
            yield Stage("feeder", name, expected, at(f"engine.feeder.{name}", sent), sent)
        arrived = entry - ARRAY_AHEAD
        yield Stage("controls on their way to the array", name, expected, at(f"engine.array.{name}", arrived), arrived)
        first, pes = together(self.output)
        shared = at(f"engine.array.{control}_{first}_0.o", used - 1)
        yield Stage(f"controls on their way to {pes}", control, expected, shared, used - 1)
        place = f"{control} of PE {self.output.pe}"
        yield Stage(place, control, expected, at(f"{self.pe}.{control}_0.i", used - 1), used - 1)
        yield Stage(place, control, expected, at(f"{self.pe}.{control}_0.o", used), used)

    # -- counts --

    def _bits(self, lane: int, entry: int) -> tuple[Seen, Seen, int]:
        """Return a lane's activation and weight when they are added, and that cycle."""
        late = self.tree.delays()[lane]
        at = entry + late
        if late:
            activation, weight = (
                self.window.at(f"{self.pe}.{kind}_{lane}_{late}", at) for kind in ("activation", "weight")
            )
        else:
            activation = self.window.at(f"{self.pe}.activations_{lane}.o", at)
            weight = self.window.part(f"{self.pe}.weights", at, lane, 1)
        return activation, weight, at

    def _matches(self, entry: int) -> Seen:
        """Return what the PE adds for a beat: the count of its tree, and the lane that is left."""
        count = self.window.at(f"{self.pe}.count_{self.levels - 1}_0", entry + self.levels)
        activation, weight, _ = self._bits(self.tree.last_lane, entry)
        return None if count is None or activation is None or weight is None else count + (activation ^ weight)

    def _lane(self, beat: Beat, lane: int, entry: int) -> Iterator[Stage]:
        """Yield a lane's bits as they are added."""
        activation, weight, cycle = self._bits(lane, entry)
        place = f"lane {lane} of PE {self.output.pe}"
        yield Stage(place, "activation", beat.activations >> lane & 1, activation, cycle, lane=lane)
        yield Stage(place, "weight", beat.weights >> lane & 1, weight, cycle, lane=lane)

    def _counts(self, beat: Beat, entry: int) -> Iterator[Stage]:
        """Yield the adders of the tree, and the lane that is left."""
        pe = self.output.pe
        if beat.muted:
            added, cycle = self._matches(entry), entry + self.levels
            yield Stage(f"mute of PE {pe}", "matches", 0, added, cycle)
            return
        for lane in self.tree.delays():
            yield from self._lane(beat, lane, entry)
        differs = beat.activations ^ beat.weights
        counts: list[int] = []
        for level, adders in enumerate(self.tree.levels):
            before, counts = counts, []
            for index, adder in enumerate(adders):
                carry = [] if adder.carry is None else [adder.carry]
                lanes = carry if level else [*adder.sources, *carry]
                numbers = adder.sources if level else ()
                counts.append(sum(differs >> lane & 1 for lane in lanes) + sum(before[number] for number in numbers))
                place, cycle = f"adder {index} of level {level} of PE {pe}'s tree", entry + level + 1
                seen = self.window.at(f"{self.pe}.count_{level}_{index}", cycle)
                operands = right({f"count of adder {number}": before[number] for number in numbers})
                operands |= right({f"lane {lane}": differs >> lane & 1 for lane in lanes})
                yield Stage(place, "count", counts[-1], seen, cycle, operands)

    def _adder(self, index: int, seen: int) -> Stage:
        """Return what is wrong with a sum all of whose operands are right."""
        beat, acc, cycle = self.each.beats[index], self._before(index), self._entry(index) + self.levels + 1
        other = (acc if beat.double else 2 * acc) + beat.matches
        place = "doubling in the accumulator" if seen == other else "accumulator"
        if index == len(self.each.beats) - 1 and seen == self.window.at(f"{self.pe}.total", cycle - 1):
            place = "captured total"
        return Stage(f"{place} of PE {self.output.pe}", "sum", self.each.sums[index], seen, cycle)
