"""Finds the place of a fault in the systolic engine: PE by PE, accumulator, requantizer, memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.post.parameters import shift_code
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.pe import PE
from celosia.hw.systolic.timing import HAZARD_CYCLES, row_ready_cycles
from celosia.hw.timing import READ_LATENCY
from celosia.sim.golden.requantize import requantize
from celosia.sim.mismatch.layer import OutputSearch
from celosia.sim.mismatch.replay import Replay
from celosia.sim.mismatch.report import Fault
from celosia.sim.vcd import Waves

BEAT_CAUSE = "compute"
DRAIN_SPAN = 512  # cycles in which a write is looked for at a time


def beats(plan: Any, config: AcceleratorConfig) -> int:  # noqa: ARG001
    """Return the beats of a layer: one for each vector of each tile."""
    fields = plan.steps[0].fields
    vectors = (fields["blocks"] - 1) * fields["block_rows"] + fields["last_block_rows"]
    return vectors * fields["k_tiles"] * fields["n_tiles"]


@dataclass(frozen=True, kw_only=True)
class Search(OutputSearch):
    """One wrong output of one layer."""

    @property
    def engine(self) -> SystolicConfig:
        """Config of the engine."""
        assert isinstance(self.run.config.engine, SystolicConfig)
        return self.run.config.engine

    @property
    def replay(self) -> Replay:
        """The run."""
        return self.run.replay

    @property
    def layer(self) -> Any:
        """The layer, a `celosia.host.models.ir.Dense`."""
        return self.run.plan.arranged.layer

    @property
    def fields(self) -> Any:
        """Fields of the layer's one descriptor."""
        return self.run.plan.steps[0].fields

    @property
    def column(self) -> int:
        """Column of the array that computes the channel."""
        return self.channel % self.engine.cols

    @property
    def lane(self) -> int:
        """Requantizer lane of the channel."""
        return self.channel % self.engine.resolved_post_lanes

    def order(self) -> tuple[int, ...]:
        """Return what outputs are sorted by to be in the order of their writes."""
        return self.position["block"], self.position["N tile"], self.vector, self.channel

    @property
    def position(self) -> dict[str, int]:
        """Block and N tile of the output."""
        return {"block": self.vector // self.fields["block_rows"], "N tile": self.channel // self.engine.cols}

    def find(self) -> Fault:
        """Return the first place where a value is wrong."""
        cycles = self.replay.cycles_of([self._beat(k_tile) for k_tile in range(self.fields["k_tiles"])])
        return self._in_array(cycles) or self._behind(cycles[-1])

    def _beat(self, k_tile: int) -> int:
        """Return the beat that sends the vector through a K tile."""
        fields, block = self.fields, self.position["block"]
        rows = fields["block_rows"] if block < fields["blocks"] - 1 else fields["last_block_rows"]
        before = block * fields["block_rows"] * fields["k_tiles"] * fields["n_tiles"]
        tiles = self.position["N tile"] * fields["k_tiles"] + k_tile
        return self.run.first_beat + before + tiles * rows + self.vector % fields["block_rows"]

    # -- array and accumulators --

    def _tile(self, k_tile: int) -> tuple[list[int], list[int]]:
        """Return the activations and weights of each row of the channel's column in a K tile."""
        rows = slice(k_tile * self.engine.rows, (k_tile + 1) * self.engine.rows)
        activations, weights = self.run.x[self.vector, rows].tolist(), self.layer.weights[rows, self.channel].tolist()
        missing = [0] * (self.engine.rows - len(weights))
        return activations + missing, weights + missing

    def _in_array(self, cycles: list[int]) -> Fault | None:
        rows, column = self.engine.rows, self.column
        pes = [f"engine.array.pe_{row}_{column}" for row in range(rows)]
        names = [f"{pe}.{port}" for pe in pes for port in ("i_activation", "active", "o_psum")]
        accumulator = f"engine.accumulator_{column}.total"
        entries = [cycle + READ_LATENCY + column for cycle in cycles]  # of the vector into the column's first PE
        spans = [(entry, entry + rows + PE.LATENCY + HAZARD_CYCLES) for entry in entries]
        acc = 0
        for k_tile, waves in enumerate(self.replay.waves([*names, accumulator], spans)):
            activations, weights = self._tile(k_tile)
            psums = np.cumsum(np.multiply(activations, weights)).tolist()
            for row in range(rows):
                cycle = entries[k_tile] + row + PE.LATENCY
                psum = waves.at(f"{pes[row]}.o_psum", cycle, signed=True)
                if psum != psums[row]:
                    return self._pe_fault(waves, entries[k_tile] + row, k_tile, row, psums[row], psum)
            cycle = entries[k_tile] + rows + PE.LATENCY
            total = waves.at(accumulator, cycle, signed=True)
            if total != acc + psums[-1]:
                return Fault(
                    place=f"accumulator of column {column}",
                    quantity="sum",
                    expected=acc + psums[-1],
                    actual=total,
                    cycle=cycle,
                    position={**self.position, "K tile": k_tile, "column": column},
                    operands={
                        "partial sum": (psums[-1], psums[-1]),
                        "sum before": (acc, total - psums[-1]),
                    },
                )
            acc += psums[-1]
        return None

    def _pe_fault(self, waves: Waves, entry: int, k_tile: int, row: int, expected: int, actual: int) -> Fault:
        """Describe a PE whose psum is wrong while that of the PE above is right."""
        activations, weights = self._tile(k_tile)
        pe, signed = f"engine.array.pe_{row}_{self.column}", self.engine.activation_signed
        activation = waves.at(f"{pe}.i_activation", entry, signed=signed)
        weight = waves.at(f"{pe}.active", entry + 1, signed=True)
        operands = {"activation": (activations[row], activation)}
        if k_tile * self.engine.rows + row < len(self.layer.weights):  # below the last row of weights any will do
            operands["weight"] = (weights[row], weight)
        place, cycle = f"PE ({row}, {self.column})", entry + PE.LATENCY
        if activation != activations[row]:
            place, cycle = self._activation_fault(entry, row, activations[row])
        return Fault(
            place=place,
            quantity=f"partial sum of PE ({row}, {self.column})",
            expected=expected,
            actual=actual,
            cycle=cycle,
            position={**self.position, "K tile": k_tile, "row": row, "column": self.column},
            operands=operands,
        )

    def _activation_fault(self, entry: int, row: int, expected: int) -> tuple[str, int]:
        """Return the place and the cycle in which an activation on its way through a row is first wrong."""
        first = entry - self.column
        names = [f"engine.array.pe_{row}_{column}.i_activation" for column in range(self.column + 1)]
        waves = next(self.replay.waves(names, [(first, entry + 1)]))
        column = next(
            column
            for column, name in enumerate(names)
            if waves.at(name, first + column, signed=self.engine.activation_signed) != expected
        )
        place = f"PE ({row}, {column - 1}), which passes activations on," if column else f"activations into row {row}"
        return place, first + column

    # -- drain --

    def _behind(self, last: int) -> Fault:
        """Return the fault behind the array, whose sums are right."""
        for write, waves in self._writes(last):
            return self._written(write, waves)
        return Fault(
            place="drain",
            quantity=f"write of word {self._address}, lane {self.channel % self.engine.rows}, of {self.run.memory}",
            expected=self._result(),
            actual=None,
            cycle=last + row_ready_cycles(self.engine),
            position=self.position,
        )

    @property
    def _address(self) -> int:
        return self.run.destination + self.vector * self.fields["destination_pitch"] + self.channel // self.engine.rows

    def _writes(self, last: int) -> Iterator[tuple[int, Waves]]:
        """Yield the cycles in which the output's group of lanes is written, from its last beat to the layer's end."""
        enable, address, outputs = (f"engine.{name}" for name in ("write__enable", "write__address", "write_outputs"))
        names = [enable, address, outputs, "engine.write__data", "engine.drain.parameters__data", self._acc]
        margin = self.engine.requantizer.latency + 1  # the requantizer's inputs are that far ahead of the write
        start, end = last + row_ready_cycles(self.engine), self._end()
        spans = [(at - margin, min(at + DRAIN_SPAN, end)) for at in range(start, end, DRAIN_SPAN)]
        group = self.channel % self.engine.rows // self.engine.resolved_post_lanes
        lowest = 1 << group  # a write for a lower group enables lower lanes, too, and clears this one's
        for waves in self.replay.waves(names, spans):
            for cycle in range(waves.start + margin, waves.stop):
                lanes = waves.at(enable, cycle)
                there = waves.at(address, cycle), waves.at(outputs, cycle)
                if lanes & -lanes == lowest and there == (self._address, self.fields["destination_is_outputs"]):
                    yield cycle, waves

    @property
    def _acc(self) -> str:
        return f"engine.drain.lane_{self.lane}.acc"

    def _end(self) -> int:
        """Return a cycle after the layer's last write and before the next layer's first."""
        after = self.run.first_beat + beats(self.run.plan, self.run.config)
        if after >= self.replay.beats:
            return self.replay.last_cycle
        return self.replay.cycles_of([after])[0]

    def _written(self, write: int, waves: Waves) -> Fault:
        """Compare a write with what it was made from."""
        engine, cycle = self.engine, write - self.engine.requantizer.latency
        acc = int(self.run.x[self.vector] @ self.layer.weights[:, self.channel].astype(np.int64))
        data = waves.at("engine.write__data", write) >> (self.channel % engine.rows * engine.activation_width)
        result = data & ((1 << engine.activation_width) - 1)
        if engine.activation_signed and result >> (engine.activation_width - 1):
            result -= 1 << engine.activation_width
        operands = {"acc": (acc, waves.at(self._acc, cycle, signed=True))}
        parameters = waves.at("engine.drain.parameters__data", cycle - 1)
        operands |= self._parameters(parameters)
        position = {**self.position, "column": self.column, "lane": self.lane}
        expected = self._result()
        if result == expected:
            place, quantity = f"{self.run.memory} memory, word {self._address}", "activation, though rightly written,"
        elif operands["acc"][0] != operands["acc"][1]:
            place, quantity = f"accumulator of column {self.column}, though rightly summed,", "activation"
        elif any(wanted != found for wanted, found in operands.values()):
            place, quantity = "parameters", "activation"
        else:
            place, quantity = f"requantizer lane {self.lane}", "activation"
        return Fault(
            place=place,
            quantity=quantity,
            expected=expected,
            actual=None if result == expected else result,
            cycle=write,
            position=position,
            operands=operands,
        )

    def _parameters(self, word: int) -> dict[str, tuple[int, int]]:
        """Return the requantizer's parameters: those of the layer, and those in a parameter word."""
        layout = self.engine.parameter_layout
        lane = word >> (self.lane * layout.channel_width) & ((1 << layout.channel_width) - 1)
        found = layout.channel.unpack([lane >> shift & 0xFFFF_FFFF for shift in range(0, layout.channel_width, 32)])
        wanted = {
            "bias": self._bias(),
            "multiplier": int(self.layer.multiplier[self.channel]),
            "shift": int(shift_code(self.layer.shift[self.channel])),
            "enable": 1,
        }
        return {name: (wanted[name], found[name]) for name in wanted}

    def _bias(self) -> int:
        """Return the channel's bias, into which the zero point is folded."""
        layer = self.layer
        weights = int(layer.weights[:, self.channel].astype(np.int64).sum())
        return int(layer.bias[self.channel]) - (layer.input_zero_point + self.run.input_offset) * weights

    def _result(self) -> int:
        """Return the right activation, in the device's integers."""
        layer, n = self.layer, self.channel
        acc = int(self.run.x[self.vector] @ layer.weights[:, n].astype(np.int64))
        offset = self.run.output_offset
        return int(
            requantize(
                acc,
                self._bias(),
                layer.multiplier[n],
                layer.shift[n],
                rounding=layer.rounding,
                zero_point=layer.output_zero_point + offset,
                minimum=layer.minimum + offset,
                maximum=layer.maximum + offset,
            )
        )
