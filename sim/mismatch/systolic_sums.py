"""Finds the first wrong sum of an output of the systolic engine: PE by PE, and in the accumulator."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from operator import mul

from celosia.hw.systolic.layer import Mode
from celosia.hw.systolic.pe import PE
from celosia.hw.systolic.timing import LOOKUP_CYCLES, WINDOW_CYCLES
from celosia.sim.mismatch.report import Fault
from celosia.sim.mismatch.stage import Seen, Stage, first_wrong
from celosia.sim.mismatch.systolic_output import Output
from celosia.sim.mismatch.systolic_seen import View, fault_of, record
from celosia.sim.mismatch.systolic_vectors import Read, vector_fault
from celosia.sim.mismatch.systolic_weights import weight_fault


class SumSearch:
    """The sums of an output, K tile by K tile.

    Parameters
    ----------
    output : Output

    Attributes
    ----------
    last : list of int
        Cycles of the beats of its sums in the last K tile.
    read : Read or None
        What was read wrongly, if it is that which `find` found.
    """

    def __init__(self, output: Output) -> None:
        self.output, self.engine, self.column = output, output.engine, output.column
        self.k_tiles = range(output.fields["k_tiles"])
        numbers = [output.tile_beat(k_tile) + number for k_tile in self.k_tiles for number in output.sums]
        self.cycles = output.replay.cycles_of(numbers)
        self.last = self.cycles[-len(output.sums) :]
        self.pes = [f"engine.array.pe_{row}_{self.column}" for row in range(self.engine.rows)]
        self.read: Read | None = None
        self.accumulator = f"engine.accumulator_{self.column}"

    def find(self) -> Fault | None:
        """Return the first place where a value is wrong; None if all sums are right."""
        output, names = self.output, []
        if output.mode is not Mode.LOOKUP:
            names = [f"{pe}.{port}" for pe in self.pes for port in ("i_activation", "active", "o_psum")]
        write = [f"{self.accumulator}.sums.write__{port}" for port in ("enable", "address", "data")]
        spans = [(output.entry(cycle), output.arrival(cycle) + 2) for cycle in self.cycles]
        waves = output.replay.waves([*names, f"{self.accumulator}.total"], spans, write)
        places = [(k_tile, index) for k_tile in self.k_tiles for index in range(len(output.sums))]
        for (k_tile, index), cycle, each in zip(places, self.cycles, waves, strict=True):
            if fault := self._in_array(View(each), k_tile, index, cycle) or self._added(
                View(each), k_tile, index, cycle
            ):
                return fault
        return None

    def _position(self, k_tile: int, index: int) -> dict[str, int]:
        several = len(self.output.sums) > 1
        return {"K tile": k_tile, **({"pool": index} if several else {}), "column": self.column}

    # -- array --

    def _in_array(self, view: View, k_tile: int, index: int, cycle: int) -> Fault | None:
        output = self.output
        if output.mode is Mode.LOOKUP:
            return None
        operands = output.operands(k_tile, output.beats[index])
        psums = list(accumulate(map(mul, *operands)))
        for row, expected in enumerate(psums):
            seen = output.entry(cycle) + row + PE.LATENCY
            psum = view.at(f"{self.pes[row]}.o_psum", seen, signed=True)
            if psum != expected:
                return self._pe_fault(view, row, expected, psum, k_tile, index, cycle)
        return None

    def _pe_fault(self, view: View, row: int, expected: int, psum: Seen, k_tile: int, index: int, cycle: int) -> Fault:
        """Describe what made the psum of a PE wrong while that of the PE above is right."""
        output, entry, pe = self.output, self.output.entry(cycle) + row, f"PE ({row}, {self.column})"
        stage = Stage(pe, f"partial sum of {pe}", expected, psum, entry + PE.LATENCY)
        beat, tile = output.beats[index], output.tile.k_tiles[k_tile]
        activations, weights = output.operands(k_tile, beat)
        signed = self.engine.activation_signed
        activation = view.at(f"{self.pes[row]}.i_activation", entry, signed=signed)
        weight = view.at(f"{self.pes[row]}.active", entry + 1, signed=True)
        operands = {}
        source = output.source(row, beat)
        if source is not None and activation is not None:  # else any activation will do
            operands["activation"] = activations[row], activation
        if row < tile.loaded and weight is not None:  # below the last row of weights any will do
            operands["weight"] = weights[row], weight
        found: Stage | None = None
        if source is not None and activation != activations[row]:
            found = vector_fault(output, k_tile, cycle, beat, source)
            if found is None:
                passed = self._passed_on(entry, row, activations[row])
                stage = replace(stage, place=passed.place, cycle=passed.cycle)
        elif "weight" in operands and weight != weights[row]:
            found = weight_fault(output, k_tile, row)
        self.read = found if isinstance(found, Read) else None
        if found is not None:
            operands |= {"partial sum": (expected, psum or 0), **found.operands}
            stage = found
        position = {**self._position(k_tile, index), "row": row}
        return fault_of(output, replace(stage, operands=operands), position)

    def _passed_on(self, entry: int, row: int, expected: int) -> Stage:
        """Return where an activation on its way from the vector, in which it is right, to a PE is first wrong."""
        signed = self.engine.activation_signed
        if self.output.mode is Mode.CHANNELS:
            return Stage(f"activations into column {self.column}", "activation", expected, None, entry)
        first = entry - self.column
        names = [f"engine.array.pe_{row}_{column}.i_activation" for column in range(self.column + 1)]
        view = record(self.output, names, first, entry + 1)
        for column, name in enumerate(names):
            seen = view.at(name, first + column, signed=signed)
            if seen != expected:
                place = f"PE ({row}, {column - 1}), which passes activations on," if column else ""
                return Stage(place or f"activations into row {row}", "activation", expected, seen, first + column)
        return Stage(f"activations into row {row}", "activation", expected, None, entry)

    # -- accumulator --

    def _added(self, view: View, k_tile: int, index: int, cycle: int) -> Fault | None:
        """Look at the sum, and at its write into the accumulator."""
        stage = first_wrong(self._accumulated(view, k_tile, index, cycle))
        if stage is None:
            return None
        fault = fault_of(self.output, stage, self._position(k_tile, index))
        if self.output.mode is Mode.LOOKUP and stage.quantity == "sum":
            return self._lookup_fault(fault, k_tile, index, cycle)
        return fault

    def _accumulated(self, view: View, k_tile: int, index: int, cycle: int) -> Iterator[Stage]:
        output, number = self.output, self.output.sums[index]
        at, before, after = (
            output.arrival(cycle) + 1,
            output.sum_before(k_tile, number),
            output.sum_after(k_tile, number),
        )
        place = f"accumulator of column {self.column}"
        total = view.at(f"{self.accumulator}.total", at, signed=True)
        added = int(self.output.machine.wrap(after - before))
        name = "entry" if output.mode is Mode.LOOKUP else "partial sum"
        operands = {name: (added, added)}
        if total is not None:
            operands["sum before"] = before, int(self.output.machine.wrap(total - added))
        yield Stage(place, "sum", after, total, at, operands)
        write = f"{self.accumulator}.sums.write"
        yield Stage(place, "write of the sum,", 1, view.at(f"{write}__enable", at), at)
        row = output.accumulator_row(number)
        yield Stage(place, "row of the sum", row, view.at(f"{write}__address", at), at)
        yield Stage(place, "sum, as written,", after, view.at(f"{write}__data", at, signed=True), at, operands)

    # -- lookup tables --

    def _lookup_fault(self, fault: Fault, k_tile: int, index: int, cycle: int) -> Fault:
        """Look at what was added, after a wrong sum."""
        output, lane = self.output, self.column
        at = cycle + WINDOW_CYCLES + lane
        names = ["engine.array.lanes", "engine.tables__address", "engine.tables__data"]
        view = record(output, names, at, at + LOOKUP_CYCLES + 1)
        tile, beat, width = output.tile.k_tiles[k_tile], output.beats[index], self.engine.activation_width
        vectors = tile.vectors[beat : beat + 1]
        activation, word = int(vectors[0, lane]), int(output.machine.entries(output.fields, vectors, k_tile)[0, lane])
        entry = int(output.machine.memories["tables"][word, lane])
        tables = output.step.run.config.memory("tables")
        address_width, entry_width = (tables.depth - 1).bit_length(), self.engine.resolved_accumulator_width
        signed = self.engine.activation_signed
        seen = view.part("engine.array.lanes", at, lane, width, signed=signed)
        position = {**self._position(k_tile, index), "lane": lane, "table": output.fields["table"] + k_tile}
        if seen is not None and seen != activation:
            passed = Stage(f"activations into lane {lane}", "activation", activation, seen, at)
            found = vector_fault(output, k_tile, cycle, beat, (beat, lane)) or passed
            self.read = found if isinstance(found, Read) else None
            operands = {"activation": (activation, seen), **found.operands}
            return fault_of(output, replace(found, operands=operands), position)
        operands = {"activation": (activation, activation)}
        address = view.part("engine.tables__address", at, lane, address_width)
        read = view.part("engine.tables__data", at + LOOKUP_CYCLES, lane, entry_width, signed=True)
        stages = (
            Stage(f"lookup of lane {lane}", "address of the entry", word, address, at, operands),
            Stage(f"tables memory, word {word}, lane {lane}", "entry", entry, read, at + LOOKUP_CYCLES, operands),
        )
        wrong = first_wrong(stages)
        return fault_of(output, wrong, position) if wrong else fault
